//! Owns reading clocks: the machine's, or those of a test.
//!
//! Invariant: the two clocks of a reading are read at one moment, as far as the machine allows.
//! Only the journal uses it. Deliberately absent: the core's time, which follows from readings
//! (`clock`).

use crate::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two readings of the monotonic clock around one of the wall clock are at most this far apart;
/// otherwise the thread was interrupted in between and reads again.
const READING_TAKES_MAX: Duration = Duration::from_millis(5);
/// Maximum number of readings. The last one is used in any case; its error is at most its duration.
const READINGS_MAX: usize = 5;

#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// Clocks that only move when told, for tests and replays.
    Manual(ManualClock),
}

/// A monotonic and a wall clock that only move when told. Clones share both.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    steady_ms: AtomicU64,
    wall_ms: AtomicU64,
}

/// Both clocks at one moment, in microseconds.
#[derive(Copy, Clone, Debug)]
pub(super) struct ClockReading {
    pub(super) steady_us: u64,
    pub(super) wall_us: u64,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: UnixMs) -> Self {
        Self(Arc::new(Hands {
            steady_ms: AtomicU64::new(0),
            wall_ms: AtomicU64::new(at.get()),
        }))
    }

    /// Lets `ms` milliseconds pass on both clocks.
    pub fn advance_ms(&self, ms: u64) {
        self.0.steady_ms.fetch_add(ms, Ordering::SeqCst);
        self.0.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock forward, or back if `ms` is negative; no time passes.
    pub fn step_ms(&self, ms: i64) {
        self.0
            .wall_ms
            .fetch_add(ms.cast_unsigned(), Ordering::SeqCst);
    }

    /// The time of the wall clock.
    pub fn wall(&self) -> UnixMs {
        UnixMs::new(self.0.wall_ms.load(Ordering::SeqCst))
    }
}

impl Clock {
    /// The time of the wall clock, which may be wrong and may jump.
    pub fn wall(&self) -> UnixMs {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                UnixMs::new(ms_of(since.unwrap_or_default()))
            }
            Self::Manual(clock) => clock.wall(),
        }
    }

    /// Microseconds of the monotonic clock since `origin`.
    pub(super) fn steady_us(&self, origin: Instant) -> u64 {
        match self {
            Self::System => us_of(origin.elapsed()),
            Self::Manual(ManualClock(hands)) => hands.steady_ms.load(Ordering::SeqCst) * 1_000,
        }
    }

    /// Both clocks; reads them again where the thread was interrupted in between.
    pub(super) fn read(&self, origin: Instant) -> ClockReading {
        if let Self::Manual(manual) = self {
            return ClockReading {
                steady_us: self.steady_us(origin),
                wall_us: manual.wall().get() * 1_000,
            };
        }
        let mut tries = 0;
        loop {
            let before = origin.elapsed();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH);
            let took = origin.elapsed().saturating_sub(before);
            tries += 1;
            if took <= READING_TAKES_MAX || tries == READINGS_MAX {
                // No time may be later than RFC 3339 can express.
                let latest_us = UnixMs::MAX.get() * 1_000;
                return ClockReading {
                    steady_us: us_of(before + took / 2),
                    wall_us: us_of(wall.unwrap_or_default()).min(latest_us),
                };
            }
        }
    }
}

fn us_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
