package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record ProblemError(
    /** The field, a header, or `body` for the whole. A field that is not known is named too, if its name is a plain word */
    @JsonProperty("field") String field,
    /** What the field must be; never the value that was sent */
    @JsonProperty("message") String message) {
}
