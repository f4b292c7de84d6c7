package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerRisk(
    @JsonProperty("score") Long score,
    /** `model`: the latest score of a model; `operator`: the operator's, if no model gave one */
    @JsonProperty("score_source") String scoreSource,
    @JsonProperty("profile") RiskProfile profile) {
}
