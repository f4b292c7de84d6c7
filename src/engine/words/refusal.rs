//! Owns the business "no": one stable code a reason, nothing else.
//!
//! Invariants: a code, once given, is never given to another reason, because logs keep it for
//! ever; new reasons go to the end. Deliberately absent: sentences and HTTP statuses, which
//! `http::problem` owns in one exhaustive match.

/// Why a command was refused. Each is a word of the contract's table of reasons.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
#[repr(u8)]
pub enum Refusal {
    /// The request's shape is wrong.
    InvalidRequest = 0,
    /// The currency is not on the drop's list, or the product has no price in it.
    CurrencyNotAllowed = 1,
    /// The card token is none, or looks like a card number.
    InvalidCardToken = 2,
    /// No usable `Idempotency-Key`.
    IdempotencyKeyMissing = 3,
    /// No such product.
    ProductNotFound = 4,
    /// No such hold, or another buyer's.
    HoldNotFound = 5,
    /// No such purchase.
    PurchaseNotFound = 6,
    /// No such promotion.
    PromotionNotFound = 7,
    /// No units left.
    SoldOut = 8,
    /// The sale window has not opened.
    SaleNotStarted = 9,
    /// The sale window has closed.
    SaleEnded = 10,
    /// The product is switched off.
    SaleInactive = 11,
    /// The buyer's open holds and standing purchases leave no room for this quantity.
    PerUserLimit = 12,
    /// The promotion's uses, or this buyer's, are used up.
    PromotionExhausted = 13,
    /// The promotion does not apply: other product, segment, window, currency, or switched off.
    PromotionNotApplicable = 14,
    /// The hold's time ran out.
    HoldExpired = 15,
    /// The hold was released or is paid or being paid.
    HoldClosed = 16,
    /// The first request under this key is still running.
    IdempotencyInFlight = 17,
    /// The key was used for another request.
    IdempotencyKeyReused = 18,
    /// Committed units would exceed the new total.
    StockBelowCommitted = 19,
    /// Too many attempts in the window.
    RateLimited = 20,
    /// The gateway declined, or the payment failed for good.
    PaymentDeclined = 21,
    /// A bound of the program is reached; nothing was left behind.
    Overloaded = 22,
    /// The disk is nearly full or failing; no new purchases are taken.
    StorageUnavailable = 23,
    /// The state does not allow this.
    WrongState = 24,
    /// A lowered number of promotion uses would fall below those made.
    PromotionBelowUsed = 25,
    /// The body is larger than the maximum for this path.
    BodyTooLarge = 26,
    /// The body did not arrive in time.
    RequestTimeout = 27,
    /// The body is not JSON by its content type.
    UnsupportedMediaType = 28,
    /// What had gone back before is not what the operator thinks, or another refund is under way.
    RefundConflict = 29,
    /// More is to go back than is left of what was captured.
    RefundExceedsCaptured = 30,
    /// The gateway refused to give the money back.
    RefundFailed = 31,
    /// The card's network does not allow this card to be tried again yet.
    CardRetryForbidden = 32,
    /// The buyer has fewer reward tokens, debt taken off.
    NotEnoughTokens = 33,
    /// The gateway cannot be reached just now; nothing was left behind.
    GatewayUnavailable = 34,
    /// The webhook's signature is none that is known.
    InvalidSignature = 35,
    /// The webhook's timestamp is too far from now.
    StaleTimestamp = 36,
    /// The webhook's nonce was used before.
    ReplayedNonce = 37,
    /// The buyer's purchases of today, or those by the same card or device, leave no room for this
    /// amount.
    DailyLimit = 38,
    /// All of the buyer's purchases, or those by the same card or device, leave no room for it.
    LifetimeLimit = 39,
    /// The key was used in the system that sold before; its outcome is known there.
    IdempotencyOutcomeElsewhere = 40,
    /// A risk rule blocks it, or the operator paused the buyer.
    RiskBlocked = 41,
    /// The gateway does not take, or does not give back, such an amount.
    AmountNotPayable = 42,
}

impl Refusal {
    /// Every reason, by code.
    pub const ALL: [Self; 43] = [
        Self::InvalidRequest,
        Self::CurrencyNotAllowed,
        Self::InvalidCardToken,
        Self::IdempotencyKeyMissing,
        Self::ProductNotFound,
        Self::HoldNotFound,
        Self::PurchaseNotFound,
        Self::PromotionNotFound,
        Self::SoldOut,
        Self::SaleNotStarted,
        Self::SaleEnded,
        Self::SaleInactive,
        Self::PerUserLimit,
        Self::PromotionExhausted,
        Self::PromotionNotApplicable,
        Self::HoldExpired,
        Self::HoldClosed,
        Self::IdempotencyInFlight,
        Self::IdempotencyKeyReused,
        Self::StockBelowCommitted,
        Self::RateLimited,
        Self::PaymentDeclined,
        Self::Overloaded,
        Self::StorageUnavailable,
        Self::WrongState,
        Self::PromotionBelowUsed,
        Self::BodyTooLarge,
        Self::RequestTimeout,
        Self::UnsupportedMediaType,
        Self::RefundConflict,
        Self::RefundExceedsCaptured,
        Self::RefundFailed,
        Self::CardRetryForbidden,
        Self::NotEnoughTokens,
        Self::GatewayUnavailable,
        Self::InvalidSignature,
        Self::StaleTimestamp,
        Self::ReplayedNonce,
        Self::DailyLimit,
        Self::LifetimeLimit,
        Self::IdempotencyOutcomeElsewhere,
        Self::RiskBlocked,
        Self::AmountNotPayable,
    ];

