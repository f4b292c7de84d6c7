package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public enum PurchaseStatus {
    HELD("held"),
    AUTHORIZING("authorizing"),
    AUTHORIZED("authorized"),
    UNDER_REVIEW("under_review"),
    CAPTURING("capturing"),
    CAPTURED("captured"),
    DECLINED("declined"),
    EXPIRED("expired"),
    RELEASED("released"),
    VOIDING("voiding"),
    VOIDED("voided"),
    STUCK("stuck"),
    PARTIALLY_REFUNDED("partially_refunded"),
    REFUNDED("refunded"),
    DISPUTED("disputed"),
    CHARGED_BACK("charged_back"),
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    PurchaseStatus(String word) {
        this.word = word;
    }

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {
        return word;
    }

    @JsonCreator
    public static PurchaseStatus of(String word) {
        for (PurchaseStatus known : values()) {
            if (known.word.equals(word)) {
                return known;
            }
        }
        return UNKNOWN;
    }
}
