//! Decides whether the risk rules and the operator let an attempt pass.
//!
//! Invariants: rules are evaluated after product and window and before any limit; a paused buyer is
//! blocked without evaluating rules; the strictest matching rule wins; the matched rules and the
//! score are recorded with the attempt, whatever its outcome; a model is evaluated at most once.

use super::Context;
use crate::engine::event::{Origin, RuleHit, RuleOutcome};
use crate::engine::risk::attempt::Past;
use crate::engine::risk::program::{Facts, LiveCounts, RuleMatches, RuleSet};
use crate::engine::risk::scoring::Scoring;
use crate::engine::shared::velocity::{Named, Velocity};
use crate::engine::words::features::Features;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::Rejection;
use crate::ids::{CardToken, ProductId, UserId};
use crate::money::{Amount, Currency};

/// The rules in force, the scoring, and the counters for both.
#[derive(Copy, Clone, Debug)]
pub struct Watch<'a> {
    pub rules: &'a RuleSet,
    pub scoring: &'a Scoring,
    /// The shared counters.
    pub velocity: &'a Velocity,
}

/// A refusal, and the risk rules that had matched by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedAttempt {
    /// Boxed, so that a decision stays cheap to move.
    pub rejection: Box<Rejection>,
    pub found: RuleMatches,
}

impl From<Refusal> for RejectedAttempt {
    fn from(reason: Refusal) -> Self {
        Rejection::from(reason).into()
    }
}

impl From<Rejection> for RejectedAttempt {
    fn from(rejection: Rejection) -> Self {
        let found = RuleMatches::default();
        Self {
            rejection: Box::new(rejection),
            found,
        }
    }
}

impl RuleMatches {
    /// Refuses an attempt that matched these rules.
    pub(super) fn turned(self, rejection: impl Into<Rejection>) -> RejectedAttempt {
        RejectedAttempt {
            rejection: Box::new(rejection.into()),
            found: self,
        }
    }
}

/// The attempt as the rules see it.
pub(super) struct RiskSubject<'a> {
    pub(super) origin: &'a Origin,
    pub(super) user: &'a UserId,
    pub(super) card: Option<&'a CardToken>,
    pub(super) product: &'a ProductId,
    pub(super) quantity: u32,
    pub(super) currency: Currency,
    /// Before any discount.
    pub(super) amount: Amount,
}

/// The rules that match the attempt, unless it is blocked.
pub(super) fn judge(
    context: Context<'_>,
    asked: &RiskSubject<'_>,
) -> Result<RuleMatches, RejectedAttempt> {
    let Context {
        shard, watch, at, ..
    } = context;
    if shard.paused(asked.user, at).is_some() {
        return Err(Refusal::RiskBlocked.into());
    }
    let Some(Watch {
        rules,
        scoring,
        velocity,
    }) = watch
    else {
        return Ok(RuleMatches::default());
    };
    let wants_features = scoring.wants_features(rules.uses_score());
    if rules.is_empty() && !wants_features {
        return Ok(RuleMatches::default());
    }
    let rating = shard.rating(asked.user);
    let mut facts = Facts {
        named: Named {
            user: Some(asked.user),
            card: asked.card,
            ip: asked.origin.ip,
            device: asked.origin.device.as_ref(),
            product: Some(asked.product),
        },
        at,
        amount: asked.amount.get(),
        currency: asked.currency,
        quantity: asked.quantity,
        risk_score: rating.and_then(|it| it.risk_score),
        account_since: rating.and_then(|it| it.account_since),
        segment: shard.segment(asked.user),
    };
    let counts = LiveCounts { velocity, shard };
    let scored = wants_features.then(|| {
        let features = Features::take(&facts, Past::of(shard, asked.user), &counts);
        scoring.score(features)
    });
    // A model scores this attempt, the operator rated the buyer: the more specific score counts.
    if let Some(score) = scored.and_then(|it| it.score) {
        facts.risk_score = Some(score.score.get());
    }
    let found = rules.evaluate(&facts, &counts).with_scored(scored);
    if found.strictest() == Some(RuleOutcome::Block) {
        return Err(found.turned(Refusal::RiskBlocked));
    }
    Ok(found)
}

/// The names of the rules that require a review.
pub(super) fn reviews(hits: &[RuleHit]) -> impl Iterator<Item = String> + '_ {
    let wanted = hits.iter().filter(|hit| hit.outcome >= RuleOutcome::Review);
    wanted.map(|hit| hit.rule.as_str().to_owned())
}

/// The matched rules, by name.
pub(super) fn hits(context: Context<'_>, found: RuleMatches) -> Vec<RuleHit> {
    let rules = context.watch.map(|watch| watch.rules);
    rules.map_or_else(Vec::new, |rules| rules.hits(found))
}
