//! Owns the operator's request that voids an authorization.
//!
//! Invariant: a void continues if its client disconnects or has waited long enough, and `Location`
//! says where to look. Deliberately absent: whether it may be voided, which the engine decides.

use super::refunds::money_of;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::PurchaseView;
use crate::http::call::worker::Worker;
use crate::http::call::{Call, location};
use crate::http::shop::purchases::{PurchaseLookup, wrong_state};
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::PurchaseAct;
use crate::http::wire::fields::{Fields, InvalidBody};
use crate::ids::PurchaseId;
use crate::payments::driver::Payments;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::http::StatusCode;
use std::sync::Arc;

/// Voids, for the operator.
pub struct Voids {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    pub purchases: Arc<PurchaseLookup>,
}

impl Voids {
    /// Voids an authorization. For a voided purchase, the same response again.
    pub async fn void(&self, call: Call, body: Incoming) -> Answer {
        if let Err((reason, errors)) = self.no_fields(&call, body).await {
            return call.invalid(reason, &errors);
        }
        let id = PurchaseId::parse_purchase(&call.param);
        let found = match self.purchases.durable(id).await {
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
            return match self.worker.write_down(acted(&found)).await {
                Ok(()) => self.void_answer(&call, &found),
                Err(reason) => call.problem(reason),
            };
        }
        let purchase = found.purchase;
        let voiding = self
            .payments
            .void(purchase, call.by(), acted, &self.worker.gate);
        let waited = self
            .purchases
            .after(&call, (purchase, PurchaseAct::Void), voiding);
        match waited.await {
            Ok(view) => self.void_answer(&call, &view),
            Err(answer) => answer,
        }
    }

    fn void_answer(&self, call: &Call, view: &PurchaseView) -> Answer {
        match view.state {
            PurchaseState::Voided => Answer::json(StatusCode::OK, self.purchases.json(view)),
            PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Voiding
            | PurchaseState::Stuck => {
                let at = location(format!("/admin/purchases/{}", view.purchase));
                Answer::json(StatusCode::ACCEPTED, self.purchases.json(view)).with(LOCATION, at)
            }
            // The payment ended otherwise meanwhile.
            PurchaseState::Held
            | PurchaseState::Captured
            | PurchaseState::Declined
            | PurchaseState::Expired
            | PurchaseState::Released
            | PurchaseState::CaptureDiffers
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack => wrong_state(call, view, PurchaseAct::Void),
        }
    }

    /// Accepts an absent body or one without fields.
    async fn no_fields(&self, call: &Call, body: Incoming) -> Result<(), InvalidBody> {
        let bare = |reason| (reason, Vec::new());
        if call.parts.headers.contains_key(CONTENT_TYPE) {
            let body = self.worker.json_body(call, body).await.map_err(bare)?;
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
        let body = self.worker.any_body(call, body).await.map_err(bare)?;
        if body.is_empty() {
            Ok(())
        } else {
            Err(bare(Refusal::UnsupportedMediaType))
        }
    }
}
