//! Owns what events record in a buyer's risk profile.
//!
//! Invariants: a profile begins with the buyer's first attempt that leaves a trace, and counts from
//! then on. A refusal that leaves no trace (429, 503 and the like) is not in it.

use crate::engine::event::{
    AttemptRefused, Decider, DeclineCause, DisputeEvent, Event, Flow, Group, HoldPlaced,
    PaymentEvent, PaymentStarted, PaysFor, RefundEvent, ReviewEvent, ReviewVerdict, RuleHit,
    RuleOutcome,
};
use crate::engine::state::profile::{Judged, JudgedAs, JudgedBy, Profile, RULES_NAMED};
use crate::engine::state::purchase::BuyerIndex;
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::score::{Appraisal, Score};
use crate::engine::words::stamp::Stamp;

impl Shard {
    /// Records a hold. The hold of a buy is recorded with its payment.
    pub(in crate::engine::state) fn profile_placed(
        &mut self,
        buyer: BuyerIndex,
        placed: &HoldPlaced,
        stamp: Stamp,
    ) {
        let profile = self.seen(buyer, &placed.appraisal, stamp);
        profile.attempts += 1;
        if placed.flow == Flow::Hold && !placed.hits.is_empty() {
            let outcome = JudgedAs::Passed;
            let score = placed.appraisal.score();
            profile.judged(judged(stamp, outcome, score, &placed.hits));
        }
    }

    pub(in crate::engine::state) fn profile_started(
        &mut self,
        buyer: BuyerIndex,
        started: &PaymentStarted,
        stamp: Stamp,
    ) {
        let profile = self.seen(buyer, &started.appraisal, stamp);
        profile.attempts += u32::from(started.pays_for == PaysFor::EarlierHold);
        let outcome = if started.review.is_empty() {
            JudgedAs::Passed
        } else {
            JudgedAs::ToReview
        };
        if outcome == JudgedAs::ToReview || !started.hits.is_empty() {
            let score = started.appraisal.score();
            profile.judged(judged(stamp, outcome, score, &started.hits));
        }
    }

    /// Records a refused attempt that leaves a trace.
    pub(in crate::engine::state) fn profile_refused(
        &mut self,
        buyer: BuyerIndex,
        refused: &AttemptRefused,
        stamp: Stamp,
    ) {
        let profile = self.seen(buyer, &refused.appraisal, stamp);
        profile.attempts += 1;
        profile.refused += 1;
        let blocked = refused.reason == Refusal::RiskBlocked;
        if blocked {
            profile.marks_mut().blocked += 1;
        }
        if blocked || !refused.hits.is_empty() {
            let outcome = JudgedAs::Refused(refused.reason);
            let score = refused.appraisal.score();
            profile.judged(judged(stamp, outcome, score, &refused.hits));
        }
    }

    /// Records a step of a purchase, if its buyer has a profile.
    pub(in crate::engine::state) fn profile_step(
        &mut self,
        place: PurchaseIndex,
        event: &Event,
        stamp: Stamp,
    ) {
        let buyer = self.purchases[place].buyer;
        let Some(profile) = self.buyers[buyer].profile.as_deref_mut() else {
            return;
        };
        match event.group() {
            Group::Payment(event) => match event {
                PaymentEvent::PaymentCaptured(_) => profile.purchases += 1,
                // A failure of the gateway says nothing about the buyer.
                PaymentEvent::PaymentDeclined(it) if it.cause == DeclineCause::DeclinedByIssuer => {
                    profile.marks_mut().declines += 1;
                }
                PaymentEvent::PaymentDeclined(_)
                | PaymentEvent::PaymentStarted(_)
                | PaymentEvent::PaymentAuthorized(_)
                | PaymentEvent::CaptureStarted(_)
                | PaymentEvent::CaptureDiffered(_)
                | PaymentEvent::VoidStarted(_)
                | PaymentEvent::PaymentVoided(_)
                | PaymentEvent::VoidStuck(_) => {}
            },
            Group::Review(ReviewEvent::ReviewDecided(decided)) => {
                let by = match decided.decider {
                    Decider::Person(_) => JudgedBy::Person,
                    Decider::Deadline => JudgedBy::Deadline,
                };
                let marks = profile.marks_mut();
                let outcome = match decided.verdict {
                    ReviewVerdict::Approved => {
                        marks.reviews_approved += 1;
                        JudgedAs::Approved(by)
                    }
                    ReviewVerdict::Rejected(_) => {
                        marks.reviews_rejected += 1;
                        JudgedAs::Rejected(by)
                    }
                };
                profile.judged(judged(stamp, outcome, None, &[]));
            }
            Group::Refund(event) => match event {
                RefundEvent::RefundSucceeded(done) => profile.shortfall(done.clawback),
                RefundEvent::RefundFound(found) => profile.shortfall(found.clawback),
                RefundEvent::RefundStarted(_)
                | RefundEvent::RefundFailed(_)
                | RefundEvent::RefundReturned(_) => {}
            },
            Group::Dispute(DisputeEvent::DisputeOpened(opened)) => {
                // A report about a known dispute is not a new dispute.
                let new = u32::from(opened.before.is_none());
                profile.marks_mut().disputes += new;
            }
            Group::Dispute(DisputeEvent::DisputeClosed(closed)) => {
                let marks = profile.marks_mut();
                let more = i32::from(closed.more_lost());
                marks.chargebacks = marks.chargebacks.saturating_add_signed(more);
                profile.shortfall(closed.clawback);
            }
            // These say nothing about the buyer. Attempts are recorded where they are applied.
            Group::Hold(_)
            | Group::Review(ReviewEvent::ReviewOpened(_))
            | Group::Attempt(_)
            | Group::Buyer(_)
            | Group::Catalogue(_)
            | Group::Risk(_)
            | Group::Webhook(_)
            | Group::Core(_)
            | Group::Trail(_) => {}
        }
    }

    /// The profile that an attempt is recorded in, created if there is none.
    pub(super) fn seen(
        &mut self,
        buyer: BuyerIndex,
        appraisal: &Appraisal,
        stamp: Stamp,
    ) -> &mut Profile {
        let profile = &mut self.buyers[buyer].profile;
        let profile = profile.get_or_insert_with(|| Box::new(Profile::begun(stamp.at)));
        profile.last_seen = stamp.at;
        profile.score = appraisal.score().or(profile.score);
        profile
    }
}

fn judged(stamp: Stamp, outcome: JudgedAs, score: Option<Score>, hits: &[RuleHit]) -> Judged {
    let strictest_first = RuleOutcome::ALL.iter().rev();
    let sorted = strictest_first.flat_map(|outcome| {
        let alike = hits.iter().filter(move |hit| hit.outcome == *outcome);
        alike.map(|hit| hit.rule.clone())
    });
    let mut rules = Vec::with_capacity(hits.len().min(RULES_NAMED));
    rules.extend(sorted.take(RULES_NAMED));
    Judged {
        at: stamp.at,
        outcome,
        score,
        rules,
    }
}
