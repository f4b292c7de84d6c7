//! Owns applying what happens after a capture: refunds, reward tokens, declines of cards.
//!
//! Invariants: as in `apply`: every figure is in the event, nothing is decided here. A clawback
//! that takes more than the balance contradicts the state, and is refused when it is verified.

use crate::engine::event::{
    Clawback, DisputeClosed, GivenBack, PaymentCaptured, RefundFailed, RefundFound, RefundReturned,
    RefundStarted, RefundSucceeded, RetryAdvice,
};
use crate::engine::state::buyer::{BuyerMore, CardDecline};
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::purchase::{BuyerIndex, Purchase, Refund, RefundState};
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::words::dispute::Dispute;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::Stamp;
use crate::ids::{Digest16, PurchaseId};
use crate::money::{Amount, Tokens};
use crate::time::UnixMs;

/// Maximum number of declines stored per buyer; the oldest are dropped.
const DECLINES_KEPT: usize = 32;

impl Shard {
    pub(in crate::engine::state) fn apply_captured_more(
        &mut self,
        place: PurchaseIndex,
        captured: &PaymentCaptured,
    ) {
        let purchase = &mut self.purchases[place];
        let buyer = purchase.buyer;
        if captured.tokens > Tokens::NONE {
            purchase.post_capture_mut().tokens = captured.tokens;
            let more = self.buyer_more(buyer);
            more.debt = more.debt.minus(captured.debt_paid);
            more.tokens = more.tokens.plus(captured.tokens.minus(captured.debt_paid));
        }
    }

    pub(in crate::engine::state) fn apply_refund_started(
        &mut self,
        place: PurchaseIndex,
        started: &RefundStarted,
        stamp: Stamp,
        limits: Limits,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        let buyer = purchase.buyer;
        let post_capture = purchase.post_capture_mut();
        if post_capture.refunds.len() + 1 != started.number as usize {
            return Err("its refund is not the purchase's next");
        }
        post_capture.refunds.push(Refund {
            amount: started.amount,
            previously_refunded: started.previously_refunded,
            note: started.note.clone(),
            restock: started.restock,
            request: started.by.request,
            key: started.key.scope,
            started: stamp.at,
            state: RefundState::Pending,
        });
        let key = Some(started.key);
        self.remember(buyer, key, KeyOutcome::InFlight, stamp.at, limits);
        Ok(())
    }

