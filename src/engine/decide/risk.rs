//! Decides whether the risk rules and the operator let an attempt pass.
//!
//! Invariants: asked after product and window and before any limit; a paused buyer is blocked and no
//! rule is asked; the strictest rule that holds wins; whatever comes of the attempt afterwards, the
//! rules that it met go with it.

use super::Context;
use crate::engine::event::{Origin, RuleHit, RuleOutcome};
use crate::engine::refusal::Refusal;
use crate::engine::risk::program::{Facts, Found, LiveCounts, RuleSet};
use crate::engine::velocity::{Named, Velocity};
use crate::ids::{CardToken, ProductId, UserId};
use crate::money::{Amount, Currency};

/// The rules in force and what they count.
#[derive(Copy, Clone, Debug)]
pub struct Watch<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// What buyers share.
    pub velocity: &'a Velocity,
}

/// A refusal, and the risk rules that the attempt had met by then.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Why.
    pub reason: Refusal,
    /// The rules.
    pub found: Found,
}

impl From<Refusal> for Turned {
    fn from(reason: Refusal) -> Self {
        let found = Found::default();
        Self { reason, found }
    }
}

impl Found {
    /// The refusal for `reason` of an attempt of which this was found.
    pub(super) fn turned(self, reason: Refusal) -> Turned {
        Turned {
            reason,
            found: self,
        }
    }
}

/// What is asked for, as the rules see it.
pub(super) struct Asked<'a> {
    pub(super) origin: &'a Origin,
    pub(super) user: &'a UserId,
    pub(super) card: Option<&'a CardToken>,
    pub(super) product: &'a ProductId,
    pub(super) quantity: u32,
    pub(super) currency: Currency,
    /// Before any discount.
    pub(super) amount: Amount,
}

/// The rules that the attempt meets, unless it is blocked.
pub(super) fn judge(context: Context<'_>, asked: &Asked<'_>) -> Result<Found, Turned> {
    let Context {
        shard, watch, at, ..
    } = context;
    if shard.paused(asked.user, at).is_some() {
        return Err(Refusal::RiskBlocked.into());
    }
    let Some(Watch { rules, velocity }) = watch.filter(|watch| !watch.rules.is_empty()) else {
        return Ok(Found::default());
    };
    let rating = shard.rating(asked.user);
    let facts = Facts {
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
    let found = rules.evaluate(&facts, &LiveCounts { velocity, shard });
    if found.strictest() == Some(RuleOutcome::Block) {
        return Err(found.turned(Refusal::RiskBlocked));
    }
    Ok(found)
}

/// The names of the rules that want a person to decide.
pub(super) fn reviews(hits: &[RuleHit]) -> impl Iterator<Item = String> + '_ {
    let wanted = hits.iter().filter(|hit| hit.outcome >= RuleOutcome::Review);
    wanted.map(|hit| hit.rule.as_str().to_owned())
}

/// What was found, by name.
pub(super) fn hits(context: Context<'_>, found: Found) -> Vec<RuleHit> {
    let rules = context.watch.map(|watch| watch.rules);
    rules.map_or_else(Vec::new, |rules| rules.hits(found))
}
