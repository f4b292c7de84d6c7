package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record ProductSet(
    @JsonProperty("name") String name,
    @JsonProperty("price") Map<String, Long> price,
    @JsonProperty("stock") long stock,
    /** Null: no limit */
    @JsonProperty("per_user_limit") Long perUserLimit,
    @JsonProperty("starts_at") String startsAt,
    @JsonProperty("ends_at") String endsAt,
    @JsonProperty("active") boolean active,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("hold_ttl_s") Long holdTtlS,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("reward_tokens") Long rewardTokens) {
    /** With the fields that are required; null in place of one means none. */
    public static ProductSet of(String name, Map<String, Long> price, long stock, Long perUserLimit, String startsAt, String endsAt, boolean active) {
        return new ProductSet(name, price, stock, perUserLimit, startsAt, endsAt, active, null, null);
    }

    public ProductSet withHoldTtlS(Long holdTtlS) {
        return new ProductSet(name, price, stock, perUserLimit, startsAt, endsAt, active, holdTtlS, rewardTokens);
    }

    public ProductSet withRewardTokens(Long rewardTokens) {
        return new ProductSet(name, price, stock, perUserLimit, startsAt, endsAt, active, holdTtlS, rewardTokens);
    }
}