    /// The contract's word for this reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::CurrencyNotAllowed => "currency_not_allowed",
            Self::InvalidCardToken => "invalid_card_token",
            Self::IdempotencyKeyMissing => "idempotency_key_missing",
            Self::ProductNotFound => "product_not_found",
            Self::HoldNotFound => "hold_not_found",
            Self::PurchaseNotFound => "purchase_not_found",
            Self::PromotionNotFound => "promotion_not_found",
            Self::SoldOut => "sold_out",
            Self::SaleNotStarted => "sale_not_started",
            Self::SaleEnded => "sale_ended",
            Self::SaleInactive => "sale_inactive",
            Self::PerUserLimit => "per_user_limit",
            Self::PromotionExhausted => "promotion_exhausted",
            Self::PromotionNotApplicable => "promotion_not_applicable",
            Self::HoldExpired => "hold_expired",
            Self::HoldClosed => "hold_closed",
            Self::IdempotencyInFlight => "idempotency_in_flight",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::StockBelowCommitted => "stock_below_committed",
            Self::RateLimited => "rate_limited",
            Self::PaymentDeclined => "payment_declined",
            Self::Overloaded => "overloaded",
            Self::StorageUnavailable => "storage_unavailable",
            Self::WrongState => "wrong_state",
            Self::PromotionBelowUsed => "promotion_below_used",
            Self::BodyTooLarge => "body_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RefundConflict => "refund_conflict",
            Self::RefundExceedsCaptured => "refund_exceeds_captured",
            Self::RefundFailed => "refund_failed",
            Self::CardRetryForbidden => "card_retry_forbidden",
            Self::NotEnoughTokens => "not_enough_tokens",
            Self::GatewayUnavailable => "gateway_unavailable",
            Self::InvalidSignature => "invalid_signature",
            Self::StaleTimestamp => "stale_timestamp",
            Self::ReplayedNonce => "replayed_nonce",
            Self::DailyLimit => "daily_limit",
            Self::LifetimeLimit => "lifetime_limit",
            Self::IdempotencyOutcomeElsewhere => "idempotency_outcome_elsewhere",
            Self::RiskBlocked => "risk_blocked",
            Self::AmountNotPayable => "amount_not_payable",
        }
    }

    /// The stable number of this reason.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the refusal leaves behind in the buyer's state.
    pub const fn trace(self) -> Trace {
        match self {
            Self::InvalidRequest
            | Self::InvalidCardToken
            | Self::IdempotencyKeyMissing
            | Self::IdempotencyInFlight
            | Self::IdempotencyKeyReused
            | Self::IdempotencyOutcomeElsewhere
            | Self::RateLimited
            | Self::Overloaded
            | Self::StorageUnavailable
            | Self::StockBelowCommitted
            | Self::PromotionBelowUsed
            | Self::BodyTooLarge
            | Self::RequestTimeout
            | Self::UnsupportedMediaType
            | Self::WrongState
            | Self::PurchaseNotFound
            | Self::GatewayUnavailable
            | Self::InvalidSignature
            | Self::StaleTimestamp
            | Self::ReplayedNonce => Trace::Nothing,
            Self::CurrencyNotAllowed => Trace::Attempt,
            Self::ProductNotFound
            | Self::HoldNotFound
            | Self::PromotionNotFound
            | Self::SoldOut
            | Self::SaleNotStarted
            | Self::SaleEnded
            | Self::SaleInactive
            | Self::PerUserLimit
            | Self::DailyLimit
            | Self::LifetimeLimit
            | Self::PromotionExhausted
            | Self::PromotionNotApplicable
            | Self::HoldExpired
            | Self::HoldClosed
            | Self::PaymentDeclined
            | Self::RiskBlocked
            | Self::AmountNotPayable
            | Self::CardRetryForbidden => Trace::AttemptAndKey,
            Self::RefundConflict
            | Self::RefundExceedsCaptured
            | Self::RefundFailed
            | Self::NotEnoughTokens => Trace::Key,
        }
    }
}

/// What a refusal leaves in the buyer's state, beside its event.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing: refused before the sale was looked at. Its answer need not wait for the log.
    Nothing,
    /// It counts as an attempt for the rate limit; the key stays free.
    Attempt,
    /// It counts as an attempt, and it is the key's outcome.
    AttemptAndKey,
    /// It is the key's outcome, and no attempt to buy.
    Key,
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
