package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record ProductStock(
    @JsonProperty("total") long total,
    @JsonProperty("held") long held,
    @JsonProperty("sold") long sold,
    @JsonProperty("available") long available) {
}
