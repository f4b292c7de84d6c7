package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public enum OpenState {
    AUTHORIZING("authorizing"),
    AUTHORIZED("authorized"),
    CAPTURING("capturing"),
    VOIDING("voiding"),
    STUCK("stuck"),
    REFUND_PENDING("refund_pending"),
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    OpenState(String word) {
        this.word = word;
    }

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {
        return word;
    }

    @JsonCreator
    public static OpenState of(String word) {
        for (OpenState known : values()) {
            if (known.word.equals(word)) {
                return known;
            }
        }
        return UNKNOWN;
    }
}
