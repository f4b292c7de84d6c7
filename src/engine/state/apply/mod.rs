//! Owns applying: one event, at one instant and LSN, changes one shard, live and in recovery alike.
//!
//! Invariants: applying never decides and reads only the shard and the catalogue; changes of shared
//! cells are returned as [`Effects`], which the live journal carries out once the event is in the
//! log, and which recovery ignores, because it derives the cells at its end. An event that
//! contradicts the state is a [`BrokenLog`]: nothing may continue from it.

mod attempt;
mod buyer;
mod claims;
mod correction;
mod effects;
mod forget;
mod imported;
mod keys;
mod payment;
mod profile;
mod refund;

use self::payment::payment_of;
use crate::engine::event::{
    BuyerEvent, DisputeEvent, Event, Group, HoldAfter, HoldEvent, Part, PaymentEvent, RefundEvent,
    ReviewEvent, ReviewVerdict, ShardChange,
};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::purchase::{DifferingCapture, Purchase, StateReason};
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::state::tries::PaymentEnd;
use crate::engine::words::lifecycle::Step;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::{Lsn, PurchaseId};
use std::cmp::Reverse;

pub use effects::{Effects, StockMove};

/// An event that contradicts the state before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// Where it stands.
    pub lsn: Lsn,
    pub kind: &'static str,
    /// The contradiction.
    pub what: &'static str,
}

impl std::fmt::Display for BrokenLog {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "the {} at LSN {} contradicts the state before it: {}",
            self.kind, self.lsn, self.what
        )
    }
}

impl Shard {
    /// Applies `event`; returns its effects on shared cells.
    pub fn apply(
        &mut self,
        event: &Event,
        stamp: Stamp,
        catalogue: &Catalogue,
        limits: Limits,
    ) -> Result<Effects, BrokenLog> {
        self.last_at = self.last_at.max(stamp.at);
        let effects = self.change(event, stamp, catalogue, limits)?;
        self.forget(stamp, limits);
        Ok(effects)
    }

    fn change(
        &mut self,
        event: &Event,
        stamp: Stamp,
        catalogue: &Catalogue,
        limits: Limits,
    ) -> Result<Effects, BrokenLog> {
        let broken = |what| BrokenLog {
            lsn: stamp.lsn,
            kind: event.kind(),
            what,
        };
        let change = match event.part() {
            Part::Shard(shard, change) if shard == self.id => change,
            Part::Shard(..) => return Err(broken("it belongs to another shard")),
            Part::Nothing
            | Part::Limits(_)
            | Part::Catalogue(_)
            | Part::Risk(_)
            | Part::Time(_)
            | Part::History(_)
            | Part::Webhooks(_) => return Err(broken("it belongs to no shard")),
        };
        match change {
            ShardChange::Placed(placed) => self
                .apply_placed(placed, stamp, catalogue, limits)
                .map_err(broken)?,
            ShardChange::Step(purchase, step) => {
                let taken = self.apply_step(event, purchase, step, stamp, limits);
                return taken.map_err(broken);
            }
            ShardChange::Refused(refused) => self.apply_refused(refused, stamp, limits),
            ShardChange::Buyer(change) => match change {
                BuyerEvent::TokensSpent(spent) => self.apply_spent(spent, stamp, limits),
                BuyerEvent::BuyerPaused(paused) => self.apply_paused(paused),
                BuyerEvent::BuyerRated(rated) => self.apply_rated(rated),
                BuyerEvent::BuyerSegmented(segmented) => self.apply_segmented(segmented, stamp),
                BuyerEvent::HoldingsImported(imported) => {
                    self.apply_holdings(imported, catalogue).map_err(broken)?;
                }
                BuyerEvent::KeyImported(imported) => self.apply_key(imported, stamp, limits),
            },
        }
        Ok(Effects::default())
    }

