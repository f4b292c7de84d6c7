//! Owns risk profiles: for each buyer a few counts of what happened, and the last decisions that had
//! to do with risk.
//!
//! Invariants:
//! 1. A profile begins with the buyer's first attempt that leaves something behind, and counts what
//!    happens from then on.
//! 2. It is bounded: [`DECISIONS_KEPT`] decisions with [`RULES_NAMED`] names each. What gives no
//!    cause for a second look takes no room: a buyer who has only bought has counts alone.
//! 3. A refusal that leaves nothing behind (429, 503 and the like) is not in it.
//!
//! Changed by `apply` alone. Deliberately absent: exact windows (`velocity`), what the operator says
//! of buyers (`scrutiny`).

use crate::engine::apply::Stamp;
use crate::engine::event::{
    AttemptRefused, Clawback, Decider, DeclineCause, Event, Flow, HoldPlaced, PaymentStarted,
    PaysFor, ReviewVerdict, RuleHit, RuleName, RuleOutcome,
};
use crate::engine::risk::features::Past;
use crate::engine::risk::score::{Appraisal, Score};
use crate::engine::state::purchase::BuyerIndex;
use crate::engine::state::purchases::Place;
use crate::engine::state::shard::Shard;
use crate::engine::words::refusal::Refusal;
use crate::ids::UserId;
use crate::money::Tokens;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Decisions that are kept of a buyer; the oldest go.
pub const DECISIONS_KEPT: usize = 8;
/// Rules that a decision names, the strictest first.
pub const RULES_NAMED: usize = 8;

/// What is remembered of a buyer for judging the next attempt.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Profile {
    /// The first attempt.
    pub first_seen: UnixMs,
    /// The latest.
    pub last_seen: UnixMs,
    /// Holds and buys, refused ones too.
    pub attempts: u32,
    /// Attempts that were refused, for whatever reason.
    pub refused: u32,
    /// Captured payments.
    pub purchases: u32,
    /// The latest score that a model gave.
    pub score: Option<Score>,
    /// What only some buyers have.
    pub(in crate::engine) marks: Option<Box<Marks>>,
}

/// Every buyer who ever tried has one: it is to stay small.
const _: () = assert!(size_of::<Profile>() <= 40);

/// What gives cause for a second look at a buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Marks {
    /// Payments that an issuer declined.
    pub declines: u32,
    /// Attempts that a rule or a pause blocked.
    pub blocked: u32,
    /// Purchases that were let through by a review.
    pub reviews_approved: u32,
    /// Purchases that were not.
    pub reviews_rejected: u32,
    /// Disputes that cardholders began.
    pub disputes: u32,
    /// Disputes that they won, and the shop did not win after all.
    pub chargebacks: u32,
    /// How often reward tokens that were asked back were not there any more.
    pub shortfalls: u32,
    /// How many they were.
    pub shortfall_tokens: Tokens,
    /// Oldest first.
    pub decisions: Vec<Judged>,
}

/// A decision that had to do with risk.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Judged {
    /// When.
    pub at: UnixMs,
    /// What was decided.
    pub outcome: JudgedAs,
    /// The score that a model gave.
    pub score: Option<Score>,
    /// The rules that were met, the strictest first, at most [`RULES_NAMED`].
    pub rules: Vec<RuleName>,
}

/// What was decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum JudgedAs {
    /// The attempt passed, though it met rules.
    Passed,
    /// It passed, and a person decides before the money is taken.
    ToReview,
    /// It was refused.
    Refused(Refusal),
    /// The review let the purchase through.
    Approved(JudgedBy),
    /// The review did not.
    Rejected(JudgedBy),
}

/// Who decided a review.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum JudgedBy {
    /// A person.
    Person,
    /// The configuration, at the deadline.
    Deadline,
}

impl JudgedBy {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Deadline => "deadline",
        }
    }
}

impl JudgedAs {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::ToReview => "to_review",
            Self::Refused(_) => "refused",
            Self::Approved(_) => "approved",
            Self::Rejected(_) => "rejected",
        }
    }
}

