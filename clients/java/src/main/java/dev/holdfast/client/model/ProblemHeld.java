package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** With `hold_id` of another product or quantity: what the hold is for. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record ProblemHeld(
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity) {
}
