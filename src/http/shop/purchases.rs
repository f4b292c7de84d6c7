//! Owns looking up a purchase and answering with it, for every request about one.
//!
//! Invariants: nothing is shown before it is durable; a request that names a buyer finds only that
//! buyer's purchases.

use super::render;
use crate::engine::refusal::Refusal;
use crate::engine::view::PurchaseView;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::detail::{self, PurchaseAct};
use crate::http::wire::problem::FieldError;
use crate::http::wire::query::Query;
use crate::ids::{PurchaseId, UserId};
use crate::journal::WriteError;
use crate::payments::driver::Payments;
use crate::receipts::{Receipt, Sealer, UnknownKey};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Looks purchases up.
pub struct PurchaseLookup {
    pub worker: Arc<Worker>,
    pub sealer: Arc<Sealer>,
    pub payments: Arc<Payments>,
    /// How long to wait for an operator's act on a purchase.
    pub answer_within: Duration,
}

impl PurchaseLookup {
    /// The purchase, once what it reveals is durable.
    pub async fn durable(&self, id: Option<PurchaseId>) -> Result<Option<PurchaseView>, Refusal> {
        let found = id.and_then(|id| self.worker.journal.reads().purchase(id));
        let Some((view, durable_at)) = found else {
            return Ok(None);
        };
        self.worker.durable(Some(durable_at)).await?;
        Ok(Some(view))
    }

    /// The purchase, if it belongs to the named buyer, or if none is named.
    pub async fn of_owner(
        &self,
        call: &Call,
        id: Option<PurchaseId>,
    ) -> Result<Option<PurchaseView>, Answer> {
        let owner = owner_asked(call);
        let owner = owner.map_err(|errors| call.invalid(Refusal::InvalidRequest, &errors))?;
        let found = self.durable(id).await;
        let found = found.map_err(|reason| call.problem(reason))?;
        Ok(found.filter(|view| owner.is_none_or(|owner| owner == view.user)))
    }

    /// The refusal of an operator's `act` on a purchase; for a wrong state, with the state.
    async fn refused(
        &self,
        call: &Call,
        reason: Refusal,
        purchase: PurchaseId,
        act: PurchaseAct,
    ) -> Answer {
        if reason != Refusal::WrongState {
            return call.problem(reason);
        }
        match self.durable(Some(purchase)).await {
            Ok(Some(view)) => wrong_state(call, &view, act),
            Ok(None) => call.problem(reason),
            Err(reason) => call.problem(reason),
        }
    }

    /// The purchase after an operator's act, or the response if the act takes too long; it then
    /// continues in the background.
    pub async fn after(
        &self,
        call: &Call,
        (id, act): (PurchaseId, PurchaseAct),
        acting: impl Future<Output = Result<PurchaseView, WriteError>>,
    ) -> Result<PurchaseView, Answer> {
        match tokio::time::timeout(self.answer_within, acting).await {
            Ok(Ok(view)) => Ok(view),
            Ok(Err(WriteError::Refused(refusal))) => {
                Err(self.refused(call, refusal, id, act).await)
            }
            Ok(Err(WriteError::Fault(_))) => Err(call.problem(Refusal::StorageUnavailable)),
            Err(_) => match self.durable(Some(id)).await {
                Ok(Some(view)) => Ok(view),
                // It ended without a payment and was forgotten meanwhile.
                Ok(None) => Err(call.problem(Refusal::PurchaseNotFound)),
                Err(reason) => Err(call.problem(reason)),
            },
        }
    }

    /// The purchase with its receipt, to be read.
    pub fn json(&self, view: &PurchaseView) -> Vec<u8> {
        self.with_receipt(view, &self.sealer.receipt(view))
    }

    /// The purchase with its receipt, as the buy and its replays are answered.
    pub fn bought(&self, view: &PurchaseView) -> Vec<u8> {
        self.with_receipt(view, &self.sealer.receipt_of_buy(view))
    }

    fn with_receipt(
        &self,
        view: &PurchaseView,
        receipt: &Result<Option<Receipt>, UnknownKey>,
    ) -> Vec<u8> {
        if let Err(error) = receipt {
            tracing::error!(event = "receipt_key_missing", "{error}");
        }
        let gateway = self.payments.gateway().name();
        render::purchase(view, gateway, receipt.as_ref().map(Option::as_ref))
    }
}

/// The purchase's state does not allow `act`: the state, and the states that allow it.
pub fn wrong_state(call: &Call, view: &PurchaseView, act: PurchaseAct) -> Answer {
    let facts = serde_json::json!({
        "purchase_id": view.purchase.to_string(),
        "state": view.state.as_str(),
    });
    let detail = detail::wrong_state(view.state, act);
    call.problem_about(Refusal::WrongState, &detail, &facts)
}

/// The required owner, if the request names one.
pub fn owner_asked(call: &Call) -> Result<Option<UserId>, Vec<FieldError>> {
    let mut query = Query::of(call.parts.uri.query(), &["user_id"]);
    let user = query.parsed(
        "user_id",
        "must be a buyer's id: 1 to 64 characters of A-Z a-z 0-9 _ . : -",
        UserId::parse,
    );
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok(user)
    } else {
        Err(errors)
    }
}
