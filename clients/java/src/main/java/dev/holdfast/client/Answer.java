package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpHeaders;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;

/**
 * An answer of the server.
 *
 * @param body empty where it is not JSON
 */
record Answer(int status, HttpHeaders headers, Optional<JsonNode> body) {
    private static final Set<Integer> RETRIED = Set.of(408, 429, 502, 503, 504);

    boolean asksForAnotherTry() {
        return RETRIED.contains(status);
    }

    /** Whether the first request with this key still runs. */
    boolean isInFlight() {
        return status == 409 && "idempotency_in_flight".equals(reason().orElse(""));
    }

    boolean isResult() {
        return status >= 200 && status < 300 && body.filter(JsonNode::isObject).isPresent();
    }

    Optional<String> reason() {
        return body.map(it -> it.path("reason")).filter(JsonNode::isTextual).map(JsonNode::asText);
    }

    Optional<String> location() {
        return headers.firstValue("location");
    }

    Optional<Duration> retryAfter() {
        return headers.firstValue("retry-after")
            .filter(text -> text.matches("[0-9]{1,9}"))
            .map(text -> Duration.ofSeconds(Long.parseLong(text)));
    }
}
