//! Owns the waits after failures, and the text of an error with its causes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double up to a maximum. Each is random in its upper half, so that clients that failed
/// together do not return together.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    // All in milliseconds.
    first: u64,
    longest: u64,
    upcoming: u64,
}

impl Backoff {
    /// Waits from `first_ms` to `max_ms`.
    pub const fn new(first_ms: u64, max_ms: u64) -> Self {
        Self {
            first: first_ms,
            longest: max_ms,
            upcoming: first_ms,
        }
    }

    /// Whether there was no wait yet.
    pub(super) const fn is_first(&self) -> bool {
        self.upcoming == self.first
    }

    /// Makes the next wait the maximum.
    pub(super) const fn lengthen(&mut self) {
        self.upcoming = self.longest;
    }

    /// The next wait.
    pub(in crate::report) fn next(&mut self) -> Duration {
        let whole = self.upcoming.clamp(1, self.longest.max(1));
        self.upcoming = whole.saturating_mul(2).min(self.longest);
        // `RandomState` is the standard library's source of random numbers.
        let scattered = RandomState::new().hash_one(whole) % (whole / 2 + 1);
        Duration::from_millis(whole - scattered)
    }
}
