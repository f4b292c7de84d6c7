//! Owns the operator's acts on money after it was asked for: refunds of what was captured, voids
//! of what was only set aside.
//!
//! Invariants: a refund is refused here for its shape only, and then reported for the audit trail;
//! what looks like a card number in its reason is refused and neither kept nor repeated; a refund
//! or void goes on when its caller is gone or has waited long enough, who is then told where to
//! look. A refund's JSON follows from its view alone, so that one told again is the same.
//! Deliberately absent: whether money may go back, which the engine decides.

use super::operator::by;
use super::terms::Refused;
use crate::engine::command::StartRefund;
use crate::engine::event::{Flow, RefundFailure, Restock};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{RefundBar, RefusalFacts};
use crate::engine::view::{PurchaseView, RefundStatus, RefundView};
use crate::http::front::{Call, Front};
use crate::http::shop::buying::{Told, caller_of, location, wrong_state};
use crate::http::shop::orders::Readable;
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::Act;
use crate::http::wire::fields::{Fields, optional, required};
use crate::http::wire::idempotency::{self, Canonical};
use crate::http::wire::problem::{FieldError, Reason, problem_about, problem_of};
use crate::ids::{GatewayCode, PurchaseId};
use crate::journal::{Audit, RefundChange, RefundOutcome, Submitted, WriteError};
use crate::money::Amount;
use crate::report::clawback;
use crate::telemetry::metrics::{Attempt, Stage};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// The longest reason of a refund.
const REASON_CHARS_MAX: usize = 500;

impl Front {
    pub(in crate::http) async fn refunds(&self, call: Call, body: Incoming) -> Answer {
        if call.parts.method == Method::POST {
            let (answer, attempt) = self.refund_asked(&call, body).await;
            self.counters.attempt(Flow::Refund, attempt);
            return answer;
        }
        let id = PurchaseId::parse_purchase(&call.param);
        let found = id.and_then(|id| self.core.journal.purchase_with_aftermath(id));
        let Some((_, aftermath, durable_at)) = found else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let refunds: Vec<_> = aftermath.refunds.iter().map(refund_json).collect();
        self.read(&call, durable_at, || json!({ "refunds": refunds }))
            .await
    }

