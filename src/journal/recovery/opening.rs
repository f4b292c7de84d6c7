//! Owns opening a directory: the newest valid snapshot, then the log, then the shared sums.
//!
//! Invariants: no file is renamed or created before every check has passed, so a refused start can be
//! repeated; stock and promotion uses are derived at the end and checked against their limits.
//! Deliberately absent: repair. Damage that the log detects stops the start.

use super::fold::{Folded, Folding};
use super::newest::newest_good;
use crate::engine::event::{CorrectedBy, Event, LimitsSet};
use crate::engine::settings::{EngineSettings, Limits};
use crate::engine::shard::Shard;
use crate::engine::shared::amounts::SharedAmounts;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::core::background::Background;
use crate::journal::core::history::HistoryGate;
use crate::journal::core::order::{LockRank, Ordered};
use crate::journal::core::refusals::RefusalsKept;
use crate::journal::core::retention::Retentions;
use crate::journal::core::settings::{Disks, JournalOptions, LogSettings};
use crate::journal::core::slot::Slot;
use crate::journal::core::snapshots::Snapshots;
use crate::journal::format::fault::{JournalError, StorageFault, describe};
use crate::journal::format::store;
use crate::journal::snapshot::restoring::Restored;
use crate::journal::time::clock::{ClockBehind, ClockDifference, ClockSettings, Timekeeper};
use crate::journal::time::days::Days;
use crate::journal::turn::correction::correct_clock;
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Number of events between two reports of progress.
const EVENTS_A_PROGRESS: u64 = 65_536;

/// The progress of opening.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The current stage.
    pub stage: &'static str,
    /// Bytes done in this stage.
    pub done: u64,
    /// Bytes of this stage in total.
    pub total: u64,
}

/// The result of opening.
#[derive(Clone, Debug)]
pub struct Opened {
    pub log_id: u64,
    /// Events read from the log.
    pub events_replayed: u64,
    /// The snapshot from which it continued.
    pub snapshot: Option<Lsn>,
    /// What is wrong with newer snapshots, if there are any.
    pub bad_snapshots: Vec<String>,
    /// The end of the log.
    pub durable: Lsn,
    /// The unacknowledged end of the log that was cut.
    pub torn_tail: Option<String>,
    /// The time it took, in milliseconds.
    pub elapsed_ms: u64,
    /// [`Upkeep::digest`](crate::journal::Upkeep::digest) of the state it found.
    pub digest: String,
}

/// The same on other disks, which no other process may have open.
pub(in crate::journal) fn open(
    disks: Disks,
    options: JournalOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Arc<JournalCore>, Opened), JournalError> {
    let JournalOptions {
        engine,
        log: log_settings,
        clock,
        random,
        time,
        day_zone,
        retentions,
        refusals,
        ..
    } = options;
    let Recovered { log, state, opened } = recover(&disks, &log_settings, &engine, progress)?;
    let pin = log.pin("snapshots", oldest_kept(&log, &disks)?);
    let days = Days::new(day_zone);
    let clock = Timekeeper::start(clock, time, state.last_at);
    let behind = behind(&clock, time)?;
    let shared = restore_shared(&state.shards, &engine, &days, clock.now());
    let retentions = Retentions::of(&log, &retentions);
    let slots = ShardId::all()
        .zip(state.shards)
        .map(|(id, shard)| CachePadded::new(Slot::new(id, shard)));
    let (before, limits) = (state.limits, engine.limits());
    let core = Arc::new(JournalCore {
        log_id: opened.log_id,
        history: HistoryGate::new(log.generation(), state.accepted),
        slots: slots.collect(),
        catalogue: ArcSwap::from_pointee(state.catalogue),
        catalogue_turn: Ordered::new(LockRank::Catalogue, ()),
        velocity: state.velocity,
        rules: ArcSwap::default(),
        scoring: ArcSwap::default(),
        rules_turn: Ordered::new(LockRank::Rules, state.rules),
        shared,
        days,
        seen: state.seen,
        webhook_turn: Ordered::new(LockRank::Webhooks, ()),
        rate: ArcSwap::from_pointee(engine.rate),
        settings: engine,
        clock,
        random,
        notices: Ordered::new(LockRank::Notices, VecDeque::new()),
        log: Arc::new(log),
        snapshots: Snapshots {
            newest_bytes: AtomicU64::new(store::newest_bytes(&*disks.snapshots)?),
            newest_at: Mutex::new(store::newest_written_at(&*disks.snapshots)?),
            storage: disks.snapshots,
            taking: Ordered::new(LockRank::Snapshot, ()),
            newest: Mutex::new(opened.snapshot),
            failure: Mutex::new(None),
            pin: Mutex::new(pin),
        },
        retentions,
        refused_acts: RefusalsKept::new(refusals.acts_per_s),
        refused_attempts: RefusalsKept::new(refusals.attempts_per_s),
        background: Background::default(),
    });
    if behind.is_some() {
        // The correction before the new limits: recovery applies it under the limits in force at its LSN, which
        // are the old ones.
        let lsn = correct_clock(&core, CorrectedBy::Operator, before.unwrap_or(limits))?;
        core.wait_durable(lsn)?;
    }
    set_limits(&core, before, limits)?;
    Ok((core, opened))
}

/// Records the settings that applying depends on, if they are new, before any event is applied with
/// them.
fn set_limits(
    core: &JournalCore,
    before: Option<Limits>,
    limits: Limits,
) -> Result<(), StorageFault> {
    if before == Some(limits) {
        return Ok(());
    }
    let event = Event::LimitsSet(LimitsSet { limits });
    let lsn = core.append_one(&event, core.clock.moment())?;
    core.wait_durable(lsn)
}

