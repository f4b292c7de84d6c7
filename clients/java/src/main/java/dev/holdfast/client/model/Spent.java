package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Spent(
    @JsonProperty("user_id") String userId,
    @JsonProperty("spent") long spent,
    /** The balance after this spending */
    @JsonProperty("balance") long balance) {
}
