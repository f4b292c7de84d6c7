//! Owns the operator's requests about purchases under review: the queue, and the decisions.
//!
//! Invariants: a decision is an event with the name of its key and its note; text that looks like a
//! card number in a note is refused, and neither stored nor repeated; of two decisions about one
//! purchase one counts, and the other gets 409. A decision continues if its client disconnects or
//! has waited long enough, and `Location` says where to look.
//! Deliberately absent: which purchases are reviewed (the engine), and deadlines (`payments`).

use super::inquiries::buyer_json;
use super::reasons::{REASON_FORM, plain_reason};
use super::refunds::money_of;
use crate::engine::command::Verdict;
use crate::engine::event::{Decider, Judgement};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::{BuyerView, More, PurchaseView};
use crate::http::call::worker::Worker;
use crate::http::call::{Call, location};
use crate::http::shop::purchases::PurchaseLookup;
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::PurchaseAct;
use crate::http::wire::fields::{Fields, InvalidBody, required};
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::PurchaseId;
use crate::payments::driver::Payments;
use crate::time::UnixMs;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Maximum number of purchases per page.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;

/// Purchases under review.
pub struct Reviews {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    pub purchases: Arc<PurchaseLookup>,
}

impl Reviews {
    /// The open reviews, earliest deadline first.
    pub async fn list(&self, call: Call) -> Answer {
        let (after, limit) = match page_in(call.parts.uri.query()) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        // It takes the lock of every shard, so it runs on the thread of the reports.
        let journal = Arc::clone(&self.worker.journal);
        let Ok((waiting, total, durable_at)) =
            tokio::task::spawn_blocking(move || journal.reads().review_views(after, limit)).await
        else {
            return call.problem(Reason::NotReady);
        };
        let next = match waiting.more {
            More::Yes => waiting.entries.last().map(|(view, _)| place_of(view)),
            More::No => None,
        };
        let now = self.worker.journal.now();
        let shown = waiting.entries.iter();
        let shown = shown.map(|(view, buyer)| self.review_json(view, buyer, now));
        let shown = json!({
            "reviews": shown.collect::<Vec<_>>(),
            "total": total,
            "more": next.is_some(),
            "next": next,
        });
        self.worker.read(&call, durable_at, &shown).await
    }

    fn review_json(&self, view: &PurchaseView, buyer: &BuyerView, now: UnixMs) -> Value {
        let opened_at = view.review_opened_at().unwrap_or_default();
        json!({
            "purchase_id": view.purchase.to_string(),
            "product_id": view.product.as_str(),
            "quantity": view.quantity,
            "amount": view.quote.amount.get(),
            "currency": view.quote.currency.as_str(),
            "reasons": view.review.as_ref().map(|review| &review.reasons),
            "opened_at": opened_at.to_string(),
            "age_s": now.since_ms(opened_at) / 1_000,
            "deadline": deadline(view).map(|at| at.to_string()),
            "buyer": buyer_json(&self.worker.journal, buyer),
        })
    }

    /// Captures or voids a purchase under review.
    pub async fn decide(&self, call: Call, body: Incoming, verdict: Verdict) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let note = match note_in(&body) {
            Ok(note) => note,
            Err((reason, errors)) => return call.invalid(reason, &errors),
        };
        let Some(id) = PurchaseId::parse_purchase(&call.param) else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        if self.worker.journal.reads().purchase(id).is_none() {
            return call.problem(Refusal::PurchaseNotFound);
        }
        let decider = Decider::Person(Judgement {
            by: call.by(),
            note,
        });
        let acting = Arc::clone(call.acting());
        let acted = move |view: &PurchaseView| {
            let (before, mut after) = (money_of(view), money_of(view));
            let next = match verdict {
                Verdict::Approve => PurchaseState::Capturing,
                Verdict::Reject => PurchaseState::Voiding,
            };
            after["status"] = next.as_str().into();
            let target = view.purchase.to_string();
            acting.acted(Some(&target), Some(&before), Some(&after))
        };
        let payments = &self.payments;
        let deciding = payments.decide_review(id, verdict, decider, acted, &self.worker.gate);
        match self
            .purchases
            .after(&call, (id, PurchaseAct::Review), deciding)
            .await
        {
            Ok(view) => self.decision_answer(&view),
            Err(answer) => answer,
        }
    }

    fn decision_answer(&self, view: &PurchaseView) -> Answer {
        let shown = self.purchases.json(view);
        match view.state {
            PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Voiding
            | PurchaseState::Stuck
            | PurchaseState::CaptureDiffers => {
                let at = location(format!("/admin/purchases/{}", view.purchase));
                Answer::json(StatusCode::ACCEPTED, shown).with(LOCATION, at)
            }
            // As decided, or voided because the gateway no longer captures; the purchase says
            // which.
            PurchaseState::Captured
            | PurchaseState::Voided
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack
            | PurchaseState::Held
            | PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::Declined
            | PurchaseState::Expired
            | PurchaseState::Released => Answer::json(StatusCode::OK, shown),
        }
    }
}

fn deadline(view: &PurchaseView) -> Option<UnixMs> {
    view.review.as_ref().and_then(|review| review.deadline)
}

/// The position of a purchase in the queue: its deadline and id.
fn place_of(view: &PurchaseView) -> String {
    let due = deadline(view).unwrap_or_default().get();
    format!("{due}.{}", view.purchase)
}

/// Position and page size.
type PageAsked = (Option<(UnixMs, PurchaseId)>, usize);

fn page_in(query: Option<&str>) -> Result<PageAsked, Vec<FieldError>> {
    let mut query = Query::of(query, &["after", "limit"]);
    let after = query.parsed(
        "after",
        "must be the value of next from an earlier answer",
        |text| {
            let (due, id) = text.split_once('.')?;
            let due = UnixMs::new(due.parse().ok()?);
            Some((due, PurchaseId::parse_purchase(id)?))
        },
    );
    let limit = query.integer("limit", 1, LIMIT_MAX);
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    let errors = query.into_errors();
    if errors.is_empty() {
        let limit = usize::try_from(limit).expect("at most a thousand");
        Ok((after, limit))
    } else {
        Err(errors)
    }
}

/// The note of the decision.
fn note_in(body: &[u8]) -> Result<String, InvalidBody> {
    let mut fields = Fields::of(body, &["note"]);
    let note = fields.words(required("note"), REASON_FORM, plain_reason);
    match (note, fields.into_errors()) {
        (Some(note), errors) if errors.is_empty() => Ok(note),
        (_, errors) => Err((Refusal::InvalidRequest, errors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_plain_text_without_card_numbers() {
        let long = "x".repeat(500);
        for note in ["ok", "known customer, called back", &long] {
            let body = json!({ "note": note }).to_string();
            assert_eq!(note_in(body.as_bytes()), Ok(note.to_owned()));
        }
        let longer = "x".repeat(501);
        for (body, reason) in [
            (json!({}), Refusal::InvalidRequest),
            (json!({ "note": "" }), Refusal::InvalidRequest),
            (json!({ "note": "  " }), Refusal::InvalidRequest),
            (json!({ "note": longer }), Refusal::InvalidRequest),
            (json!({ "note": 7 }), Refusal::InvalidRequest),
            (json!({ "note": "a", "more": 1 }), Refusal::InvalidRequest),
            (
                json!({ "note": "paid by 4111 1111 1111 1111" }),
                Refusal::InvalidRequest,
            ),
        ] {
            let (found, errors) = note_in(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(found, reason, "{body}");
            assert!(!format!("{errors:?}").contains("4111"));
        }
    }
}
