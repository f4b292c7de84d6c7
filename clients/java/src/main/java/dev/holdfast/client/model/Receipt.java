package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Receipt(
    @JsonProperty("receipt_id") String receiptId,
    @JsonProperty("purchase_id") String purchaseId,
    @JsonProperty("user_id") String userId,
    @JsonProperty("product_id") String productId,
    @JsonProperty("quantity") long quantity,
    @JsonProperty("amount") Money amount,
    @JsonProperty("captured_at") String capturedAt,
    @JsonProperty("integrity_hash") String integrityHash,
    @JsonProperty("key_id") String keyId,
    @JsonProperty("hmac") String hmac,
    /** Only where there was a signing key at the capture and its secret is still here. With `receipts.sign = "when_read"`, the response to a buy and its replays do not have it; reads do. */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("ed25519") ReceiptEd25519 ed25519) {
}
