package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusConservation(
    @JsonProperty("product_id") String productId,
    @JsonProperty("total") long total,
    @JsonProperty("available") long available,
    @JsonProperty("held") long held,
    @JsonProperty("sold") long sold) {
}