    pub(in crate::engine::state) fn apply_refunded(
        &mut self,
        place: PurchaseIndex,
        done: &RefundSucceeded,
        stamp: Stamp,
    ) -> Result<(), &'static str> {
        let id = self.id_of(self.purchases.sequence(place), &self.purchases[place]);
        self.gone_back(place, done.amount, done.clawback)?;
        let purchase = &mut self.purchases[place];
        let pending = purchase.pending_refund().map(|(_, refund)| refund.restock);
        if pending.is_some_and(|restock| restock != done.restock) {
            return Err("its units do not go where the refund said");
        }
        let state = RefundState::Succeeded {
            at: stamp.at,
            clawback: done.clawback,
        };
        let key = end_refund(purchase, done.number, state)?;
        self.settle_refunded(key, id, done.number);
        Ok(())
    }

    /// Sets the outcome of the refund's key, done or failed.
    pub(super) fn settle_refunded(&mut self, key: Digest16, purchase: PurchaseId, number: u32) {
        self.set_outcome(key, KeyOutcome::Refunded { purchase, number });
    }

    pub(in crate::engine::state) fn apply_refund_found(
        &mut self,
        place: PurchaseIndex,
        found: &RefundFound,
    ) -> Result<(), &'static str> {
        self.gone_back(place, found.amount, found.clawback)
    }

    /// Refunded money came back, and reward tokens with it.
    pub(super) fn apply_refund_returned(
        &mut self,
        place: PurchaseIndex,
        returned: &RefundReturned,
        stamp: Stamp,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        if let Some(number) = returned.number {
            let refunds = &mut purchase.post_capture_mut().refunds;
            let refund = (number as usize).checked_sub(1);
            let refund = refund.and_then(|it| refunds.get_mut(it));
            let refund = refund.ok_or("its refund was never started")?;
            let RefundState::Succeeded { at, clawback } = refund.state else {
                return Err("its refund has not succeeded");
            };
            refund.state = RefundState::Returned {
                at,
                clawback,
                returned_at: stamp.at,
            };
        }
        let refunded = purchase.refunded.get().checked_sub(returned.amount.get());
        let refunded = refunded.and_then(Amount::new);
        purchase.refunded = refunded.ok_or("more comes back than went back")?;
        let buyer = purchase.buyer;
        let tokens = returned.given_back.tokens;
        if tokens > Tokens::NONE {
            let post_capture = purchase.post_capture_mut();
            post_capture.tokens_asked_back = post_capture.tokens_asked_back.minus(tokens);
        }
        self.give_back_tokens(buyer, returned.given_back);
        Ok(())
    }

    /// Money was refunded, and reward tokens were clawed back.
    pub(super) fn gone_back(
        &mut self,
        place: PurchaseIndex,
        amount: Amount,
        clawback: Clawback,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        let sum = purchase.refunded.get().checked_add(amount.get());
        let refunded = sum
            .and_then(Amount::new)
            .ok_or("it refunds more than is left")?;
        if refunded > purchase.quote().amount {
            return Err("it refunds more than was captured");
        }
        purchase.refunded = refunded;
        let buyer = purchase.buyer;
        if clawback.requested > Tokens::NONE {
            let post_capture = purchase.post_capture_mut();
            let asked_back = post_capture.tokens_asked_back.plus(clawback.requested);
            post_capture.tokens_asked_back = asked_back;
        }
        self.claw_back(buyer, clawback);
        Ok(())
    }

    pub(in crate::engine::state) fn apply_dispute_closed(
        &mut self,
        place: PurchaseIndex,
        closed: &DisputeClosed,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        let before = purchase.set_dispute(closed.number, &closed.dispute)?;
        let post_capture = purchase.post_capture_mut();
        let others = post_capture.tokens_asked_back.minus(before);
        post_capture.tokens_asked_back = others.plus(closed.dispute.asked_back);
        let buyer = purchase.buyer;
        self.claw_back(buyer, closed.clawback);
        self.give_back_tokens(buyer, closed.given_back);
        Ok(())
    }

    fn give_back_tokens(&mut self, buyer: BuyerIndex, given_back: GivenBack) {
        let GivenBack { tokens, debt_paid } = given_back;
        if tokens > Tokens::NONE {
            let more = self.buyer_more(buyer);
            more.debt = more.debt.minus(debt_paid);
            more.tokens = more.tokens.plus(tokens.minus(debt_paid));
        }
    }

    pub(in crate::engine::state) fn apply_refund_failed(
        &mut self,
        place: PurchaseIndex,
        failed: &RefundFailed,
        stamp: Stamp,
    ) -> Result<(), &'static str> {
        let id = self.id_of(self.purchases.sequence(place), &self.purchases[place]);
        let purchase = &mut self.purchases[place];
        let state = RefundState::Failed {
            at: stamp.at,
            code: failed.code.clone(),
            failure: failed.failure,
        };
        let key = end_refund(purchase, failed.number, state)?;
        self.settle_refunded(key, id, failed.number);
        Ok(())
    }

    /// Claws tokens back; what the balance does not have becomes debt.
    pub(in crate::engine::state) fn claw_back(&mut self, buyer: BuyerIndex, clawback: Clawback) {
        if clawback.requested == Tokens::NONE {
            return;
        }
        let more = self.buyer_more(buyer);
        more.tokens = more.tokens.minus(clawback.recovered);
        more.debt = more.debt.plus(clawback.shortfall);
    }

    pub(in crate::engine::state) fn note_decline(
        &mut self,
        place: PurchaseIndex,
        advice: RetryAdvice,
        at: UnixMs,
    ) {
        let purchase = &self.purchases[place];
        let (buyer, payment) = (purchase.buyer, purchase.payment.as_ref());
        let (Some(payment), RetryAdvice::Later | RetryAdvice::Never) = (payment, advice) else {
            return;
        };
        let card = payment.card.clone();
        let declines = &mut self.buyer_more(buyer).declines;
        declines.push(CardDecline { card, advice, at });
        if declines.len() > DECLINES_KEPT {
            declines.remove(0);
        }
    }

    pub(super) fn buyer_more(&mut self, buyer: BuyerIndex) -> &mut BuyerMore {
        self.buyers[buyer].more_mut()
    }
}

impl Purchase {
    /// Stores the dispute with this number; returns the tokens that were clawed back for it before.
    pub(in crate::engine::state) fn set_dispute(
        &mut self,
        number: u32,
        dispute: &Dispute,
    ) -> Result<Tokens, &'static str> {
        let disputes = &mut self.post_capture_mut().disputes;
        let place = (number as usize).checked_sub(1);
        match place.ok_or("disputes are numbered from 1")? {
            place if place < disputes.len() => {
                let before = std::mem::replace(&mut disputes[place], dispute.clone());
                Ok(before.asked_back)
            }
            place if place == disputes.len() => {
                disputes.push(dispute.clone());
                Ok(Tokens::NONE)
            }
            _ => Err("its dispute is not the purchase's next"),
        }
    }
}

/// Ends the refund in progress; returns the key of its outcome.
fn end_refund(
    purchase: &mut Purchase,
    number: u32,
    state: RefundState,
) -> Result<Digest16, &'static str> {
    let pending = purchase.pending_refund().map(|(pending, _)| pending);
    if pending != Some(number) {
        return Err("its refund is not in progress");
    }
    let last = purchase.post_capture_mut().refunds.last_mut();
    let refund = last.ok_or("its refund was never started")?;
    refund.state = state;
    Ok(refund.key)
}
