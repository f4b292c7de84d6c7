//! The doorbell: a thread sleeps until a condition on atomics holds, and the waking thread makes no
//! system call if no thread sleeps.
//!
//! Invariant: a thread that makes the condition true and then calls [`Doorbell::ring`] wakes every
//! sleeper whose condition it made true. This depends on two fences (sleeper: flag, fence, check;
//! waker: change, fence, flag), so that at least one side sees the other, and on the sleeper
//! holding the lock from its check until it sleeps, so that the notification cannot come in
//! between.
//!
//! It carries no value: the condition belongs to the caller, on the caller's atomics.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, fence};

/// Something to sleep at.
#[derive(Debug)]
pub struct Doorbell {
    /// A thread sleeps or is about to. The ringer that clears it does the waking, so of many
    /// ringers only the first pays for it.
    waiting: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl Doorbell {
    /// A doorbell without sleepers.
    pub fn new() -> Self {
        Self {
            waiting: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Wakes every sleeper, if there is one; each looks at its condition again.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::AcqRel) {
            // Take the lock, so that a sleeper that has checked its condition is asleep by now.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Raises the flag, before a look at the condition. By a swap: every change of the flag is then a
    /// read-modify-write, so that they stand in one order for the model checker too.
    fn announce(&self) {
        self.waiting.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Sleeps until `ready` holds.
    pub fn wait_until(&self, ready: impl Fn() -> bool) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.announce();
            if ready() {
                return;
            }
            guard = self
                .wake
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps until `ready` holds or `timeout` has passed; says whether it holds.
    pub fn wait_until_for(&self, timeout: Duration, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.announce();
            if ready() {
                return true;
            }
            // A deadline beyond the range of the clock never comes.
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if left.is_zero() {
                return false;
            }
            guard = self
                .wake
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
