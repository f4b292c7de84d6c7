//! Owns what a recorded attempt looks like to the rules, and whether the rules had been evaluated
//! for it.
//!
//! Invariant: the facts are those that `engine::decide` had. The log has no currency for a refused
//! attempt, so it may have been any in which the product has a price, unless its features have the
//! amount.

use super::known::LogState;
use super::{Change, Side};
use crate::engine::event::{
    AttemptRefused, Event, Flow, HoldPlaced, Origin, PaymentStarted, PaysFor, RuleHit,
};
use crate::engine::features::Feature;
use crate::engine::refusal::{Refusal, Trace};
use crate::engine::risk::program::Facts;
use crate::engine::score::Appraisal;
use crate::engine::stamp::{Settled, Stamp};
use crate::engine::velocity::Named;
use crate::ids::{CardToken, ProductId, PurchaseId, RequestId, UserId};
use crate::journal::AuditEntry;
use crate::money::Currency;

/// Whether an attempt is to charge a card at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Pays {
    Now,
    /// A hold alone: it is reviewed when it is paid for.
    Later,
}

/// One recorded attempt.
#[derive(Copy, Clone, Debug)]
pub(super) struct RecordedAttempt<'a> {
    pub stamp: Stamp,
    pub user: &'a UserId,
    pub origin: &'a Origin,
    pub card: Option<&'a CardToken>,
    pub product: Option<&'a ProductId>,
    pub purchase: Option<PurchaseId>,
    pub quantity: u32,
    /// The amount before any discount; several candidates if the log does not have it.
    pub money: &'a [(Currency, i64)],
    pub recorded: &'a [RuleHit],
    pub appraisal: &'a Appraisal,
    pub pays: Pays,
    pub refused: Option<Refusal>,
}

impl<'a> RecordedAttempt<'a> {
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

    /// The possible amounts, unless the attempt's features have the amount.
    pub(super) fn moneys(&self) -> impl Iterator<Item = (Currency, i64)> + '_ {
        let scored = self.appraisal.scored();
        let said = scored.and_then(|it| it.features.get(Feature::Amount));
        let may = move |amount: i64| said.is_none_or(|said| i64::from(said) == amount);
        let all = self.money.iter().copied();
        all.filter(move |(_, amount)| self.money.len() == 1 || may(*amount))
    }

    pub(super) fn facts(&self, known: &'a LogState, currency: Currency, amount: i64) -> Facts<'a> {
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
            // The recorded score takes precedence over the operator's, as in the live engine.
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

/// At which point an attempt was refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The rules were evaluated.
    Rules,
    /// The buyer was paused; no rule was evaluated.
    Pause,
    /// It was refused before the rules, or was no attempt to buy, or it cannot be determined.
    NoRule,
}

/// Derives from the order of checks where `refused` was refused.
pub(super) fn reached(refused: &AttemptRefused) -> Reached {
    if !matches!(refused.flow, Flow::Hold | Flow::Buy) {
        return Reached::NoRule;
    }
    if !refused.hits.is_empty() || refused.appraisal.scored().is_some() {
        return Reached::Rules;
    }
    match refused.reason {
        // A blocking rule would be named in the event.
        Refusal::RiskBlocked => Reached::Pause,
        Refusal::PerUserLimit
        | Refusal::DailyLimit
        | Refusal::LifetimeLimit
        | Refusal::PromotionNotFound
        | Refusal::PromotionExhausted
        | Refusal::SoldOut
        | Refusal::CardRetryForbidden => Reached::Rules,
        // For a payment of an earlier hold this is checked before the rules.
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

pub(super) fn stamp_of(entry: &AuditEntry) -> Stamp {
    Stamp {
        at: entry.at,
        lsn: entry.lsn,
        settled: Settled::Yes,
    }
}

pub(super) fn is_of(hold: &AuditEntry, started: &PaymentStarted) -> bool {
    matches!(&hold.event, Event::HoldPlaced(placed) if placed.purchase == started.purchase)
        && started.pays_for == PaysFor::OwnHold
}

pub(super) fn placed_money(placed: &HoldPlaced) -> (crate::money::Currency, i64) {
    let amount = placed.quote.unit_price.times(placed.quantity);
    (placed.quote.currency, amount.get())
}

/// The refused attempt that a payment for an earlier hold would have been; it counts its product.
pub(super) fn refused_instead(
    started: &PaymentStarted,
    product: &ProductId,
    quantity: u32,
) -> Event {
    Event::AttemptRefused(AttemptRefused {
        flow: Flow::Buy,
        reason: Refusal::RiskBlocked,
        facts: None,
        user: Some(started.user.clone()),
        product: Some(product.clone()),
        quantity,
        card: Some(started.card.clone()),
        origin: Origin {
            request: RequestId(0),
            ..started.origin.clone()
        },
        hits: Vec::new(),
        appraisal: Appraisal::Plain,
        left_out: 0,
    })
}

/// Whether a refused attempt is kept in the buyer's history (`engine::apply`).
pub(super) fn leaves_trace(refused: &AttemptRefused) -> bool {
    matches!(refused.flow, Flow::Hold | Flow::Buy)
        && refused.origin.key.is_some()
        && matches!(
            refused.reason.trace(),
            Trace::Attempt | Trace::AttemptAndKey
        )
}
