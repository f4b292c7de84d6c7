//! Owns refusals as seen by clients: status, title and detail of each reason, written as RFC 9457
//! problem details.
//!
//! Invariants: one exhaustive match gives all three; a refusal with figures has them in its
//! sentence, too (`detail`). Both depend on the refusal alone, so a replayed one is the same
//! byte for byte; nothing of a request is ever repeated in a response.
//! Deliberately absent: deciding on a refusal.

use super::answer::{Answer, ContentKind};
use super::detail;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{Fact, QuotaScope, RefusalFacts};
use crate::engine::view::DeclineView;
use crate::ids::{GatewayCode, RequestId};
use crate::json;
use crate::money::Currency;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::StatusCode;
use serde_json::json;
use std::borrow::Cow;

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

const fn told(
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

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl Reason {
    /// Every reason that events do not have.
    pub const ALL_OF_HTTP: [Self; 10] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::ReceiptNotFound,
        Self::RefundNotFound,
        Self::UserNotFound,
        Self::ReceiptUnavailable,
        Self::MethodNotAllowed,
        Self::PreconditionFailed,
        Self::NotReady,
    ];

    /// Status, title and detail.
    pub const fn told(self) -> ProblemTexts {
        match self {
            Self::Refusal(refusal) => told_refusal(refusal),
            Self::Unauthorized => told(
                401,
                "unauthorized",
                "Unauthorized",
                "The request has no valid API key. Send the header Authorization: Bearer KEY.",
            ),
            Self::Forbidden => told(
                403,
                "forbidden",
                "Forbidden",
                "The role of this API key does not allow this request.",
            ),
            Self::NotFound => told(
                404,
                "not_found",
                "Not found",
                "No resource exists at this path.",
            ),
            Self::ReceiptNotFound => told(
                404,
                "receipt_not_found",
                "Receipt not found",
                "No receipt has this id.",
            ),
            Self::RefundNotFound => told(
                404,
                "refund_not_found",
                "Refund not found",
                "This purchase has no refund with this number. Read the purchase's refunds.",
            ),
            Self::UserNotFound => told(
                404,
                "user_not_found",
                "User not found",
                "No buyer has this id: no attempt to buy has used it.",
            ),
            Self::ReceiptUnavailable => told(
                503,
                "receipt_unavailable",
                "Receipt unavailable",
                "The key that sealed this receipt is not configured, so the receipt cannot be shown. The server has logged this for its operator.",
            ),
            Self::MethodNotAllowed => told(
                405,
                "method_not_allowed",
                "Method not allowed",
                "This path does not support this method. The header Allow lists the methods that it supports.",
            ),
            Self::PreconditionFailed => told(
                412,
                "precondition_failed",
                "Precondition failed",
                "The condition of If-Match or If-None-Match is false for the current state. Nothing was changed. Read the resource again.",
            ),
            Self::NotReady => told(
                503,
                "not_ready",
                "Not ready",
                "The server cannot accept purchases now. GET /readyz says why.",
            ),
        }
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.told().status).expect("every status of the table is one of HTTP")
    }
}

#[allow(clippy::too_many_lines, reason = "a table")]
const fn told_refusal(refusal: Refusal) -> ProblemTexts {
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
    told(status, refusal.reason(), title, detail)
}

/// What is wrong with one field; never its value. A field that is not known is named where its name is a
/// plain word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, or `body` for the whole, or a header's name.
    pub field: Cow<'static, str>,
    /// What it should be.
    pub message: String,
}

/// The problem details of `reason`; `request` is the request that was refused first.
pub fn problem(reason: Reason, request: RequestId) -> Answer {
    if reason == Reason::Refusal(Refusal::InvalidRequest) {
        // No field is wrong, but the body is incomplete.
        let cut_off = FieldError {
            field: "body".into(),
            message: "ended early, or is not framed as its headers say".to_owned(),
        };
        return invalid(reason, request, &[cut_off]);
    }
    let mut body = open(reason, request);
    body.push(b'}');
    finish(reason, body)
}

/// The same with the fields of the object `facts`, and a sentence with them that needs no escape.
pub fn problem_about(
    reason: Reason,
    request: RequestId,
    detail: &str,
    facts: &serde_json::Value,
) -> Answer {
    let mut body = open_with(reason, request, detail);
    body.push(b'}');
    finish(reason, body).with_facts(facts)
}

/// The same with the figures of a refusal, if it has any.
pub fn problem_of(reason: Reason, request: RequestId, facts: Option<&RefusalFacts>) -> Answer {
    let Some(facts) = facts else {
        return problem(reason, request);
    };
    let detail = match reason {
        Reason::Refusal(refusal) => detail::of(refusal, facts),
        _ => None,
    };
    let detail = detail.as_deref().unwrap_or(reason.told().detail);
    let mut body = open_with(reason, request, detail);
    for (name, fact) in facts.fields() {
        json::raw(&mut body, ",");
        json::id(&mut body, name);
        json::raw(&mut body, ":");
        match fact {
            Fact::Number(number) => json::number(&mut body, number),
            Fact::Word(word) => json::id(&mut body, word),
            Fact::Currency(currency) => json::id(&mut body, currency.as_str()),
            Fact::Instant(at) => json::shown(&mut body, at),
            Fact::Hold(hold) => {
                json::raw(&mut body, "\"h_");
                json::digits(&mut body, hold);
                json::raw(&mut body, "\"");
            }
            Fact::Purchase(purchase) => json::shown(&mut body, purchase),
            Fact::Null => json::raw(&mut body, "null"),
        }
    }
    body.push(b'}');
    finish(reason, body)
}

