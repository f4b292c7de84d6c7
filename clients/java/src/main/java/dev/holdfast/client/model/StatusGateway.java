package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusGateway(
    @JsonProperty("name") String name,
    @JsonProperty("circuit") String circuit) {
}
