package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusLog(
    /** The unique id of the log; it never changes */
    @JsonProperty("id") String id,
    @JsonProperty("generation") Generation generation,
    /** Whether this generation may sell: it is the first one, or an operator accepted it */
    @JsonProperty("accepted") boolean accepted) {
}
