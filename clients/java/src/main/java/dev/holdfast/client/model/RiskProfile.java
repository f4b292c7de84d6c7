package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** The history of a buyer that risk decisions use. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record RiskProfile(
    @JsonProperty("first_seen") String firstSeen,
    @JsonProperty("last_seen") String lastSeen,
    /** Holds and buys, without those that left nothing behind, such as one with 429 */
    @JsonProperty("attempts") long attempts,
    @JsonProperty("refused") long refused,
    /** Captured purchases */
    @JsonProperty("purchases") long purchases,
    /** Payments declined by the card's issuer */
    @JsonProperty("declines") long declines,
    /** Attempts blocked by a rule or a pause */
    @JsonProperty("blocked") long blocked,
    @JsonProperty("reviews_approved") long reviewsApproved,
    @JsonProperty("reviews_rejected") long reviewsRejected,
    @JsonProperty("disputes") long disputes,
    @JsonProperty("chargebacks") long chargebacks,
    /** How often a refund found its reward tokens already spent */
    @JsonProperty("token_shortfalls") long tokenShortfalls,
    @JsonProperty("tokens_short") long tokensShort,
    /** The latest decisions about risk, newest first */
    @JsonProperty("decisions") List<RiskProfileDecision> decisions) {
}
