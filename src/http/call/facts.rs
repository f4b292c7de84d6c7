//! Owns what a refusal says of the call itself: the id that it asked for, the bound of its body, the
//! codings that are taken, what is wrong with its key.
//!
//! Invariant: of what came only a plain word is repeated, and no card number.
//! Deliberately absent: what an engine's refusal is about, which it says itself.

use super::Call;
use crate::engine::refusal::Refusal;
use crate::http::wire::answer::Answer;
use crate::http::wire::idempotency::NoKey;
use crate::http::wire::problem::{Reason, problem, problem_about};
use crate::ids::{UserId, holds_card_number};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue};
use serde_json::{Value, json};

const CODED: &str =
    "The body has a Content-Encoding. Send the body as it is; no coding is supported.";

impl Call {
    /// The refusal with what it says of this call.
    pub fn problem(&self, reason: impl Into<Reason>) -> Answer {
        let reason = reason.into();
        match (reason, self.body_bytes_max.get()) {
            (Reason::Refusal(Refusal::BodyTooLarge), Some(bytes_max)) => {
                let detail = format!(
                    "The body is larger than {bytes_max} bytes, the maximum for this path."
                );
                let facts = json!({ "bytes_max": bytes_max });
                problem_about(reason, self.id, &detail, &facts)
            }
            (Reason::Refusal(Refusal::UnsupportedMediaType), _) if self.has_coding() => {
                let facts = json!({ "accept_encoding": ["identity"] });
                let answer = problem_about(reason, self.id, CODED, &facts);
                answer.with(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            }
            _ => {
                let answer = problem(reason, self.id);
                match self.asked_for(reason) {
                    Some(facts) => answer.with_facts(&facts),
                    None => answer,
                }
            }
        }
    }

    /// The refusal of a call without a usable key.
    pub fn no_key(&self, why: NoKey) -> Answer {
        let message = why.message();
        let detail = format!("The header Idempotency-Key {message}.");
        let facts = json!({ "errors": [{ "field": "Idempotency-Key", "message": message }] });
        problem_about(
            Refusal::IdempotencyKeyMissing.into(),
            self.id,
            &detail,
            &facts,
        )
    }

    /// Whether the body has a content coding; none is supported.
    pub(super) fn has_coding(&self) -> bool {
        let mut codings = self.parts.headers.get_all(CONTENT_ENCODING).iter();
        codings.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    /// The id in the path of a call that found nothing there.
    fn asked_for(&self, reason: Reason) -> Option<Value> {
        let (first, second) = match self.param.split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (self.param.as_str(), None),
        };
        let name = match reason {
            Reason::Refusal(Refusal::ProductNotFound) => "product_id",
            Reason::Refusal(Refusal::HoldNotFound) => "hold_id",
            Reason::Refusal(Refusal::PurchaseNotFound) | Reason::RefundNotFound => "purchase_id",
            Reason::Refusal(Refusal::PromotionNotFound) => "promotion_code",
            Reason::UserNotFound => "user_id",
            Reason::ReceiptNotFound => "receipt_id",
            Reason::NotFound => "id",
            _ => return None,
        };
        let mut facts = json!({ name: plain(first)? });
        if reason == Reason::RefundNotFound
            && let Some(number) = second.and_then(|it| it.parse::<u32>().ok())
        {
            facts["number"] = number.into();
        }
        Some(facts)
    }
}

/// `text` if an answer may repeat it: only a plain word, in the form of an id.
fn plain(text: &str) -> Option<&str> {
    (UserId::parse(text).is_some() && !holds_card_number(text)).then_some(text)
}
