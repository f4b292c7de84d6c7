package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerRiskFacts(
    @JsonProperty("user_id") String userId,
    /** The segment that rules and promotions use: the one set by the operator, otherwise the computed one */
    @JsonProperty("effective_segment") String effectiveSegment,
    /** The segment computed from the buyer's purchases */
    @JsonProperty("computed") BuyerRiskFactsComputed computed,
    @JsonProperty("pause") BuyerRiskFactsPause pause,
    @JsonProperty("segment") String segment,
    @JsonProperty("risk_score") Long riskScore,
    @JsonProperty("account_since") String accountSince) {
}
