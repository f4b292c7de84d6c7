//! Owns the background threads: one expires holds and watches the wall clock, one takes snapshots.
//!
//! Invariants: a due hold expires within about a millisecond of its time, in turns of a few holds, so that
//! no command waits long; a panic here is a bug and stops the process; both threads end before the log
//! closes. With a manual clock nothing is swept automatically: who moves the clock calls
//! [`Upkeep::sweep`](super::Upkeep::sweep).

use crate::engine::stamp::Settled;
use crate::ids::ShardId;
use crate::journal::core::JournalCore;
use crate::journal::format::fault::JournalError;
use crate::journal::format::fault::StorageFault;
use crate::journal::snapshot::taking;
use crate::journal::turn::correction;
use crate::journal::turn::shard_turn::MoreDue;
use crate::journal::turn::shard_turn::sweep_shard;
use crate::time::UnixMs;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The longest that the thread for snapshots sleeps before it looks again.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// The longest that the sweeper sleeps: what it watches, the wall clock, wakes nobody.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// How often sums of days gone by are looked for.
const FORGET_DAYS_EVERY_MS: u64 = 3_600_000;

/// How long after a snapshot that failed the next is tried.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(30);

/// Starts the background threads.
pub(super) fn start(
    core: &Arc<JournalCore>,
    snapshot_every_bytes: u64,
) -> Result<(), JournalError> {
    if !core.clock.is_manual() {
        let swept = Arc::downgrade(core);
        let sweeper = spawn("sweeper", move || sweep_forever(&swept))?;
        core.background.name_sweeper(sweeper.thread().clone());
        core.background.keep(sweeper);
    }
    if snapshot_every_bytes > 0 {
        let taken = Arc::downgrade(core);
        let snapshots = spawn("snapshots", move || {
            snapshot_forever(&taken, snapshot_every_bytes);
        })?;
        core.background.keep(snapshots);
    }
    Ok(())
}

/// Watches the wall clock, and lets every hold run out that is due.
pub(super) fn sweep(core: &JournalCore) -> Result<(), StorageFault> {
    correction::watch_clock(core)?;
    for id in ShardId::all() {
        let due_ms = core.slots[id.index()]
            .next_expiry_ms
            .load(Ordering::Acquire);
        if due_ms <= core.now().get() {
            // Not within a turn: a command that came behind it would wait for the disk, too.
            core.wait_for_log_room();
            while sweep_shard(core, id)? == MoreDue::Left {
                core.wait_for_log_room();
            }
        }
    }
    Ok(())
}

fn next_expiry(core: &JournalCore) -> UnixMs {
    let expiries = core
        .slots
        .iter()
        .map(|slot| slot.next_expiry_ms.load(Ordering::Acquire));
    UnixMs::new(expiries.min().unwrap_or(u64::MAX))
}

fn sweep_forever(core: &Weak<JournalCore>) {
    let mut forgot_at = UnixMs::default();
    loop {
        let Some(core) = core.upgrade() else {
            return;
        };
        if core.background.stopped() || sweep(&core).is_err() {
            return;
        }
        let now = core.now();
        let settled = core.clock.settled() == Settled::Yes;
        if settled && now.since_ms(forgot_at) >= FORGET_DAYS_EVERY_MS {
            core.shared.forget_days(now);
            forgot_at = now;
        }
        let sleep = Duration::from_millis(next_expiry(&core).since_ms(now)).min(WATCH_EVERY);
        let wakes = now.plus_ms(u64::try_from(sleep.as_millis()).unwrap_or(0));
        core.background.sweeper_sleeps_until(wakes);
        drop(core);
        thread::park_timeout(sleep);
    }
}

fn snapshot_forever(core: &Weak<JournalCore>, every_bytes: u64) {
    loop {
        let Some(core) = core.upgrade() else {
            return;
        };
        if core.background.stopped() || core.fault().is_some() {
            return;
        }
        let mut pause = SLEEP_MAX;
        if taking::is_due(&core, every_bytes) {
            // A snapshot that fails leaves the log longer; the status says why, and a disk that
            // fails the log as well stops the process there.
            if taking::take(&core).is_err() {
                pause = SNAPSHOT_RETRY;
            }
        }
        drop(core);
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
