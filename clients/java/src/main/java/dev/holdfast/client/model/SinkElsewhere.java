package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is accepted. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record SinkElsewhere(
    /** The generation of the log, as NUMBER-TAG */
    @JsonProperty("generation") String generation,
    @JsonProperty("cursor_lsn") long cursorLsn,
    /** How the difference was recognized */
    @JsonProperty("why") String why) {
}
