//! Owns the background threads: one expires holds and watches the wall clock, one takes snapshots.
//!
//! Invariants: a due hold expires within about a millisecond of its time, in turns of a few holds, so that
//! no command waits long; a panic here is a bug and stops the process; both threads end before the log
//! closes. With a manual clock nothing is swept automatically: call
//! [`Upkeep::sweep`](super::Upkeep::sweep) after moving the clock.

use crate::engine::stamp::Settled;
use crate::ids::ShardId;
use crate::journal::core::JournalCore;
use crate::journal::core::pace::WorkPace;
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

/// Maximum time that the snapshot thread sleeps before it checks again.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Maximum time that the sweeper sleeps. A step of the wall clock does not wake it.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// How often the sums of past days are removed.
const FORGET_DAYS_EVERY_MS: u64 = 3_600_000;

/// Wait after a failed snapshot before the next one.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(30);

/// Rests of the sweeper for each unit of work. Due holds expire before any command of their shard anyway.
const RESTS_PER_WORK: u32 = 1;

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

/// Watches the wall clock, and expires every hold that is due.
pub(super) fn sweep(core: &JournalCore) -> Result<(), StorageFault> {
    correction::watch_clock(core)?;
    let mut pace = WorkPace::begin(&core.background, RESTS_PER_WORK);
    for id in ShardId::all() {
        let due_ms = core.slots[id.index()]
            .next_expiry_ms
            .load(Ordering::Acquire);
        if due_ms <= core.now().get() {
            // Wait for room before the turn, not within it: commands behind this turn would wait for the disk, too.
            core.wait_for_log_room();
            while sweep_shard(core, id)? == MoreDue::Left {
                pace.give_way();
                core.wait_for_log_room();
            }
            pace.give_way();
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
            // A failed snapshot only leaves the log longer, and the status says why. If the disk also fails
            // the log, the log stops the process.
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
