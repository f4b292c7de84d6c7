package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record OpenPayment(
    @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("user_id") String userId,
    @JsonProperty("state") OpenState state,
    @JsonProperty("stuck") boolean stuck,
    @JsonProperty("since") String since,
    /** The reason of the purchase or of the refund */
    @JsonProperty("reason") String reason,
    @JsonProperty("refund_number") Long refundNumber,
    @JsonProperty("amount") long amount,
    @JsonProperty("currency") String currency,
    @JsonProperty("void_deadline") String voidDeadline,
    @JsonProperty("gateway_reference") String gatewayReference) {
}
