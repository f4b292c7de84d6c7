//! Owns the operator's refunds of captured money.
//!
//! Invariants: text that looks like a card number in a reason is refused, and neither stored nor
//! repeated; a refund continues if its client disconnects or has waited long enough, and `Location`
//! says where to look; the JSON of a refund depends only on its view, so a replayed response is the
//! same.
//! Deliberately absent: whether money may be refunded, which the engine decides.

use super::reasons::{REASON_FORM, plain_reason};
use crate::engine::command::StartRefund;
use crate::engine::event::{IdempotencyKey, RefundFailure, Restock};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{RefundBar, RefusalFacts};
use crate::engine::view::{PurchaseView, RefundStatus, RefundView};
use crate::http::call::attempt::{AfterSubmit, AttemptKind, Malformed, Readable, Reply, faulted};
use crate::http::call::worker::Worker;
use crate::http::call::{Call, location};
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, InvalidBody, optional, required};
use crate::http::wire::idempotency::Canonical;
use crate::http::wire::problem::{FieldError, Reason, problem_about, problem_of};
use crate::ids::{GatewayCode, PurchaseId, UserId};
use crate::journal::{Audit, RefundChange, RefundOutcome, StorageFault, Submitted};
use crate::money::Amount;
use crate::payments::driver::Payments;
use crate::report::clawback;
use crate::telemetry::metrics::AttemptResult;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Refunds, for the operator.
pub struct Refunds {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    /// How long to wait for the gateway.
    pub answer_within: Duration,
}

impl Refunds {
    pub async fn start(&self, call: Call, body: Incoming) -> Answer {
        let id = PurchaseId::parse_purchase(&call.param);
        let found = id.and_then(|id| self.worker.journal.reads().purchase(id));
        let refunding = RefundAttempt {
            refunds: self,
            call: &call,
            purchase: found.map(|(view, _)| view),
        };
        self.worker.attempt(&call, body, &refunding).await
    }

    /// The refunds of a purchase.
    pub async fn list(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_purchase(&call.param);
        let found = id.and_then(|id| self.worker.journal.reads().purchase_with_post_capture(id));
        let Some((_, post_capture, durable_at)) = found else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let refunds: Vec<_> = post_capture.refunds.iter().map(refund_json).collect();
        let shown = json!({ "refunds": refunds });
        self.worker.read(&call, durable_at, &shown).await
    }

    pub async fn one(&self, call: Call) -> Answer {
        let (id, number) = call.param.rsplit_once('/').unwrap_or((&call.param, ""));
        let known = PurchaseId::parse_purchase(id);
        let known = known.filter(|id| self.worker.journal.reads().purchase(*id).is_some());
        let Some(id) = known else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits);
        let found = number.and_then(|number| self.worker.journal.reads().refund(id, number));
        let Some((view, durable_at)) = found else {
            return call.problem(Reason::RefundNotFound);
        };
        let shown = refund_json(&view);
        self.worker.read(&call, durable_at, &shown).await
    }

    /// Drives a refund that has just started. It continues in the background if this is dropped or
    /// has waited long enough.
    async fn give_back(&self, call: &Call, started: &RefundView) -> Reply {
        let (purchase, number) = (started.purchase, started.number);
        let refunding = self.payments.refund(purchase, number, &self.worker.gate);
        let view = match tokio::time::timeout(self.answer_within, refunding).await {
            Ok(Ok(view)) => view,
            Ok(Err(fault)) => return faulted(call, &fault),
            Err(_) => {
                let known = self.worker.journal.reads().refund(purchase, number);
                let (view, durable_at) = known.expect("this refund began");
                if let Err(reason) = self.worker.durable(Some(durable_at)).await {
                    return (call.problem(reason), AttemptResult::Refused(reason));
                }
                view
            }
        };
        refund_reply(&view)
    }
}

/// A requested refund, with its purchase.
struct RefundAttempt<'a> {
    refunds: &'a Refunds,
    call: &'a Call,
    purchase: Option<PurchaseView>,
}

impl RefundAttempt<'_> {
    fn malformed(&self, reason: Refusal, errors: Vec<FieldError>) -> Box<Malformed> {
        let readable = self.known();
        Box::new(Malformed {
            reason,
            errors,
            readable,
            about: None,
        })
    }
}

