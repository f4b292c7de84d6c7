package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Valid if at least one seal is genuine and none is a mismatch. Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Verdict(
    @JsonProperty("valid") boolean valid,
    @JsonProperty("key_id") String keyId,
    @JsonProperty("reason") String reason,
    /** Only if the receipt is not valid: the keys that it names and that are not configured here */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("missing_keys") List<String> missingKeys,
    /** The result for each seal */
    @JsonProperty("seals") VerdictSeals seals) {
}
