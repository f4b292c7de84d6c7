package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import dev.holdfast.client.model.BuyOrder;
import dev.holdfast.client.model.Hold;
import dev.holdfast.client.model.HoldOrder;
import dev.holdfast.client.model.KeySet;
import dev.holdfast.client.model.Product;
import dev.holdfast.client.model.Purchase;
import dev.holdfast.client.model.Receipt;
import dev.holdfast.client.model.Rewards;
import dev.holdfast.client.model.Spent;
import dev.holdfast.client.model.Verdict;
import java.net.URI;
import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What a shop calls: holds, buys, reads. The key has the role {@code shop}; {@code admin} may read. May be used by
 * several threads.
 *
 * <p>An argument {@code userId} of a read may be null; else, for any other buyer's, the answer is not found.
 */
public final class Shop {
    /** A payment in these states goes on without us; {@code stuck} waits for an operator. */
    private static final Set<String> PAYING =
        Set.of("authorizing", "authorized", "under_review", "capturing", "voiding", "stuck");
    /** The money was captured, whatever became of it. */
    private static final Set<String> PAID =
        Set.of("captured", "partially_refunded", "refunded", "disputed", "charged_back");

    private final Caller caller;

    public Shop(String baseUrl, String apiKey) {
        this(baseUrl, apiKey, Policy.defaults());
    }

    public Shop(String baseUrl, String apiKey, Policy policy) {
        this.caller = new Caller(URI.create(baseUrl), apiKey, policy);
    }

    /** Whether nothing of a purchase's payment is under way. */
    static boolean isSettled(JsonNode purchase) {
        return !PAYING.contains(purchase.path("status").asText());
    }

    /** Holds units for a buyer, at the price of now. */
    public Hold placeHold(HoldOrder order) {
        return placeHold(order, CallOptions.NONE);
    }

    public Hold placeHold(HoldOrder order, CallOptions options) {
        return caller.call(Call.of("POST", "/limited/holds", order).keyed(options), Hold.class);
    }

    public Hold hold(String holdId, String userId) {
        return caller.call(Call.get(Call.path("/limited/holds/", holdId, "") + owner(userId)), Hold.class);
    }

    /** Gives a hold back. A repetition gets the same answer. */
    public Hold releaseHold(String holdId, String userId) {
        String path = Call.path("/limited/holds/", holdId, "") + owner(userId);
        return caller.call(Call.of("DELETE", path, null), Hold.class);
    }

    public Purchase buy(BuyOrder order) {
        return buy(order, CallOptions.NONE);
    }

    /**
     * Buys; the paid purchase with its receipt.
     *
     * @throws PaymentDeclined if the payment was declined
     * @throws Refused if the core refused
     * @throws Pending if the deadline passed first: the payment goes on, or a person reviews it. The same call with
     *     the error's key continues
     */
    public Purchase buy(BuyOrder order, CallOptions options) {
        Call call = Call.of("POST", "/limited/buy", order).keyed(options);
        return caller.settled(
            call, Purchase.class, Shop::isSettled, purchase -> PAID.contains(purchase.path("status").asText()));
    }

    /** A purchase with its history. */
    public Purchase purchase(String purchaseId, String userId) {
        String path = Call.path("/limited/purchases/", purchaseId, "") + owner(userId);
        return caller.call(Call.get(path), Purchase.class);
    }

    /** A product with its stock. */
    public Product product(String productId) {
        return caller.call(Call.get(Call.path("/limited/products/", productId, "")), Product.class);
    }

    /** All products, ordered by id; pages are read as they are needed. */
    public Stream<Product> products() {
        return products(null);
    }

    public Stream<Product> products(Integer pageSize) {
        Map<String, ?> query = Collections.singletonMap("limit", pageSize);
        return Pages.stream(caller, "/limited/products", "products", Product.class, query);
    }

    /** The receipt of a captured purchase. */
    public Receipt receipt(String receiptId, String userId) {
        String path = Call.path("/limited/receipts/", receiptId, "") + owner(userId);
        return caller.call(Call.get(path), Receipt.class);
    }

    /** What the core finds of a receipt. {@link Receipts#verify} needs no core. */
    public Verdict verifyReceipt(Receipt receipt) {
        return caller.call(Call.of("POST", "/receipts/verify", receipt), Verdict.class);
    }

    /** The public keys of receipts; may be kept for an hour. */
    public KeySet jwks() {
        return caller.call(Call.get("/.well-known/jwks.json"), KeySet.class);
    }

    /** A buyer's reward tokens. */
    public Rewards rewards(String userId) {
        return caller.call(Call.get(Call.path("/limited/rewards/", userId, "")), Rewards.class);
    }

    public Spent spendRewards(String userId, long tokens) {
        return spendRewards(userId, tokens, CallOptions.NONE);
    }

    /** Takes reward tokens of a buyer, all or none. */
    public Spent spendRewards(String userId, long tokens, CallOptions options) {
        String path = Call.path("/limited/rewards/", userId, "/spend");
        return caller.call(Call.of("POST", path, Map.of("tokens", tokens)).keyed(options), Spent.class);
    }

    private static String owner(String userId) {
        return Call.query(Collections.singletonMap("user_id", userId));
    }
}