impl AttemptKind for RefundAttempt<'_> {
    type Order = RefundOrder;
    type Begun = Box<RefundView>;
    type Outcome = RefundOutcome;

    fn known(&self) -> Readable {
        Readable {
            user: self.purchase.as_ref().map(|view| view.user.clone()),
            ..Readable::default()
        }
    }

    fn parse(&self, body: &[u8]) -> Result<RefundOrder, Box<Malformed>> {
        RefundOrder::parse(body).map_err(|(reason, errors)| self.malformed(reason, errors))
    }

    fn buyer<'a>(&'a self, order: &'a RefundOrder) -> Result<&'a UserId, Box<Malformed>> {
        let Some(view) = &self.purchase else {
            return Err(self.malformed(Refusal::PurchaseNotFound, Vec::new()));
        };
        if order.amount == Some(Amount::ZERO) && view.quote.amount > Amount::ZERO {
            let wrong = FieldError {
                field: "amount".into(),
                message: "must be 0 for a free order, and above 0 for any other".into(),
            };
            return Err(self.malformed(Refusal::InvalidRequest, vec![wrong]));
        }
        Ok(&view.user)
    }

    fn readable(&self, _: &RefundOrder) -> Readable {
        self.known()
    }

    fn canonical(&self, order: &RefundOrder, method: &str, path: &str) -> Canonical {
        order.canonical(method, path)
    }

    fn admission(&self) -> Result<(), Refusal> {
        self.refunds.payments.admission()
    }

    fn replay(&self, user: &UserId, key: &IdempotencyKey) -> Option<Submitted<RefundOutcome>> {
        self.refunds.worker.journal.reads().replay_refund(user, key)
    }

    fn submit(
        &self,
        order: RefundOrder,
        key: IdempotencyKey,
    ) -> Result<Submitted<RefundOutcome>, StorageFault> {
        let purchase = self.purchase.as_ref();
        let command = StartRefund {
            purchase: purchase.expect("its buyer was asked for").purchase,
            amount: order.amount,
            previously_refunded: order.previously_refunded,
            note: order.reason,
            restock: order.restock,
            key,
            by: self.call.by(),
        };
        let acted = |change: &RefundChange| {
            let (before, mut after) = (money_of(&change.before), money_of(&change.before));
            let started = &change.started;
            after["refund"] = started.number.into();
            after["refund_amount"] = started.amount.get().into();
            after["restock"] = started.restock.as_bool().into();
            let acting = self.call.acting();
            acting.acted(Some(&self.call.param), Some(&before), Some(&after))
        };
        let journal = &self.refunds.worker.journal;
        journal.start_refund(&command, Audit::Act(&acted))
    }

    fn next(&self, outcome: RefundOutcome) -> AfterSubmit<Box<RefundView>> {
        match outcome {
            RefundOutcome::Started(view) => AfterSubmit::Drive(view),
            RefundOutcome::Ended(view) => AfterSubmit::Tell(refund_reply(&view)),
        }
    }

    async fn drive(&self, started: Box<RefundView>) -> Reply {
        self.refunds.give_back(self.call, &started).await
    }
}

/// The response about a refund, the same at its end and in a replay.
fn refund_reply(view: &RefundView) -> Reply {
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
            (answer, AttemptResult::Success)
        }
        RefundStatus::Pending => {
            let at = location(format!("/admin/purchases/{purchase}/refunds/{number}"));
            let answer = Answer::value(StatusCode::ACCEPTED, &refund_json(view));
            (answer.with(LOCATION, at), AttemptResult::Pending)
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
            (answer, AttemptResult::Refused(refusal))
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
            (answer, AttemptResult::Refused(refusal))
        }
    }
}

/// The money of a purchase for the audit trail, in minor units.
pub fn money_of(view: &PurchaseView) -> Value {
    json!({
        "status": view.state.as_str(),
        "amount": view.quote.amount.get(),
        "currency": view.quote.currency.as_str(),
        "refunded_amount": view.refunded.get(),
    })
}

/// The JSON of a refund. Amounts are in minor units, as in the request.
pub fn refund_json(view: &RefundView) -> Value {
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

/// A requested refund.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RefundOrder {
    /// `None`: all that is left.
    amount: Option<Amount>,
    /// The amount that the operator believes was refunded before.
    previously_refunded: Amount,
    reason: String,
    /// Whether the units go back into stock.
    restock: Restock,
}

impl RefundOrder {
    /// The order in `body`.
    fn parse(body: &[u8]) -> Result<Self, InvalidBody> {
        let mut fields = Fields::of(
            body,
            &["amount", "previously_refunded", "reason", "restock"],
        );
        // The engine checks both against the captured amount.
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
        match (order, fields.into_errors()) {
            (Some(order), errors) if errors.is_empty() => Ok(order),
            (_, errors) => Err((Refusal::InvalidRequest, errors)),
        }
    }

    /// The fields of the fingerprint.
    fn canonical(&self, method: &str, path: &str) -> Canonical {
        let amount = self.amount.map(|amount| amount.get().to_string());
        Canonical::new(method, path)
            .text(amount.as_deref())
            .text(Some(&self.previously_refunded.get().to_string()))
            .text(Some(&self.reason))
            .text(self.restock.as_bool().then_some("restock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_field_is_named_and_its_value_is_not_repeated() {
        let wrong = |body: &str| {
            let (reason, errors) = RefundOrder::parse(body.as_bytes()).unwrap_err();
            let shown = format!("{errors:?}");
            assert!(!shown.contains("4111"), "{body}");
            let fields = errors.into_iter().map(|error| error.field);
            (reason, fields.collect::<Vec<_>>())
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
            (r#"{"previously_refunded":0,"reason":"r","note":1}"#, "note"),
            ("[]", "body"),
        ] {
            assert_eq!(wrong(body), (invalid, vec![field.into()]), "{body}");
        }
        let long = format!(
            r#"{{"previously_refunded":0,"reason":"{}"}}"#,
            "ü".repeat(501)
        );
        assert_eq!(wrong(&long), (invalid, vec!["reason".into()]));
        assert!(RefundOrder::parse(long.replacen('ü', "", 1).as_bytes()).is_ok());
        let card = r#"{"previously_refunded":0,"reason":"4111 1111 1111 1111"}"#;
        assert_eq!(
            wrong(card),
            (Refusal::InvalidRequest, vec!["reason".into()])
        );
    }
}
