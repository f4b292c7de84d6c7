//! Owns what leaves a shard's memory: idempotency keys after their retention, holds that ended
//! without a payment, and buyers of whom nothing is left.
//!
//! Invariants:
//! 1. Only events forget, each a few at most, and only events whose instants are known to be right
//!    ([`Settled::Yes`]). So recovery forgets the same at the same place of the log, and none pays
//!    for many. A shard without events keeps what it has.
//! 2. What is next follows from the state: an ended hold is due by the age of its end, by today's
//!    clock; a buyer by the age of what is last heard of them. Neither queue is in an image.
//! 3. A hold is kept while a key names it, however old it is: what the key answers stays right. A
//!    purchase under way, paid, voided or stuck is never forgotten here.
//! 4. A buyer is kept while there is a purchase, a key, a token, a debt, a unit bought elsewhere, a
//!    segment or a word of the operator. Their declined cards are kept for as long as the cards'
//!    networks count them.
//!
//! Deliberately absent: captured purchases, and what buyers share (`engine::velocity`, `shared`).

use crate::engine::state::buyer::Idle;
use crate::engine::state::keys::KeyOutcome;
use crate::engine::state::purchase::BuyerIndex;
use crate::engine::state::purchases::PurchaseIndex;
use crate::engine::state::shard::Shard;
use crate::engine::words::settings::Limits;
use crate::engine::words::stamp::{Settled, Stamp};
use crate::time::UnixMs;

/// Maximum number of keys that one event forgets.
const KEYS_FORGOTTEN_AT_ONCE: usize = 4;
/// Maximum number of ended holds that one event forgets.
const ENDED_FORGOTTEN_AT_ONCE: usize = 4;
/// Maximum number of buyers that one event forgets.
const BUYERS_FORGOTTEN_AT_ONCE: usize = 4;

impl Shard {
    /// Forgets some of what is due, after an event was applied.
    pub(in crate::engine::state) fn forget(&mut self, stamp: Stamp, limits: Limits) {
        if stamp.settled == Settled::No {
            return;
        }
        self.forget_keys(stamp.at, limits);
        self.forget_ended(stamp.at, limits);
        self.forget_buyers(stamp.at, limits);
    }

    /// A key whose request is still in progress is kept for another term.
    pub(super) fn forget_keys(&mut self, at: UnixMs, limits: Limits) {
        for _ in 0..KEYS_FORGOTTEN_AT_ONCE {
            let Some((due, scope)) = self.key_expiries.front().copied() else {
                return;
            };
            if due > at {
                return;
            }
            self.key_expiries.pop_front();
            let entry = self.keys.get_mut(&scope);
            let entry = entry.expect("the queue has the keys that there are, each once");
            if entry.outcome == KeyOutcome::InFlight {
                entry.forget_at = at.plus_ms(limits.idempotency_retention_ms);
                let (owner, again) = (entry.owner, entry.forget_at);
                self.key_expiries.push_back((again, scope));
                self.buyers[owner].key_due_moved(due, Some(again));
            } else {
                self.forget_key(scope);
            }
        }
    }

    pub(super) fn forget_ended(&mut self, at: UnixMs, limits: Limits) {
        for _ in 0..ENDED_FORGOTTEN_AT_ONCE {
            let Some((ended_at, sequence)) = self.ended.first().copied() else {
                return;
            };
            if ended_at.plus_ms(limits.ended_keep_ms) > at {
                return;
            }
            self.ended.pop_first();
            let place = self.purchases.place(sequence);
            let place = place.expect("what has ended is kept until it is forgotten here");
            let owner = self.purchases.remove(place).buyer;
            self.buyers[owner].owned -= 1;
            self.note_idle(owner);
        }
    }

    pub(super) fn forget_buyers(&mut self, at: UnixMs, limits: Limits) {
        let declined_keep_ms = limits.ended_keep_ms.max(limits.declines_keep_ms);
        for _ in 0..BUYERS_FORGOTTEN_AT_ONCE {
            let tried = self.idle.first();
            let declined = (Idle::Declined(UnixMs::default()), BuyerIndex(0));
            let declined = self.idle.range(declined..).next();
            let due = |(idle, _): &&(Idle, BuyerIndex)| match idle {
                Idle::Tried(since) => since.plus_ms(limits.ended_keep_ms) <= at,
                Idle::Declined(since) => since.plus_ms(declined_keep_ms) <= at,
            };
            let next = tried.filter(due).or(declined.filter(due)).copied();
            let Some((idle, place)) = next else {
                return;
            };
            self.idle.remove(&(idle, place));
            self.buyers.remove(place);
        }
    }

    /// Queues an ended hold that no key names, to be forgotten in its turn.
    pub(in crate::engine::state) fn note_ended(&mut self, place: PurchaseIndex) {
        if self.purchases.named(place) == 0
            && let Some(due) = self.ended_at(place)
        {
            self.ended.insert(due);
        }
    }

    /// When the hold ended, by today's clock, with its sequence number; `None` if it has not ended.
    pub(super) fn ended_at(&self, place: PurchaseIndex) -> Option<(UnixMs, u64)> {
        let purchase = &self.purchases[place];
        if !purchase.state.is_ended_hold() {
            return None;
        }
        let last = purchase.history.last()?;
        let ended_at = self.corrections.today(&last);
        Some((ended_at, self.purchases.sequence(place)))
    }

    /// Notes, after the buyer changed, whether any state of them is left and since when none is.
    pub(in crate::engine::state) fn note_idle(&mut self, place: BuyerIndex) {
        let buyer = &mut self.buyers[place];
        let idle = buyer.idle_now();
        let before = std::mem::replace(&mut buyer.idle, idle);
        if before == idle {
            return;
        }
        if let Some(before) = before {
            self.idle.remove(&(before, place));
        }
        if let Some(idle) = idle {
            self.idle.insert((idle, place));
        }
    }

    /// Derives the queues from purchases, keys and buyers. The purchases that keys name must be
    /// known already.
    pub(in crate::engine::state) fn derive_forgetting(&mut self) {
        self.ended.clear();
        let sequences: Vec<u64> = self
            .purchases
            .from(0)
            .filter(|(_, it)| it.state.is_ended_hold())
            .map(|(sequence, _)| sequence)
            .collect();
        for place in sequences {
            if let Some(place) = self.purchases.place(place) {
                self.note_ended(place);
            }
        }
        self.idle.clear();
        for (place, buyer) in self.buyers.numbered_mut() {
            buyer.idle = buyer.idle_now();
            self.idle.extend(buyer.idle.map(|idle| (idle, place)));
        }
    }
}
