package dev.holdfast.client;

import java.util.Optional;

/** Every error of a call. */
public abstract class HoldfastException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String idempotencyKey;

    HoldfastException(String sentence, String idempotencyKey, Throwable cause) {
        super(sentence, cause);
        this.idempotencyKey = idempotencyKey;
    }

    /** The key of the call, if it has one: the same call with this key is safe. */
    public Optional<String> idempotencyKey() {
        return Optional.ofNullable(idempotencyKey);
    }
}
