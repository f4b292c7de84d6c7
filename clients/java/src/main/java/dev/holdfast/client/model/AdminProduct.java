package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AdminProduct(
    @JsonProperty("product_id") String productId,
    @JsonProperty("name") String name,
    @JsonProperty("price") Map<String, Long> price,
    @JsonProperty("starts_at") String startsAt,
    @JsonProperty("ends_at") String endsAt,
    @JsonProperty("active") boolean active,
    @JsonProperty("status") String status,
    @JsonProperty("stock") ProductStock stock,
    @JsonProperty("per_user_limit") Long perUserLimit,
    @JsonProperty("hold_ttl_s") Long holdTtlS,
    @JsonProperty("reward_tokens") long rewardTokens) {
}
