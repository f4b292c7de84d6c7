package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Only if there is a receipt and it cannot be shown, because the key that sealed it is not configured. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PurchaseReceiptUnavailable(
    @JsonProperty("receipt_id") String receiptId,
    @JsonProperty("key_id") String keyId) {
}
