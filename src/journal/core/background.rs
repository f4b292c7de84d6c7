//! Owns the handles of a journal's background threads: waking the sweeper, ending all.
//!
//! Deliberately absent: what they do (`sweeper`).

use crate::engine::shard::Shard;
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// The handles of the background threads.
#[derive(Default)]
pub(in crate::journal) struct Background {
    stop: AtomicBool,
    /// When the sweeper will wake, in Unix milliseconds.
    sweeper_wakes_ms: AtomicU64,
    sweeper: OnceLock<Thread>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    /// Called at the end of a turn: wakes the sweeper if it would sleep past the shard's next expiry.
    pub(in crate::journal) fn expiry_moved(&self, shard: &Shard) {
        let Some(due) = shard.next_expiry() else {
            return;
        };
        if due.get() < self.sweeper_wakes_ms.load(Ordering::Relaxed)
            && let Some(sweeper) = self.sweeper.get()
        {
            // Lowered here, so that later turns do not wake it again for the same expiry.
            self.sweeper_wakes_ms
                .fetch_min(due.get(), Ordering::Relaxed);
            sweeper.unpark();
        }
    }

    /// Ends the threads and waits for them.
    pub(in crate::journal) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        let handles = std::mem::take(&mut *self.handles.lock());
        for handle in handles {
            handle.thread().unpark();
            // If the last owner of the journal is one of its own threads, it must not wait for itself.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join();
            }
        }
    }

    pub(in crate::journal) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Adds a thread, which [`Self::stop`] will end.
    pub(in crate::journal) fn keep(&self, handle: JoinHandle<()>) {
        self.handles.lock().push(handle);
    }

    /// Sets the thread that turns wake. Call it once.
    pub(in crate::journal) fn name_sweeper(&self, sweeper: Thread) {
        let _ = self.sweeper.set(sweeper);
    }

    /// Called by the sweeper before it sleeps until `wakes`.
    pub(in crate::journal) fn sweeper_sleeps_until(&self, wakes: UnixMs) {
        self.sweeper_wakes_ms.store(wakes.get(), Ordering::Relaxed);
    }
}