impl Profile {
    fn begun(at: UnixMs) -> Self {
        Self {
            first_seen: at,
            last_seen: at,
            attempts: 0,
            refused: 0,
            purchases: 0,
            score: None,
            marks: None,
        }
    }

    /// What gives cause for a second look; `None` where nothing does.
    pub fn marks(&self) -> Option<&Marks> {
        self.marks.as_deref()
    }

    fn marks_mut(&mut self) -> &mut Marks {
        self.marks.get_or_insert_default()
    }

    fn judged(&mut self, judged: Judged) {
        let decisions = &mut self.marks_mut().decisions;
        if decisions.len() == DECISIONS_KEPT {
            decisions.remove(0);
        }
        // Most have one or two for ever.
        decisions.reserve_exact(1);
        decisions.push(judged);
    }

    fn shortfall(&mut self, clawback: Clawback) {
        if clawback.shortfall > Tokens::NONE {
            let marks = self.marks_mut();
            marks.shortfalls += 1;
            marks.shortfall_tokens = marks.shortfall_tokens.plus(clawback.shortfall);
        }
    }
}

impl Shard {
    /// What is remembered of `user`; `None` where there was no attempt.
    pub fn profile(&self, user: &UserId) -> Option<&Profile> {
        self.buyer(user)?.profile.as_deref()
    }

    /// What `user` did before, for features.
    pub(in crate::engine) fn past(&self, user: &UserId) -> Past {
        let Some(buyer) = self.buyer(user) else {
            return Past::default();
        };
        let profile = buyer.profile.as_deref();
        let marks = profile.and_then(Profile::marks);
        Past {
            first_seen: profile.map(|it| it.first_seen),
            purchases: buyer.captures.len() as u64,
            chargebacks: marks.map_or(0, |it| u64::from(it.chargebacks)),
        }
    }

    /// A hold is an attempt of its own, or the first half of a buy, which its payment tells of.
    pub(in crate::engine) fn profile_placed(
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

    pub(in crate::engine) fn profile_started(
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

    /// An attempt that was refused and leaves something behind.
    pub(in crate::engine) fn profile_refused(
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

    /// What becomes of a purchase, where its buyer has a profile.
    pub(in crate::engine) fn profile_step(&mut self, place: Place, event: &Event, stamp: Stamp) {
        let buyer = self.purchases[place].buyer;
        let Some(profile) = self.buyers[buyer].profile.as_deref_mut() else {
            return;
        };
        match event {
            Event::PaymentCaptured(_) => profile.purchases += 1,
            // What the gateway could not process says nothing of the buyer.
            Event::PaymentDeclined(it) if it.cause == DeclineCause::DeclinedByIssuer => {
                profile.marks_mut().declines += 1;
            }
            Event::ReviewDecided(decided) => {
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
            Event::RefundSucceeded(done) => profile.shortfall(done.clawback),
            Event::RefundFound(found) => profile.shortfall(found.clawback),
            Event::DisputeOpened(opened) => {
                // One that was heard of is no new one.
                let new = u32::from(opened.before.is_none());
                profile.marks_mut().disputes += new;
            }
            Event::DisputeClosed(closed) => {
                let marks = profile.marks_mut();
                let more = i32::from(closed.more_lost());
                marks.chargebacks = marks.chargebacks.saturating_add_signed(more);
                profile.shortfall(closed.clawback);
            }
            // These say nothing of the buyer. How attempts begin is noted where they are applied.
            Event::HoldReleased(_)
            | Event::HoldExpired(_)
            | Event::PaymentStarted(_)
            | Event::PaymentAuthorized(_)
            | Event::PaymentDeclined(_)
            | Event::ReviewOpened(_)
            | Event::CaptureStarted(_)
            | Event::VoidStarted(_)
            | Event::PaymentVoided(_)
            | Event::VoidStuck(_)
            | Event::RefundStarted(_)
            | Event::RefundFailed(_)
            | Event::CaptureDiffered(_)
            | Event::ProductSet(_)
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
            | Event::NoncesImported(_) => {}
        }
    }

    /// The profile that an attempt is noted in, begun where there is none yet.
    fn seen(&mut self, buyer: BuyerIndex, appraisal: &Appraisal, stamp: Stamp) -> &mut Profile {
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
