package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Money(
    /** Minor units */
    @JsonProperty("value") long value,
    @JsonProperty("currency") String currency) {
}
