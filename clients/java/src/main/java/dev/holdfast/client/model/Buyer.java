package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Buyer(
    @JsonProperty("user_id") String userId,
    /** Units of open holds and standing purchases */
    @JsonProperty("committed") List<BuyerCommitted> committed,
    /** Attempts in the current window of the rate limit */
    @JsonProperty("attempts_in_window") long attemptsInWindow,
    @JsonProperty("tokens") BuyerTokens tokens,
    /** Number of purchases, payments in progress included */
    @JsonProperty("purchases") long purchases,
    /** The segment that rules and promotions use: the one set by the operator, otherwise the computed one */
    @JsonProperty("segment") String segment,
    /** Per currency, the amount bought (payments in progress included) and the limit */
    @JsonProperty("spending") List<BuyerSpending> spending,
    @JsonProperty("account_since") String accountSince,
    /** The buyer's counters that the current risk rules use; absent in a review */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("velocity") List<BuyerVelocity> velocity,
    @JsonProperty("risk") BuyerRisk risk) {
}
