package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record RiskProfileDecision(
    @JsonProperty("at") String at,
    @JsonProperty("outcome") String outcome,
    /** For a refusal, its reason; for a review, who decided: `person` or `deadline` */
    @JsonProperty("reason") String reason,
    @JsonProperty("score") Long score,
    @JsonProperty("rules") List<String> rules) {
}
