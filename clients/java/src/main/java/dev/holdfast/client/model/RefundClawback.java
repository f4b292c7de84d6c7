package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The reward tokens that were taken back; null until the refund succeeded. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record RefundClawback(
    @JsonProperty("requested") long requested,
    @JsonProperty("recovered") long recovered,
    /** Tokens that were already spent; the buyer owes them */
    @JsonProperty("shortfall") long shortfall) {
}