    pub(in crate::http) async fn refund(&self, call: Call) -> Answer {
        let (id, number) = call.param.rsplit_once('/').unwrap_or((&call.param, ""));
        let known = PurchaseId::parse_purchase(id);
        let known = known.filter(|id| self.core.journal.purchase(*id).is_some());
        let Some(id) = known else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits);
        let found = number.and_then(|number| self.core.journal.refund(id, number));
        let Some((view, durable_at)) = found else {
            return call.problem(Reason::RefundNotFound);
        };
        self.read(&call, durable_at, || refund_json(&view)).await
    }

    async fn refund_asked(&self, call: &Call, body: Incoming) -> Told {
        let purchase = PurchaseId::parse_purchase(&call.param);
        let found = purchase.and_then(|id| self.core.journal.purchase(id));
        let charged = found
            .as_ref()
            .is_some_and(|(view, _)| view.quote.amount > Amount::ZERO);
        let user = found.map(|(view, _)| view.user);
        let readable = Readable {
            user: user.clone(),
            ..Readable::default()
        };
        let refused = |reason| self.refused_shape(call, Flow::Refund, reason, readable.clone());
        let body = match self.json_body(call, body).await {
            Ok(body) => body,
            Err(reason) => return refused(reason),
        };
        let order = match RefundOrder::parse(&body) {
            Ok(order) => order,
            Err((reason, errors)) => return (call.invalid(reason, &errors), refused(reason).1),
        };
        let Some(key) = idempotency::key_in(&call.parts.headers) else {
            return refused(Refusal::IdempotencyKeyMissing);
        };
        let (Some(purchase), Some(user)) = (purchase, user) else {
            return refused(Refusal::PurchaseNotFound);
        };
        if order.amount == Some(Amount::ZERO) && charged {
            let wrong = [FieldError {
                field: "amount",
                message: "must be 0 for a free order, and above 0 for any other".into(),
            }];
            let reason = Refusal::InvalidRequest;
            return (call.invalid(reason, &wrong), refused(reason).1);
        }
        let canonical = order.canonical(call.parts.method.as_str(), call.parts.uri.path());
        let key = idempotency::digests(&caller_of(call).owner, user.as_str(), key, canonical);
        if let Err(reason) = self.core.payments.admission() {
            // No refund can begin; one that has ended is told all the same.
            return match self.core.journal.replay_refund(&user, &key) {
                Some(replay) => self.refund_submitted(call, replay).await,
                None => refused(reason),
            };
        }
        let command = StartRefund {
            purchase,
            amount: order.amount,
            previously_refunded: order.previously_refunded,
            note: order.reason,
            restock: order.restock,
            key,
            by: by(call),
        };
        let began = Instant::now();
        let acting = call.acting();
        let acted = |change: &RefundChange| {
            let (before, mut after) = (money_of(&change.before), money_of(&change.before));
            let started = &change.started;
            after["refund"] = started.number.into();
            after["refund_amount"] = started.amount.get().into();
            after["restock"] = started.restock.as_bool().into();
            acting.acted(Some(&call.param), Some(&before), Some(&after))
        };
        let journal = &self.core.journal;
        let submitted = journal.start_refund(&command, Audit::Act(&acted));
        self.counters.took(Stage::Shard, began.elapsed());
        match submitted {
            Ok(submitted) => self.refund_submitted(call, submitted).await,
            Err(fault) => Self::faulted(call, &fault),
        }
    }

    async fn refund_submitted(&self, call: &Call, submitted: Submitted<RefundOutcome>) -> Told {
        let told = match submitted.outcome {
            Ok(RefundOutcome::Started(view)) => return self.give_back(call, &view).await,
            Ok(RefundOutcome::Ended(view)) => refund_told(&view),
            Err(refused) => Self::refused(refused),
        };
        let (replay, durable_at) = (submitted.replay, submitted.durable_at);
        self.once_durable(call, told, replay, durable_at).await
    }

    /// Drives a refund that has just begun. It goes on by itself where this is dropped or has
    /// waited long enough.
    async fn give_back(&self, call: &Call, started: &RefundView) -> Told {
        let (purchase, number) = (started.purchase, started.number);
        let refunding = self.core.payments.refund(purchase, number, &self.gate);
        let view = match tokio::time::timeout(self.core.answer_within, refunding).await {
            Ok(Ok(view)) => view,
            Ok(Err(fault)) => return Self::faulted(call, &fault),
            Err(_) => {
                let known = self.core.journal.refund(purchase, number);
                let (view, durable_at) = known.expect("this refund began");
                if let Err(reason) = self.durable(Some(durable_at)).await {
                    return (call.problem(reason), Attempt::Refused(reason));
                }
                view
            }
        };
        refund_told(&view)
    }

    /// Gives an authorization back. Asked again of one that is given back, the same answer.
    pub(in crate::http) async fn void(&self, call: Call, body: Incoming) -> Answer {
        if let Err((reason, errors)) = self.no_fields(&call, body).await {
            return call.invalid(reason, &errors);
        }
        let id = PurchaseId::parse_purchase(&call.param);
        let found = match self.durable_purchase(id).await {
            Ok(found) => found,
            Err(reason) => return call.problem(reason),
        };
        let Some(found) = found else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let acting = Arc::clone(call.acting());
        let acted = move |view: &PurchaseView| {
            let (before, mut after) = (money_of(view), money_of(view));
            if view.state != PurchaseState::Voided {
                after["status"] = PurchaseState::Voiding.as_str().into();
            }
            let target = view.purchase.to_string();
            acting.acted(Some(&target), Some(&before), Some(&after))
        };
        if found.state == PurchaseState::Voided {
            return match self.write_down(acted(&found)).await {
                Ok(()) => self.void_told(&call, &found),
                Err(reason) => call.problem(reason),
            };
        }
        let purchase = found.purchase;
        let voiding = self
            .core
            .payments
            .void(purchase, by(&call), acted, &self.gate);
        let view = match tokio::time::timeout(self.core.answer_within, voiding).await {
            Ok(Ok(view)) => view,
            Ok(Err(WriteError::Refused(refusal))) => {
                return self.refused_of(&call, refusal, purchase, Act::Void).await;
            }
            Ok(Err(WriteError::Fault(_))) => return call.problem(Refusal::StorageUnavailable),
            Err(_) => match self.durable_purchase(id).await {
                Ok(Some(view)) => view,
                // It ended without a payment, and has been forgotten since.
                Ok(None) => return call.problem(Refusal::PurchaseNotFound),
                Err(reason) => return call.problem(reason),
            },
        };
        self.void_told(&call, &view)
    }

    fn void_told(&self, call: &Call, view: &PurchaseView) -> Answer {
        match view.state {
            PurchaseState::Voided => Answer::json(StatusCode::OK, self.purchase_json(view)),
            PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Voiding
            | PurchaseState::Stuck => {
                let at = location(format!("/admin/purchases/{}", view.purchase));
                Answer::json(StatusCode::ACCEPTED, self.purchase_json(view)).with(LOCATION, at)
            }
            // The payment came to another end meanwhile.
            PurchaseState::Held
            | PurchaseState::Captured
            | PurchaseState::Declined
            | PurchaseState::Expired
            | PurchaseState::Released
            | PurchaseState::CaptureDiffers
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack => wrong_state(call, view, Act::Void),
        }
    }

    /// Takes a body that is left out or has no fields.
    async fn no_fields(&self, call: &Call, body: Incoming) -> Result<(), Refused> {
        let bare = |reason| (reason, Vec::new());
        if call.parts.headers.contains_key(CONTENT_TYPE) {
            let body = self.json_body(call, body).await.map_err(bare)?;
            let errors = match body.trim_ascii() {
                b"" => Vec::new(),
                _ => Fields::of(&body, &[]).into_errors(),
            };
            return if errors.is_empty() {
                Ok(())
            } else {
                Err((Refusal::InvalidRequest, errors))
            };
        }
        let body = self.whole(call, body, self.core.body).await.map_err(bare)?;
        if body.is_empty() {
            Ok(())
        } else {
            Err(bare(Refusal::UnsupportedMediaType))
        }
    }
}

