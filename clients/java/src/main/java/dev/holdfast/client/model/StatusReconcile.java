package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

/** A summary of `GET /admin/reconcile`. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record StatusReconcile(
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("running") Boolean running,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("last_success_at") String lastSuccessAt,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("result") String result,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("differences") Long differences) {
}
