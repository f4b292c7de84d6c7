package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record SinkLost(
    /** The generation of the log, as NUMBER-TAG */
    @JsonProperty("generation") String generation,
    @JsonProperty("from_lsn") long fromLsn,
    @JsonProperty("to_lsn") long toLsn,
    @JsonProperty("events") long events) {
}
