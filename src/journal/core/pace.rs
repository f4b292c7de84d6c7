//! Owns how background work gives way to commands: it works for a moment, then rests in proportion.
//!
//! Invariants: 1. no turn is held during a rest; 2. a closing journal does not wait for a rest.
//!
//! A rest also keeps turns short: the scheduler prefers a thread that slept, so a shard's lock is rarely held by
//! a thread that was just preempted. A low priority would do the opposite.

use super::background::Background;
use std::thread;
use std::time::{Duration, Instant};

/// Work between two rests. Less work is not worth a rest: small snapshots and sweeps take none.
const WORK: Duration = Duration::from_micros(500);

/// The longest rest. Work that took very long was waiting itself, and gave way by that.
const REST_MAX: Duration = Duration::from_millis(20);

/// The pace of one piece of background work.
pub(in crate::journal) struct WorkPace<'a> {
    background: &'a Background,
    /// The rest that follows a unit of work.
    rests_per_work: u32,
    since: Instant,
}

impl<'a> WorkPace<'a> {
    /// Begins to work.
    pub(in crate::journal) fn begin(background: &'a Background, rests_per_work: u32) -> Self {
        Self {
            background,
            rests_per_work,
            since: Instant::now(),
        }
    }

    /// Rests if it has worked for long enough. Call it outside of turns.
    pub(in crate::journal) fn give_way(&mut self) {
        let worked = self.since.elapsed();
        if worked < WORK {
            return;
        }
        if !self.background.stopped() {
            thread::sleep((worked * self.rests_per_work).min(REST_MAX));
        }
        self.since = Instant::now();
    }
}
