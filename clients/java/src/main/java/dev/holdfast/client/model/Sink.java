package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Sink(
    @JsonProperty("name") String name,
    @JsonProperty("mode") String mode,
    /** Whether the last delivery succeeded */
    @JsonProperty("up") boolean up,
    /** Why the last delivery failed */
    @JsonProperty("failure") String failure,
    @JsonProperty("cursor_lsn") long cursorLsn,
    @JsonProperty("lag_bytes") long lagBytes,
    @JsonProperty("age_ms") long ageMs,
    @JsonProperty("delivered") long delivered,
    @JsonProperty("rejected") long rejected,
    @JsonProperty("retries") long retries,
    @JsonProperty("dead_letter_bytes") long deadLetterBytes,
    /** In the list of sinks, for endpoints of webhooks */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("endpoint") SinkEndpoint endpoint,
    /** Ranges of the log that were never delivered to this sink */
    @JsonProperty("gaps") List<SinkGap> gaps,
    /** The newest ranges that the sink had delivered and took back, because the log no longer has them */
    @JsonProperty("lost") List<SinkLost> lost,
    /** The sink's cursor, if it belongs to another history of the log; the sink is stopped until this history is accepted */
    @JsonProperty("elsewhere") SinkElsewhere elsewhere) {
}
