package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public enum SealCheck {
    GENUINE("genuine"),
    ABSENT("absent"),
    NOT_CHECKED("not_checked"),
    UNKNOWN_KEY("unknown_key"),
    MISMATCH("mismatch"),
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    SealCheck(String word) {
        this.word = word;
    }

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {
        return word;
    }

    @JsonCreator
    public static SealCheck of(String word) {
        for (SealCheck known : values()) {
            if (known.word.equals(word)) {
                return known;
            }
        }
        return UNKNOWN;
    }
}
