//! Owns the shop's requests that buy: placing holds, releasing them, and buying.
//!
//! Invariant: a payment continues if its client disconnects or has waited long enough, and
//! `Location` says where to look. Deliberately absent: the steps of every attempt
//! (`call::attempt`).

use super::orders::{AboutOrder, BuyOrder, HoldOrder, Order};
use super::purchases::{PurchaseLookup, owner_asked};
use super::render;
use crate::engine::command::{Buy, PlaceHold, ReleaseHold};
use crate::engine::event::IdempotencyKey;
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::HoldView;
use crate::http::call::attempt::{
    AfterSubmit, AttemptKind, Malformed, Readable, Reply, faulted, origin,
};
use crate::http::call::worker::Worker;
use crate::http::call::{Call, location};
use crate::http::wire::answer::Answer;
use crate::http::wire::idempotency::Canonical;
use crate::http::wire::problem;
use crate::ids::{PromotionCode, PurchaseId, RequestId, UserId};
use crate::journal::{BuyOutcome, StorageFault, Submitted};
use crate::money::Currency;
use crate::payments::driver::Payments;
use crate::telemetry::metrics::AttemptResult;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::StatusCode;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Holds and buys.
pub struct Buying {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    pub purchases: Arc<PurchaseLookup>,
    /// Accepted currencies.
    pub currencies: Vec<Currency>,
    /// How long to wait for a payment.
    pub answer_within: Duration,
}

impl Buying {
    pub async fn place_hold(&self, call: &Call, body: Incoming) -> Answer {
        let hold = HoldAttempt { buying: self, call };
        self.worker.attempt(call, body, &hold).await
    }

    pub async fn buy(&self, call: &Call, body: Incoming) -> Answer {
        let buy = BuyAttempt { buying: self, call };
        self.worker.attempt(call, body, &buy).await
    }

    pub async fn release_hold(&self, call: Call) -> Answer {
        let user = match owner_asked(&call) {
            Ok(owner) => owner,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let Some(hold) = PurchaseId::parse_hold(&call.param) else {
            return call.problem(Refusal::HoldNotFound);
        };
        let command = ReleaseHold {
            origin: origin(&call, None, &Readable::default()),
            hold,
            user,
        };
        let submitted = self.worker.journal.release_hold(&command);
        let released = |view: HoldView| held(StatusCode::OK, &view);
        let told = self.worker.tell_once_durable(&call, submitted, released);
        let (answer, _) = told.await;
        if answer.reason() == Some(Refusal::HoldNotFound.reason()) {
            return answer.with_facts(&json!({ "hold_id": hold.hold().to_string() }));
        }
        answer
    }

    /// Pays for a purchase whose payment has just started. The payment continues in the background
    /// if this is dropped (the client has disconnected) or has waited long enough.
    async fn pay(&self, call: &Call, purchase: PurchaseId) -> Reply {
        let paying = self.payments.pay(purchase, &self.worker.gate);
        let view = match tokio::time::timeout(self.answer_within, paying).await {
            Ok(Ok(settled)) => settled.view().clone(),
            Ok(Err(fault)) => return faulted(call, &fault),
            Err(_) => {
                let known = self.worker.journal.reads().purchase(purchase);
                let (view, durable_at) = known.expect("a payment began for this purchase");
                if let Err(reason) = self.worker.durable(Some(durable_at)).await {
                    return (call.problem(reason), AttemptResult::Refused(reason));
                }
                view
            }
        };
        // The purchase may have changed by now, because the hold may be paid for again.
        if let Some(declined) = view.decline_of(RequestId(call.id.0)) {
            let answer = problem::declined(declined);
            return (answer, AttemptResult::Refused(declined.reason));
        }
        match view.state {
            PurchaseState::Declined | PurchaseState::Voided => {
                let refusal = Refusal::PaymentDeclined;
                (call.problem(refusal), AttemptResult::Refused(refusal))
            }
            PurchaseState::Authorizing
            | PurchaseState::Authorized
            | PurchaseState::UnderReview
            | PurchaseState::Capturing
            | PurchaseState::Voiding
            | PurchaseState::Stuck
            | PurchaseState::CaptureDiffers
            | PurchaseState::Held
            | PurchaseState::Expired
            | PurchaseState::Released => {
                let answer = Answer::json(StatusCode::ACCEPTED, self.purchases.json(&view));
                let at = location(format!("/limited/purchases/{purchase}"));
                (answer.with(LOCATION, at), AttemptResult::Pending)
            }
            PurchaseState::Captured
            | PurchaseState::PartiallyRefunded
            | PurchaseState::Refunded
            | PurchaseState::Disputed
            | PurchaseState::ChargedBack => {
                let answer = Answer::json(StatusCode::CREATED, self.purchases.bought(&view));
                (answer, AttemptResult::Success)
            }
        }
    }
}

impl Buying {
    /// What a refusal says of an order, which is to pay for `hold` where one is named.
    fn about(
        &self,
        order: &Order,
        hold: Option<PurchaseId>,
        reason: Refusal,
    ) -> Option<AboutOrder> {
        let hold_id = hold.map(|hold| hold.hold().to_string());
        let code = order.promotion.as_ref().map(PromotionCode::folded);
        match reason {
            Refusal::ProductNotFound => {
                let facts = json!({ "product_id": order.product.as_str() });
                Some(AboutOrder::of_order(facts))
            }
            Refusal::PromotionNotFound => {
                Some(AboutOrder::of_order(json!({ "promotion_code": code? })))
            }
            Refusal::HoldNotFound => Some(AboutOrder::of_order(json!({ "hold_id": hold_id? }))),
            Refusal::CardRetryForbidden => {
                let (view, durable_at) = self.worker.journal.reads().hold(hold?)?;
                let expires_at = view.expires_at.to_string();
                let facts = json!({ "hold": { "hold_id": hold_id, "expires_at": expires_at } });
                let durable_at = Some(durable_at);
                Some(AboutOrder {
                    durable_at,
                    ..AboutOrder::of_order(facts)
                })
            }
            Refusal::InvalidRequest => self.not_of_the_hold(order, hold?),
            _ => None,
        }
    }

