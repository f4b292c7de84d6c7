//! Owns the quotas of one buyer: open holds, and idempotency keys within their retention.
//!
//! Invariants: no buyer has more of either than the bound when an attempt begins, so one account
//! cannot use up what the other buyers of its shard need; the wait that is told is true: once it
//! is over there is room for one more, unless the same buyer took it. A hold that is being paid
//! is not an open one: its payment ends it or gives it back.
//! Deliberately absent: what the whole shard may keep ([`Shard::room_for`]), and the rate limit.

use crate::engine::event::Flow;
use crate::engine::state::purchases::Place;
use crate::engine::state::shard::{Buyer, Shard};
use crate::engine::words::lifecycle::PurchaseState;
use crate::engine::words::rejection::{QuotaScope, RefusalFacts};
use crate::engine::words::settings::EngineSettings;
use crate::ids::UserId;
use crate::time::UnixMs;

impl Shard {
    /// How long `user` has to wait until the quotas leave room for an attempt, and which quota it
    /// is; `None`: not at all.
    pub fn quota_wait_ms(
        &self,
        user: &UserId,
        flow: Flow,
        settings: &EngineSettings,
        at: UnixMs,
    ) -> Option<(u64, RefusalFacts)> {
        let bounds = &settings.bounds;
        let buyer = self.buyer(user)?;
        let dues = buyer.key_dues.iter().copied();
        let keys = free_at(buyer.key_dues.len(), dues, bounds.keys_per_user_max, at);
        let holds = match flow {
            Flow::Hold => {
                let expiries = buyer.held.iter().filter_map(|it| self.at_place(*it));
                let expiries = expiries.map(|it| it.expires_at);
                free_at(
                    buyer.held.len(),
                    expiries,
                    bounds.open_holds_per_user_max,
                    at,
                )
            }
            // What is paid at once is no open hold, and an earlier hold is one fewer afterwards.
            Flow::Buy | Flow::Refund | Flow::Webhook | Flow::Reward => None,
        };
        let limit = |most: usize| u64::try_from(most).unwrap_or(u64::MAX);
        let (free_at, facts) = if keys >= holds {
            let facts = RefusalFacts::Quota {
                scope: QuotaScope::IdempotencyKeys,
                limit: limit(bounds.keys_per_user_max),
                window_s: Some(settings.idempotency_retention_ms.div_ceil(1_000)),
            };
            (keys?, facts)
        } else {
            let facts = RefusalFacts::Quota {
                scope: QuotaScope::OpenHolds,
                limit: limit(bounds.open_holds_per_user_max),
                window_s: None,
            };
            (holds?, facts)
        };
        Some((free_at.since_ms(at).max(1), facts))
    }

    /// The buyer's open holds follow the purchase.
    pub(in crate::engine) fn keep_held(
        &mut self,
        sequence: u64,
        before: PurchaseState,
        place: Place,
    ) {
        let purchase = &self.purchases[place];
        let held = &mut self.buyers[purchase.buyer].held;
        let (before, now) = (before, purchase.state);
        match (before == PurchaseState::Held, now == PurchaseState::Held) {
            (false, true) => held.push(sequence),
            (true, false) => held.retain(|it| *it != sequence),
            (true, true) | (false, false) => {}
        }
    }

    /// When each buyer's keys are to be forgotten follows from the keys.
    pub(in crate::engine) fn derive_key_dues(&mut self) {
        for buyer in self.buyers.iter_mut() {
            buyer.key_dues.clear();
        }
        for entry in self.keys.values() {
            let owner = &mut self.buyers[entry.owner];
            owner.key_dues.push_back(entry.forget_at);
        }
    }
}

impl Buyer {
    /// A key that was to be forgotten at `due` is to be forgotten at `again`, or is forgotten.
    pub(in crate::engine) fn key_due_moved(&mut self, due: UnixMs, again: Option<UnixMs>) {
        // Mostly the first: keys are forgotten in the order in which they were first used.
        if let Some(place) = self.key_dues.iter().position(|it| *it == due) {
            self.key_dues.remove(place);
        }
        self.key_dues.extend(again);
    }
}

/// When fewer than `most` of the `known` things that end at `ends` are left; `None` where that is so
/// at `at`.
fn free_at(
    known: usize,
    ends: impl Iterator<Item = UnixMs>,
    most: usize,
    at: UnixMs,
) -> Option<UnixMs> {
    // So it is for nearly every attempt, which then allocates nothing.
    if known < most {
        return None;
    }
    let mut left: Vec<UnixMs> = ends.filter(|end| *end > at).collect();
    let over = left.len().checked_sub(most)?;
    Some(*left.select_nth_unstable(over).1)
}
