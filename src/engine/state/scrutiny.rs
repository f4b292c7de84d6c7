//! Owns what a shard keeps for the risk rules: what a buyer paid and when, and what the operator said
//! of buyers.
//!
//! Invariants: a pause ends by itself; what a buyer paid is counted from the purchases, so that it is
//! the same after any recovery. Changed by `apply` alone.
//! Deliberately absent: the rules, and what buyers share (`engine::velocity`).

use crate::engine::event::{BuyerPaused, BuyerRated, Pause, Rating};
use crate::engine::state::purchase::Purchase;
use crate::engine::state::purchases::Place;
use crate::engine::state::shard::Shard;
use crate::ids::UserId;
use crate::money::Currency;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// What the operator said of a buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerRisk {
    pub(in crate::engine) pause: Option<Pause>,
    pub(in crate::engine) rating: Rating,
}

impl Shard {
    /// What the operator paused `user` for, while that lasts.
    pub fn paused(&self, user: &UserId, at: UnixMs) -> Option<&Pause> {
        let pause = self.buyer(user)?.risk.as_ref()?.pause.as_ref()?;
        (at < pause.until).then_some(pause)
    }

    /// How the operator rated `user`.
    pub fn rating(&self, user: &UserId) -> Option<&Rating> {
        Some(&self.buyer(user)?.risk.as_ref()?.rating)
    }

    /// What `user` paid in `currency` from `since` on, in minor units; what went back later counts.
    pub fn captured_since(&self, user: &UserId, currency: Currency, since: UnixMs) -> i64 {
        let captures = self.buyer(user).map_or(&[][..], |buyer| &buyer.captures);
        let recent = captures.iter().rev().take_while(|(at, _)| *at >= since);
        let sums = recent.map(|(_, sequence)| {
            let quote = self.purchases.get(*sequence).map(Purchase::quote);
            let in_currency = quote.filter(|quote| quote.currency == currency);
            in_currency.map_or(0, |quote| quote.amount.get())
        });
        sums.fold(0, i64::saturating_add)
    }

    pub(in crate::engine) fn note_capture(&mut self, place: Place, at: UnixMs) {
        let buyer = self.purchases[place].buyer;
        let captures = &mut self.buyers[buyer].captures;
        captures.push((at, self.purchases.sequence(place)));
    }

    pub(in crate::engine) fn apply_paused(&mut self, paused: &BuyerPaused) {
        self.change_risk(&paused.user, |risk| risk.pause.clone_from(&paused.pause));
    }

    pub(in crate::engine) fn apply_rated(&mut self, rated: &BuyerRated) {
        self.change_risk(&rated.user, |risk| risk.rating.clone_from(&rated.rating));
    }

    /// A buyer of whom nothing is said any more keeps nothing.
    fn change_risk(&mut self, user: &UserId, change: impl FnOnce(&mut BuyerRisk)) {
        let index = self.buyer_index(user);
        let kept = &mut self.buyers[index].risk;
        let mut risk = kept.take().unwrap_or_default();
        change(&mut risk);
        *kept = (*risk != BuyerRisk::default()).then_some(risk);
        self.note_idle(index);
    }
}
