package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The segment computed from the buyer's purchases. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerRiskFactsComputed(
    @JsonProperty("segment") String segment,
    /** The run that computed it: its row in `segment_runs` */
    @JsonProperty("run") long run,
    @JsonProperty("at") String at) {
}
