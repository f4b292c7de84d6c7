//! Owns applying: one event, at one instant and LSN, changes one shard. Live and recovery alike.
//!
//! Invariants: applying never decides and asks nothing but the shard and the catalogue; what it
//! has to move in the shared cells it returns as [`Effects`], which the live journal carries out
//! once the event stands in the log and recovery leaves out (cells are derived at its end).
//! An event that does not go with the state is a [`BrokenLog`]: nobody may continue on it.

mod aftermath;
pub(in crate::engine) mod forget;
mod imported;

use crate::engine::event::{
    AttemptRefused, Event, Flow, HoldAfter, HoldPlaced, Part, PaymentCaptured, PaymentStarted,
    PaysFor, Quote, ReviewVerdict, ShardChange,
};
use crate::engine::shared::amounts::{SharedAmounts, SharedCount};
use crate::engine::state::catalogue::{Catalogue, ProductIndex, PromotionIndex};
use crate::engine::state::purchase::{
    BuyerIndex, Claimed, DifferingCapture, Extras, Happened, Payment, Purchase, Reason,
};
use crate::engine::state::purchases::Place;
use crate::engine::state::shard::{KeyOutcome, Shard, tally_add, tally_take};
use crate::engine::state::spending::Counted;
use crate::engine::words::lifecycle::{PurchaseState, Stands, Step, Units, next_state};
use crate::engine::words::refusal::Trace;
use crate::engine::words::settings::Limits;
use crate::ids::{Lsn, PurchaseId, UserId};
use crate::money::Amount;
use crate::time::UnixMs;
use std::cmp::Reverse;

/// What an event moves in the shared cells, beside the claims that it took over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units of a product.
    pub stock: Option<StockMove>,
    /// A use of a promotion to give back.
    pub promotion: Option<PromotionIndex>,
    /// What of a payment counts no more.
    pub uncounted: Option<Box<SharedCount>>,
    /// What of a payment counts beyond what was claimed for it.
    pub counted: Option<Box<SharedCount>>,
}

/// How units move.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StockMove {
    /// Held units become available.
    GiveBack(ProductIndex, u32),
    /// Held units become sold.
    Sell(ProductIndex, u32),
    /// Sold units become available: the goods are back.
    Restock(ProductIndex, u32),
}

impl Effects {
    /// Moves the cells. Only once the event stands in the log: give back after it. `day_start`
    /// says when the day of an instant began.
    pub fn carry_out(
        self,
        catalogue: &Catalogue,
        shared: &SharedAmounts,
        day_start: impl Fn(UnixMs) -> UnixMs,
    ) {
        match self.stock {
            Some(StockMove::GiveBack(product, units)) => {
                catalogue.product_at(product).stock.give_back(units);
            }
            Some(StockMove::Sell(product, units)) => {
                catalogue.product_at(product).stock.sell(units);
            }
            Some(StockMove::Restock(product, units)) => {
                catalogue.product_at(product).stock.take_back(units);
            }
            None => {}
        }
        if let Some(promotion) = self.promotion {
            catalogue.promotion_at(promotion).uses.give_back(1);
        }
        if let Some(count) = self.uncounted {
            shared.give_back(&count, &day_start);
        }
        if let Some(count) = self.counted {
            shared.count_more(&count, day_start);
        }
    }
}

/// An event that does not go with the state before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// Where it stands.
    pub lsn: Lsn,
    /// Which kind of event.
    pub kind: &'static str,
    /// What does not go together.
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

/// Where an event stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its instant.
    pub at: UnixMs,
    /// Its place in the log.
    pub lsn: Lsn,
    /// Whether its instant may be gone by to forget something.
    pub settled: Settled,
}

/// Whether the clock has been watched for long enough since the process started. Before, a single
/// wrong reading may be behind an instant: nothing is forgotten because of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has.
    Yes,
    /// Not yet.
    No,
}

