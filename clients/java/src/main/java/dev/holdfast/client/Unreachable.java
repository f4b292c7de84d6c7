package dev.holdfast.client;

/** No answer came. Whether the request took effect is not known: repeat it with its key. */
public final class Unreachable extends HoldfastException {
    private static final long serialVersionUID = 1L;

    Unreachable(String sentence, String idempotencyKey, Throwable cause) {
        super(sentence, idempotencyKey, cause);
    }
}
