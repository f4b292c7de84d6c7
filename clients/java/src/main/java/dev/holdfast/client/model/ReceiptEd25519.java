package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Only where there was a signing key at the capture and its secret is still here. With `receipts.sign = "when_read"`, the response to a buy and its replays do not have it; reads do. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record ReceiptEd25519(
    @JsonProperty("key_id") String keyId,
    @JsonProperty("signature") String signature) {
}
