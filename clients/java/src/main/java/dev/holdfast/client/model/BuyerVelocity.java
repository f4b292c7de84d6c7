package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerVelocity(
    @JsonProperty("counter") String counter,
    /** The window */
    @JsonProperty("last_s") long lastS,
    @JsonProperty("count") long count,
    /** The counter stops here: this value means at least this many */
    @JsonProperty("counted_up_to") long countedUpTo) {
}
