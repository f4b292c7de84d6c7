//! Owns the background threads: one expires holds and watches the wall clock, one takes snapshots.
//!
//! Invariants: a due hold expires within about a millisecond of its time, in turns of a few holds,
//! so that no command waits long; a panic here is a bug and stops the process; both threads end
//! before the log closes. With a manual clock nothing is swept automatically: who moves the clock
//! calls [`Journal::sweep`].

use crate::engine::shard::Shard;
use crate::engine::stamp::Settled;
use crate::ids::ShardId;
use crate::journal::format::fault::JournalError;
use crate::journal::turn::MoreDue;
use crate::journal::{Journal, StorageFault};
use crate::time::UnixMs;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// The longest that the thread for snapshots sleeps before it looks again.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// The longest that the sweeper sleeps: what it watches, the wall clock, wakes nobody.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// How often sums of days gone by are looked for.
const FORGET_DAYS_EVERY_MS: u64 = 3_600_000;

/// How long after a snapshot that failed the next is tried.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(30);

/// The threads in the background.
#[derive(Default)]
pub(super) struct Background {
    stop: AtomicBool,
    /// When the sweeper means to wake, in Unix milliseconds.
    sweeper_wakes_ms: AtomicU64,
    sweeper: OnceLock<Thread>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    pub(super) fn start(
        journal: &Arc<Journal>,
        snapshot_every_bytes: u64,
    ) -> Result<(), JournalError> {
        let background = &journal.background;
        if !journal.clock.is_manual() {
            let swept = Arc::downgrade(journal);
            let sweeper = spawn("sweeper", move || sweep_forever(&swept))?;
            let _ = background.sweeper.set(sweeper.thread().clone());
            background.handles.lock().push(sweeper);
        }
        if snapshot_every_bytes > 0 {
            let taken = Arc::downgrade(journal);
            let snapshots = spawn("snapshots", move || {
                snapshot_forever(&taken, snapshot_every_bytes);
            })?;
            background.handles.lock().push(snapshots);
        }
        Ok(())
    }

    /// A turn has ended: wakes the sweeper if it would sleep past the shard's next expiry.
    pub(super) fn expiry_moved(&self, shard: &Shard) {
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
    pub(super) fn stop(&self) {
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
}

impl Journal {
    /// Watches the wall clock, and lets every hold run out that is due. For those who move the
    /// clock by hand; otherwise it happens in the background.
    pub fn sweep(&self) -> Result<(), StorageFault> {
        self.watch_clock()?;
        for id in ShardId::all() {
            let due_ms = self.slots[id.index()]
                .next_expiry_ms
                .load(Ordering::Acquire);
            if due_ms <= self.now().get() {
                // Not within a turn: a command that came behind it would wait for the disk, too.
                self.wait_for_log_room();
                while self.sweep_shard(id)? == MoreDue::Left {
                    self.wait_for_log_room();
                }
            }
        }
        Ok(())
    }

    fn next_expiry(&self) -> UnixMs {
        let expiries = self
            .slots
            .iter()
            .map(|slot| slot.next_expiry_ms.load(Ordering::Acquire));
        UnixMs::new(expiries.min().unwrap_or(u64::MAX))
    }
}

fn sweep_forever(journal: &Weak<Journal>) {
    let mut forgot_at = UnixMs::default();
    loop {
        let Some(journal) = journal.upgrade() else {
            return;
        };
        if journal.background.stopped() || journal.sweep().is_err() {
            return;
        }
        let now = journal.now();
        let settled = journal.clock.settled() == Settled::Yes;
        if settled && now.since_ms(forgot_at) >= FORGET_DAYS_EVERY_MS {
            journal.shared.forget_days(now);
            forgot_at = now;
        }
        let sleep = Duration::from_millis(journal.next_expiry().since_ms(now)).min(WATCH_EVERY);
        let wakes = now.plus_ms(u64::try_from(sleep.as_millis()).unwrap_or(0));
        journal
            .background
            .sweeper_wakes_ms
            .store(wakes.get(), Ordering::Relaxed);
        drop(journal);
        thread::park_timeout(sleep);
    }
}

fn snapshot_forever(journal: &Weak<Journal>, every_bytes: u64) {
    loop {
        let Some(journal) = journal.upgrade() else {
            return;
        };
        if journal.background.stopped() || journal.fault().is_some() {
            return;
        }
        let mut pause = SLEEP_MAX;
        if journal.snapshot_due(every_bytes) {
            // A snapshot that fails leaves the log longer; the status says why, and a disk that
            // fails the log as well stops the process there.
            if journal.snapshot().is_err() {
                pause = SNAPSHOT_RETRY;
            }
        }
        drop(journal);
        thread::park_timeout(pause);
    }
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, JournalError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(crate::journal::format::fault::io(
        "starting the thread",
        name,
    ))
}
