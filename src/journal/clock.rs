//! Owns the clock: the one place that asks what time it is for events.
//!
//! Invariant: instants never go backwards from one reading to the next in the same shard (the turn
//! takes the later of the clock and the shard's last event), whatever the machine's clock does.

use crate::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where instants come from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved, for tests and replays.
    Manual(ManualClock),
}

/// A clock that stands still until it is moved. Clones share the instant.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that says `at`.
    pub fn new(at: UnixMs) -> Self {
        Self(Arc::new(AtomicU64::new(at.get())))
    }

    /// Moves it on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock {
    /// What time it is.
    pub fn now(&self) -> UnixMs {
        match self {
            Self::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                UnixMs::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            Self::Manual(clock) => UnixMs::new(clock.0.load(Ordering::SeqCst)),
        }
    }
}
