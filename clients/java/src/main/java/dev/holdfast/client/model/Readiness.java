package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Readiness(
    @JsonProperty("status") String status,
    /** Null if ready */
    @JsonProperty("reason") String reason,
    /** What to do */
    @JsonProperty("detail") String detail) {
}
