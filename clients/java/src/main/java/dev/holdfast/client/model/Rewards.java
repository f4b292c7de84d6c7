package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Rewards(
    @JsonProperty("user_id") String userId,
    @JsonProperty("balance") long balance,
    @JsonProperty("debt") long debt) {
}