impl Shard {
    /// Applies `event`; what it moves in the cells.
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
            | Part::Webhooks(_) => return Err(broken("it belongs to no shard")),
        };
        match change {
            ShardChange::Placed(placed) => self
                .apply_placed(placed, stamp, catalogue, limits)
                .map_err(broken)?,
            ShardChange::Step(purchase, step) => {
                let taken = self.apply_step(event, (purchase, step), stamp, limits);
                return taken.map_err(broken);
            }
            ShardChange::Refused(refused) => self.apply_refused(refused, stamp, limits),
            ShardChange::Spent(spent) => self.apply_spent(spent, stamp, limits),
            ShardChange::Paused(paused) => self.apply_paused(paused),
            ShardChange::Rated(rated) => self.apply_rated(rated),
            ShardChange::Segmented(segmented) => self.apply_segmented(segmented, stamp),
            ShardChange::Holdings(imported) => {
                self.apply_holdings(imported, catalogue).map_err(broken)?;
            }
            ShardChange::Key(imported) => self.apply_key(imported, stamp, limits),
        }
        Ok(Effects::default())
    }

    fn apply_placed(
        &mut self,
        placed: &HoldPlaced,
        stamp: Stamp,
        catalogue: &Catalogue,
        limits: Limits,
    ) -> Result<(), &'static str> {
        if placed.purchase != self.next_id(placed.purchase.tag()) {
            return Err("its purchase is not the next of its shard");
        }
        let product = catalogue
            .product(&placed.product)
            .ok_or("its product was never set")?
            .index;
        let promotion = match &placed.promotion {
            Some(code) => Some(
                catalogue
                    .promotion(code)
                    .ok_or("its promotion was never set")?
                    .index,
            ),
            None => None,
        };
        let state =
            next_state(None, Step::HoldPlaced).ok_or("a purchase must begin with a hold")?;
        let buyer = self.buyer_index(&placed.user);
        let standing = &mut self.buyers[buyer];
        tally_add(&mut standing.committed, product, placed.quantity);
        if let Some(promotion) = promotion {
            tally_add(&mut standing.promotion_uses, promotion, 1);
        }
        standing.held.push(placed.purchase.sequence());
        standing.owned += 1;
        self.count_attempt(buyer, stamp.at, limits);
        self.profile_placed(buyer, placed, stamp);
        self.timers
            .push(Reverse((placed.expires_at, placed.purchase.sequence())));
        // A buy's own hold never runs out: its payment ends it.
        let origin = (placed.flow == Flow::Hold).then_some(&placed.origin);
        let extras = Extras {
            other_quotes: placed.other_quotes.clone(),
            metadata: placed.metadata.clone(),
            ip: origin.and_then(|it| it.ip),
            device: origin.and_then(|it| it.device.clone()),
        };
        let purchase = Purchase {
            tag: placed.purchase.tag(),
            buyer,
            product,
            promotion,
            quantity: placed.quantity,
            state,
            reason: None,
            hold_quote: placed.quote,
            reward_tokens: placed.reward_tokens,
            refunded: Amount::ZERO,
            expires_at: placed.expires_at,
            payment: None,
            tries: None,
            history: vec![Happened {
                at: stamp.at,
                lsn: stamp.lsn,
                step: Step::HoldPlaced,
            }],
            aftermath: None,
            particulars: None,
            extras: extras.kept(),
        };
        self.purchases.insert(placed.purchase.sequence(), purchase);
        self.note_idle(buyer);
        if placed.flow == Flow::Hold {
            let key = placed.origin.key;
            let outcome = KeyOutcome::Held(placed.purchase);
            self.remember((buyer, key), outcome, stamp.at, limits);
        }
        Ok(())
    }

    fn apply_refused(&mut self, refused: &AttemptRefused, stamp: Stamp, limits: Limits) {
        let Some(user) = &refused.user else { return };
        let (counts, remembers) = match refused.reason.trace() {
            Trace::Nothing => return,
            Trace::Attempt => (true, false),
            Trace::AttemptAndKey => (true, true),
            Trace::Key => (false, true),
        };
        // A refund or a spending of tokens is no attempt to buy, whatever it was refused for.
        let buys = matches!(refused.flow, Flow::Hold | Flow::Buy);
        if counts && buys && refused.origin.key.is_some() {
            let buyer = self.buyer_index(user);
            self.count_attempt(buyer, stamp.at, limits);
            self.profile_refused(buyer, refused, stamp);
            self.note_idle(buyer);
        }
        if remembers {
            let outcome = KeyOutcome::refused(refused.rejection(), refused.origin.request);
            let owner = self.buyer_index(user);
            self.remember((owner, refused.origin.key), outcome, stamp.at, limits);
        }
    }

    fn apply_step(
        &mut self,
        event: &Event,
        (id, step): (PurchaseId, Step),
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
        if let Event::PaymentDeclined(declined) = event {
            // Only now: what counts no more was counted by the payment's card and device.
            self.purchases[place].end_payment(declined, stamp.at, stamp.lsn);
        }
        self.note_ended(place);
        Ok(Effects {
            uncounted,
            counted,
            ..self.move_claims(place, claimed)?
        })
    }

    fn keep_waiting(&mut self, sequence: u64, before: PurchaseState, place: Place) {
        let now = self.purchases[place].state;
        let kept = [
            (PurchaseState::UnderReview, &mut self.reviews),
            (PurchaseState::CaptureDiffers, &mut self.differing),
        ];
        for (state, purchases) in kept {
            match (before == state, now == state) {
                (false, true) => {
                    purchases.insert(sequence);
                }
                (true, false) => {
                    purchases.remove(&sequence);
                }
                (true, true) | (false, false) => {}
            }
        }
    }

    /// The buyer's sums follow the purchase; what of it counts no more, and what counts that was
    /// never claimed (an operator booked a capture of more than was asked for).
    fn recount(
        &mut self,
        place: Place,
        before: Option<Counted>,
    ) -> (Option<Box<SharedCount>>, Option<Box<SharedCount>>) {
        let purchase = &self.purchases[place];
        let after = purchase.counted(&self.corrections);
        let spending = &mut self.buyers[purchase.buyer].spending;
        spending.change(before, after);
        let Some(before) = before else {
            // Claimed where it was decided.
            return (None, None);
        };
        let now = after.map_or(Amount::ZERO, |it| it.amount);
        let shared = |amount: Amount| {
            let counted = Counted { amount, ..before };
            (amount > Amount::ZERO).then(|| SharedCount::new(purchase, counted).map(Box::new))?
        };
        (
            shared(before.amount.saturating_minus(now)),
            shared(now.saturating_minus(before.amount)),
        )
    }

    /// What a step brings beside the new state.
    fn apply_outcome(
        &mut self,
        event: &Event,
        id: PurchaseId,
        place: Place,
        stamp: Stamp,
        limits: Limits,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        match event {
            Event::PaymentStarted(started) => self.apply_started(place, started, stamp, limits),
            Event::PaymentAuthorized(authorized) => {
                let payment = payment_of(purchase)?;
                payment.authorization = Some(authorized.authorization.clone());
                payment.capture_before = authorized.capture_before;
            }
            Event::PaymentCaptured(captured) => self.apply_captured(id, place, captured, stamp)?,
            Event::PaymentDeclined(declined) => {
                payment_of(purchase)?;
                purchase.reason = Some(Reason::Declined(declined.cause));
                if declined.cause.is_refusal() {
                    self.note_decline(place, declined.advice, stamp.at);
                    self.settle_declined(id, place);
                } else {
                    self.free_key(place);
                }
                if declined.hold == HoldAfter::Kept {
                    // The one that its placing set may have gone off while it was being paid.
                    let due = self.purchases[place].expires_at;
                    self.timers.push(Reverse((due, id.sequence())));
                }
            }
            // What a payment was declined for says nothing of how the hold ends.
            Event::HoldReleased(_) | Event::HoldExpired(_) => purchase.reason = None,
            Event::CaptureDiffered(differed) => {
                purchase.aftermath_mut().differing = Some(DifferingCapture {
                    difference: differed.difference,
                    captured: differed.captured,
                    currency: differed.currency,
                });
            }
            Event::VoidStuck(stuck) => purchase.aftermath_mut().stuck = Some(stuck.cause),
            Event::ReviewOpened(opened) => {
                let particulars = purchase.particulars_mut();
                particulars.review_reasons.clone_from(&opened.reasons);
                particulars.review_deadline = Some(opened.deadline);
            }
            Event::ReviewDecided(decided) => {
                if let ReviewVerdict::Rejected(void_by) = decided.verdict {
                    purchase.reason = Some(Reason::Void(decided.void_cause()));
                    purchase.aftermath_mut().void_deadline = Some(void_by);
                }
            }
            Event::VoidStarted(voided) => {
                purchase.reason = Some(Reason::Void(voided.cause));
                purchase.aftermath_mut().void_deadline = Some(voided.deadline);
            }
            Event::PaymentVoided(_) => {
                purchase.aftermath = None;
                if let Some(payment) = &mut purchase.payment {
                    payment.ip = None;
                }
                self.settle_declined(id, place);
            }
            Event::RefundStarted(started) => {
                self.apply_refund_started(place, started, stamp, limits)?;
            }
            Event::RefundSucceeded(done) => self.apply_refunded(place, done, stamp)?,
            Event::RefundFailed(failed) => self.apply_refund_failed(place, failed, stamp)?,
            Event::RefundFound(found) => self.apply_refund_found(place, found)?,
            Event::DisputeOpened(opened) => {
                purchase.set_dispute(opened.number, &opened.dispute)?;
            }
            Event::DisputeClosed(closed) => self.apply_dispute_closed(place, closed)?,
            // They bring the new state alone.
            Event::CaptureStarted(_) => {}
            Event::ProductSet(_)
            | Event::PromotionSet(_)
            | Event::HoldPlaced(_)
            | Event::TokensSpent(_)
            | Event::WebhookReceived(_)
            | Event::AttemptRefused(_)
            | Event::LimitsSet(_)
            | Event::ClockCorrected(_)
            | Event::AdminActed(_)
            | Event::AdminRefused(_)
            | Event::RiskRulesSet(_)
            | Event::RiskScoringSet(_)
            | Event::BuyerPaused(_)
            | Event::BuyerRated(_)
            | Event::BuyerSegmented(_)
            | Event::StockImported(_)
            | Event::PromotionUsesImported(_)
            | Event::HoldingsImported(_)
            | Event::KeyImported(_)
            | Event::NoncesImported(_) => return Err("it is not a step of a purchase"),
        }
        Ok(())
    }

    fn apply_captured(
        &mut self,
        id: PurchaseId,
        place: Place,
        captured: &PaymentCaptured,
        stamp: Stamp,
    ) -> Result<(), &'static str> {
        let purchase = &mut self.purchases[place];
        // A capture that an operator settled had a reason, and may be of another sum.
        purchase.reason = None;
        let payment = payment_of(purchase)?;
        payment.quote = captured.quote;
        payment.capture = Some(captured.capture.clone());
        payment.receipt_key = Some(captured.receipt_key.clone());
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

    fn apply_started(
        &mut self,
        place: Place,
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
        self.remember((buyer, key), KeyOutcome::InFlight, stamp.at, limits);
    }

    /// Units, the buyer's limit and the promotion's use follow the purchase, each once.
    fn move_claims(&mut self, place: Place, before: Claimed) -> Result<Effects, &'static str> {
        let purchase = &mut self.purchases[place];
        let (product, units) = (purchase.product, purchase.quantity);
        let after = purchase.claimed();
        if before.units == Units::Held && after.units != Units::Held {
            purchase.forget_hold();
        }
        let buyer = &mut self.buyers[purchase.buyer];
        match (before.stands, after.stands) {
            (Stands::Always | Stands::Again, Stands::No) => {
                tally_take(&mut buyer.committed, product, units);
            }
            (Stands::No, Stands::Always | Stands::Again) => {
                tally_add(&mut buyer.committed, product, units);
            }
            (Stands::Always | Stands::Again, Stands::Always | Stands::Again)
            | (Stands::No, Stands::No) => {}
        }
        // Given back once, and never taken again: by then somebody else may have it.
        let promotion = match (before.stands, after.stands) {
            (Stands::Always, Stands::No) => purchase.promotion,
            (Stands::Always | Stands::Again | Stands::No, _) => None,
        };
        if let Some(promotion) = promotion {
            tally_take(&mut buyer.promotion_uses, promotion, 1);
        }
        let stock = match (before.units, after.units) {
            (Units::Held, Units::Sold) => Some(StockMove::Sell(product, units)),
            (Units::Held, Units::None) => Some(StockMove::GiveBack(product, units)),
            (Units::Sold, Units::None) => Some(StockMove::Restock(product, units)),
            (Units::Held, Units::Held)
            | (Units::Sold, Units::Sold)
            | (Units::None, Units::None) => None,
            (Units::Sold | Units::None, Units::Held) | (Units::None, Units::Sold) => {
                return Err("units that were given back are taken again");
            }
        };
        Ok(Effects {
            stock,
            promotion,
            ..Effects::default()
        })
    }

    /// The outcome of a payment that charged nothing: the key's request was declined.
    fn settle_declined(&mut self, purchase: PurchaseId, place: Place) {
        let Some(request) = self.purchases[place].payment.as_ref().map(|it| it.request) else {
            return;
        };
        self.settle_key(place, KeyOutcome::Declined { purchase, request });
    }

    /// The payment has no outcome that anybody decided: its key may begin another.
    fn free_key(&mut self, place: Place) {
        let payment = self.purchases[place].payment.as_mut();
        if let Some(scope) = payment.and_then(|payment| payment.key.take()) {
            self.drop_key(scope);
        }
    }

    fn settle_key(&mut self, place: Place, outcome: KeyOutcome) {
        let key = self.purchases[place]
            .payment
            .as_mut()
            .and_then(|payment| payment.key.take());
        if let Some(scope) = key {
            self.set_outcome(scope, outcome);
        }
    }

    pub(in crate::engine) fn buyer_index(&mut self, user: &UserId) -> BuyerIndex {
        self.buyers.place_or_new(user)
    }

    fn count_attempt(&mut self, buyer: BuyerIndex, at: UnixMs, limits: Limits) {
        let attempts = &mut self.buyers[buyer].attempts;
        attempts.push_back(at);
        while attempts.len() > limits.rate_count as usize {
            attempts.pop_front();
        }
    }
}

fn payment_of(purchase: &mut Purchase) -> Result<&mut Payment, &'static str> {
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
        ip: started.origin.ip,
    })
}
