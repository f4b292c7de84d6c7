package dev.holdfast.client.model;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;

/** Generated from docs/openapi.yaml by {@code ./dev clients generate}. */
public record Problem(
    @JsonProperty("type") String type,
    @JsonProperty("title") String title,
    @JsonProperty("status") long status,
    @JsonProperty("reason") Reason reason,
    /** A sentence with the figures that the other fields carry; the same when a refusal is repeated under its key */
    @JsonProperty("detail") String detail,
    /** The request that was refused; for a replayed response, the first request */
    @JsonProperty("request_id") String requestId,
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("errors") List<ProblemError> errors,
    /** Of `not_found`: the id in the path, for routes that have one */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("id") String id,
    /** Of `product_not_found`: the requested product. With `hold_id` of another product or quantity: the product of the order */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("product_id") String productId,
    /** Of `promotion_not_found`: the requested code */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("promotion_code") String promotionCode,
    /** Of `events_forgotten`: where the log begins */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("first_lsn") Long firstLsn,
    /** Of `user_not_found`: the requested user */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("user_id") String userId,
    /** Of `receipt_not_found`: the requested receipt */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("receipt_id") String receiptId,
    /** With `hold_id` of another product or quantity: the quantity of the order */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("quantity") Long quantity,
    /** With `hold_id` of another product or quantity: what the hold is for */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("held") ProblemHeld held,
    /** Of `currency_not_allowed`: the currencies that the shop accepts, or in which the product or the hold has a price, as `cause` says. Of `promotion_not_applicable` with the cause `currency`: those in which the promotion gives a discount. At most 8 of a product, hold or promotion */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("currencies") List<String> currencies,
    /** Of `forbidden`: the role of the API key */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("role") String role,
    /** Of `forbidden`: the roles that may do this */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("roles_needed") List<String> rolesNeeded,
    /** Of `body_too_large`: the maximum */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("bytes_max") Long bytesMax,
    /** Of `unsupported_media_type`, if the body has a `Content-Encoding`: the codings that are supported */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("accept_encoding") List<String> acceptEncoding,
    /** Of `purchase_not_found` and `refund_not_found`: the requested purchase. Of `idempotency_in_flight`: the purchase whose payment, review or refund is in progress under this key; `Location` is the path to read. Of `wrong_state` and `refund_failed`: the purchase */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("purchase_id") String purchaseId,
    /** Of `hold_not_found`, `hold_expired` and `hold_closed`, and if the hold is for another product or quantity */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("hold_id") String holdId,
    /** Of `hold_closed` and `wrong_state`: the status of the hold or purchase */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("state") String state,
    /** Of `precondition_failed`: the current entity tag; null if the resource does not exist */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("etag") String etag,
    /** Of `stock_below_committed`: units held and sold */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("committed") Long committed,
    /** Of `stock_below_committed`: the current total, held, sold and available units */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("stock") Map<String, JsonNode> stock,
    /** Of `promotion_below_used` and `promotion_exhausted`: the current uses */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("uses") Long uses,
    /** Of `promotion_below_used` and `promotion_exhausted`: the current maximum of uses */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("uses_max") Long usesMax,
    /** What is counted. Of `daily_limit` and `lifetime_limit`: purchases of the user, or with the same card or device. Of `promotion_exhausted`: all uses of the promotion, or those of the user. Of `rate_limited`: the limit that is reached, by its name in the headers */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("scope") String scope,
    /** Of `per_user_limit`: units. Of `daily_limit` and `lifetime_limit`: minor units of `currency`. Of `rate_limited`: the maximum of what `scope` names, per `window_s` or at once */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("limit") Long limit,
    /** The used part of `limit`: units of open holds and standing purchases, or the amount bought in minor units */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("used") Long used,
    /** The requested quantity. Of `per_user_limit` and `sold_out`: units. Of `not_enough_tokens`: tokens */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("requested") Long requested,
    /** Of `sold_out`: units available */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("available") Long available,
    /** Of `not_enough_tokens`: tokens that the user can spend */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("balance") Long balance,
    /** The currency of every amount in the answer; amounts are in minor units */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("currency") String currency,
    /** The amount to pay or to refund; null if the hold was already known to be unpayable */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount") Long amount,
    /** Of `amount_not_payable`: the smallest amount that the gateway accepts; null: no limit */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount_min") Long amountMin,
    /** Of `amount_not_payable`: the largest amount that the gateway accepts; null: no limit */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount_max") Long amountMax,
    /** Of `amount_not_payable`: amounts must be a multiple of this */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("amount_step") Long amountStep,
    /** Of `refund_exceeds_captured`: the captured amount */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("captured") Long captured,
    /** Of `refund_exceeds_captured` and `refund_conflict`: the amount refunded so far */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("refunded_amount") Long refundedAmount,
    /** Of `refund_exceeds_captured` and `refund_conflict`: the amount that can still be refunded, without what is disputed */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("left") Long left,
    /** Of `refund_conflict`: the amount refunded so far is not `previously_refunded`, another refund is in progress, `restock` is set on a refund that leaves something, or the purchase has 100 refunds and this one leaves something */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("conflict") String conflict,
    /** Of `sale_not_started`, `sale_ended` and `sale_inactive`, and of a promotion that has not started */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("starts_at") String startsAt,
    /** The same, and of a promotion that has ended */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("ends_at") String endsAt,
    /** Of `hold_expired`: when it expired */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("expires_at") String expiresAt,
    /** Of `currency_not_allowed`: the currency is none of the shop's, or the product, or the hold to be paid, has no price in it. Of `promotion_not_applicable`: it is inactive, outside its window, for other products or segments, without discount in this currency, or not the promotion of the hold */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("cause") String cause,
    /** Of `rate_limited`: the window in seconds; absent: at once. Of `card_retry_forbidden`: how long a decline counts */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("window_s") Long windowS,
    /** Of `card_retry_forbidden`: declines of this card for this user that count */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("declines") Long declines,
    /** Of `card_retry_forbidden`: declines with the advice `later` after which the card is refused */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("declines_max") Long declinesMax,
    /** Of `card_retry_forbidden`: from when the card may be tried again */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("retry_at") String retryAt,
    /** Of `refund_failed` and `refund_not_found`: the number of the refund */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("number") Long number,
    /** Of `payment_declined` and `refund_failed`: the gateway's code, if it gave one */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("code") String code,
    /** Of `wrong_state` of segments: no database is configured for them */
    @JsonInclude(JsonInclude.Include.NON_NULL) @JsonProperty("configured") Boolean configured) {
}