/// The first LSN that the kept snapshots need.
fn oldest_kept(log: &wal::Log, disks: &Disks) -> Result<wal::Lsn, JournalError> {
    let first = log.first_lsn();
    let snapshots = store::list(&*disks.snapshots)?;
    let oldest = snapshots.last().map(|(lsn, _)| wal::Lsn::new(lsn.0));
    Ok(oldest.map_or(first, |lsn| lsn.max(first)))
}

/// The difference if the clock is before the log's last event by more than a small step and the
/// operator ordered to accept that.
fn behind(
    clock: &Timekeeper,
    settings: ClockSettings,
) -> Result<Option<ClockDifference>, JournalError> {
    let difference = clock.difference();
    let tolerated = -i64::try_from(settings.step_max_ms).unwrap_or(i64::MAX);
    if difference.offset_ms() >= tolerated {
        return Ok(None);
    }
    match settings.behind {
        ClockBehind::Accept => Ok(Some(difference)),
        ClockBehind::Refuse => Err(JournalError::ClockBehind {
            clock: difference.wall,
            last: difference.core,
        }),
    }
}

/// Derives the amounts bought with each card and from each device from the purchases.
fn restore_shared(
    shards: &[Shard],
    engine: &EngineSettings,
    days: &Days,
    now: UnixMs,
) -> SharedAmounts {
    let shared = SharedAmounts::new(&engine.amounts, engine.bounds.amount_keys_max);
    if !engine.amounts.shared.is_empty() {
        let counts = shards.iter().flat_map(Shard::shared_counts);
        shared.restore(counts, now, |at| days.start_of(at));
    }
    shared
}

/// The result of recovery.
struct Recovered {
    log: wal::Log,
    state: Folded,
    opened: Opened,
}

/// Recovers the state from the newest valid snapshot and the log after it.
fn recover(
    disks: &Disks,
    log_settings: &LogSettings,
    engine: &EngineSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, JournalError> {
    let began = Instant::now();
    let mut at = |stage, done, total| progress(Progress { stage, done, total });
    // 1. A snapshot without any log: the log is lost. Beginning a new one beside it would hide that.
    if let Some((_, name)) = store::list(&*disks.snapshots)?.first()
        && !wal::is_begun(&*disks.log)?
    {
        let beside = format!("snapshots/{name}");
        return Err(JournalError::NoLog { beside });
    }
    // 2. The newest valid snapshot, which says from which LSN on the log is needed.
    at("reading the snapshot", 0, 0);
    let found = newest_good(&*disks.snapshots, engine)?;
    let from = found.restored.as_ref().map_or(Lsn(0), |it| it.first);
    // 3. Opening the log verifies it, and cuts a torn tail or stops at damage.
    at("verifying the log", 0, 0);
    let config = log_settings.config(wal::Lsn::new(from.0));
    let (log, report) = wal::Log::open(Arc::clone(&disks.log), config)?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "half of a random number is random"
    )]
    let log_id = report.log_id as u64;
    // 4. Refuse what cannot be folded: a snapshot of another log or ahead of this one, or a log whose
    // beginning is gone while no snapshot reads well.
    if let Some(restored) = &found.restored {
        check_belongs(restored, log_id, Lsn(report.end.get()))?;
    }
    let first = Lsn(report.first.get());
    if found.restored.is_none() && first > Lsn(0) {
        let bad = found.bad;
        return Err(JournalError::NoSnapshot { bad, first });
    }
    // 5. Bad snapshots are set aside only after these checks, so that a refused start can be repeated
    // with other files.
    let bad_names: Vec<String> = found.bad.iter().map(|bad| bad.name.clone()).collect();
    store::tidy(&*disks.snapshots, &bad_names)?;
    // 6. The fold.
    let snapshot = found.restored.as_ref().map(|it| it.first);
    let mut folding = Folding::from(found.restored, engine, log_id);
    let end = Lsn(report.end.get());
    replay(&mut folding, &log, from, end, &mut at)?;
    // 7. Shared sums are never stored: they follow from all shards together.
    let state = folding.finish()?;
    let torn_tail = report
        .torn
        .map(|(tail, copy)| format!("{}; copied to log/{copy}", describe(&tail)));
    let opened = Opened {
        log_id,
        events_replayed: state.events,
        snapshot,
        bad_snapshots: found.bad.iter().map(ToString::to_string).collect(),
        durable: end,
        torn_tail,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        digest: state.digest(),
    };
    Ok(Recovered { log, state, opened })
}

/// Folds the log between `from` and `end`: the same `apply` that ran live, in the order of the log.
fn replay(
    folding: &mut Folding,
    log: &wal::Log,
    from: Lsn,
    end: Lsn,
    at: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<(), JournalError> {
    let mut reader = log.reader(wal::Lsn::new(from.0))?;
    let total = end.0.saturating_sub(from.0);
    while let Some(record) = reader.next()? {
        if folding.events.is_multiple_of(EVENTS_A_PROGRESS) {
            let done = record.lsn.get().saturating_sub(from.0);
            at("replaying the log", done, total);
        }
        folding.fold(&record)?;
    }
    at("replaying the log", total, total);
    Ok(())
}

fn check_belongs(restored: &Restored, log_id: u64, end: Lsn) -> Result<(), JournalError> {
    if restored.log_id != log_id {
        return Err(JournalError::OtherLog {
            snapshots: restored.log_id,
            segments: log_id,
        });
    }
    let covered = restored
        .shards
        .iter()
        .map(|(_, lsn)| *lsn)
        .max()
        .unwrap_or(restored.first);
    if covered > end {
        return Err(JournalError::LogBehindSnapshot {
            snapshot: covered,
            durable: end,
        });
    }
    Ok(())
}
