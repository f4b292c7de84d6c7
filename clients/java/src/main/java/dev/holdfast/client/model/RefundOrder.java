package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record RefundOrder(
    /** Minor units, at most what is left; absent or null: all that is left. 0 is allowed for a free order only */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount") Long amount,
    /** Return the units to the stock, because the goods are back. Allowed only on the refund that leaves nothing */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("restock") Boolean restock,
    /** Minor units refunded so far: `refunded_amount.value` of the purchase */
    @JsonProperty("previously_refunded") long previouslyRefunded,
    /** No control characters, not blank. Text that looks like a card number is refused (`invalid_request`) and never stored. */
    @JsonProperty("reason") String reason) {
    /** With the fields that are required; null in place of one means none. */
    public static RefundOrder of(long previouslyRefunded, String reason) {
        return new RefundOrder(null, null, previouslyRefunded, reason);
    }

    public RefundOrder withAmount(Long amount) {
        return new RefundOrder(amount, restock, previouslyRefunded, reason);
    }

    public RefundOrder withRestock(Boolean restock) {
        return new RefundOrder(amount, restock, previouslyRefunded, reason);
    }
}
