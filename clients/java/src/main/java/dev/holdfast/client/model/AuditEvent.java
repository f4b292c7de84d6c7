package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record AuditEvent(
    @JsonProperty("lsn") long lsn,
    @JsonProperty("at") String at,
    @JsonProperty("kind") String kind,
    /** The trace of the request that it came by (W3C Trace Context), if that had one */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("traceparent") String traceparent,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("request_id") String requestId,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("key_owner") String keyOwner,
    /** The role of the key behind an administrative act; `process`: a signal */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("role") String role,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("act") String act,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("target") String target,
    /** The target before the act, as JSON */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("before") JsonNode before,
    /** The target after the act, as JSON */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("after") JsonNode after,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("reason") String reason,
    /** Number of refused acts before this one that were not logged */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("left_out") Long leftOut) {
}
