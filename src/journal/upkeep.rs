//! Owns the upkeep of a journal: expiring holds, watching the clock, taking snapshots, changing the
//! rate.
//!
//! Invariant: the background threads do nothing that a test with a manual clock cannot do by hand here.

use super::core::JournalCore;
use super::format::fault::{JournalError, StorageFault};
use super::snapshot::image::digest;
use super::snapshot::taking::{self, SnapshotReport};
use super::sweeper;
use super::time::clock::ClockNotice;
use super::turn::limits;
use crate::engine::settings::RateLimit;
use crate::ids::{Lsn, ShardId};
use crate::time::UnixMs;

/// The upkeep of a running journal.
pub struct Upkeep<'a> {
    core: &'a JournalCore,
}

impl<'a> Upkeep<'a> {
    pub(super) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl Upkeep<'_> {
    /// Watches the wall clock, and expires every hold that is due. Only a journal with a manual clock
    /// needs the call; otherwise a background thread does it.
    pub fn sweep(&self) -> Result<(), StorageFault> {
        sweeper::sweep(self.core)
    }

    /// Takes a snapshot, and removes the log that the older of the two kept snapshots does not need.
    /// Blocks this thread, and a command for no longer than copying one shard takes.
    pub fn snapshot(&self) -> Result<SnapshotReport, JournalError> {
        taking::take(self.core)
    }

    /// Whether a snapshot is due, if one is wanted for every `every_bytes` of log.
    pub fn snapshot_due(&self, every_bytes: u64) -> bool {
        taking::is_due(self.core, every_bytes)
    }

    /// SHA-256 over all state except the velocity counters, in hexadecimal: equal for equal histories
    /// (I6). Takes the shards' turns one after the other, so call it only while nothing changes.
    pub fn digest(&self) -> String {
        let core = self.core;
        let shards = ShardId::all().map(|id| core.shard(id).image());
        let in_force = core.rules_turn.lock().clone();
        let catalogue = core.catalogue.load();
        let accepted = core.history.accepted();
        digest(&catalogue, core.limits(), accepted, &in_force, shards)
    }

    /// The rate limit of a buyer's attempts.
    pub fn rate(&self) -> RateLimit {
        self.core.rate()
    }

    /// Changes the rate limit of a buyer's attempts. Returns the LSN that must be durable before the
    /// change is confirmed; `None` if the rate is in force already. Waits for a snapshot in progress.
    pub fn set_rate(&self, rate: RateLimit) -> Result<Option<Lsn>, StorageFault> {
        limits::set_rate(self.core, rate)
    }

    /// The time of the wall clock, which may be wrong: for timestamps that other machines made.
    pub fn wall_clock(&self) -> UnixMs {
        self.core.clock.wall()
    }

    /// Milliseconds by which the wall clock was ahead of the core's time at the last comparison.
    pub fn clock_offset_ms(&self) -> i64 {
        self.core.clock.offset_ms()
    }

    /// Takes the notices about the clock that the operator has not seen yet, oldest first.
    pub fn take_clock_notices(&self) -> Vec<ClockNotice> {
        self.core.notices.lock().drain(..).collect()
    }
}
