package dev.holdfast.client;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.holdfast.client.model.BuyOrder;
import dev.holdfast.client.model.HoldOrder;
import dev.holdfast.client.model.OpenState;
import dev.holdfast.client.model.ProductSet;
import dev.holdfast.client.model.PromotionSet;
import dev.holdfast.client.model.Receipt;
import dev.holdfast.client.model.RefundOrder;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;

/** Makes the calls that the cases name, and shows what they led to as the cases write it. */
final class Calls {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private final Map<String, Function> byName = new LinkedHashMap<>();

    /** One call with its arguments. */
    private interface Function {
        Object apply(Arguments x);
    }

    Calls(Shop shop, Admin admin) {
        ofShop(shop);
        ofTerms(admin);
        ofPurchases(admin);
        byName.put("verify_receipt", x -> Receipts.verify(Json.write(x.node("receipt")), Cases.keys(x.all())));
    }

    private void ofShop(Shop shop) {
        byName.put("shop.place_hold", x -> shop.placeHold(x.read("order", HoldOrder.class), x.options()));
        byName.put("shop.hold", x -> shop.hold(x.text("hold_id"), x.text("user_id")));
        byName.put("shop.release_hold", x -> shop.releaseHold(x.text("hold_id"), x.text("user_id")));
        byName.put("shop.buy", x -> shop.buy(x.read("order", BuyOrder.class), x.options()));
        byName.put("shop.purchase", x -> shop.purchase(x.text("purchase_id"), x.text("user_id")));
        byName.put("shop.product", x -> shop.product(x.text("product_id")));
        byName.put("shop.products", x -> shop.products(x.pageSize()));
        byName.put("shop.receipt", x -> shop.receipt(x.text("receipt_id"), x.text("user_id")));
        byName.put("shop.verify_receipt", x -> shop.verifyReceipt(x.read("receipt", Receipt.class)));
        byName.put("shop.jwks", x -> shop.jwks());
        byName.put("shop.rewards", x -> shop.rewards(x.text("user_id")));
        byName.put("shop.spend_rewards", x -> shop.spendRewards(x.text("user_id"), x.number("tokens"), x.options()));
    }

    private void ofTerms(Admin admin) {
        byName.put("admin.product", x -> admin.product(x.text("product_id")));
        byName.put("admin.products", x -> admin.products(x.pageSize()));
        byName.put(
            "admin.put_product",
            x -> admin.putProduct(x.text("product_id"), x.read("terms", ProductSet.class), x.conditions()));
        byName.put(
            "admin.patch_product", x -> admin.patchProduct(x.text("product_id"), x.map("patch"), x.conditions()));
        byName.put(
            "admin.change_stock", x -> admin.changeStock(x.text("product_id"), x.number("add"), x.conditions()));
        byName.put("admin.promotion", x -> admin.promotion(x.text("code")));
        byName.put("admin.promotions", x -> admin.promotions(x.pageSize()));
        byName.put(
            "admin.put_promotion",
            x -> admin.putPromotion(x.text("code"), x.read("terms", PromotionSet.class), x.conditions()));
        byName.put("admin.patch_promotion", x -> admin.patchPromotion(x.text("code"), x.map("patch"), x.conditions()));
    }

