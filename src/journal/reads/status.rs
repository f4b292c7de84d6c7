//! Owns the figures of the journal for operators: positions, sizes, conservation, readiness.

use super::views::JournalReads;
use crate::engine::view::ProductView;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;
use crate::time::UnixMs;
use std::time::Duration;

/// The journal's positions and sizes.
#[derive(Clone, Debug)]
pub struct Status {
    /// Everything before is durable.
    pub durable: Lsn,
    /// The end of the appended log, durable or not.
    pub appended: Lsn,
    /// The newest snapshot.
    pub snapshot: Option<Lsn>,
    /// When it was taken, where that is known.
    pub snapshot_at: Option<UnixMs>,
    /// Why the last snapshot failed; `None` if it did not.
    pub snapshot_failure: Option<String>,
    /// The first LSN of the log.
    pub first: Lsn,
    /// The log's counters.
    pub log: wal::LogStats,
    /// Buyers kept.
    pub buyers: usize,
    /// Purchases kept. Those that ended without a payment are forgotten.
    pub purchases: usize,
    /// Idempotency keys remembered.
    pub keys: usize,
    /// Keys of velocity counters.
    pub velocity_keys: usize,
    /// Payments and refunds in progress.
    pub open_payments: usize,
    /// Voids among them that are overdue or refused: an operator must act.
    pub stuck_voids: usize,
    /// Captures of a different amount than requested, which an operator must settle.
    pub differing_captures: usize,
    /// Purchases under review.
    pub reviews: usize,
    /// When the oldest open review began.
    pub oldest_review: Option<UnixMs>,
    /// Every product with its units: `total = available + held + sold`.
    pub products: Vec<ProductView>,
}

/// Whether new purchases can be taken.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// They can.
    Ready,
    /// The disk is nearly full: payments in progress are finished, new purchases are refused.
    DiskFull,
    /// Another process writes this log now.
    NotLeader,
    /// This is a restored or copied history of the log that the operator has not accepted, or a sink
    /// has another one.
    RestoredCopy,
    /// The log has stopped.
    Failed(StorageFault),
}

/// The state of the data directory's disk.
#[derive(Copy, Clone, Debug)]
pub struct DiskState {
    /// Free bytes; `None` if the file system does not say.
    pub free_bytes: Option<u64>,
    /// Free bytes that new purchases need.
    pub free_bytes_min: u64,
    /// Whether the disk has room for new purchases.
    pub room: DiskRoom,
    /// The longest sync of the last ten seconds, including one in progress.
    pub sync_slowest: Duration,
}

/// How long syncs took.
#[derive(Clone, Debug)]
pub struct SyncTimes {
    /// For each upper bound in nanoseconds, the number of syncs between the bound before it and this one.
    pub bounded: Vec<(u64, u64)>,
    /// The number of syncs above the last bound.
    pub above: u64,
    /// The sum of all, in nanoseconds.
    pub sum_ns: u64,
}

/// Whether there is room for new purchases.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DiskRoom {
    Enough,
    /// Less than the minimum, or too little for the next file of the log.
    Lacking,
}

/// A sync that takes longer is a sign of a disk that is slow or about to fail.
pub const SYNC_SLOW: Duration = Duration::from_secs(1);

impl DiskState {
    /// Whether a recent sync took longer than [`SYNC_SLOW`].
    pub fn is_slow(&self) -> bool {
        self.sync_slowest > SYNC_SLOW
    }
}

/// Figures of a running journal.
pub struct JournalFigures<'a> {
    pub(super) core: &'a JournalCore,
}

impl<'a> JournalFigures<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl JournalFigures<'_> {
    /// The state of the disk. Cheap.
    pub fn disk(&self) -> DiskState {
        let stats = self.core.log.stats();
        DiskState {
            free_bytes: stats.disk_free_bytes,
            free_bytes_min: self.core.log.disk_free_bytes_min(),
            room: if self.core.log.disk_free_low() {
                DiskRoom::Lacking
            } else {
                DiskRoom::Enough
            },
            sync_slowest: stats.sync_slowest_recently,
        }
    }

    /// How long syncs took since the start.
    pub fn sync_times(&self) -> SyncTimes {
        let latency = self.core.log.stats().sync_latency;
        let (above, bounded) = latency.buckets.split_last().expect("there are buckets");
        let bounded = (0_u32..).zip(bounded);
        SyncTimes {
            bounded: bounded.map(|(i, count)| (1_000 << i, *count)).collect(),
            above: *above,
            sum_ns: latency.sum_ns,
        }
    }

    /// The journal's positions and sizes. Takes each shard's turn.
    pub fn status(&self) -> Status {
        let (mut buyers, mut purchases, mut keys) = (0, 0, 0);
        let (mut open_payments, mut stuck_voids, mut differing_captures) = (0, 0, 0);
        let (mut reviews, mut oldest_review) = (0, None::<UnixMs>);
        for id in ShardId::all() {
            let shard = self.core.shard(id);
            let sizes = shard.sizes();
            buyers += sizes.buyers;
            purchases += sizes.purchases;
            keys += sizes.keys;
            open_payments += sizes.open_payments;
            stuck_voids += sizes.stuck_voids;
            differing_captures += sizes.differing_captures;
            reviews += sizes.reviews;
            oldest_review = [oldest_review, shard.oldest_review()]
                .into_iter()
                .flatten()
                .min();
        }
        Status {
            durable: self.core.durable(),
            appended: self.core.appended(),
            snapshot: self.core.newest_snapshot(),
            snapshot_at: *self.core.snapshots.newest_at.lock(),
            snapshot_failure: self.core.snapshots.failure.lock().clone(),
            first: Lsn(self.core.log.first_lsn().get()),
            log: self.core.log.stats(),
            buyers,
            purchases,
            keys,
            velocity_keys: self.core.velocity.keys(),
            open_payments,
            stuck_voids,
            differing_captures,
            reviews,
            oldest_review,
            products: JournalReads::of(self.core).products().0,
        }
    }

    /// Whether an append would not have to wait. An append into a full ring waits for the disk inside a
    /// shard's turn, and so stops its whole thread. So check this before new work, and wait outside of
    /// turns. Cheap.
    pub fn log_has_room(&self) -> bool {
        self.core.log.has_room()
    }

    /// The end of what was appended. Cheap.
    pub fn appended(&self) -> Lsn {
        self.core.appended()
    }

    /// The end of what is durable. Cheap.
    pub fn durable(&self) -> Lsn {
        self.core.durable()
    }

    /// Whether new purchases can be taken.
    pub fn readiness(&self) -> Readiness {
        match self.core.fault() {
            Some(fault) if fault.is_superseded() => Readiness::NotLeader,
            Some(fault) => Readiness::Failed(fault),
            None if !self.core.may_sell() => Readiness::RestoredCopy,
            None if self.core.log.disk_free_low() => Readiness::DiskFull,
            None => Readiness::Ready,
        }
    }
}
