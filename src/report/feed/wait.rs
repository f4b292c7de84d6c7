//! Owns how long to wait after a failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double up to a bound, each scattered over its upper half so that many who failed
/// together do not come back together.
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

    /// Whether no wait has been asked for yet.
    pub(super) const fn is_first(&self) -> bool {
        self.upcoming == self.first
    }

    /// The next wait is the longest there is.
    pub(super) const fn lengthen(&mut self) {
        self.upcoming = self.longest;
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.upcoming.clamp(1, self.longest.max(1));
        self.upcoming = whole.saturating_mul(2).min(self.longest);
        // `RandomState` is how the standard library hands out the system's randomness.
        let scattered = RandomState::new().hash_one(whole) % (whole / 2 + 1);
        Duration::from_millis(whole - scattered)
    }
}
