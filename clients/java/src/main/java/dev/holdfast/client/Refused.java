package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import dev.holdfast.client.model.Problem;
import dev.holdfast.client.model.Reason;
import java.time.Duration;
import java.util.Optional;

/** The core refused (RFC 9457). {@link #problem()} has the reason and the facts that it is about. */
public class Refused extends HoldfastException {
    private static final long serialVersionUID = 1L;

    private final transient JsonNode facts;
    private final transient Problem problem;
    private final Duration retryAfter;

    Refused(JsonNode facts, String idempotencyKey, Duration retryAfter) {
        super(sentence(facts), idempotencyKey, null);
        this.facts = facts;
        this.problem = Json.read(facts, Problem.class);
        this.retryAfter = retryAfter;
    }

    /** The error for a problem document. */
    static Refused of(JsonNode facts, String idempotencyKey, Duration retryAfter) {
        return "payment_declined".equals(facts.path("reason").asText())
            ? new PaymentDeclined(facts, idempotencyKey, retryAfter)
            : new Refused(facts, idempotencyKey, retryAfter);
    }

    private static String sentence(JsonNode facts) {
        String word = facts.path("reason").asText();
        return word + " (" + facts.path("status").asInt() + "): " + facts.path("detail").asText();
    }

    public Problem problem() {
        return problem;
    }

    /** The whole document: a newer core may send more than {@link Problem} has. */
    public JsonNode facts() {
        return facts;
    }

    /** The reason; {@link Reason#UNKNOWN} for a word of a newer core, which {@link #reasonWord()} has. */
    public Reason reason() {
        return problem.reason();
    }

    public String reasonWord() {
        return facts.path("reason").asText();
    }

    public int status() {
        return (int) problem.status();
    }

    public String requestId() {
        return problem.requestId();
    }

    /** How long the core asked to wait. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }
}
