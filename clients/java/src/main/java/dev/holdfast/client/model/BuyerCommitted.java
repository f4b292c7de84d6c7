package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerCommitted(
    @JsonProperty("product_id") String productId,
    @JsonProperty("units") long units) {
}
