package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record SinkGap(
    @JsonProperty("from_lsn") long fromLsn,
    @JsonProperty("to_lsn") long toLsn) {
}
