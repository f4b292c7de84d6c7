package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Review(
    @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    @JsonProperty("amount") long amount,
    @JsonProperty("currency") String currency,
    /** `amount_over`, or the names of the rules that matched */
    @JsonProperty("reasons") List<String> reasons,
    @JsonProperty("opened_at") String openedAt,
    @JsonProperty("age_s") long ageS,
    /** If nobody has decided by then, `review.on_deadline` decides */
    @JsonProperty("deadline") String deadline,
    @JsonProperty("buyer") Buyer buyer) {
}