/// What its caller is told of a refund: the same at its end and under its key.
fn refund_told(view: &RefundView) -> Told {
    let RefundView {
        purchase,
        number,
        request,
        currency,
        ..
    } = *view;
    match &view.status {
        RefundStatus::Succeeded { .. } | RefundStatus::Returned { .. } => {
            let answer = Answer::value(StatusCode::CREATED, &refund_json(view));
            (answer, Attempt::Success)
        }
        RefundStatus::Pending => {
            let at = location(format!("/admin/purchases/{purchase}/refunds/{number}"));
            let answer = Answer::value(StatusCode::ACCEPTED, &refund_json(view));
            (answer.with(LOCATION, at), Attempt::Pending)
        }
        RefundStatus::Failed {
            failure: RefundFailure::LessWasLeft { refunded },
            ..
        } => {
            let refusal = Refusal::RefundConflict;
            let facts = RefusalFacts::Refunded {
                conflict: RefundBar::Stale,
                currency,
                refunded: *refunded,
                left: None,
            };
            let answer = problem_of(refusal.into(), request, Some(&facts));
            (answer, Attempt::Refused(refusal))
        }
        RefundStatus::Failed {
            failure: RefundFailure::Refused,
            code,
            ..
        } => {
            let refusal = Refusal::RefundFailed;
            let code = code.as_ref().map(GatewayCode::as_str);
            let amount = format!("{} {currency}", currency.in_units(view.amount.get()));
            let detail = match code {
                Some(code) => {
                    format!(
                        "The gateway refused to refund {amount} ({code}). Nothing was refunded."
                    )
                }
                None => format!("The gateway refused to refund {amount}. Nothing was refunded."),
            };
            let facts = json!({
                "purchase_id": purchase.to_string(),
                "number": number,
                "amount": view.amount.get(),
                "currency": currency.as_str(),
                "code": code,
            });
            let answer = problem_about(refusal.into(), request, &detail, &facts);
            (answer, Attempt::Refused(refusal))
        }
    }
}

/// What the audit trail shows of a purchase's money, in whole minor units.
pub(in crate::http) fn money_of(view: &PurchaseView) -> Value {
    json!({
        "status": view.state.as_str(),
        "amount": view.quote.amount.get(),
        "currency": view.quote.currency.as_str(),
        "refunded_amount": view.refunded.get(),
    })
}

/// A refund. Its amounts are whole minor units, as its request has them.
pub(in crate::http) fn refund_json(view: &RefundView) -> Value {
    let before = view.previously_refunded.get();
    let (status, settled_at, taken_back, code) = match &view.status {
        RefundStatus::Pending => ("pending", None, Value::Null, None),
        RefundStatus::Succeeded {
            at,
            clawback: taken,
        } => ("succeeded", Some(at), clawback(*taken), None),
        RefundStatus::Failed { at, code, .. } => ("failed", Some(at), Value::Null, code.as_ref()),
        RefundStatus::Returned {
            at,
            clawback: taken,
            ..
        } => ("returned", Some(at), clawback(*taken), None),
    };
    let returned_at = match &view.status {
        RefundStatus::Returned { returned_at, .. } => Some(returned_at),
        _ => None,
    };
    let refunded = match view.status {
        RefundStatus::Succeeded { .. } => before + view.amount.get(),
        RefundStatus::Pending | RefundStatus::Failed { .. } | RefundStatus::Returned { .. } => {
            before
        }
    };
    let mut shown = json!({
        "refund_id": format!("f_{:016x}", view.request.0),
        "purchase_id": view.purchase.to_string(),
        "number": view.number,
        "amount": view.amount.get(),
        "currency": view.currency.as_str(),
        "status": status,
        "previously_refunded": before,
        "refunded_amount": refunded,
        "reason": view.note,
        "restock": view.restock.as_bool(),
        "code": code.map(GatewayCode::as_str),
        "clawback": taken_back,
        "created_at": view.started_at.to_string(),
        "settled_at": settled_at.map(ToString::to_string),
        "request_id": view.request.to_string(),
    });
    if let Some(at) = returned_at {
        shown["returned_at"] = at.to_string().into();
    }
    shown
}

