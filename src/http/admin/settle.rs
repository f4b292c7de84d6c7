//! Owns the operator's request that settles a capture of a different amount than requested.
//!
//! Invariants: the act, its note and the booked amount are in the audit trail, in the same append
//! as their effect; text that looks like a card number in a note is refused, and neither stored nor
//! repeated. A settlement continues if its client disconnects or has waited long enough, and
//! `Location` says where to look. Deliberately absent: what the gateway has, which `payments` looks
//! up.

use super::reasons::{REASON_FORM, plain_reason};
use super::refunds::money_of;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::PurchaseView;
use crate::http::call::worker::Worker;
use crate::http::call::{Call, location};
use crate::http::shop::purchases::PurchaseLookup;
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::PurchaseAct;
use crate::http::wire::fields::{Fields, InvalidBody, required};
use crate::ids::PurchaseId;
use crate::money::Amount;
use crate::payments::SettleAs;
use crate::payments::driver::Payments;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::StatusCode;
use std::sync::Arc;

/// Settling captures of a different amount.
pub struct Settlements {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    pub purchases: Arc<PurchaseLookup>,
}

impl Settlements {
    /// Books what the gateway captured, or refunds the rest of it.
    pub async fn settle(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let Settlement { wanted, note } = match Settlement::parse(&body) {
            Ok(settlement) => settlement,
            Err((reason, errors)) => return call.invalid(reason, &errors),
        };
        let id = PurchaseId::parse_purchase(&call.param);
        let known = id.filter(|id| self.worker.journal.reads().purchase(*id).is_some());
        let Some(id) = known else {
            return call.problem(Refusal::PurchaseNotFound);
        };
        let acting = Arc::clone(call.acting());
        let acted = move |view: &PurchaseView, booked: Option<Amount>| {
            let (before, mut after) = (money_of(view), money_of(view));
            let next = match wanted {
                SettleAs::Captured => PurchaseState::Captured,
                SettleAs::Voided => PurchaseState::Voiding,
            };
            after["status"] = next.as_str().into();
            if let Some(booked) = booked {
                after["amount"] = booked.get().into();
            }
            after["note"] = note.as_str().into();
            let target = view.purchase.to_string();
            acting.acted(Some(&target), Some(&before), Some(&after))
        };
        let payments = &self.payments;
        let settling = payments.settle_capture(id, wanted, call.by(), acted, &self.worker.gate);
        let view = match self
            .purchases
            .after(&call, (id, PurchaseAct::Settle), settling)
            .await
        {
            Ok(view) => view,
            Err(answer) => return answer,
        };
        let shown = self.purchases.json(&view);
        if view.state.is_open_payment() || view.state == PurchaseState::CaptureDiffers {
            let at = location(format!("/admin/purchases/{}", view.purchase));
            return Answer::json(StatusCode::ACCEPTED, shown).with(LOCATION, at);
        }
        Answer::json(StatusCode::OK, shown)
    }
}

/// The order to settle a capture of a different amount.
#[derive(Debug, PartialEq, Eq)]
struct Settlement {
    wanted: SettleAs,
    note: String,
}

impl Settlement {
    fn parse(body: &[u8]) -> Result<Self, InvalidBody> {
        let mut fields = Fields::of(body, &["as", "note"]);
        let form = "must be captured or voided";
        let wanted = fields.parsed(required("as"), form, |text| match text {
            "captured" => Some(SettleAs::Captured),
            "voided" => Some(SettleAs::Voided),
            _ => None,
        });
        let note = fields.words(required("note"), REASON_FORM, plain_reason);
        match (wanted.zip(note), fields.into_errors()) {
            (Some((wanted, note)), errors) if errors.is_empty() => Ok(Self { wanted, note }),
            (_, errors) => Err((Refusal::InvalidRequest, errors)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_settlement_says_how_and_why() {
        let good = json!({"as": "voided", "note": "asked the bank"}).to_string();
        let expected = Settlement {
            wanted: SettleAs::Voided,
            note: "asked the bank".to_owned(),
        };
        assert_eq!(Settlement::parse(good.as_bytes()), Ok(expected));
        for (body, reason) in [
            (json!({"as": "captured"}), Refusal::InvalidRequest),
            (json!({"note": "n"}), Refusal::InvalidRequest),
            (
                json!({"as": "refunded", "note": "n"}),
                Refusal::InvalidRequest,
            ),
            (
                json!({"as": "voided", "note": " "}),
                Refusal::InvalidRequest,
            ),
            (
                json!({"as": "voided", "note": "4111 1111 1111 1111"}),
                Refusal::InvalidRequest,
            ),
        ] {
            let (found, errors) = Settlement::parse(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(found, reason, "{body}");
            assert!(!format!("{errors:?}").contains("4111"));
        }
    }
}
