package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PurchaseGateway(
    @JsonProperty("name") String name,
    @JsonProperty("authorization_id") String authorizationId,
    @JsonProperty("capture_id") String captureId,
    /** The amount that the gateway is known to have captured. It differs from `amount` while the purchase is `stuck` with reason `captured_amount_differs` or `captured_currency_differs`. `currency` is null if the gateway's currency is not in ISO 4217. */
    @JsonProperty("captured_amount") PurchaseGatewayCapturedAmount capturedAmount) {
}
