//! Owns the reasons of problem details: each with its status, title and general sentence, in one table.
//!
//! Invariant: every refusal of the engine has its entry in one exhaustive match, so a new one does not compile
//! without. Deliberately absent: the sentences with figures (`detail`) and the documents (`problem`).

use crate::engine::refusal::Refusal;
use hyper::http::StatusCode;

/// Why a request was refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A reason that events have, too.
    Refusal(Refusal),
    /// No key, or an unknown one.
    Unauthorized,
    /// The role of this API key does not allow this request.
    Forbidden,
    /// No such path.
    NotFound,
    /// No such receipt.
    ReceiptNotFound,
    /// No such refund of this purchase.
    RefundNotFound,
    /// A buyer without any attempt.
    UserNotFound,
    /// The log no longer has the events that were asked for.
    EventsForgotten,
    /// The key that sealed the receipt is not configured any more.
    ReceiptUnavailable,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// `If-Match` or `If-None-Match` is false.
    PreconditionFailed,
    /// The program is starting or stopping, or cannot accept purchases.
    NotReady,
}

/// The texts of a reason.
#[derive(Copy, Clone, Debug)]
pub struct ProblemTexts {
    /// The word of the reason.
    pub reason: &'static str,
    /// The HTTP status.
    pub status: u16,
    pub title: &'static str,
    pub detail: &'static str,
}

const fn texts(
    status: u16,
    reason: &'static str,
    title: &'static str,
    detail: &'static str,
) -> ProblemTexts {
    ProblemTexts {
        reason,
        status,
        title,
        detail,
    }
}

const fn not_found(
    reason: &'static str,
    title: &'static str,
    detail: &'static str,
) -> ProblemTexts {
    texts(404, reason, title, detail)
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl Reason {
    /// Every reason that events do not have.
    pub const ALL_OF_HTTP: [Self; 11] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::ReceiptNotFound,
        Self::RefundNotFound,
        Self::UserNotFound,
        Self::EventsForgotten,
        Self::ReceiptUnavailable,
        Self::MethodNotAllowed,
        Self::PreconditionFailed,
        Self::NotReady,
    ];

    /// Status, title and detail.
    pub const fn texts(self) -> ProblemTexts {
        match self {
            Self::Refusal(refusal) => refusal_texts(refusal),
            Self::Unauthorized => texts(
                401,
                "unauthorized",
                "Unauthorized",
                "The request has no valid API key. Send the header Authorization: Bearer KEY.",
            ),
            Self::Forbidden => texts(
                403,
                "forbidden",
                "Forbidden",
                "The role of this API key does not allow this request.",
            ),
            Self::NotFound => {
                not_found("not_found", "Not found", "No resource exists at this path.")
            }
            Self::ReceiptNotFound => not_found(
                "receipt_not_found",
                "Receipt not found",
                "No receipt has this id.",
            ),
            Self::RefundNotFound => not_found(
                "refund_not_found",
                "Refund not found",
                "This purchase has no refund with this number. Read the purchase's refunds.",
            ),
            Self::UserNotFound => not_found(
                "user_not_found",
                "User not found",
                "No buyer has this id: no attempt to buy has used it.",
            ),
            Self::EventsForgotten => texts(
                410,
                "events_forgotten",
                "Events forgotten",
                "The log no longer has the events that were asked for.",
            ),
            Self::ReceiptUnavailable => texts(
                503,
                "receipt_unavailable",
                "Receipt unavailable",
                "The key that sealed this receipt is not configured, so the receipt cannot be shown. The server has logged this for its operator.",
            ),
            Self::MethodNotAllowed => texts(
                405,
                "method_not_allowed",
                "Method not allowed",
                "This path does not support this method. The header Allow lists the methods that it supports.",
            ),
            Self::PreconditionFailed => texts(
                412,
                "precondition_failed",
                "Precondition failed",
                "The condition of If-Match or If-None-Match is false for the current state. Nothing was changed. Read the resource again.",
            ),
            Self::NotReady => texts(
                503,
                "not_ready",
                "Not ready",
                "The server cannot accept purchases now. GET /readyz says why.",
            ),
        }
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.texts().status).expect("every status of the table is one of HTTP")
    }
}

