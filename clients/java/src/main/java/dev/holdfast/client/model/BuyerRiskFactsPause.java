package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerRiskFactsPause(
    @JsonProperty("until") String until,
    @JsonProperty("reason") String reason) {
}
