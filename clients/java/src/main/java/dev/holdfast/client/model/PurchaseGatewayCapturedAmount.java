package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PurchaseGatewayCapturedAmount(
    @JsonProperty("value") long value,
    @JsonProperty("currency") String currency) {
}
