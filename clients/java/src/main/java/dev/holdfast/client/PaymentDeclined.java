package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;
import dev.holdfast.client.model.Declined;
import dev.holdfast.client.model.HoldLeft;
import dev.holdfast.client.model.RetryAdvice;
import java.time.Duration;
import java.util.Optional;

/** The payment was declined and nothing is charged. */
public final class PaymentDeclined extends Refused {
    private static final long serialVersionUID = 1L;

    private final transient Declined declined;

    PaymentDeclined(JsonNode facts, String idempotencyKey, Duration retryAfter) {
        super(facts, idempotencyKey, retryAfter);
        this.declined = Json.read(facts, Declined.class);
    }

    public Declined declined() {
        return declined;
    }

    public RetryAdvice retryAdvice() {
        return declined.retryAdvice();
    }

    /** The hold, if it stays open: pay for it with a new key. */
    public Optional<HoldLeft> hold() {
        return Optional.ofNullable(declined.hold());
    }
}
