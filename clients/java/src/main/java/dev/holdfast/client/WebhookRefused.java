package dev.holdfast.client;

/** A webhook that is not genuine, or not of now. */
public final class WebhookRefused extends Exception {
    private static final long serialVersionUID = 1L;

    /** Why. */
    public enum Why {
        INVALID_SIGNATURE,
        STALE_TIMESTAMP,
    }

    private final Why why;

    WebhookRefused(Why why) {
        super(why.name().toLowerCase(java.util.Locale.ROOT));
        this.why = why;
    }

    public Why why() {
        return why;
    }
}