    fn apply_step(
        &mut self,
        event: &Event,
        id: PurchaseId,
        step: Step,
        stamp: Stamp,
        limits: Limits,
    ) -> Result<Effects, &'static str> {
        let place = self.place_of(id).ok_or("its purchase does not exist")?;
        let purchase = &mut self.purchases[place];
        let was_open = purchase.is_open();
        let claimed = purchase.claimed();
        let counted = purchase.counted(&self.corrections);
        let before = purchase
            .take(step, stamp.at, stamp.lsn)
            .ok_or("the life cycle has no such transition")?;
        self.apply_outcome(event, id, place, stamp, limits)?;
        self.profile_step(place, event, stamp);
        match (was_open, self.purchases[place].is_open()) {
            (false, true) => {
                self.open.insert(id.sequence());
            }
            (true, false) => {
                self.open.remove(&id.sequence());
            }
            (true, true) | (false, false) => {}
        }
        self.keep_waiting(id.sequence(), before, place);
        self.keep_held(id.sequence(), before, place);
        let (uncounted, counted) = self.recount(place, counted);
        if let Some(end) = self.purchases[place].payment_end(event) {
            // Only after the sums above, because they need the payment's card and device.
            self.purchases[place].end_payment(&end, stamp.at, stamp.lsn);
        }
        self.note_ended(place);
        Ok(Effects {
            uncounted,
            counted,
            ..self.move_claims(place, claimed)?
        })
    }

    /// Applies what a step brings besides the new state.
    fn apply_outcome(
        &mut self,
        event: &Event,
        id: PurchaseId,
        place: PurchaseIndex,
        stamp: Stamp,
        limits: Limits,
    ) -> Result<(), &'static str> {
        match event.group() {
            Group::Hold(HoldEvent::HoldReleased(_) | HoldEvent::HoldExpired(_)) => {
                // The reason of a declined payment says nothing about how the hold ends.
                self.purchases[place].reason = None;
                Ok(())
            }
            Group::Payment(event) => self.apply_payment(event, id, place, stamp, limits),
            Group::Review(event) => {
                self.apply_review(event, place);
                Ok(())
            }
            Group::Refund(event) => match event {
                RefundEvent::RefundStarted(started) => {
                    self.apply_refund_started(place, started, stamp, limits)
                }
                RefundEvent::RefundSucceeded(done) => self.apply_refunded(place, done, stamp),
                RefundEvent::RefundFailed(failed) => self.apply_refund_failed(place, failed, stamp),
                RefundEvent::RefundFound(found) => self.apply_refund_found(place, found),
                RefundEvent::RefundReturned(it) => self.apply_refund_returned(place, it, stamp),
            },
            Group::Dispute(DisputeEvent::DisputeOpened(opened)) => {
                self.purchases[place].set_dispute(opened.number, &opened.dispute)?;
                Ok(())
            }
            Group::Dispute(DisputeEvent::DisputeClosed(closed)) => {
                self.apply_dispute_closed(place, closed)
            }
            Group::Hold(HoldEvent::HoldPlaced(_))
            | Group::Attempt(_)
            | Group::Buyer(_)
            | Group::Catalogue(_)
            | Group::Risk(_)
            | Group::Webhook(_)
            | Group::Core(_)
            | Group::Trail(_) => Err("it is not a step of a purchase"),
        }
    }

    fn apply_payment(
        &mut self,
        event: PaymentEvent<'_>,
        id: PurchaseId,
        place: PurchaseIndex,
        stamp: Stamp,
        limits: Limits,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        match event {
            PaymentEvent::PaymentStarted(started) => {
                self.apply_started(place, started, stamp, limits);
            }
            PaymentEvent::PaymentAuthorized(authorized) => {
                let payment = payment_of(purchase)?;
                payment.authorization = Some(authorized.authorization.clone());
                payment.capture_before = authorized.capture_before;
            }
            PaymentEvent::PaymentDeclined(declined) => {
                payment_of(purchase)?;
                purchase.reason = Some(StateReason::Declined(declined.cause));
                if declined.cause.is_refusal() {
                    self.note_decline(place, declined.advice, stamp.at);
                    self.settle_declined(id, place);
                } else {
                    self.free_key(place);
                }
                self.set_timer(id, place, declined.hold);
            }
            // It brings only the new state.
            PaymentEvent::CaptureStarted(_) => {}
            PaymentEvent::PaymentCaptured(captured) => {
                self.apply_captured(id, place, captured, stamp)?;
            }
            PaymentEvent::CaptureDiffered(differed) => {
                purchase.post_capture_mut().differing = Some(DifferingCapture {
                    difference: differed.difference,
                    captured: differed.captured,
                    currency: differed.currency,
                });
            }
            PaymentEvent::VoidStarted(voided) => {
                purchase.reason = Some(StateReason::Void(voided.cause));
                let post_capture = purchase.post_capture_mut();
                post_capture.void_deadline = Some(voided.deadline);
                post_capture.void_code.clone_from(&voided.code);
            }
            PaymentEvent::PaymentVoided(voided) => {
                let post_capture = purchase.post_capture.take();
                purchase.post_capture = post_capture.and_then(|it| it.voided(voided.returned));
                payment_of(purchase)?.ip = None;
                self.settle_declined(id, place);
                self.set_timer(id, place, voided.hold);
            }
            PaymentEvent::VoidStuck(stuck) => purchase.post_capture_mut().stuck = Some(stuck.cause),
        }
        Ok(())
    }

    fn apply_review(&mut self, event: ReviewEvent<'_>, place: PurchaseIndex) {
        let purchase = &mut self.purchases[place];
        match event {
            ReviewEvent::ReviewOpened(opened) => {
                let particulars = purchase.particulars_mut();
                particulars.review_reasons.clone_from(&opened.reasons);
                particulars.review_deadline = Some(opened.deadline);
            }
            ReviewEvent::ReviewDecided(decided) => {
                if let ReviewVerdict::Rejected(void_by) = decided.verdict {
                    purchase.reason = Some(StateReason::Void(decided.void_cause()));
                    purchase.post_capture_mut().void_deadline = Some(void_by);
                }
            }
        }
    }

    /// Sets the timer of a hold that stays after its payment; the timer of its placing may have
    /// fired during the payment.
    fn set_timer(&mut self, id: PurchaseId, place: PurchaseIndex, hold: HoldAfter) {
        if hold == HoldAfter::Kept {
            let due = self.purchases[place].expires_at;
            self.timers.push(Reverse((due, id.sequence())));
        }
    }
}

impl Purchase {
    /// How `event` ended its payment, if the purchase goes on without it or was declined. A payment
    /// that was voided for good stays in the purchase.
    fn payment_end(&self, event: &Event) -> Option<PaymentEnd> {
        if let Event::PaymentDeclined(declined) = event {
            return Some(PaymentEnd::declined(declined));
        }
        let (Event::PaymentVoided(voided), Some(StateReason::Void(cause))) = (event, self.reason)
        else {
            return None;
        };
        let code = self.void_code().cloned();
        (voided.hold == HoldAfter::Kept).then(|| PaymentEnd::voided(cause, code, voided))
    }
}
