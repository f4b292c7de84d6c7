//! Owns log lines that strangers can cause at will: at most one per second, with a count.
//!
//! Deliberately absent: the content of the lines.

use crate::time::UnixMs;
use crate::trace;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Minimum time between two log lines of one kind, in milliseconds.
const SAMPLE_EVERY_MS: u64 = 1_000;

/// A log line that is written at most every [`SAMPLE_EVERY_MS`], with a count.
#[derive(Default)]
pub(in crate::http) struct Sampled {
    last_at_ms: AtomicU64,
    since: AtomicU64,
}

impl Sampled {
    /// Calls `log` with the number of events since its last call, if enough time has passed.
    pub(in crate::http) fn sample(&self, now: UnixMs, log: impl FnOnce(u64)) {
        let count = 1 + self.since.fetch_add(1, Relaxed);
        let last = self.last_at_ms.load(Relaxed);
        let due = now.get().abs_diff(last) >= SAMPLE_EVERY_MS;
        let at = &self.last_at_ms;
        if due
            && at
                .compare_exchange(last, now.get(), Relaxed, Relaxed)
                .is_ok()
        {
            self.since.fetch_sub(count, Relaxed);
            // One line for many requests belongs to the trace of none, least of all of a stranger's.
            trace::without(|| log(count));
        }
    }
}
