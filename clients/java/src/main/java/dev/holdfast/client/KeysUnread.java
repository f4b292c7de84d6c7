package dev.holdfast.client;

/** The keys that were given are not keys of receipts. */
public final class KeysUnread extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    KeysUnread(String sentence) {
        super(sentence);
    }
}
