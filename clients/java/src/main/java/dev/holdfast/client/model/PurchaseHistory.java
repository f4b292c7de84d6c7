package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PurchaseHistory(
    @JsonProperty("at") String at,
    @JsonProperty("event") String event,
    @JsonProperty("lsn") long lsn) {
}
