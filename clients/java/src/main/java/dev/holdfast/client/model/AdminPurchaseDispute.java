package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AdminPurchaseDispute(
    /** When the latest event of the dispute happened, by the gateway's clock */
    @JsonProperty("happened_at") String happenedAt) {
}
