//! Counters of a running log, and the figures that users see of them.
//!
//! Invariants: 1. each counter has one writer, the log thread, so counting is a plain store; 2. they
//! synchronise nothing: each figure is right, together they may be a moment apart; 3. they only grow,
//! from the log's opening on.
//!
//! No names, no labels, no exporter: whoever publishes metrics reads [`LogStats`] and names them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of the latency histogram.
pub const LATENCY_BUCKETS: usize = 24;

/// How long syncs took: bucket `i` counts those below `2^i` microseconds that no smaller bucket has;
/// the last bucket counts all the rest.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct SyncLatency {
    /// Counts by bucket, not cumulated.
    pub buckets: [u64; LATENCY_BUCKETS],
    /// The sum of all, in nanoseconds.
    pub sum_ns: u64,
}

/// Figures of a running log since it was opened.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct LogStats {
    /// Syncs of segments: one per frame when syncing always.
    pub syncs: u64,
    /// Frames written.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written to segments, frame headers included.
    pub bytes: u64,
    /// Times the log went on in a new segment.
    pub rolls: u64,
    /// Nanoseconds spent going on in new segments.
    pub rolls_ns: u64,
    /// Nanoseconds spent writing frames, before their sync.
    pub writes_ns: u64,
    /// Nanoseconds spent writing the witness.
    pub witness_ns: u64,
    /// How long syncs took.
    pub sync_latency: SyncLatency,
    /// Bytes in the ring that wait to be written.
    pub ring_used: u64,
    /// Capacity of the ring in bytes.
    pub ring_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
}

/// The counters behind [`LogStats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub syncs: Counter,
    pub frames: Counter,
    pub records: Counter,
    pub bytes: Counter,
    pub rolls: Counter,
    pub rolls_ns: Counter,
    pub writes_ns: Counter,
    pub witness_ns: Counter,
    buckets: [Counter; LATENCY_BUCKETS],
    sum_ns: Counter,
}

/// A counter with one writer: no atomic add is needed.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.add(1);
        self.sum_ns.add_time(took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(LATENCY_BUCKETS - 1)].add(1);
    }

    pub(crate) fn sync_latency(&self) -> SyncLatency {
        SyncLatency {
            buckets: std::array::from_fn(|i| self.buckets[i].get()),
            sum_ns: self.sum_ns.get(),
        }
    }
}
