package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import dev.holdfast.client.model.AdminProduct;
import dev.holdfast.client.model.AdminPromotion;
import dev.holdfast.client.model.AdminPurchase;
import dev.holdfast.client.model.AuditEvent;
import dev.holdfast.client.model.Buyer;
import dev.holdfast.client.model.BuyerRiskFacts;
import dev.holdfast.client.model.OpenPayment;
import dev.holdfast.client.model.OpenState;
import dev.holdfast.client.model.ProductSet;
import dev.holdfast.client.model.PromotionSet;
import dev.holdfast.client.model.Purchase;
import dev.holdfast.client.model.Refund;
import dev.holdfast.client.model.RefundOrder;
import dev.holdfast.client.model.Review;
import dev.holdfast.client.model.Status;
import java.net.URI;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What an operator calls: terms, refunds, reviews, and what is known. The key has the role {@code admin}. May be used
 * by several threads.
 *
 * <p>Where {@code server.admin_listen} is set, the base URL is that listener's. An argument {@code pageSize} may be
 * null.
 */
public final class Admin {
    private final Caller caller;

    public Admin(String baseUrl, String apiKey) {
        this(baseUrl, apiKey, Policy.defaults());
    }

    public Admin(String baseUrl, String apiKey, Policy policy) {
        this.caller = new Caller(URI.create(baseUrl), apiKey, policy);
    }

    /** A product's terms. */
    public Versioned<AdminProduct> product(String productId) {
        return terms(Call.get(Call.path("/admin/products/", productId, "")), AdminProduct.class);
    }

    /** All products, ordered by id. */
    public Stream<AdminProduct> products(Integer pageSize) {
        return pages("/admin/products", "products", AdminProduct.class, pageSize);
    }

    /** Creates or replaces a product. */
    public Versioned<AdminProduct> putProduct(String productId, ProductSet terms, Conditions conditions) {
        Call call = Call.of("PUT", Call.path("/admin/products/", productId, ""), terms);
        return terms(changing(call, conditions), AdminProduct.class);
    }

    /** Changes some terms: their fields as the HTTP API names them; null removes a limit or an optional field. */
    public Versioned<AdminProduct> patchProduct(String productId, Map<String, ?> patch, Conditions conditions) {
        Call call = Call.of("PATCH", Call.path("/admin/products/", productId, ""), patch);
        return terms(changing(call, conditions), AdminProduct.class);
    }

    /** Adds units to the total, or takes some away. Not repeated where no answer came. */
    public Versioned<AdminProduct> changeStock(String productId, long add, Conditions conditions) {
        Call call = Call.of("POST", Call.path("/admin/products/", productId, "/stock"), Map.of("add", add));
        return terms(changing(call, conditions).unsafe(), AdminProduct.class);
    }

    /** A promotion's terms and uses. */
    public Versioned<AdminPromotion> promotion(String code) {
        return terms(Call.get(Call.path("/admin/promotions/", code, "")), AdminPromotion.class);
    }

    /** All promotions, ordered by code. */
    public Stream<AdminPromotion> promotions(Integer pageSize) {
        return pages("/admin/promotions", "promotions", AdminPromotion.class, pageSize);
    }

    /** Creates or replaces a promotion. */
    public Versioned<AdminPromotion> putPromotion(String code, PromotionSet terms, Conditions conditions) {
        Call call = Call.of("PUT", Call.path("/admin/promotions/", code, ""), terms);
        return terms(changing(call, conditions), AdminPromotion.class);
    }

    /** Changes some terms: their fields as the HTTP API names them; null removes a limit or an optional field. */
    public Versioned<AdminPromotion> patchPromotion(String code, Map<String, ?> patch, Conditions conditions) {
        Call call = Call.of("PATCH", Call.path("/admin/promotions/", code, ""), patch);
        return terms(changing(call, conditions), AdminPromotion.class);
    }

    /** Everything known about a purchase. */
    public AdminPurchase purchase(String purchaseId) {
        return caller.call(Call.get(Call.path("/admin/purchases/", purchaseId, "")), AdminPurchase.class);
    }

    public Refund refund(String purchaseId, RefundOrder order) {
        return refund(purchaseId, order, CallOptions.NONE);
    }

    /** Refunds captured money; the refund, once the gateway has made it. */
    public Refund refund(String purchaseId, RefundOrder order, CallOptions options) {
        Call call = Call.of("POST", Call.path("/admin/purchases/", purchaseId, "/refunds"), order).keyed(options);
        return caller.settled(
            call,
            Refund.class,
            refund -> !refund.path("status").asText().equals("pending"),
            refund -> !refund.path("status").asText().equals("failed"));
    }

    /** All refunds of a purchase, failed ones included. */
    public List<Refund> refunds(String purchaseId) {
        Answer answer = caller.call(Call.get(Call.path("/admin/purchases/", purchaseId, "/refunds")));
        JsonNode refunds = answer.body().orElseThrow().path("refunds");
        return StreamSupport.stream(refunds.spliterator(), false).map(it -> Json.read(it, Refund.class)).toList();
    }

