package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PurchaseDispute(
    @JsonProperty("opened_at") String openedAt,
    @JsonProperty("amount") Money amount,
    @JsonProperty("status") String status) {
}
