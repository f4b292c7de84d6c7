//! Owns a buyer as stored in their shard, besides their purchases.
//!
//! Invariants: what is derived from purchases and keys says so, and no image has it; tallies hold
//! no zeroes; lists keep their usual one or two entries in place. Deliberately absent: where a buyer is
//! stored (`buyers`).

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
use smallvec::SmallVec;
use std::ops::DerefMut;

#[derive(Clone, Debug)]
pub(in crate::engine) struct Buyer {
    pub(in crate::engine) user: UserId,
    /// The latest attempts, oldest first, at most the rate limit's count.
    pub(in crate::engine) attempts: SmallVec<[UnixMs; 2]>,
    /// Units of open holds and standing purchases by product; no zeroes.
    pub(in crate::engine) committed: SmallVec<[(ProductIndex, u32); 2]>,
    /// Promotion uses by promotion; no zeroes.
    pub(in crate::engine) promotion_uses: SmallVec<[(PromotionIndex, u32); 2]>,
    /// What was bought, in money: derived from the purchases.
    pub(in crate::engine) spending: Spending,
    /// When each of the buyer's purchases was paid, by sequence, oldest first: derived from them.
    pub(in crate::engine) captures: SmallVec<[(UnixMs, u64); 1]>,
    /// Number of stored purchases: derived from them.
    pub(in crate::engine) owned: u32,
    /// Since when no state of the buyer is left; `None` while some is: derived.
    pub(in crate::engine) idle: Option<Idle>,
    /// Holds that are neither paid nor being paid, by sequence: derived from the purchases.
    pub(in crate::engine) held: SmallVec<[u64; 2]>,
    /// When each of the buyer's keys is forgotten: derived from the keys.
    pub(in crate::engine) key_dues: SmallVec<[UnixMs; 2]>,
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
            attempts: SmallVec::new(),
            committed: SmallVec::new(),
            promotion_uses: SmallVec::new(),
            spending: Spending::default(),
            captures: SmallVec::new(),
            owned: 0,
            idle: None,
            held: SmallVec::new(),
            key_dues: SmallVec::new(),
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
        let captured = |it: &Happened| it.step == Step::PaymentCaptured;
        if let Some(paid) = purchase.history.iter().find(captured) {
            self.captures.push((corrections.today(&paid), sequence));
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
        let tried = self.attempts.last().copied();
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

/// A list of tallies, on the heap or in place.
pub(in crate::engine) trait Tallies<K>:
    DerefMut<Target = [(K, u32)]> + Extend<(K, u32)>
{
    /// The order of the rest may change.
    fn take_out(&mut self, place: usize);
}

impl<K> Tallies<K> for Vec<(K, u32)> {
    fn take_out(&mut self, place: usize) {
        self.swap_remove(place);
    }
}

impl<K, const N: usize> Tallies<K> for SmallVec<[(K, u32); N]>
where
    [(K, u32); N]: smallvec::Array<Item = (K, u32)>,
{
    fn take_out(&mut self, place: usize) {
        self.swap_remove(place);
    }
}

pub(in crate::engine) fn tally_add<K: PartialEq + Copy>(
    tallies: &mut impl Tallies<K>,
    key: K,
    more: u32,
) {
    match tallies.iter_mut().find(|(named, _)| *named == key) {
        Some((_, tally)) => *tally += more,
        None => tallies.extend([(key, more)]),
    }
}

pub(in crate::engine) fn tally_take<K: PartialEq + Copy>(
    tallies: &mut impl Tallies<K>,
    key: K,
    less: u32,
) {
    let place = tallies.iter().position(|(named, _)| *named == key);
    let place = place.expect("what is given back was tallied when it was taken");
    tallies[place].1 -= less;
    if tallies[place].1 == 0 {
        tallies.take_out(place);
    }
}
