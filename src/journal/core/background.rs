//! Owns the background threads of a journal as the others see them: waking the sweeper, ending all.
//!
//! Deliberately absent: what they do (`sweeper`).

use crate::engine::shard::Shard;
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// The threads in the background.
#[derive(Default)]
pub(in crate::journal) struct Background {
    stop: AtomicBool,
    /// When the sweeper means to wake, in Unix milliseconds.
    sweeper_wakes_ms: AtomicU64,
    sweeper: OnceLock<Thread>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    /// A turn has ended: wakes the sweeper if it would sleep past the shard's next expiry.
    pub(in crate::journal) fn expiry_moved(&self, shard: &Shard) {
        let Some(due) = shard.next_expiry() else {
            return;
        };
        if due.get() < self.sweeper_wakes_ms.load(Ordering::Relaxed)
            && let Some(sweeper) = self.sweeper.get()
        {
            // Lowered here, so that the turns that follow do not wake it again for this.
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
            // The last owner of a journal may be one of its own threads.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join();
            }
        }
    }

    pub(in crate::journal) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Keeps a thread, to be ended with the others.
    pub(in crate::journal) fn keep(&self, handle: JoinHandle<()>) {
        self.handles.lock().push(handle);
    }

    /// Names the thread that turns wake; once.
    pub(in crate::journal) fn name_sweeper(&self, sweeper: Thread) {
        let _ = self.sweeper.set(sweeper);
    }

    /// The sweeper is about to sleep until then.
    pub(in crate::journal) fn sweeper_sleeps_until(&self, wakes: UnixMs) {
        self.sweeper_wakes_ms.store(wakes.get(), Ordering::Relaxed);
    }
}