    private void ofPurchases(Admin admin) {
        byName.put("admin.purchase", x -> admin.purchase(x.text("purchase_id")));
        byName.put(
            "admin.refund",
            x -> admin.refund(x.text("purchase_id"), x.read("order", RefundOrder.class), x.options()));
        byName.put("admin.refunds", x -> admin.refunds(x.text("purchase_id")));
        byName.put("admin.refund_by_number", x -> admin.refundByNumber(x.text("purchase_id"), x.number("number")));
        byName.put("admin.void", x -> admin.voidPurchase(x.text("purchase_id")));
        byName.put(
            "admin.settle",
            x -> admin.settle(
                x.text("purchase_id"),
                x.text("as").equals("captured") ? Admin.SettleAs.CAPTURED : Admin.SettleAs.VOIDED,
                x.text("note")));
        byName.put("admin.reviews", x -> admin.reviews(x.pageSize()));
        byName.put("admin.approve_review", x -> admin.approveReview(x.text("purchase_id"), x.text("note")));
        byName.put("admin.reject_review", x -> admin.rejectReview(x.text("purchase_id"), x.text("note")));
        byName.put("admin.open_payments", x -> admin.openPayments(x.read("state", OpenState.class), x.pageSize()));
        byName.put("admin.user", x -> admin.user(x.text("user_id")));
        byName.put("admin.user_purchases", x -> admin.userPurchases(x.text("user_id"), x.pageSize()));
        byName.put(
            "admin.pause_user", x -> admin.pauseUser(x.text("user_id"), x.text("until"), x.text("reason")));
        byName.put("admin.resume_user", x -> admin.resumeUser(x.text("user_id")));
        byName.put("admin.audit", x -> admin.audit(x.map("filters")));
        byName.put("admin.status", x -> admin.status());
    }

    /** The arguments of a call, by name; what is not there is null. */
    private record Arguments(JsonNode all) {
        JsonNode node(String name) {
            return all.path(name);
        }

        String text(String name) {
            return all.hasNonNull(name) ? all.path(name).asText() : null;
        }

        long number(String name) {
            return all.path(name).asLong();
        }

        <T> T read(String name, Class<T> type) {
            return all.hasNonNull(name) ? Json.read(all.path(name), type) : null;
        }

        Map<String, Object> map(String name) {
            return MAPPER.convertValue(all.path(name), new TypeReference<>() {});
        }

        Integer pageSize() {
            return all.has("page_size") ? all.path("page_size").asInt() : null;
        }

        Conditions conditions() {
            return new Conditions(text("if_match"), text("if_none_match"));
        }

        CallOptions options() {
            Duration deadline = all.has("deadline_ms") ? Duration.ofMillis(all.path("deadline_ms").asLong()) : null;
            return new CallOptions(text("key"), deadline);
        }
    }

    /** What a call led to. */
    JsonNode outcome(String call, JsonNode given) {
        ObjectNode outcome = MAPPER.createObjectNode();
        try {
            outcome.set("returns", shown(byName.get(call).apply(new Arguments(given))));
        } catch (HoldfastException error) {
            outcome.set("raises", raised(error));
        } catch (IllegalArgumentException misuse) {
            outcome.putObject("raises").put("error", "misuse");
        }
        return outcome;
    }

    static JsonNode shown(Object result) {
        return MAPPER.valueToTree(result instanceof Stream<?> list ? list.toList() : result);
    }

    private static ObjectNode raised(HoldfastException error) {
        ObjectNode raised = MAPPER.createObjectNode().put("idempotency_key", error.idempotencyKey().orElse(null));
        if (error instanceof Pending pending) {
            raised.put("error", "pending").put("location", pending.location()).set("state", pending.state());
        } else if (error instanceof Refused refused) {
            raised.put("error", "refused").put("status", refused.status()).put("reason", refused.reasonWord());
            raised.put("request_id", refused.requestId());
            raised.put("retry_after_s", refused.retryAfter().map(Duration::toSeconds).orElse(null));
            // What the typed problem lacks, the facts have; a field of both comes from the typed one.
            ObjectNode problem = raised.set("problem", refused.facts().deepCopy()).path("problem").require();
            shown(refused.problem()).fields().forEachRemaining(it -> problem.set(it.getKey(), it.getValue()));
        } else {
            raised.put("error", error instanceof Unreachable ? "unreachable" : "protocol");
        }
        if (error instanceof PaymentDeclined declined) {
            raised.put("error", "declined").put("purchase_id", declined.declined().purchaseId());
            raised.put("code", declined.declined().code()).put("retry_advice", declined.retryAdvice().word());
            raised.set("hold", shown(declined.hold().orElse(null)));
        }
        return raised;
    }
}
