package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public enum RetryAdvice {
    NEVER("never"),
    OTHER_CARD("other_card"),
    LATER("later"),
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    RetryAdvice(String word) {
        this.word = word;
    }

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {
        return word;
    }

    @JsonCreator
    public static RetryAdvice of(String word) {
        for (RetryAdvice known : values()) {
            if (known.word.equals(word)) {
                return known;
            }
        }
        return UNKNOWN;
    }
}
