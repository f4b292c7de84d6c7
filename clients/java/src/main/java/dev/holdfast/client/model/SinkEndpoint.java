package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** In the list of sinks, for endpoints of webhooks. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record SinkEndpoint(
    @JsonProperty("url") String url,
    /** Kinds of events that are sent */
    @JsonProperty("events") List<String> events,
    @JsonProperty("keys") long keys,
    /** whpk_ and base64, for each key of Ed25519 */
    @JsonProperty("public_keys") List<String> publicKeys) {
}