    public Refund refundByNumber(String purchaseId, long number) {
        return caller.call(Call.get(Call.path("/admin/purchases/", purchaseId, "/refunds/" + number)), Refund.class);
    }

    public Purchase voidPurchase(String purchaseId) {
        return voidPurchase(purchaseId, CallOptions.NONE);
    }

    /** Voids an authorization that is not captured. The answer may be repeated. */
    public Purchase voidPurchase(String purchaseId, CallOptions options) {
        String path = Call.path("/admin/purchases/", purchaseId, "/void");
        return decided(Call.of("POST", path, Map.of()).within(options.deadline()));
    }

    /** How a stuck purchase is settled. */
    public enum SettleAs {
        /** Books what the gateway took. */
        CAPTURED,
        /** Gives it back. */
        VOIDED;

        String word() {
            return this == CAPTURED ? "captured" : "voided";
        }
    }

    /** Settles a stuck purchase. */
    public Purchase settle(String purchaseId, SettleAs as, String note) {
        Map<String, String> body = Map.of("as", as.word(), "note", note);
        return decided(Call.of("POST", Call.path("/admin/purchases/", purchaseId, "/settle"), body).unsafe());
    }

    /** Purchases under review, earliest deadline first. */
    public Stream<Review> reviews(Integer pageSize) {
        return pages("/admin/reviews", "reviews", Review.class, pageSize);
    }

    /** Captures a purchase under review. */
    public Purchase approveReview(String purchaseId, String note) {
        return reviewed(purchaseId, "/approve", note);
    }

    /** Voids a purchase under review, and returns its units. */
    public Purchase rejectReview(String purchaseId, String note) {
        return reviewed(purchaseId, "/reject", note);
    }

    /** Payments and refunds in progress or stuck; stuck ones first. {@code state} may be null: all. */
    public Stream<OpenPayment> openPayments(OpenState state, Integer pageSize) {
        Map<String, Object> query = new LinkedHashMap<>();
        query.put("state", state == null ? null : state.word());
        query.put("limit", pageSize);
        return Pages.stream(caller, "/admin/payments", "payments", OpenPayment.class, query);
    }

    /** Everything known about a buyer. */
    public Buyer user(String userId) {
        return caller.call(Call.get(Call.path("/admin/users/", userId, "")), Buyer.class);
    }

    /** A buyer's holds and purchases, in the order of their creation. */
    public Stream<Purchase> userPurchases(String userId, Integer pageSize) {
        return pages(Call.path("/admin/users/", userId, "/purchases"), "purchases", Purchase.class, pageSize);
    }

    /** Refuses a buyer's holds and buys until an instant (RFC 3339). */
    public BuyerRiskFacts pauseUser(String userId, String until, String reason) {
        Map<String, String> body = Map.of("until", until, "reason", reason);
        return caller.call(Call.of("POST", Call.path("/admin/users/", userId, "/pause"), body), BuyerRiskFacts.class);
    }

    /** Ends a buyer's pause. */
    public BuyerRiskFacts resumeUser(String userId) {
        return caller.call(Call.of("DELETE", Call.path("/admin/users/", userId, "/pause"), null), BuyerRiskFacts.class);
    }

    /**
     * The trail of attempts, payments and administrative acts.
     *
     * @param filters {@code kind}, {@code user_id}, {@code purchase_id}, {@code from_lsn}, {@code to_lsn}, {@code from},
     *     {@code to}, {@code order}, {@code act}, {@code by}, and {@code limit}, the events of one page
     */
    public Stream<AuditEvent> audit(Map<String, ?> filters) {
        return Pages.stream(caller, "/admin/audit", "events", AuditEvent.class, filters);
    }

    /** Log, snapshots, sinks, sizes, and the units of each product. */
    public Status status() {
        return caller.call(Call.get("/admin/status"), Status.class);
    }

    private <T> Stream<T> pages(String path, String field, Class<T> type, Integer pageSize) {
        return Pages.stream(caller, path, field, type, Collections.singletonMap("limit", pageSize));
    }

    /** With its conditions: a repetition after a change that took effect would fail them. */
    private static Call changing(Call call, Conditions conditions) {
        Map<String, String> headers = conditions.headers();
        boolean isConditional = !headers.isEmpty();
        if (call.method().equals("PATCH")) {
            headers.put("Content-Type", "application/merge-patch+json");
        }
        return isConditional ? call.with(headers).unsafe() : call.with(headers);
    }

    private <T> Versioned<T> terms(Call call, Class<T> type) {
        Answer answer = caller.call(call);
        String etag = answer.headers().firstValue("etag").orElse("");
        return new Versioned<>(Json.read(answer.body().orElseThrow(), type), etag);
    }

    private Purchase reviewed(String purchaseId, String decision, String note) {
        Call call = Call.of("POST", Call.path("/admin/reviews/", purchaseId, decision), Map.of("note", note));
        return decided(call.unsafe());
    }

    private Purchase decided(Call call) {
        return caller.settled(call, Purchase.class, Shop::isSettled, purchase -> true);
    }
}