    /// The hold is for something else than the order asks for.
    fn not_of_the_hold(&self, order: &Order, hold: PurchaseId) -> Option<AboutOrder> {
        let (view, durable_at) = self.worker.journal.reads().hold(hold)?;
        let mine = view.user == order.user;
        let facts = json!({
            "hold_id": hold.hold().to_string(),
            "held": { "product_id": view.product.as_str(), "quantity": view.quantity },
            "product_id": order.product.as_str(),
            "quantity": order.quantity,
        });
        let durable_at = Some(durable_at);
        mine.then(|| AboutOrder {
            durable_at,
            ..AboutOrder::of_order(facts)
        })
    }
}

/// A hold as it was placed or given up.
fn held(status: StatusCode, view: &HoldView) -> Reply {
    (
        Answer::json(status, render::hold(view)),
        AttemptResult::Success,
    )
}

struct HoldAttempt<'a> {
    buying: &'a Buying,
    call: &'a Call,
}

impl AttemptKind for HoldAttempt<'_> {
    type Order = HoldOrder;
    type Begun = Infallible;
    type Outcome = HoldView;

    fn known(&self) -> Readable {
        Readable::default()
    }

    fn parse(&self, body: &[u8]) -> Result<HoldOrder, Box<Malformed>> {
        HoldOrder::parse(body, &self.buying.currencies)
    }

    fn buyer<'a>(&'a self, order: &'a HoldOrder) -> Result<&'a UserId, Box<Malformed>> {
        Ok(&order.order.user)
    }

    fn readable(&self, order: &HoldOrder) -> Readable {
        order.readable()
    }

    fn canonical(&self, order: &HoldOrder, method: &str, path: &str) -> Canonical {
        order.canonical(method, path)
    }

    fn submit(
        &self,
        order: HoldOrder,
        key: IdempotencyKey,
    ) -> Result<Submitted<HoldView>, StorageFault> {
        let origin = origin(self.call, Some(key), &order.readable());
        let HoldOrder { order, currency } = order;
        let command = PlaceHold {
            origin,
            user: order.user,
            product: order.product,
            quantity: order.quantity,
            currency,
            promotion: order.promotion,
            metadata: order.metadata,
        };
        self.buying.worker.journal.place_hold(&command)
    }

    fn about(&self, hold: &HoldOrder, reason: Refusal) -> Option<AboutOrder> {
        self.buying.about(&hold.order, None, reason)
    }

    fn next(&self, view: HoldView) -> AfterSubmit<Infallible> {
        AfterSubmit::Tell(held(StatusCode::CREATED, &view))
    }

    async fn drive(&self, never: Infallible) -> Reply {
        match never {}
    }
}

struct BuyAttempt<'a> {
    buying: &'a Buying,
    call: &'a Call,
}

impl AttemptKind for BuyAttempt<'_> {
    type Order = BuyOrder;
    type Begun = PurchaseId;
    type Outcome = BuyOutcome;

    fn known(&self) -> Readable {
        Readable::default()
    }

    fn parse(&self, body: &[u8]) -> Result<BuyOrder, Box<Malformed>> {
        BuyOrder::parse(body, &self.buying.currencies)
    }

    fn buyer<'a>(&'a self, order: &'a BuyOrder) -> Result<&'a UserId, Box<Malformed>> {
        Ok(&order.order.user)
    }

    fn readable(&self, order: &BuyOrder) -> Readable {
        order.readable()
    }

    fn canonical(&self, order: &BuyOrder, method: &str, path: &str) -> Canonical {
        order.canonical(method, path)
    }

    fn admission(&self) -> Result<(), Refusal> {
        self.buying.payments.admission()
    }

    fn replay(&self, user: &UserId, key: &IdempotencyKey) -> Option<Submitted<BuyOutcome>> {
        self.buying.worker.journal.reads().replay_buy(user, key)
    }

    fn submit(
        &self,
        order: BuyOrder,
        key: IdempotencyKey,
    ) -> Result<Submitted<BuyOutcome>, StorageFault> {
        let command = Buy {
            origin: origin(self.call, Some(key), &order.readable()),
            user: order.order.user,
            product: order.order.product,
            quantity: order.order.quantity,
            currency: order.currency,
            card: order.card,
            promotion: order.order.promotion,
            hold: order.pays_for,
            metadata: order.order.metadata,
        };
        self.buying.worker.journal.buy(&command)
    }

    fn about(&self, buy: &BuyOrder, reason: Refusal) -> Option<AboutOrder> {
        self.buying.about(&buy.order, buy.pays_for, reason)
    }

    fn next(&self, outcome: BuyOutcome) -> AfterSubmit<PurchaseId> {
        match outcome {
            BuyOutcome::PaymentStarted(purchase) => AfterSubmit::Drive(purchase),
            BuyOutcome::Paid(view) => {
                let shown = self.buying.purchases.bought(&view);
                AfterSubmit::Tell((
                    Answer::json(StatusCode::CREATED, shown),
                    AttemptResult::Success,
                ))
            }
            BuyOutcome::Declined(view) => AfterSubmit::Tell((
                problem::declined(&view),
                AttemptResult::Refused(view.reason),
            )),
        }
    }

    async fn drive(&self, purchase: PurchaseId) -> Reply {
        self.buying.pay(self.call, purchase).await
    }
}
