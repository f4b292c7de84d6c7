//! Owns computing the features of an attempt from its facts, the buyer's history and the counters.
//!
//! Invariants: a feature only uses what was in the log before the attempt, so a model is never
//! trained on the future. Computing features allocates nothing. Deliberately absent: which features
//! there are (`words::features`).

use crate::engine::risk::program::{Counts, Facts};
use crate::engine::state::profile::Profile;
use crate::engine::state::shard::Shard;
use crate::engine::words::features::{COUNT_MAX, DAY_MS, Feature, Features, HOUR_MS};
use crate::ids::UserId;
use crate::time::UnixMs;

/// The history of a buyer, as far as it is stored.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The first attempt that the buyer's profile knows of.
    pub first_seen: Option<UnixMs>,
    /// Captured payments.
    pub purchases: u64,
    /// Disputes that cardholders won.
    pub chargebacks: u64,
}

impl Past {
    /// The history of `user` in their shard.
    pub(in crate::engine) fn of(shard: &Shard, user: &UserId) -> Self {
        let Some(buyer) = shard.buyer(user) else {
            return Self::default();
        };
        let profile = buyer.profile.as_deref();
        let marks = profile.and_then(Profile::marks);
        Self {
            first_seen: profile.map(|it| it.first_seen),
            purchases: buyer.captures.len() as u64,
            chargebacks: marks.map_or(0, |it| u64::from(it.chargebacks)),
        }
    }
}

impl Features {
    /// The features of the attempt described by `facts`.
    pub fn take(facts: &Facts<'_>, past: Past, counts: &impl Counts) -> Self {
        let age_s = |since: UnixMs| facts.at.since_ms(since) / 1_000;
        let minor_units = u64::try_from(facts.amount).unwrap_or(0);
        let mut taken = Self::unknown()
            .with(Feature::Amount, Some(minor_units))
            .with(Feature::Quantity, Some(u64::from(facts.quantity)))
            .with(Feature::HourUtc, Some(facts.at.get() % DAY_MS / HOUR_MS))
            .with(Feature::AccountAgeS, facts.account_since.map(age_s))
            .with(Feature::KnownForS, past.first_seen.map(age_s))
            .with(Feature::PurchasesBefore, Some(past.purchases))
            .with(Feature::ChargebacksBefore, Some(past.chargebacks));
        for feature in Feature::ALL {
            let Some((counter, window_ms)) = feature.counter() else {
                continue;
            };
            if !facts.named.has(counter.by()) {
                continue;
            }
            // An instant exactly as old as the window is outside, as for rules.
            let since_ms = (facts.at.get() + 1).saturating_sub(window_ms);
            let count = counts.count(counter, &facts.named, since_ms, COUNT_MAX);
            let count = count.unwrap_or(0).min(COUNT_MAX);
            taken = taken.with(feature, Some(u64::from(count)));
        }
        taken
    }
}
