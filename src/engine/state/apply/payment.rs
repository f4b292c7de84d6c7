//! Owns applying a payment: its start, its capture, and the outcome under its key.

use crate::engine::event::{PaymentCaptured, PaymentStarted, PaysFor, Quote};
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::purchase::{Payment, Purchase};
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::PurchaseId;

impl Shard {
    pub(super) fn apply_started(
        &mut self,
        place: PurchaseIndex,
        started: &PaymentStarted,
        stamp: Stamp,
        limits: Limits,
    ) {
        let purchase = &mut self.purchases[place];
        let buyer = purchase.buyer;
        purchase.reason = None;
        purchase.payment = Some(new_payment(started, started.quote));
        purchase.set_metadata(&started.metadata);
        let device = started.origin.device.as_ref();
        if device.is_some() || !started.review.is_empty() {
            let particulars = purchase.particulars_mut();
            particulars.device = device.cloned();
            particulars.review_reasons.clone_from(&started.review);
        }
        if started.pays_for == PaysFor::EarlierHold {
            self.count_attempt(buyer, stamp.at, limits);
        }
        self.profile_started(buyer, started, stamp);
        let key = started.origin.key;
        self.remember(buyer, key, KeyOutcome::InFlight, stamp.at, limits);
    }

    pub(super) fn apply_captured(
        &mut self,
        id: PurchaseId,
        place: PurchaseIndex,
        captured: &PaymentCaptured,
        stamp: Stamp,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        // A capture that an operator settled had a reason, and may differ in its amount.
        purchase.reason = None;
        let payment = payment_of(purchase)?;
        payment.quote = captured.quote;
        payment.capture = Some(captured.capture.clone());
        payment.receipt_key = Some(captured.receipt_key.clone());
        payment.signing_key.clone_from(&captured.signing_key);
        payment.ip = None;
        self.note_capture(place, stamp.at);
        self.apply_captured_more(place, captured);
        let outcome = KeyOutcome::Paid {
            purchase: id,
            as_of: stamp.lsn,
        };
        self.settle_key(place, outcome);
        Ok(())
    }

    /// Sets the outcome of a payment that charged nothing: its key answers with the decline.
    pub(super) fn settle_declined(&mut self, purchase: PurchaseId, place: PurchaseIndex) {
        let Some(request) = self.purchases[place].payment.as_ref().map(|it| it.request) else {
            return;
        };
        self.settle_key(place, KeyOutcome::Declined { purchase, request });
    }

    /// Frees the key of a payment that nobody declined: the same key may begin another payment.
    pub(super) fn free_key(&mut self, place: PurchaseIndex) {
        let payment = self.purchases[place].payment.as_mut();
        if let Some(scope) = payment.and_then(|payment| payment.key.take()) {
            self.drop_key(scope);
        }
    }

    pub(super) fn settle_key(&mut self, place: PurchaseIndex, outcome: KeyOutcome) {
        let key = self.purchases[place]
            .payment
            .as_mut()
            .and_then(|payment| payment.key.take());
        if let Some(scope) = key {
            self.set_outcome(scope, outcome);
        }
    }
}

pub(super) fn payment_of(purchase: &mut Purchase) -> Result<&mut Payment, &'static str> {
    purchase
        .payment
        .as_deref_mut()
        .ok_or("its payment was never started")
}

fn new_payment(started: &PaymentStarted, quote: Quote) -> Box<Payment> {
    Box::new(Payment {
        quote,
        pays_for: started.pays_for,
        card: started.card.clone(),
        key: started.origin.key.map(|key| key.scope),
        request: started.origin.request,
        authorization: None,
        capture_before: None,
        capture: None,
        receipt_key: None,
        signing_key: None,
        ip: started.origin.ip,
    })
}
