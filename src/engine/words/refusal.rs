//! Owns the business "no": one table of reasons, each with its code in the log, its word in
//! responses, metrics and events, and what it leaves behind.
//!
//! Invariant: a code is never given to another reason, because logs keep it for ever; new reasons
//! go to the end. Deliberately absent: sentences and HTTP statuses, which `http::wire` owns in one
//! exhaustive match.

/// What a refusal leaves in the buyer's state, beside its event.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: the command was refused before the sale was looked at. The response need not wait
    /// for the log.
    Nothing,
    /// It counts as an attempt for the rate limit; the key stays free.
    Attempt,
    /// It counts as an attempt, and it is the key's outcome.
    AttemptAndKey,
    /// It is the key's outcome, but not an attempt to buy.
    Key,
}

macro_rules! refusals {
    ($($(#[$about:meta])* $code:literal $refusal:ident $word:literal $trace:ident;)*) => {
        /// Why a command was refused. Each is a word of the contract's table of reasons.
        #[derive(
            Copy, Clone, Debug, PartialEq, Eq, Hash, rkyv::Archive, rkyv::Serialize,
            rkyv::Deserialize,
        )]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[$about])* $refusal = $code,)*
        }

        impl Refusal {
            /// Every reason, by code.
            pub const ALL: [Self; [$($code,)*].len()] = [$(Self::$refusal,)*];

            /// The contract's word for this reason.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$refusal => $word,)*
                }
            }

            /// What the refusal leaves behind in the buyer's state.
            pub const fn trace(self) -> Trace {
                match self {
                    $(Self::$refusal => Trace::$trace,)*
                }
            }

            /// The stable number of this reason.
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

// A line: the code in the log, the reason, its word in responses, metrics and events, and its
// trace.
refusals! {
    /// The request's shape is wrong.
    0 InvalidRequest "invalid_request" Nothing;
    /// The currency is not on the drop's list, or the product has no price in it.
    1 CurrencyNotAllowed "currency_not_allowed" Attempt;
    /// The card token is malformed, or looks like a card number.
    2 InvalidCardToken "invalid_card_token" Nothing;
    /// No usable `Idempotency-Key`.
    3 IdempotencyKeyMissing "idempotency_key_missing" Nothing;
    /// No such product.
    4 ProductNotFound "product_not_found" AttemptAndKey;
    /// No such hold, or another buyer's.
    5 HoldNotFound "hold_not_found" AttemptAndKey;
    /// No such purchase.
    6 PurchaseNotFound "purchase_not_found" Nothing;
    /// No such promotion.
    7 PromotionNotFound "promotion_not_found" AttemptAndKey;
    /// No units left.
    8 SoldOut "sold_out" AttemptAndKey;
    /// The sale window has not opened.
    9 SaleNotStarted "sale_not_started" AttemptAndKey;
    /// The sale window has closed.
    10 SaleEnded "sale_ended" AttemptAndKey;
    /// The product is switched off.
    11 SaleInactive "sale_inactive" AttemptAndKey;
    /// The buyer's open holds and standing purchases leave no room for this quantity.
    12 PerUserLimit "per_user_limit" AttemptAndKey;
    /// The promotion's uses, or this buyer's, are used up.
    13 PromotionExhausted "promotion_exhausted" AttemptAndKey;
    /// The promotion does not apply: other product, segment, window, currency, or switched off.
    14 PromotionNotApplicable "promotion_not_applicable" AttemptAndKey;
    /// The hold's time ran out.
    15 HoldExpired "hold_expired" AttemptAndKey;
    /// The hold was released or is paid or being paid.
    16 HoldClosed "hold_closed" AttemptAndKey;
    /// The first request under this key is still running.
    17 IdempotencyInFlight "idempotency_in_flight" Nothing;
    /// The key was used for another request.
    18 IdempotencyKeyReused "idempotency_key_reused" Nothing;
    /// Committed units would exceed the new total.
    19 StockBelowCommitted "stock_below_committed" Nothing;
    /// Too many attempts in the window.
    20 RateLimited "rate_limited" Nothing;
    /// The gateway declined, or the payment failed for good.
    21 PaymentDeclined "payment_declined" AttemptAndKey;
    /// A bound of the program is reached; nothing is recorded.
    22 Overloaded "overloaded" Nothing;
    /// The disk is nearly full or failing; no new purchases are taken.
    23 StorageUnavailable "storage_unavailable" Nothing;
    /// The state does not allow this.
    24 WrongState "wrong_state" Nothing;
    /// A lowered number of promotion uses would fall below those made.
    25 PromotionBelowUsed "promotion_below_used" Nothing;
    /// The body is larger than the maximum for this path.
    26 BodyTooLarge "body_too_large" Nothing;
    /// The body did not arrive in time.
    27 RequestTimeout "request_timeout" Nothing;
    /// The body is not JSON by its content type.
    28 UnsupportedMediaType "unsupported_media_type" Nothing;
    /// The amount refunded before is not what the caller believes, or another refund is in
    /// progress.
    29 RefundConflict "refund_conflict" Key;
    /// The refund is larger than what is left of the captured amount.
    30 RefundExceedsCaptured "refund_exceeds_captured" Key;
    /// The gateway refused the refund.
    31 RefundFailed "refund_failed" Key;
    /// The card's network does not allow this card to be tried again yet.
    32 CardRetryForbidden "card_retry_forbidden" AttemptAndKey;
    /// The buyer has fewer reward tokens, debt taken off.
    33 NotEnoughTokens "not_enough_tokens" Key;
    /// The gateway cannot be reached; nothing is recorded.
    34 GatewayUnavailable "gateway_unavailable" Nothing;
    /// The webhook has no valid signature.
    35 InvalidSignature "invalid_signature" Nothing;
    /// The webhook's timestamp is too far from now.
    36 StaleTimestamp "stale_timestamp" Nothing;
    /// The webhook's nonce was used before.
    37 ReplayedNonce "replayed_nonce" Nothing;
    /// The buyer's purchases of today, or those by the same card or device, leave no room for this
    /// amount.
    38 DailyLimit "daily_limit" AttemptAndKey;
    /// All of the buyer's purchases, or those by the same card or device, leave no room for it.
    39 LifetimeLimit "lifetime_limit" AttemptAndKey;
    /// The key was used in the system that sold before; only that system knows its outcome.
    40 IdempotencyOutcomeElsewhere "idempotency_outcome_elsewhere" Nothing;
    /// A risk rule blocks it, or the operator paused the buyer.
    41 RiskBlocked "risk_blocked" AttemptAndKey;
    /// The gateway does not take or refund such an amount.
    42 AmountNotPayable "amount_not_payable" AttemptAndKey;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_places_in_the_list_and_words_are_distinct() {
        let mut words = std::collections::HashSet::new();
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(refusal.code()), place);
            assert!(words.insert(refusal.reason()));
        }
    }
}
