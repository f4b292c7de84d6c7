package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/** Send exactly one of `percent_off` and `amount_off`. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PromotionSet(
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("percent_off") Long percentOff,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount_off") Map<String, Long> amountOff,
    @JsonProperty("uses_max") long usesMax,
    /** Null: no limit */
    @JsonProperty("uses_per_user_max") Long usesPerUserMax,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("product_ids") List<String> productIds,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("segments") List<String> segments,
    @JsonProperty("starts_at") String startsAt,
    @JsonProperty("ends_at") String endsAt,
    @JsonProperty("active") boolean active) {
    /** With the fields that are required; null in place of one means none. */
    public static PromotionSet of(long usesMax, Long usesPerUserMax, String startsAt, String endsAt, boolean active) {
        return new PromotionSet(null, null, usesMax, usesPerUserMax, null, null, startsAt, endsAt, active);
    }

    public PromotionSet withPercentOff(Long percentOff) {
        return new PromotionSet(percentOff, amountOff, usesMax, usesPerUserMax, productIds, segments, startsAt, endsAt, active);
    }

    public PromotionSet withAmountOff(Map<String, Long> amountOff) {
        return new PromotionSet(percentOff, amountOff, usesMax, usesPerUserMax, productIds, segments, startsAt, endsAt, active);
    }

    public PromotionSet withProductIds(List<String> productIds) {
        return new PromotionSet(percentOff, amountOff, usesMax, usesPerUserMax, productIds, segments, startsAt, endsAt, active);
    }

    public PromotionSet withSegments(List<String> segments) {
        return new PromotionSet(percentOff, amountOff, usesMax, usesPerUserMax, productIds, segments, startsAt, endsAt, active);
    }
}
