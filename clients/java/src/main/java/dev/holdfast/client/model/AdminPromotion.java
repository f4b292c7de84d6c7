package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AdminPromotion(
    @JsonProperty("code") String code,
    @JsonProperty("percent_off") Long percentOff,
    @JsonProperty("amount_off") Map<String, Long> amountOff,
    @JsonProperty("uses_max") long usesMax,
    @JsonProperty("uses") long uses,
    @JsonProperty("uses_per_user_max") Long usesPerUserMax,
    @JsonProperty("product_ids") List<String> productIds,
    @JsonProperty("segments") List<String> segments,
    @JsonProperty("starts_at") String startsAt,
    @JsonProperty("ends_at") String endsAt,
    @JsonProperty("active") boolean active) {
}
