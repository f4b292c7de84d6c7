package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record HoldLeft(
    @JsonProperty("hold_id") String holdId,
    @JsonProperty("expires_at") String expiresAt) {
}
