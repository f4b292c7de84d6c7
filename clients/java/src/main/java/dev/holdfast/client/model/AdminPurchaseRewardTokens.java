package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AdminPurchaseRewardTokens(
    @JsonProperty("granted") long granted,
    @JsonProperty("asked_back") long askedBack) {
}