/// A refund that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RefundOrder {
    /// How much; `None`: all that is left.
    amount: Option<Amount>,
    /// What the operator believes went back before.
    previously_refunded: Amount,
    /// Why.
    reason: String,
    /// Whether the units go back into stock.
    restock: Restock,
}

impl RefundOrder {
    /// The order in `body`.
    fn parse(body: &[u8]) -> Result<Self, Refused> {
        let mut fields = Fields::of(
            body,
            &["amount", "previously_refunded", "reason", "restock"],
        );
        // What was captured bounds both; that is the engine's to say.
        let amount = fields.integer(optional("amount"), 0, i64::MAX);
        let before = fields.integer(required("previously_refunded"), 0, i64::MAX);
        let restock = fields.switch(optional("restock"));
        let reason = fields.words(required("reason"), REASON_FORM, plain_reason);
        let order = before.zip(reason).and_then(|(before, reason)| {
            Some(Self {
                amount: amount.and_then(Amount::new),
                previously_refunded: Amount::new(before)?,
                reason,
                restock: match restock {
                    Some(true) => Restock::Yes,
                    Some(false) | None => Restock::No,
                },
            })
        });
        let refusal = fields.refusal();
        match (order, fields.into_errors()) {
            (Some(order), errors) if errors.is_empty() => Ok(order),
            (_, errors) => Err((refusal, errors)),
        }
    }

    /// The fields that make two requests the same.
    fn canonical(&self, method: &str, path: &str) -> Canonical {
        let amount = self.amount.map(|amount| amount.get().to_string());
        Canonical::new(method, path)
            .text(amount.as_deref())
            .text(Some(&self.previously_refunded.get().to_string()))
            .text(Some(&self.reason))
            .text(self.restock.as_bool().then_some("restock"))
    }
}

/// What an operator's words must be.
pub(in crate::http) const REASON_FORM: &str =
    "must be a string of 1 to 500 characters without control characters";

/// An operator's words for why.
pub(in crate::http) fn plain_reason(text: &str) -> Option<String> {
    let fits = (1..=REASON_CHARS_MAX).contains(&text.chars().count());
    let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    (fits && plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_field_is_named_and_what_came_is_not() {
        let wrong = |body: &str| {
            let (reason, errors) = RefundOrder::parse(body.as_bytes()).unwrap_err();
            let fields: Vec<_> = errors.iter().map(|error| error.field).collect();
            assert!(!format!("{errors:?}").contains("4111"), "{body}");
            (reason, fields)
        };
        let invalid = Refusal::InvalidRequest;
        for (body, field) in [
            (
                r#"{"previously_refunded":0,"reason":"r","amount":{"value":1}}"#,
                "amount",
            ),
            (
                r#"{"previously_refunded":0,"reason":"r","amount":1.0}"#,
                "amount",
            ),
            (
                r#"{"previously_refunded":0,"reason":"r","amount":-1}"#,
                "amount",
            ),
            (
                r#"{"previously_refunded":0,"reason":"r","amount":"1"}"#,
                "amount",
            ),
            (
                r#"{"previously_refunded":0.0,"reason":"r"}"#,
                "previously_refunded",
            ),
            (r#"{"reason":"r"}"#, "previously_refunded"),
            (r#"{"previously_refunded":0}"#, "reason"),
            (r#"{"previously_refunded":0,"reason":" "}"#, "reason"),
            (r#"{"previously_refunded":0,"reason":"a\nb"}"#, "reason"),
            (r#"{"previously_refunded":0,"reason":"r","note":1}"#, "body"),
            ("[]", "body"),
        ] {
            assert_eq!(wrong(body), (invalid, vec![field]), "{body}");
        }
        let long = format!(
            r#"{{"previously_refunded":0,"reason":"{}"}}"#,
            "ü".repeat(501)
        );
        assert_eq!(wrong(&long), (invalid, vec!["reason"]));
        assert!(RefundOrder::parse(long.replacen('ü', "", 1).as_bytes()).is_ok());
        let card = r#"{"previously_refunded":0,"reason":"4111 1111 1111 1111"}"#;
        assert_eq!(wrong(card), (Refusal::InvalidCardToken, vec!["reason"]));
    }
}
