package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusDisk(
    /** null if not known */
    @JsonProperty("free_bytes") Long freeBytes,
    @JsonProperty("free_bytes_min") long freeBytesMin,
    /** The longest sync of the last ten seconds, including one in progress */
    @JsonProperty("sync_slowest_ms") long syncSlowestMs,
    /** Whether that is longer than a second */
    @JsonProperty("slow") boolean slow) {
}
