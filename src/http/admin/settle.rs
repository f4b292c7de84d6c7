//! Owns the operator's call that settles a capture of another sum than was asked for.
//!
//! Invariants: the act, its note and the sum that is booked stand in the audit trail, in the append of
//! what it changed; what looks like a card number in a note is refused and neither kept nor repeated.
//! A settlement goes on when its caller is gone or has waited long enough, who is then told where to
//! look. Deliberately absent: what the gateway has, which `payments` looks up.

use super::operator::by;
use super::refunds::{REASON_FORM, money_of, plain_reason};
use super::terms::Refused;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::PurchaseView;
use crate::http::front::{Call, Front};
use crate::http::shop::buying::location;
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::Act;
use crate::http::wire::fields::{Fields, required};
use crate::ids::PurchaseId;
use crate::journal::WriteError;
use crate::money::Amount;
use crate::payments::SettleAs;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::StatusCode;
use std::sync::Arc;

impl Front {
    /// Books what the gateway took, or gives back what is left of it.
    pub(in crate::http) async fn settle(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let Settlement { wanted, note } = match Settlement::parse(&body) {
            Ok(settlement) => settlement,
            Err((reason, errors)) => return call.invalid(reason, &errors),
        };
        let id = PurchaseId::parse_purchase(&call.param);
        let known = id.filter(|id| self.core.journal.purchase(*id).is_some());
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
        let payments = &self.core.payments;
        let settling = payments.settle_capture(id, wanted, by(&call), acted, &self.gate);
        let view = match tokio::time::timeout(self.core.answer_within, settling).await {
            Ok(Ok(view)) => view,
            Ok(Err(WriteError::Refused(refusal))) => {
                return self.refused_of(&call, refusal, id, Act::Settle).await;
            }
            Ok(Err(WriteError::Fault(_))) => return call.problem(Refusal::StorageUnavailable),
            Err(_) => match self.durable_purchase(Some(id)).await {
                Ok(Some(view)) => view,
                // It ended without a payment, and has been forgotten since.
                Ok(None) => return call.problem(Refusal::PurchaseNotFound),
                Err(reason) => return call.problem(reason),
            },
        };
        let shown = self.purchase_json(&view);
        if view.state.is_open_payment() || view.state == PurchaseState::CaptureDiffers {
            let at = location(format!("/admin/purchases/{}", view.purchase));
            return Answer::json(StatusCode::ACCEPTED, shown).with(LOCATION, at);
        }
        Answer::json(StatusCode::OK, shown)
    }
}

/// What an operator wants of a capture of another sum.
#[derive(Debug, PartialEq, Eq)]
struct Settlement {
    wanted: SettleAs,
    /// Why.
    note: String,
}

impl Settlement {
    fn parse(body: &[u8]) -> Result<Self, Refused> {
        let mut fields = Fields::of(body, &["as", "note"]);
        let form = "must be captured or voided";
        let wanted = fields.parsed(required("as"), form, |text| match text {
            "captured" => Some(SettleAs::Captured),
            "voided" => Some(SettleAs::Voided),
            _ => None,
        });
        let note = fields.words(required("note"), REASON_FORM, plain_reason);
        let refusal = fields.refusal();
        match (wanted.zip(note), fields.into_errors()) {
            (Some((wanted, note)), errors) if errors.is_empty() => Ok(Self { wanted, note }),
            (_, errors) => Err((refusal, errors)),
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
                Refusal::InvalidCardToken,
            ),
        ] {
            let (found, errors) = Settlement::parse(body.to_string().as_bytes()).unwrap_err();
            assert_eq!(found, reason, "{body}");
            assert!(!format!("{errors:?}").contains("4111"));
        }
    }
}
