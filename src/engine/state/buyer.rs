//! Owns a buyer as stored in their shard, besides their purchases.
//!
//! Invariants: what is derived from purchases and keys says so, and no image has it; tallies hold
//! no zeroes. Deliberately absent: where a buyer is stored (`buyers`).

use crate::engine::event::{Pause, Rating, RetryAdvice};
use crate::engine::state::catalogue::{ProductIndex, PromotionIndex};
use crate::engine::state::corrections::Corrections;
use crate::engine::state::profile::Profile;
use crate::engine::state::purchase::{Happened, Purchase};
use crate::engine::state::segments::Segmented;
use crate::engine::state::spending::Spending;
use crate::engine::words::lifecycle::Step;
use crate::ids::{CardToken, UserId};
use crate::money::Tokens;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(in crate::engine) struct Buyer {
    pub(in crate::engine) user: UserId,
    /// The latest attempts, oldest first, at most the rate limit's count.
    pub(in crate::engine) attempts: VecDeque<UnixMs>,
    /// Units of open holds and standing purchases by product; no zeroes.
    pub(in crate::engine) committed: Vec<(ProductIndex, u32)>,
    /// Promotion uses by promotion; no zeroes.
    pub(in crate::engine) promotion_uses: Vec<(PromotionIndex, u32)>,
    /// What was bought, in money: derived from the purchases.
    pub(in crate::engine) spending: Spending,
    /// When each of the buyer's purchases was paid, by sequence, oldest first: derived from them.
    pub(in crate::engine) captures: Vec<(UnixMs, u64)>,
    /// Number of stored purchases: derived from them.
    pub(in crate::engine) owned: u32,
    /// Since when no state of the buyer is left; `None` while some is: derived.
    pub(in crate::engine) idle: Option<Idle>,
    /// Holds that are neither paid nor being paid, by sequence: derived from the purchases.
    pub(in crate::engine) held: Vec<u64>,
    /// When each of the buyer's keys is forgotten: derived from the keys.
    pub(in crate::engine) key_dues: VecDeque<UnixMs>,
    /// What only few buyers have.
    pub(in crate::engine) more: Option<Box<BuyerMore>>,
    /// The operator's pause and rating.
    pub(in crate::engine) risk: Option<Box<BuyerRisk>>,
    /// The segment computed from the buyer's purchases.
    pub(in crate::engine) segmented: Option<Box<Segmented>>,
    /// The risk profile.
    pub(in crate::engine) profile: Option<Box<Profile>>,
}

impl Buyer {
    /// A buyer without any state.
    pub(in crate::engine) fn new(user: UserId) -> Self {
        Self {
            user,
            attempts: VecDeque::new(),
            committed: Vec::new(),
            promotion_uses: Vec::new(),
            spending: Spending::default(),
            captures: Vec::new(),
            owned: 0,
            idle: None,
            held: Vec::new(),
            key_dues: VecDeque::new(),
            more: None,
            risk: None,
            segmented: None,
            profile: None,
        }
    }

    pub(in crate::engine::state) fn more_mut(&mut self) -> &mut BuyerMore {
        self.more.get_or_insert_default()
    }

    /// Adds `purchase` to the sums and counts. The caller sorts the captures.
    pub(in crate::engine::state) fn sum_up(
        &mut self,
        sequence: u64,
        purchase: &Purchase,
        corrections: &Corrections,
    ) {
        if let Some(counted) = purchase.counted(corrections) {
            self.spending.add(counted);
        }
        let captured = |it: &&Happened| it.step == Step::PaymentCaptured;
        if let Some(paid) = purchase.history.iter().find(captured) {
            self.captures.push((corrections.today(paid), sequence));
        }
    }

    /// Since when no state is left; `None` while some is.
    pub(in crate::engine::state) fn idle_now(&self) -> Option<Idle> {
        if self.owned > 0 || !self.key_dues.is_empty() {
            return None;
        }
        if self.risk.is_some() || self.segmented.is_some() {
            return None;
        }
        let more = self.more.as_deref();
        let owns = |more: &BuyerMore| {
            more.tokens > Tokens::NONE || more.debt > Tokens::NONE || !more.imported.is_empty()
        };
        if more.is_some_and(owns) {
            return None;
        }
        let tried = self.attempts.back().copied();
        let seen = self.profile.as_ref().map(|it| it.last_seen);
        let declined = more.and_then(|it| it.declines.last()).map(|it| it.at);
        let since = [tried, seen, declined].into_iter().flatten().max();
        let since = since.unwrap_or_default();
        Some(if declined.is_some() {
            Idle::Declined(since)
        } else {
            Idle::Tried(since)
        })
    }

    /// Moves a key's due time from `due` to `again`, or removes it.
    pub(in crate::engine::state) fn key_due_moved(&mut self, due: UnixMs, again: Option<UnixMs>) {
        // Usually the first one: keys are forgotten in the order of their first use.
        if let Some(place) = self.key_dues.iter().position(|it| *it == due) {
            self.key_dues.remove(place);
        }
        self.key_dues.extend(again);
    }
}

/// What only some buyers have: reward tokens, cards whose networks limit further tries, and
/// imported units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerMore {
    pub(in crate::engine) tokens: Tokens,
    /// Tokens clawed back that the balance did not have.
    pub(in crate::engine) debt: Tokens,
    /// Oldest first, bounded.
    pub(in crate::engine) declines: Vec<CardDecline>,
    /// Units bought in the system that sold before, part of what is committed. No zeroes.
    pub(in crate::engine) imported: Vec<(ProductIndex, u32)>,
}

/// What the operator set for a buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerRisk {
    pub(in crate::engine) pause: Option<Pause>,
    pub(in crate::engine) rating: Rating,
}

/// A decline that limits further tries.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(in crate::engine) struct CardDecline {
    pub(in crate::engine) card: CardToken,
    pub(in crate::engine) advice: RetryAdvice,
    pub(in crate::engine) at: UnixMs,
}

/// Since when nothing is left of a buyer except that they tried.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Idle {
    /// None of the declines that card networks count.
    Tried(UnixMs),
    Declined(UnixMs),
}

pub(in crate::engine) fn tally_of<K: PartialEq + Copy>(tallies: &[(K, u32)], key: K) -> u32 {
    tallies
        .iter()
        .find(|(named, _)| *named == key)
        .map_or(0, |(_, tally)| *tally)
}

pub(in crate::engine) fn tally_add<K: PartialEq + Copy>(
    tallies: &mut Vec<(K, u32)>,
    key: K,
    more: u32,
) {
    match tallies.iter_mut().find(|(named, _)| *named == key) {
        Some((_, tally)) => *tally += more,
        None => tallies.push((key, more)),
    }
}

pub(in crate::engine) fn tally_take<K: PartialEq + Copy>(
    tallies: &mut Vec<(K, u32)>,
    key: K,
    less: u32,
) {
    let place = tallies.iter().position(|(named, _)| *named == key);
    let place = place.expect("what is given back was tallied when it was taken");
    tallies[place].1 -= less;
    if tallies[place].1 == 0 {
        tallies.swap_remove(place);
    }
}
