//! Owns the limits that may change while commands run: the rate of a buyer's attempts.
//!
//! Invariants: a change is one event in the log, and every shard follows it at that LSN, live and
//! in recovery: it holds the turns of all shards, and never runs during a snapshot, because a
//! snapshot has the limits once for all its parts.
//! Deliberately absent: limits that change with a restart, which `recovery` logs.

use crate::engine::event::{Event, LimitsSet};
use crate::engine::settings::{Limits, RateLimit};
use crate::ids::{Lsn, ShardId};
use crate::journal::{Journal, StorageFault};
use std::sync::Arc;

impl Journal {
    /// How many attempts a buyer has in a window.
    pub fn rate(&self) -> RateLimit {
        **self.rate.load()
    }

    /// The settings that applying depends on, as of the turn that this is called in.
    pub(in crate::journal) fn limits(&self) -> Limits {
        self.settings.limits_at(self.rate())
    }

    /// From now on attempts of a buyer have this rate; the LSN that must be durable before that is
    /// said, where it was another. Waits for a snapshot that is being taken.
    pub fn set_rate(&self, rate: RateLimit) -> Result<Option<Lsn>, StorageFault> {
        if rate == self.rate() {
            return Ok(None);
        }
        let _no_snapshot = self.snapshots.taking.lock();
        let _turns: Vec<_> = ShardId::all().map(|id| self.shard(id)).collect();
        let limits = self.settings.limits_at(rate);
        let mut end = self.appended();
        // How long the window is changes only what is decided: that is in the events.
        if limits != self.limits() {
            let event = Event::LimitsSet(LimitsSet { limits });
            end = self.append_one(&event, self.clock.moment())?;
        }
        self.rate.store(Arc::new(rate));
        Ok(Some(end))
    }
}
