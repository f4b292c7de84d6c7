//! Owns the circuit breaker of one gateway: whether a call may be sent, by how the last ones went.
//!
//! Invariants: closed, every call passes; after so many failures in a row it is open, and nothing
//! passes for a while; then one call passes for each such while, and its success closes it.
//! A decline is an answer, not a failure. Lock-free: a healthy gateway costs two loads a call.
//! Deliberately absent: which answers are failures (`calls`), and what a caller does instead.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Whether calls are sent to the gateway.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// They are.
    Closed,
    /// No call is sent for now.
    Open,
    /// One call is sent to find out whether the gateway is back.
    HalfOpen,
}

impl Circuit {
    /// The metric's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// When the circuit opens, and for how long.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Consecutive failures that open it; 0: it never opens.
    pub failures: u32,
    /// How long it stays open, in milliseconds; at least 1.
    pub open_ms: u64,
}

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    began: Instant,
    failures: AtomicU32,
    /// When it opened, or last let a probe through, in milliseconds after `began` plus one; 0: it
    /// is closed.
    opened_ms: AtomicU64,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            began: Instant::now(),
            failures: AtomicU32::new(0),
            opened_ms: AtomicU64::new(0),
        }
    }

    /// Whether a call may be sent now.
    pub(super) fn admits(&self) -> bool {
        self.is_closed() || self.admits_at(self.began.elapsed())
    }

    /// Its state, for metrics and for requests that would begin a payment.
    pub(super) fn circuit(&self) -> Circuit {
        if self.is_closed() {
            return Circuit::Closed;
        }
        self.circuit_at(self.began.elapsed())
    }

    /// Whether it is closed, which needs no clock.
    fn is_closed(&self) -> bool {
        self.opened_ms.load(Relaxed) == 0
    }

    /// A call was answered.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if self.opened_ms.load(Relaxed) != 0 {
            self.opened_ms.store(0, Relaxed);
        }
    }

    /// A call was not answered, or the gateway said that it is in trouble.
    pub(super) fn failed(&self) {
        self.failed_at(self.began.elapsed());
    }

    fn circuit_at(&self, now: Duration) -> Circuit {
        match self.opened_ms.load(Relaxed) {
            0 => Circuit::Closed,
            opened if stamp(now) < opened.saturating_add(self.settings.open_ms) => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    fn admits_at(&self, now: Duration) -> bool {
        match self.circuit_at(now) {
            Circuit::Closed => true,
            Circuit::Open => false,
            Circuit::HalfOpen => {
                // The thread that moves the instant sends the probe; for all others it stays open.
                let opened = self.opened_ms.load(Relaxed);
                opened != 0
                    && self
                        .opened_ms
                        .compare_exchange(opened, stamp(now), Relaxed, Relaxed)
                        .is_ok()
            }
        }
    }

    fn failed_at(&self, now: Duration) {
        let failures = self.failures.load(Relaxed).saturating_add(1);
        // Two threads may count one failure as one: then it takes one more to open.
        self.failures.store(failures, Relaxed);
        if self.settings.failures > 0 && failures >= self.settings.failures {
            self.opened_ms.store(stamp(now), Relaxed);
        }
    }
}

/// Milliseconds and one more, so that it is never 0.
fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_MS: u64 = 100;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(BreakerSettings {
            failures,
            open_ms: OPEN_MS,
        })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let breaker = breaker(3);
        for _ in 0..5 {
            breaker.failed_at(at(1));
            breaker.failed_at(at(2));
            breaker.succeeded();
        }
        assert!(breaker.admits_at(at(3)));
        for now in [4, 5, 6] {
            breaker.failed_at(at(now));
        }
        assert_eq!(breaker.circuit_at(at(7)), Circuit::Open);
        assert!(!breaker.admits_at(at(6 + OPEN_MS - 1)));
    }

    #[test]
    fn one_call_at_a_time_finds_out_whether_the_gateway_is_back() {
        let breaker = breaker(1);
        breaker.failed_at(at(0));
        assert_eq!(breaker.circuit_at(at(OPEN_MS)), Circuit::HalfOpen);
        assert!(breaker.admits_at(at(OPEN_MS)));
        assert!(!breaker.admits_at(at(OPEN_MS)), "another one is on its way");
        breaker.failed_at(at(OPEN_MS + 10));
        assert!(!breaker.admits_at(at(2 * OPEN_MS)));
        assert!(breaker.admits_at(at(2 * OPEN_MS + 10)));
        breaker.succeeded();
        assert_eq!(breaker.circuit_at(at(2 * OPEN_MS + 10)), Circuit::Closed);
        // A call whose end is never reported, because its runtime ended, must not block later calls.
        breaker.failed_at(at(300));
        assert!(breaker.admits_at(at(400)));
        assert!(breaker.admits_at(at(500)));
    }

    #[test]
    fn without_a_limit_it_never_opens() {
        let breaker = breaker(0);
        for now in 0..1_000 {
            breaker.failed_at(at(now));
        }
        assert!(breaker.admits_at(at(1_000)));
    }
}
