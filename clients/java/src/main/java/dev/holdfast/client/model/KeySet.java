package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record KeySet(
    @JsonProperty("keys") List<PublicKey> keys) {
}
