//! Owns what a recorded attempt is to the rules, and whether they had been asked about it.
//!
//! Invariant: the facts are those that `engine::decide` had; of a refused attempt the log does not name
//! the currency, so it may have been any that the product has a price in, unless its features name the amount.

use super::known::Known;
use super::{Change, Side};
use crate::engine::event::{AttemptRefused, Flow, Origin, RuleHit};
use crate::engine::features::Feature;
use crate::engine::refusal::Refusal;
use crate::engine::risk::program::Facts;
use crate::engine::score::Appraisal;
use crate::engine::stamp::Stamp;
use crate::engine::velocity::Named;
use crate::ids::{CardToken, ProductId, PurchaseId, UserId};
use crate::money::Currency;

/// Whether an attempt is to charge a card at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Pays {
    Now,
    /// A hold alone: a review is asked for when it is paid for.
    Later,
}

/// One recorded attempt.
#[derive(Copy, Clone, Debug)]
pub(super) struct Attempt<'a> {
    pub stamp: Stamp,
    pub user: &'a UserId,
    pub origin: &'a Origin,
    pub card: Option<&'a CardToken>,
    pub product: Option<&'a ProductId>,
    pub purchase: Option<PurchaseId>,
    pub quantity: u32,
    /// What was to be paid before any discount: one, unless the log does not say.
    pub money: &'a [(Currency, i64)],
    pub recorded: &'a [RuleHit],
    pub appraisal: &'a Appraisal,
    pub pays: Pays,
    pub refused: Option<Refusal>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(stamp: Stamp, user: &'a UserId, origin: &'a Origin) -> Self {
        Self {
            stamp,
            user,
            origin,
            card: None,
            product: None,
            purchase: None,
            quantity: 0,
            money: &[],
            recorded: &[],
            appraisal: &Appraisal::Plain,
            pays: Pays::Later,
            refused: None,
        }
    }

    /// What may have been to be paid, as far as the attempt's features do not say otherwise.
    pub(super) fn moneys(&self) -> impl Iterator<Item = (Currency, i64)> + '_ {
        let scored = self.appraisal.scored();
        let said = scored.and_then(|it| it.features.get(Feature::Amount));
        let may = move |amount: i64| said.is_none_or(|said| i64::from(said) == amount);
        let all = self.money.iter().copied();
        all.filter(move |(_, amount)| self.money.len() == 1 || may(*amount))
    }

    pub(super) fn facts(&self, known: &'a Known, currency: Currency, amount: i64) -> Facts<'a> {
        let rating = known.rating(self.user);
        Facts {
            named: Named {
                user: Some(self.user),
                card: self.card,
                ip: self.origin.ip,
                device: self.origin.device.as_ref(),
                product: self.product,
            },
            at: self.stamp.at,
            amount,
            currency,
            quantity: self.quantity,
            // The score that was given then, where one was: as live, it is nearer than the operator's.
            risk_score: match self.appraisal.score() {
                Some(score) => Some(score.get()),
                None => rating.and_then(|it| it.risk_score),
            },
            account_since: rating.and_then(|it| it.account_since),
            segment: known.segment_of(self.user),
        }
    }

    pub(super) fn changed(&self, (from, to): (Side, Side), rules: Vec<RuleHit>) -> Change {
        Change {
            at: self.stamp.at,
            lsn: self.stamp.lsn,
            user: self.user.clone(),
            product: self.product.cloned(),
            purchase: self.purchase,
            refused: self.refused,
            from,
            to,
            rules,
        }
    }
}

/// How far a refused attempt had come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The rules were asked.
    Rules,
    /// The buyer was paused: no rule was asked.
    Pause,
    /// It was refused before, or it was no attempt to buy, or nobody can tell.
    NoRule,
}

/// How far `refused` had come, by the order of checks.
pub(super) fn reached(refused: &AttemptRefused) -> Reached {
    if !matches!(refused.flow, Flow::Hold | Flow::Buy) {
        return Reached::NoRule;
    }
    if !refused.hits.is_empty() || refused.appraisal.scored().is_some() {
        return Reached::Rules;
    }
    match refused.reason {
        // A rule that blocks leaves its name.
        Refusal::RiskBlocked => Reached::Pause,
        Refusal::PerUserLimit
        | Refusal::DailyLimit
        | Refusal::LifetimeLimit
        | Refusal::PromotionNotFound
        | Refusal::PromotionExhausted
        | Refusal::SoldOut
        | Refusal::CardRetryForbidden => Reached::Rules,
        // Of a payment for an earlier hold it is found out before the rules are asked.
        Refusal::PromotionNotApplicable | Refusal::AmountNotPayable
            if refused.flow == Flow::Hold =>
        {
            Reached::Rules
        }
        Refusal::PromotionNotApplicable
        | Refusal::AmountNotPayable
        | Refusal::InvalidRequest
        | Refusal::CurrencyNotAllowed
        | Refusal::InvalidCardToken
        | Refusal::IdempotencyKeyMissing
        | Refusal::ProductNotFound
        | Refusal::HoldNotFound
        | Refusal::PurchaseNotFound
        | Refusal::SaleNotStarted
        | Refusal::SaleEnded
        | Refusal::SaleInactive
        | Refusal::HoldExpired
        | Refusal::HoldClosed
        | Refusal::IdempotencyInFlight
        | Refusal::IdempotencyKeyReused
        | Refusal::IdempotencyOutcomeElsewhere
        | Refusal::StockBelowCommitted
        | Refusal::RateLimited
        | Refusal::PaymentDeclined
        | Refusal::Overloaded
        | Refusal::StorageUnavailable
        | Refusal::WrongState
        | Refusal::PromotionBelowUsed
        | Refusal::BodyTooLarge
        | Refusal::RequestTimeout
        | Refusal::UnsupportedMediaType
        | Refusal::RefundConflict
        | Refusal::RefundExceedsCaptured
        | Refusal::RefundFailed
        | Refusal::NotEnoughTokens
        | Refusal::GatewayUnavailable
        | Refusal::InvalidSignature
        | Refusal::StaleTimestamp
        | Refusal::ReplayedNonce => Reached::NoRule,
    }
}