#[allow(clippy::too_many_lines, reason = "a table")]
const fn refusal_texts(refusal: Refusal) -> ProblemTexts {
    let (status, title, detail) = match refusal {
        Refusal::InvalidRequest => (
            400,
            "Invalid request",
            "The request is invalid. The field errors lists each wrong field and what it must be.",
        ),
        Refusal::CurrencyNotAllowed => (
            400,
            "Currency not allowed",
            "The shop does not accept this currency, or the product has no price in it.",
        ),
        Refusal::InvalidCardToken => (
            400,
            "Invalid card token",
            "The card token does not have the gateway's format, or it looks like a card number. Send a token of the gateway; card numbers are never accepted.",
        ),
        Refusal::IdempotencyKeyMissing => (
            400,
            "Idempotency key missing",
            "The header Idempotency-Key is missing or invalid. It must be 8 to 255 visible ASCII characters, bare or quoted.",
        ),
        Refusal::ProductNotFound => (404, "Product not found", "No product has this id."),
        Refusal::HoldNotFound => (
            404,
            "Hold not found",
            "This buyer has no hold with this id.",
        ),
        Refusal::PurchaseNotFound => (404, "Purchase not found", "No purchase has this id."),
        Refusal::PromotionNotFound => (404, "Promotion not found", "No promotion has this code."),
        Refusal::SoldOut => (409, "Sold out", "Fewer units are available than requested."),
        Refusal::SaleNotStarted => (
            409,
            "Sale not started",
            "The sale of this product has not started.",
        ),
        Refusal::SaleEnded => (409, "Sale ended", "The sale of this product has ended."),
        Refusal::SaleInactive => (
            409,
            "Sale inactive",
            "This product is inactive and not for sale.",
        ),
        Refusal::PerUserLimit => (
            409,
            "Limit per buyer",
            "This quantity exceeds the product's limit per buyer.",
        ),
        Refusal::DailyLimit => (
            409,
            "Daily limit",
            "This amount exceeds today's limit of this buyer, card or device.",
        ),
        Refusal::LifetimeLimit => (
            409,
            "Lifetime limit",
            "This amount exceeds the lifetime limit of this buyer, card or device.",
        ),
        Refusal::PromotionExhausted => (
            409,
            "Promotion exhausted",
            "The promotion has reached its maximum number of uses, in total or by this buyer.",
        ),
        Refusal::PromotionNotApplicable => (
            409,
            "Promotion not applicable",
            "The promotion does not apply to this purchase.",
        ),
        Refusal::HoldExpired => (
            409,
            "Hold expired",
            "The hold has expired. Place a new one.",
        ),
        Refusal::HoldClosed => (
            409,
            "Hold closed",
            "The hold is no longer open: it was released, is being paid or is paid.",
        ),
        Refusal::IdempotencyInFlight => (
            409,
            "Request in flight",
            "The first request with this idempotency key is still in progress. Repeat the request later with the same key.",
        ),
        Refusal::StockBelowCommitted => (
            409,
            "Stock below committed",
            "More units are held and sold than the new stock. The field committed says how many.",
        ),
        Refusal::WrongState => (
            409,
            "Wrong state",
            "The current state of the purchase does not allow this.",
        ),
        Refusal::PromotionBelowUsed => (
            409,
            "Promotion below used",
            "The promotion already has more uses than the new maximum.",
        ),
        Refusal::BodyTooLarge => (
            413,
            "Body too large",
            "The body is larger than the maximum for this path.",
        ),
        Refusal::RequestTimeout => (
            408,
            "Request timeout",
            "The server did not receive the whole request in time.",
        ),
        Refusal::UnsupportedMediaType => (
            415,
            "Unsupported media type",
            "The Content-Type must be application/json; for risk rules, application/toml is allowed too.",
        ),
        Refusal::IdempotencyKeyReused => (
            422,
            "Idempotency key reused",
            "This idempotency key was used for a different request. Use a new key for a new request.",
        ),
        Refusal::IdempotencyOutcomeElsewhere => (
            409,
            "Outcome known elsewhere",
            "This idempotency key was used in the system that this server replaces. Its outcome is known there; nothing was done here.",
        ),
        Refusal::RateLimited => (
            429,
            "Rate limited",
            "This buyer has made too many attempts, or has too many open holds or idempotency keys. Try again after the seconds in Retry-After.",
        ),
        Refusal::PaymentDeclined => (
            402,
            "Payment declined",
            "The payment was declined. Nothing was charged.",
        ),
        Refusal::RefundConflict => (
            409,
            "Refund conflict",
            "Another refund of this purchase was made or is in progress. Read the purchase again for its refunded_amount.",
        ),
        Refusal::RefundExceedsCaptured => (
            409,
            "Refund exceeds captured",
            "The refund exceeds the captured amount that is not refunded yet.",
        ),
        Refusal::RefundFailed => (
            409,
            "Refund failed",
            "The gateway refused the refund. Nothing was refunded.",
        ),
        Refusal::CardRetryForbidden => (
            402,
            "Card retry forbidden",
            "The card was declined before, and its network does not allow another try yet. Use another card.",
        ),
        Refusal::RiskBlocked => (
            403,
            "Blocked",
            "A risk rule blocked this attempt, or the buyer is paused. If this is wrong, contact the shop.",
        ),
        Refusal::AmountNotPayable => (
            409,
            "Amount not payable",
            "The payment gateway does not accept this amount in this currency. Nothing was done.",
        ),
        Refusal::NotEnoughTokens => (
            409,
            "Not enough tokens",
            "The buyer has fewer reward tokens than requested.",
        ),
        Refusal::GatewayUnavailable => (
            503,
            "Gateway unavailable",
            "The payment gateway is unavailable. Nothing was charged. Try again after the seconds in Retry-After.",
        ),
        Refusal::InvalidSignature => (
            401,
            "Invalid signature",
            "The signature is missing, or no configured secret matches it.",
        ),
        Refusal::StaleTimestamp => (
            401,
            "Stale timestamp",
            "The timestamp differs too much from the server's time. Send the webhook again with a current timestamp and signature.",
        ),
        Refusal::ReplayedNonce => (
            409,
            "Replayed nonce",
            "A webhook with this nonce was accepted before.",
        ),
        Refusal::Overloaded => (
            503,
            "Overloaded",
            "The server is overloaded. Nothing was done. Try again after the seconds in Retry-After.",
        ),
        Refusal::StorageUnavailable => (
            503,
            "Storage unavailable",
            "The server cannot write its log, so the outcome may not be stored. Repeat the request with the same idempotency key to learn it; do not use a new key.",
        ),
    };
    texts(status, refusal.reason(), title, detail)
}
