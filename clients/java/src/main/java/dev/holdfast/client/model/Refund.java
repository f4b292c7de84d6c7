package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Refund(
    @JsonProperty("refund_id") String refundId,
    @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("number") long number,
    @JsonProperty("amount") long amount,
    @JsonProperty("currency") String currency,
    /** `returned`: the gateway failed it after reporting success; the shop has the money */
    @JsonProperty("status") String status,
    @JsonProperty("previously_refunded") long previouslyRefunded,
    /** The amount of the purchase refunded so far, including this refund if it is `succeeded` */
    @JsonProperty("refunded_amount") long refundedAmount,
    @JsonProperty("reason") String reason,
    /** Whether this refund returns the units to the stock */
    @JsonProperty("restock") boolean restock,
    /** The gateway's code, if it refused */
    @JsonProperty("code") String code,
    /** The reward tokens that were taken back; null until the refund succeeded */
    @JsonProperty("clawback") RefundClawback clawback,
    @JsonProperty("created_at") String createdAt,
    @JsonProperty("settled_at") String settledAt,
    /** When a `returned` refund was booked back */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("returned_at") String returnedAt,
    /** The request that started it */
    @JsonProperty("request_id") String requestId) {
}
