package dev.holdfast.client;

/** The answer is not one of holdfast's: another server, or a proxy in between. */
public final class ProtocolException extends HoldfastException {
    private static final long serialVersionUID = 1L;

    ProtocolException(String sentence, String idempotencyKey) {
        super(sentence, idempotencyKey, null);
    }
}