/// The same with the error of each field.
pub fn invalid(reason: Reason, request: RequestId, errors: &[FieldError]) -> Answer {
    let list = errors
        .iter()
        .map(|error| json!({"field": error.field, "message": error.message}));
    let list = serde_json::Value::Array(list.collect());
    let mut body = open(reason, request);
    json::raw(&mut body, ",\"errors\":");
    json::raw(&mut body, &list.to_string());
    body.push(b'}');
    finish(reason, body)
}

/// The response for a payment that was not made, with what the buyer needs for another try.
pub fn declined(view: &DeclineView) -> Answer {
    let reason = Reason::Refusal(view.reason);
    let mut body = open_with(reason, view.request, &detail::declined(view));
    json::raw(&mut body, ",\"purchase_id\":\"p_");
    json::digits(&mut body, view.purchase);
    json::raw(&mut body, "\"");
    // If the gateway was not reached, its advice about the card is unknown.
    if view.reason == Refusal::PaymentDeclined {
        json::raw(&mut body, ",\"code\":");
        json::id_or_null(&mut body, view.code.as_ref().map(GatewayCode::as_str));
        json::raw(&mut body, ",\"retry_advice\":");
        json::id(&mut body, view.advice.as_str());
    }
    if let Some(returned) = view.returned {
        let currency = returned.currency.as_ref().map(Currency::as_str);
        let returned = json!({"value": returned.amount.get(), "currency": currency});
        json::raw(&mut body, ",\"returned\":");
        json::raw(&mut body, &returned.to_string());
    }
    if let Some(expires_at) = view.hold {
        json::raw(&mut body, ",\"hold\":{\"hold_id\":\"h_");
        json::digits(&mut body, view.purchase);
        json::raw(&mut body, "\",\"expires_at\":");
        json::shown(&mut body, expires_at);
        body.push(b'}');
    }
    body.push(b'}');
    finish(reason, body)
}

/// A refused body, with line and column of the error, both from 1.
pub fn invalid_at(request: RequestId, line: usize, column: usize, message: &str) -> Answer {
    let reason = Reason::Refusal(Refusal::InvalidRequest);
    let list = json!([{"field": "body", "message": message, "line": line, "column": column}]);
    let mut body = open(reason, request);
    json::raw(&mut body, ",\"errors\":");
    json::raw(&mut body, &list.to_string());
    body.push(b'}');
    finish(reason, body)
}

/// A limit of requests, attempts or what one buyer may have at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in the headers.
    pub scope: QuotaScope,
    pub count: u64,
    /// The window in seconds; `None`: at once.
    pub window_s: Option<u64>,
}

/// The problem details of a reached limit, with its three headers; there is room again after
/// `room_after_ms`.
pub fn rate_limited(request: RequestId, limit: Limit, room_after_ms: u64) -> Answer {
    const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
    const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
    let wait_s = room_after_ms.div_ceil(1_000).max(1);
    let value = |text: String| {
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("numbers and these words are of visible ASCII")
    };
    let Limit {
        scope,
        count,
        window_s,
    } = limit;
    let name = scope.as_str();
    let window = window_s.map_or_else(String::new, |it| format!(";w={it}"));
    let facts = RefusalFacts::Quota {
        scope,
        limit: count,
        window_s,
    };
    let mut answer = problem_of(Refusal::RateLimited.into(), request, Some(&facts));
    answer.headers = vec![
        (RETRY_AFTER, HeaderValue::from(wait_s)),
        (POLICY, value(format!("\"{name}\";q={count}{window}"))),
        (LIMIT, value(format!("\"{name}\";r=0;t={wait_s}"))),
    ];
    answer
}

/// A complete HTTP/1.1 response, for a connection that hyper does not drive (any more).
pub fn on_the_wire(reason: Reason, request: RequestId) -> Vec<u8> {
    let Answer { status, body, .. } = problem(reason, request);
    let phrase = status.canonical_reason().unwrap_or_default();
    let mut wire = format!(
        "HTTP/1.1 {} {phrase}\r\ncontent-type: application/problem+json\r\nx-request-id: {request}\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: {}\r\n\r\n",
        status.as_u16(),
        body.len()
    )
    .into_bytes();
    wire.extend_from_slice(&body);
    wire
}

fn open(reason: Reason, request: RequestId) -> Vec<u8> {
    open_with(reason, request, reason.told().detail)
}

fn open_with(reason: Reason, request: RequestId, detail: &str) -> Vec<u8> {
    let told = reason.told();
    let mut body = Vec::with_capacity(384);
    json::raw(&mut body, "{\"type\":\"https://holdfast.dev/problems/");
    json::raw(&mut body, told.reason);
    json::raw(&mut body, "\",\"title\":");
    json::id(&mut body, told.title);
    json::raw(&mut body, ",\"status\":");
    json::number(&mut body, told.status);
    json::raw(&mut body, ",\"reason\":");
    json::id(&mut body, told.reason);
    json::raw(&mut body, ",\"detail\":");
    json::id(&mut body, detail);
    json::raw(&mut body, ",\"request_id\":\"");
    json::request_id(&mut body, request);
    body.push(b'"');
    body
}

fn finish(reason: Reason, body: Vec<u8>) -> Answer {
    let status = reason.status();
    let headers = match status {
        StatusCode::SERVICE_UNAVAILABLE => vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
        _ => Vec::new(),
    };
    Answer {
        status,
        kind: ContentKind::Problem(reason.told().reason),
        body,
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_told_as_json_with_its_word_and_status() {
        for refusal in Refusal::ALL {
            let answer = problem(refusal.into(), RequestId(7));
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["reason"], refusal.reason());
            assert_eq!(body["status"], answer.status.as_u16());
            assert_eq!(body["request_id"], "req_0000000000000007");
            assert!(answer.status.is_client_error() || answer.status.is_server_error());
        }
    }
}
