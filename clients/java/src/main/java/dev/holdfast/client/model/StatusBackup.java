package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** The status of the backup; null if none is configured. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusBackup(
    @JsonProperty("to") String to,
    @JsonProperty("up") boolean up,
    @JsonProperty("failure") String failure,
    @JsonProperty("shipped_lsn") long shippedLsn,
    @JsonProperty("snapshot_lsn") Long snapshotLsn,
    @JsonProperty("lag_bytes") long lagBytes,
    @JsonProperty("lag_s") long lagS,
    @JsonProperty("failures") long failures,
    @JsonProperty("gaps") long gaps) {
}
