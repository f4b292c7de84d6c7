//! Owns the history of buyers, prices and purchases that the log has shown so far, as far as rules
//! use it.
//!
//! Invariant: what a buyer paid is summed as the buyer's shard does it (`engine::state::reads`).

use super::LineIndices;
use crate::engine::counter::Counter;
use crate::engine::event::{
    BuyerRated, BuyerSegmented, ClockCorrected, Flow, HoldPlaced, ProductSet, Quote, Rating,
};
use crate::engine::risk::attempt::Past;
use crate::engine::risk::program::Counts;
use crate::engine::velocity::{Named, Velocity};
use crate::ids::{ProductId, PurchaseId, Segment, UserId};
use crate::money::{Amount, Currency, Price};
use crate::time::UnixMs;
use hashbrown::HashMap;

/// What is known.
#[derive(Debug, Default)]
pub(super) struct LogState {
    pub purchases: HashMap<PurchaseId, ReplayedPurchase>,
    prices: HashMap<ProductId, Prices>,
    ratings: HashMap<UserId, Rating>,
    /// Computed segments.
    segments: HashMap<UserId, Segment>,
    histories: HashMap<UserId, BuyerHistory>,
}

/// The history of a buyer.
#[derive(Debug, Default)]
struct BuyerHistory {
    first_seen: Option<UnixMs>,
    chargebacks: u64,
    /// Captured payments: time, currency, amount.
    captures: Vec<(UnixMs, Currency, i64)>,
}

#[derive(Debug, Default)]
struct Prices {
    now: Vec<(Currency, Price)>,
    /// Earlier prices that an open hold may still have.
    earlier: Vec<(Currency, Price)>,
}

/// A hold with its payment.
#[derive(Debug)]
pub(super) struct ReplayedPurchase {
    pub product: ProductId,
    pub quantity: u32,
    /// The quote of the payment, once there is one.
    pub quote: Quote,
    /// Set if the tried rules block an attempt that had passed.
    pub blocked: Option<Box<Blocked>>,
}

/// The later effects of an attempt that the tried rules block.
#[derive(Debug)]
pub(super) struct Blocked {
    /// The rules' lines in the report.
    pub lines: LineIndices,
    pub captured: bool,
    pub refunded: Amount,
}

impl Blocked {
    /// Adds these lines.
    pub(super) fn also_by(&mut self, lines: LineIndices) {
        for line in lines {
            if !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
    }

    pub(super) fn by(lines: LineIndices) -> Self {
        Self {
            lines,
            captured: false,
            refunded: Amount::ZERO,
        }
    }
}

impl ReplayedPurchase {
    pub(super) fn held(placed: &HoldPlaced, blocked: Option<Box<Blocked>>) -> Self {
        Self {
            product: placed.product.clone(),
            quantity: placed.quantity,
            quote: placed.quote,
            blocked,
        }
    }
}

impl LogState {
    /// Shifts all times, so that everything keeps its age.
    pub(super) fn correct(&mut self, corrected: &ClockCorrected) {
        for history in self.histories.values_mut() {
            let captures = history.captures.iter_mut().map(|(at, _, _)| at);
            for at in captures.chain(&mut history.first_seen) {
                *at = at.moved_ms(corrected.offset_ms());
            }
        }
    }

    pub(super) fn rate(&mut self, rated: &BuyerRated) {
        self.ratings
            .insert(rated.user.clone(), rated.rating.clone());
    }

    pub(super) fn rating(&self, user: &UserId) -> Option<&Rating> {
        self.ratings.get(user)
    }

    pub(super) fn segment(&mut self, segmented: &BuyerSegmented) {
        self.segments
            .insert(segmented.user.clone(), segmented.segment.clone());
    }

    /// The operator's segment of a buyer, otherwise the computed one (`engine::segments`).
    pub(super) fn segment_of(&self, user: &UserId) -> Option<&Segment> {
        let said = self.rating(user).and_then(|it| it.segment.as_ref());
        said.or_else(|| self.segments.get(user))
    }

    /// Records an attempt of `user` that leaves a trace.
    pub(super) fn saw(&mut self, user: &UserId, at: UnixMs) {
        let history = self.histories.entry_ref(user).or_default();
        history.first_seen.get_or_insert(at);
    }

    /// Adds lost disputes of a buyer.
    pub(super) fn charge_back(&mut self, user: &UserId, more: i8) {
        let history = self.histories.entry_ref(user).or_default();
        history.chargebacks = history.chargebacks.saturating_add_signed(more.into());
    }

    /// The history of `user`, for features.
    pub(super) fn past(&self, user: &UserId) -> Past {
        let history = self.histories.get(user);
        history.map_or_else(Past::default, |it| Past {
            first_seen: it.first_seen,
            purchases: it.captures.len() as u64,
            chargebacks: it.chargebacks,
        })
    }

    pub(super) fn set_prices(&mut self, set: &ProductSet) {
        let prices = self.prices.entry(set.product.clone()).or_default();
        for gone in std::mem::replace(&mut prices.now, set.prices.clone()) {
            if !prices.earlier.contains(&gone) {
                prices.earlier.push(gone);
            }
        }
        prices.earlier.retain(|it| !prices.now.contains(it));
    }

    /// The possible amounts of an attempt whose currency is not in the log.
    pub(super) fn moneys(
        &self,
        product: &ProductId,
        quantity: u32,
        flow: Flow,
    ) -> Vec<(Currency, i64)> {
        let Some(prices) = self.prices.get(product) else {
            return Vec::new();
        };
        // Only a buy can be for a hold that is older than a change of prices.
        let earlier = prices.earlier.iter().filter(|_| flow == Flow::Buy);
        let all = prices.now.iter().chain(earlier);
        all.map(|(currency, price)| (*currency, price.times(quantity).get()))
            .collect()
    }

    /// Records a captured payment. The amount of a purchase from before the log's beginning is
    /// unknown.
    pub(super) fn capture(&mut self, user: &UserId, id: PurchaseId, at: UnixMs) {
        if let Some(purchase) = self.purchases.get(&id) {
            let Quote {
                currency, amount, ..
            } = purchase.quote;
            let history = self.histories.entry_ref(user).or_default();
            history.captures.push((at, currency, amount.get()));
        }
    }
}

/// Any currency, for rules that use none.
pub(super) fn any_currency() -> Currency {
    Currency::parse("USD").expect("it is three capital letters")
}

/// The counters of a replay.
#[derive(Copy, Clone, Debug)]
pub(super) struct Counters<'a> {
    pub velocity: &'a Velocity,
    pub known: &'a LogState,
}

impl Counts for Counters<'_> {
    fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> Option<u32> {
        self.velocity.look(counter, named, since_ms, cap)
    }

    fn captured(&self, named: &Named<'_>, currency: Currency, since_ms: u64) -> i64 {
        let history = named.user.and_then(|user| self.known.histories.get(user));
        let captures = history.map_or(&[][..], |it| &it.captures);
        let recent = captures.iter().rev();
        let recent = recent.take_while(|(at, _, _)| at.get() >= since_ms);
        let same = recent.filter(|(_, it, _)| *it == currency);
        same.fold(0, |sum, (_, _, amount)| i64::saturating_add(sum, *amount))
    }
}
