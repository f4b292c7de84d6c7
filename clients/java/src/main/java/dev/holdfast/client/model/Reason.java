package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public enum Reason {
    INVALID_REQUEST("invalid_request"),
    CURRENCY_NOT_ALLOWED("currency_not_allowed"),
    INVALID_CARD_TOKEN("invalid_card_token"),
    IDEMPOTENCY_KEY_MISSING("idempotency_key_missing"),
    UNAUTHORIZED("unauthorized"),
    FORBIDDEN("forbidden"),
    PAYMENT_DECLINED("payment_declined"),
    NOT_FOUND("not_found"),
    PRODUCT_NOT_FOUND("product_not_found"),
    HOLD_NOT_FOUND("hold_not_found"),
    PURCHASE_NOT_FOUND("purchase_not_found"),
    PROMOTION_NOT_FOUND("promotion_not_found"),
    RECEIPT_NOT_FOUND("receipt_not_found"),
    METHOD_NOT_ALLOWED("method_not_allowed"),
    PRECONDITION_FAILED("precondition_failed"),
    REQUEST_TIMEOUT("request_timeout"),
    SOLD_OUT("sold_out"),
    SALE_NOT_STARTED("sale_not_started"),
    SALE_ENDED("sale_ended"),
    SALE_INACTIVE("sale_inactive"),
    PER_USER_LIMIT("per_user_limit"),
    DAILY_LIMIT("daily_limit"),
    LIFETIME_LIMIT("lifetime_limit"),
    PROMOTION_EXHAUSTED("promotion_exhausted"),
    PROMOTION_NOT_APPLICABLE("promotion_not_applicable"),
    HOLD_EXPIRED("hold_expired"),
    HOLD_CLOSED("hold_closed"),
    IDEMPOTENCY_IN_FLIGHT("idempotency_in_flight"),
    STOCK_BELOW_COMMITTED("stock_below_committed"),
    PROMOTION_BELOW_USED("promotion_below_used"),
    WRONG_STATE("wrong_state"),
    BODY_TOO_LARGE("body_too_large"),
    UNSUPPORTED_MEDIA_TYPE("unsupported_media_type"),
    IDEMPOTENCY_KEY_REUSED("idempotency_key_reused"),
    RATE_LIMITED("rate_limited"),
    OVERLOADED("overloaded"),
    STORAGE_UNAVAILABLE("storage_unavailable"),
    RECEIPT_UNAVAILABLE("receipt_unavailable"),
    NOT_READY("not_ready"),
    EVENTS_FORGOTTEN("events_forgotten"),
    REFUND_CONFLICT("refund_conflict"),
    REFUND_EXCEEDS_CAPTURED("refund_exceeds_captured"),
    REFUND_FAILED("refund_failed"),
    REFUND_NOT_FOUND("refund_not_found"),
    RISK_BLOCKED("risk_blocked"),
    USER_NOT_FOUND("user_not_found"),
    NOT_ENOUGH_TOKENS("not_enough_tokens"),
    CARD_RETRY_FORBIDDEN("card_retry_forbidden"),
    GATEWAY_UNAVAILABLE("gateway_unavailable"),
    INVALID_SIGNATURE("invalid_signature"),
    STALE_TIMESTAMP("stale_timestamp"),
    REPLAYED_NONCE("replayed_nonce"),
    IDEMPOTENCY_OUTCOME_ELSEWHERE("idempotency_outcome_elsewhere"),
    AMOUNT_NOT_PAYABLE("amount_not_payable"),
    /** A word that this version of the client does not know. */
    UNKNOWN("");

    private final String word;

    Reason(String word) {
        this.word = word;
    }

    /** The word as it stands in JSON. */
    @JsonValue
    public String word() {
        return word;
    }

    @JsonCreator
    public static Reason of(String word) {
        for (Reason known : values()) {
            if (known.word.equals(word)) {
                return known;
            }
        }
        return UNKNOWN;
    }
}
