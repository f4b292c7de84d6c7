package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Hold(
    @JsonProperty("hold_id") String holdId,
    /** Present when the hold is read; null until a payment has started */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    @JsonProperty("status") PurchaseStatus status,
    @JsonProperty("unit_price") Money unitPrice,
    @JsonProperty("discount") Money discount,
    @JsonProperty("amount") Money amount,
    @JsonProperty("expires_at") String expiresAt) {
}
