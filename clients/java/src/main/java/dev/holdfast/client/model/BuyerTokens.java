package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerTokens(
    @JsonProperty("balance") long balance,
    /** Tokens of refunded purchases that were already spent; tokens granted later pay it off first */
    @JsonProperty("debt") long debt) {
}
