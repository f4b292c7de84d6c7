//! Owns refusals as seen by clients: RFC 9457 problem details.
//!
//! Invariants: status and title are those of the reason (`reason`); a refusal with figures has them
//! in its sentence, too (`detail`). Both depend on the refusal alone, so a replayed one is the same
//! byte for byte; nothing of a request is ever repeated in a response.
//! Deliberately absent: deciding on a refusal.

use super::answer::{Answer, ContentKind};
use super::detail;
pub use super::reason::Reason;
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
    let detail = detail.as_deref().unwrap_or(reason.texts().detail);
    let mut body = open_with(reason, request, detail);
    for (name, fact) in facts.fields() {
        json::raw(&mut body, ",");
        json::id(&mut body, name);
        json::raw(&mut body, ":");
        match fact {
            Fact::Number(number) => json::number(&mut body, number),
            Fact::Word(word) => json::id(&mut body, word),
            Fact::Currency(currency) => json::id(&mut body, currency.as_str()),
            Fact::Instant(at) => json::instant(&mut body, at),
            Fact::Hold(hold) => {
                json::raw(&mut body, "\"h_");
                json::digits(&mut body, hold);
                json::raw(&mut body, "\"");
            }
            Fact::Purchase(purchase) => json::shown(&mut body, purchase),
            Fact::Currencies(list) => {
                for (place, currency) in list.iter().enumerate() {
                    json::raw(&mut body, if place == 0 { "[" } else { "," });
                    json::id(&mut body, currency.as_str());
                }
                json::raw(
                    &mut body,
                    if list.iter().next().is_none() {
                        "[]"
                    } else {
                        "]"
                    },
                );
            }
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
        json::instant(&mut body, expires_at);
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
    open_with(reason, request, reason.texts().detail)
}

fn open_with(reason: Reason, request: RequestId, detail: &str) -> Vec<u8> {
    let told = reason.texts();
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
        kind: ContentKind::Problem(reason.texts().reason),
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
