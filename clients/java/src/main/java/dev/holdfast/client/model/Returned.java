package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Returned(
    /** In minor units */
    @JsonProperty("value") long value,
    /** ISO 4217; `null` if the gateway has another currency */
    @JsonProperty("currency") String currency) {
}
