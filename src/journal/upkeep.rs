//! Owns what keeps a journal going, for the background threads and for those who move the clock by hand:
//! holds run out, the clock is watched, snapshots are taken, the rate changes.

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

/// What keeps a running journal going.
pub struct Upkeep<'a> {
    core: &'a JournalCore,
}

impl<'a> Upkeep<'a> {
    pub(super) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl Upkeep<'_> {
    /// Watches the wall clock, and lets every hold run out that is due. For those who move the
    /// clock by hand; otherwise it happens in the background.
    pub fn sweep(&self) -> Result<(), StorageFault> {
        sweeper::sweep(self.core)
    }

    /// Takes a snapshot, and lets go of the log behind the older of the two kept. Blocks this
    /// thread, but no command for longer than it takes to copy one shard.
    pub fn snapshot(&self) -> Result<SnapshotReport, JournalError> {
        taking::take(self.core)
    }

    /// Whether a snapshot is to be taken where one is wanted for every `every_bytes` of log.
    pub fn snapshot_due(&self, every_bytes: u64) -> bool {
        taking::is_due(self.core, every_bytes)
    }

    /// SHA-256 over all state but the velocity counters, in hexadecimal: equal for equal
    /// histories (I6). Takes each shard's turn one after the other, so it means something only
    /// while nothing changes.
    pub fn digest(&self) -> String {
        let core = self.core;
        let shards = ShardId::all().map(|id| core.shard(id).image());
        let in_force = core.rules_turn.lock().clone();
        let catalogue = core.catalogue.load();
        let accepted = core.history.accepted();
        digest(&catalogue, core.limits(), accepted, &in_force, shards)
    }

    /// How many attempts a buyer has in a window.
    pub fn rate(&self) -> RateLimit {
        self.core.rate()
    }

    /// From now on attempts of a buyer have this rate; the LSN that must be durable before that is
    /// said, where it was another. Waits for a snapshot that is being taken.
    pub fn set_rate(&self, rate: RateLimit) -> Result<Option<Lsn>, StorageFault> {
        limits::set_rate(self.core, rate)
    }

    /// What the wall clock says, right or wrong: for what strangers stamped by theirs.
    pub fn wall_clock(&self) -> UnixMs {
        self.core.clock.wall()
    }

    /// Milliseconds by which the wall clock lay ahead of the core's time when they were last
    /// compared.
    pub fn clock_offset_ms(&self) -> i64 {
        self.core.clock.offset_ms()
    }

    /// What the operator should hear of the clock and has not yet; the oldest first.
    pub fn take_clock_notices(&self) -> Vec<ClockNotice> {
        self.core.notices.lock().drain(..).collect()
    }
}
