package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record BuyerSpending(
    @JsonProperty("currency") String currency,
    @JsonProperty("today") long today,
    /** Minor units; null: no limit */
    @JsonProperty("daily_limit") Long dailyLimit,
    @JsonProperty("lifetime") long lifetime,
    /** Minor units; null: no limit */
    @JsonProperty("lifetime_limit") Long lifetimeLimit) {
}
