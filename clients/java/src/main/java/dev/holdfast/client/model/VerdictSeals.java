package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The result for each seal. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record VerdictSeals(
    @JsonProperty("hmac") SealCheck hmac,
    @JsonProperty("ed25519") SealCheck ed25519) {
}
