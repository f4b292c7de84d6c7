package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record PublicKey(
    @JsonProperty("kty") String kty,
    @JsonProperty("crv") String crv,
    @JsonProperty("kid") String kid,
    @JsonProperty("x") String x,
    @JsonProperty("use") String use,
    @JsonProperty("alg") String alg) {
}
