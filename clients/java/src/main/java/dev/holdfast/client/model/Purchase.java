package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Purchase(
    @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("user_id") String userId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    @JsonProperty("currency") String currency,
    @JsonProperty("unit_price") Money unitPrice,
    @JsonProperty("discount") Money discount,
    @JsonProperty("amount") Money amount,
    @JsonProperty("refunded_amount") Money refundedAmount,
    /** The amount of lost disputes */
    @JsonProperty("charged_back_amount") Money chargedBackAmount,
    /** In the order in which holdfast learned of them */
    @JsonProperty("disputes") List<PurchaseDispute> disputes,
    @JsonProperty("promotion_code") String promotionCode,
    @JsonProperty("metadata") Map<String, String> metadata,
    @JsonProperty("status") PurchaseStatus status,
    @JsonProperty("reason") String reason,
    @JsonProperty("created_at") String createdAt,
    @JsonProperty("updated_at") String updatedAt,
    @JsonProperty("gateway") PurchaseGateway gateway,
    @JsonProperty("receipt") Receipt receipt,
    /** Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("receipt_unavailable") PurchaseReceiptUnavailable receiptUnavailable,
    @JsonProperty("history") List<PurchaseHistory> history) {
}
