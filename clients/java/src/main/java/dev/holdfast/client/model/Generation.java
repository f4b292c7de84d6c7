package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Identifies this history of the log. The number is larger after each restore or accepted copy; the tag distinguishes histories of the same number. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Generation(
    @JsonProperty("number") long number,
    @JsonProperty("tag") String tag) {
}
