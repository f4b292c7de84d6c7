//! The durable point: the position up to which the log is acknowledged, and the threads that wait
//! for it.
//!
//! Invariants: 1. the point only grows; 2. once stopped it never moves again, and no thread sleeps
//! on it;
//! 3. a waiter for a position is woken when the point reaches it or the log stops.
//!
//! Only the log thread publishes. Why the log stopped is not known here: see [`crate::Fault`].

use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::doorbell::Doorbell;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// The durable LSN with its sleepers.
#[derive(Debug)]
pub struct Durable {
    point: CachePadded<AtomicU64>,
    stopped: AtomicBool,
    bell: Doorbell,
}

impl Durable {
    /// A point that stands at `start`.
    pub fn new(start: u64) -> Self {
        Self {
            point: CachePadded::new(AtomicU64::new(start)),
            stopped: AtomicBool::new(false),
            bell: Doorbell::new(),
        }
    }

    /// Where it stands.
    pub fn get(&self) -> u64 {
        self.point.load(Ordering::Acquire)
    }

    /// Whether it will never move again.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Moves it on and wakes who waits. By the log thread only.
    pub fn publish(&self, position: u64) {
        debug_assert!(position >= self.get(), "the durable point only grows");
        self.point.store(position, Ordering::Release);
        self.bell.ring();
    }

    /// Ends it and wakes who waits.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Sleeps until it reaches `position` (true) or stops short of it (false).
    pub fn wait(&self, position: u64) -> bool {
        if self.get() < position {
            self.bell
                .wait_until(|| self.get() >= position || self.is_stopped());
        }
        self.get() >= position
    }

    /// As [`Durable::wait`], for at most `timeout`.
    pub fn wait_for(&self, position: u64, timeout: Duration) -> bool {
        if self.get() < position {
            self.bell
                .wait_until_for(timeout, || self.get() >= position || self.is_stopped());
        }
        self.get() >= position
    }
}
