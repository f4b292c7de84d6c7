//! Owns what a correction of the clock does to a shard.
//!
//! Invariants:
//! 1. What was still to run keeps its remaining time: holds, deadlines of reviews and voids, keys.
//! 2. What was counted keeps its age: attempts, declines of cards, payments in sums and windows,
//!    how long a buyer is known.
//! 3. A key is never forgotten earlier than without the correction. It may be kept for longer, by
//!    one retention at most: where the clock was wrong at the start, what it said of the time that
//!    the process was off is not known.
//! 4. What happened stays in the history at the instant at which it was written. Its age follows
//!    from its place in the log (`Corrections::today`).
//!
//! Deliberately absent: what people and gateways state as a date: windows of sales and promotions,
//! pauses, when an authorization lapses, when a dispute happened. They are not moved.

use crate::engine::event::ClockCorrected;
use crate::engine::state::buyer::Buyer;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::state::spending::Spending;
use crate::engine::words::lifecycle::{PurchaseState, Units};
use crate::engine::words::settings::Limits;
use crate::ids::Lsn;
use crate::time::UnixMs;
use std::cmp::Reverse;

impl Shard {
    /// Applies the correction that is recorded at `lsn`. Every shard does, live and in recovery.
    pub fn correct(&mut self, corrected: &ClockCorrected, lsn: Lsn, limits: Limits) {
        let offset_ms = corrected.offset_ms();
        self.corrections.add(lsn, offset_ms);
        self.last_at = corrected.after;
        for buyer in self.buyers.iter_mut() {
            buyer.corrected(offset_ms);
        }
        for purchase in self.purchases.iter_mut() {
            purchase.corrected(offset_ms);
        }
        // Stale timers belong only to paid or released holds; they are left out.
        let timers = self.timers.drain().filter_map(|Reverse((_, sequence))| {
            let purchase = self.purchases.get(sequence)?;
            let held = purchase.state == PurchaseState::Held;
            held.then_some(Reverse((purchase.expires_at, sequence)))
        });
        self.timers = timers.collect();
        self.correct_keys(corrected, limits);
        self.derive_key_dues();
        self.derive_sums();
        self.derive_forgetting();
    }

    pub(super) fn correct_keys(&mut self, corrected: &ClockCorrected, limits: Limits) {
        let offset_ms = corrected.offset_ms();
        let latest = corrected.after.plus_ms(limits.idempotency_retention_ms);
        let keys = &mut self.keys;
        for (due, scope) in &mut self.key_expiries {
            let entry = keys.get_mut(scope);
            let entry = entry.expect("the queue has the keys that there are, each once");
            *due = if offset_ms >= 0 {
                due.moved_ms(offset_ms)
            } else {
                (*due).min(latest)
            };
            entry.forget_at = *due;
        }
    }

    /// Derives from the purchases what each buyer bought, and when.
    pub(super) fn derive_sums(&mut self) {
        for buyer in self.buyers.iter_mut() {
            buyer.spending = Spending::default();
            buyer.captures.clear();
        }
        for (sequence, purchase) in self.purchases.from(0) {
            let buyer = &mut self.buyers[purchase.buyer];
            buyer.sum_up(sequence, purchase, &self.corrections);
        }
        for buyer in self.buyers.iter_mut() {
            buyer.captures.sort_unstable();
        }
    }

    /// Derives from the keys when each buyer's keys are forgotten.
    pub(in crate::engine::state) fn derive_key_dues(&mut self) {
        for buyer in self.buyers.iter_mut() {
            buyer.key_dues.clear();
        }
        for entry in self.keys.values() {
            let owner = &mut self.buyers[entry.owner];
            owner.key_dues.push(entry.forget_at);
        }
    }
}

impl Buyer {
    pub(super) fn corrected(&mut self, offset_ms: i64) {
        for attempt in &mut self.attempts {
            *attempt = attempt.moved_ms(offset_ms);
        }
        for decline in self.more.iter_mut().flat_map(|more| &mut more.declines) {
            decline.at = decline.at.moved_ms(offset_ms);
        }
        if let Some(profile) = &mut self.profile {
            profile.first_seen = profile.first_seen.moved_ms(offset_ms);
            profile.last_seen = profile.last_seen.moved_ms(offset_ms);
        }
    }
}

impl Purchase {
    /// Moves every deadline, so that it keeps its remaining time.
    pub(super) fn corrected(&mut self, offset_ms: i64) {
        if self.state.units() == Units::Held {
            self.expires_at = self.expires_at.moved_ms(offset_ms);
        }
        if self.state == PurchaseState::UnderReview
            && let Some(particulars) = &mut self.particulars
            && let Some(deadline) = &mut particulars.review_deadline
        {
            let lapses = self.payment.as_ref().and_then(|it| it.capture_before);
            // The deadline must not pass the gateway's own, which no correction moves.
            let latest = lapses.unwrap_or(UnixMs::MAX).max(*deadline);
            *deadline = deadline.moved_ms(offset_ms).min(latest);
        }
        if self.is_open()
            && let Some(post_capture) = &mut self.post_capture
            && let Some(deadline) = &mut post_capture.void_deadline
        {
            *deadline = deadline.moved_ms(offset_ms);
        }
    }
}
