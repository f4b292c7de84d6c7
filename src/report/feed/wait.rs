//! Owns how long to wait after a failure, and how an error is told whole.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double up to a bound, each scattered over its upper half so that many who failed
/// together do not come back together.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    /// Waits from `first_ms` to `max_ms`.
    pub const fn new(first_ms: u64, max_ms: u64) -> Self {
        Self {
            first_ms,
            max_ms,
            next_ms: first_ms,
        }
    }

    /// Whether no wait has been asked for yet.
    pub(super) const fn is_first(&self) -> bool {
        self.next_ms == self.first_ms
    }

    /// The next wait is the longest there is.
    pub(super) const fn to_longest(&mut self) {
        self.next_ms = self.max_ms;
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next_ms.clamp(1, self.max_ms.max(1));
        self.next_ms = whole.saturating_mul(2).min(self.max_ms);
        // `RandomState` is how the standard library hands out the system's randomness.
        let scattered = RandomState::new().hash_one(whole) % (whole / 2 + 1);
        Duration::from_millis(whole - scattered)
    }
}

/// An error with what caused it, as one sentence.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
