//! Counters of a running log, and the figures that users see of them.
//!
//! Invariants: 1. each counter has one writer, the log thread, so counting is a plain store; 2.
//! they synchronise nothing: each figure is right, together they may be a moment apart; 3. they
//! only grow, from the log's opening on.
//!
//! No names, no labels, no exporter: whoever publishes metrics reads [`LogStats`] and names them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// How far [`LogStats::sync_slowest_recently`] looks back.
pub const RECENTLY: Duration = Duration::from_secs(10);

/// Seconds that are kept apart: more than are looked at, so that the oldest is not being replaced.
const SECONDS_KEPT: usize = 16;

/// Figures of a running log since it was opened.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct LogStats {
    /// Syncs of segments: one per frame when syncing always.
    pub syncs: u64,
    /// Frames written.
    pub frames: u64,
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
    /// The longest sync that ended in the last [`RECENTLY`], or goes on now.
    pub sync_slowest_recently: Duration,
    /// Free bytes on the disk, where it says so.
    pub disk_free_bytes: Option<u64>,
    /// Bytes in the ring that wait to be written.
    pub ring_used: u64,
    /// Capacity of the ring in bytes.
    pub ring_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
}

/// The counters behind [`LogStats`].
#[derive(Default)]
pub(crate) struct LogCounters {
    pub syncs: SingleWriterCounter,
    pub frames: SingleWriterCounter,
    pub records: SingleWriterCounter,
    pub bytes: SingleWriterCounter,
    pub rolls: SingleWriterCounter,
    pub rolls_ns: SingleWriterCounter,
    pub writes_ns: SingleWriterCounter,
    pub witness_ns: SingleWriterCounter,
    buckets: [SingleWriterCounter; LATENCY_BUCKETS],
    sum_ns: SingleWriterCounter,
    recent: RecentSyncs,
}

/// The slowest sync of each of the last seconds. A disk that hangs shows while it hangs.
struct RecentSyncs {
    opened: Instant,
    /// Each with its second in the upper half, and in the lower half the longest sync that ended
    /// in it, in microseconds. One word, so that a reader never sees the one without the other.
    seconds: [AtomicU64; SECONDS_KEPT],
    /// When the sync that goes on began, in nanoseconds since `opened` and one more; 0: none does.
    began_ns: AtomicU64,
}

impl Default for RecentSyncs {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            seconds: std::array::from_fn(|_| AtomicU64::new(0)),
            began_ns: AtomicU64::new(0),
        }
    }
}

impl RecentSyncs {
    fn age_ns(&self, at: Instant) -> u64 {
        let age = at.saturating_duration_since(self.opened).as_nanos();
        u64::try_from(age).unwrap_or(u64::MAX - 1)
    }

    fn begin(&self, at: Instant) {
        self.began_ns.store(self.age_ns(at) + 1, Ordering::Relaxed);
    }

    fn end(&self, at: Instant, took: Duration) {
        self.began_ns.store(0, Ordering::Relaxed);
        let second = self.age_ns(at) / 1_000_000_000;
        let micros = u64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let word = &self.seconds[usize::try_from(second).unwrap_or(0) % SECONDS_KEPT];
        let before = word.load(Ordering::Relaxed);
        let longest = if before >> 32 == second {
            micros.max(before & u64::from(u32::MAX))
        } else {
            micros
        };
        word.store(second << 32 | longest, Ordering::Relaxed);
    }

    fn slowest(&self, now: Instant) -> Duration {
        let now_ns = self.age_ns(now);
        let second = now_ns / 1_000_000_000;
        let words = self.seconds.iter().map(|it| it.load(Ordering::Relaxed));
        let recent = words.filter(|word| second.saturating_sub(word >> 32) < RECENTLY.as_secs());
        let ended = recent.map(|word| word & u64::from(u32::MAX)).max();
        let goes_on = match self.began_ns.load(Ordering::Relaxed) {
            0 => 0,
            began => (now_ns + 1).saturating_sub(began),
        };
        Duration::from_micros(ended.unwrap_or(0)).max(Duration::from_nanos(goes_on))
    }
}

/// A counter with one writer: no atomic add is needed.
#[derive(Default)]
pub(crate) struct SingleWriterCounter(AtomicU64);

impl SingleWriterCounter {
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

impl LogCounters {
    /// A sync begins, which ends with [`LogCounters::sync_ended`].
    pub(crate) fn sync_began(&self, at: Instant) {
        self.recent.begin(at);
    }

    /// It ended, well or not.
    pub(crate) fn sync_ended(&self, at: Instant, took: Duration) {
        self.recent.end(at, took);
    }

    /// The longest sync of late, one that goes on included.
    pub(crate) fn sync_slowest_recently(&self) -> Duration {
        self.recent.slowest(Instant::now())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_sync_is_that_of_the_last_seconds_and_one_that_goes_on() {
        let counters = LogCounters::default();
        let opened = counters.recent.opened;
        let at = |ms: u64| opened + Duration::from_millis(ms);
        let sync = |began: u64, ended: u64| {
            counters.sync_began(at(began));
            counters.sync_ended(at(ended), Duration::from_millis(ended - began));
        };
        let slowest = |ms: u64| counters.recent.slowest(at(ms)).as_millis();
        assert_eq!(slowest(0), 0);
        sync(100, 150);
        sync(200, 210);
        sync(1_000, 1_400);
        assert_eq!(
            (slowest(1_500), slowest(10_999), slowest(11_000)),
            (400, 400, 0)
        );
        // It takes the place of a second long gone.
        sync(17_000, 17_020);
        assert_eq!(
            (slowest(17_100), slowest(26_999), slowest(27_000)),
            (20, 20, 0)
        );
        // A disk that hangs shows before the sync ends.
        counters.sync_began(at(30_000));
        assert_eq!((slowest(30_000), slowest(90_000)), (0, 60_000));
        counters.sync_ended(at(90_000), Duration::from_mins(1));
        assert_eq!((slowest(95_000), slowest(100_000)), (60_000, 0));
    }
}
