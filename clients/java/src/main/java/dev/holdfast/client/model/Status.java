package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Status(
    @JsonProperty("readiness") Readiness readiness,
    /** For the next page of `conservation` */
    @JsonProperty("next") String next,
    @JsonProperty("durable_lsn") long durableLsn,
    @JsonProperty("appended_lsn") long appendedLsn,
    @JsonProperty("first_lsn") long firstLsn,
    @JsonProperty("snapshot_lsn") Long snapshotLsn,
    /** Why the last snapshot failed */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("snapshot_failure") String snapshotFailure,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("sinks") List<Sink> sinks,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("disk") StatusDisk disk,
    @JsonProperty("log") StatusLog log,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("buyers") Long buyers,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("purchases") Long purchases,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("idempotency_keys") Long idempotencyKeys,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("velocity_keys") Long velocityKeys,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("connections") Long connections,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("open_payments") Long openPayments,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("stuck_voids") Long stuckVoids,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("differing_captures") Long differingCaptures,
    /** Purchases under review */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("reviews") Long reviews,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("gateway") StatusGateway gateway,
    /** The status of the backup; null if none is configured */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("backup") StatusBackup backup,
    /** A summary of `GET /admin/reconcile` */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("reconcile") StatusReconcile reconcile,
    @JsonProperty("recovery") Map<String, JsonNode> recovery,
    @JsonProperty("conservation") List<StatusConservation> conservation) {
}
