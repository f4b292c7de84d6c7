//! Owns opening a directory: the newest valid snapshot, then the log, then the shared sums.
//!
//! Invariants: live and recovery run the same `apply`; an event is applied to a part of the state
//! exactly if the image of that part does not include it; stock and promotion uses are derived at
//! the end and checked against their limits; a directory is open in one process at a time.
//! Deliberately absent: repair. Damage that the log detects stops the start.

pub(in crate::journal) mod check;
pub(in crate::journal) mod import;

use crate::engine::apply::BrokenLog;
use crate::engine::catalogue::Catalogue;
use crate::engine::cells::GuardFull;
use crate::engine::event::{CorrectedBy, Event, LimitsSet, LogGeneration, Part};
use crate::engine::lifecycle::Units;
use crate::engine::settings::{EngineSettings, Limits};
use crate::engine::shard::Shard;
use crate::engine::shared::amounts::SharedAmounts;
use crate::engine::stamp::Stamp;
use crate::engine::velocity::Velocity;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::refusals::RefusalsKept;
use crate::journal::core::settings::{Disks, JournalOptions, LogSettings};
use crate::journal::format::codec::{self, Kind};
use crate::journal::format::fault::{JournalError, describe, io};
use crate::journal::format::sections::SnapshotError;
use crate::journal::format::store;
use crate::journal::risk::InForce;
use crate::journal::snapshot::{Restored, Snapshots, digest, restore};
use crate::journal::sweeper::Background;
use crate::journal::tail::feed::Retentions;
use crate::journal::tail::history::HistoryGate;
use crate::journal::time::clock::{ClockBehind, ClockDifference, ClockSettings, Timekeeper};
use crate::journal::time::days::Days;
use crate::journal::webhooks::SeenWebhooks;
use crate::journal::{Journal, Slot};
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use wal::Directory;

/// How far opening is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: &'static str,
    /// How much of it is done, in bytes.
    pub done: u64,
    /// How much there is in all, in bytes.
    pub total: u64,
}

/// What opening found.
#[derive(Clone, Debug)]
pub struct Opened {
    pub log_id: u64,
    /// Events read from the log.
    pub events_replayed: u64,
    /// The snapshot it began from.
    pub snapshot: Option<Lsn>,
    /// What was wrong with newer snapshots, if any were.
    pub bad_snapshots: Vec<String>,
    /// The end of the log.
    pub durable: Lsn,
    /// What was cut from the log's end because nobody was ever told of it.
    pub torn_tail: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// [`Journal::digest`] of the state it found.
    pub digest: String,
}

/// Locked while a process has the data directory.
const LOCK_FILE: &str = "lock";

/// Events between two reports of progress.
const EVENTS_A_PROGRESS: u64 = 65_536;

impl Journal {
    /// Opens the data directory, recovers what is in it, and starts the background threads.
    pub fn open(
        options: JournalOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, JournalError> {
        TakenDirectory::take(&options.data_dir)?.open(options, progress)
    }

    /// The same on other disks, which nobody else may have open.
    pub fn open_on(
        disks: Disks,
        options: JournalOptions,
        lock: Option<wal::FileLock>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Self>, JournalError> {
        let JournalOptions {
            engine,
            log: log_settings,
            snapshot_every_bytes,
            clock,
            random,
            time,
            day_zone,
            retentions,
            refusals,
            ..
        } = options;
        let Recovered { log, state, opened } = recover(&disks, &log_settings, &engine, progress)?;
        let first = log.first_lsn();
        let oldest_kept = store::list(&*disks.snapshots)?.last().map(|(lsn, _)| *lsn);
        let oldest_kept = oldest_kept.map_or(first, |lsn| wal::Lsn::new(lsn.0).max(first));
        let pin = log.pin("snapshots", oldest_kept);
        let days = Days::new(day_zone);
        let clock = Timekeeper::start(clock, time, state.last_at);
        let behind = behind(&clock, time)?;
        let shared = restore_shared(&state.shards, &engine, &days, clock.now())?;
        let retentions = Retentions::of(&log, &retentions);
        let slots = state
            .shards
            .into_iter()
            .map(|shard| CachePadded::new(Slot::new(shard)));
        let (before, limits) = (state.limits, engine.limits());
        let history = HistoryGate::new(log.generation(), state.accepted);
        let journal = Arc::new(Self {
            slots: slots.collect(),
            catalogue: ArcSwap::from_pointee(state.catalogue),
            catalogue_turn: Mutex::new(()),
            velocity: state.velocity,
            rules: ArcSwap::default(),
            scoring: ArcSwap::default(),
            rules_turn: Mutex::new(state.rules),
            shared,
            days,
            seen: state.seen,
            webhook_turn: Mutex::new(()),
            rate: ArcSwap::from_pointee(engine.rate),
            settings: engine,
            clock,
            random,
            notices: Mutex::default(),
            log: Arc::new(log),
            snapshots: Snapshots {
                newest_bytes: AtomicU64::new(store::newest_bytes(&*disks.snapshots)?),
                storage: disks.snapshots,
                taking: Mutex::new(()),
                newest: Mutex::new(opened.snapshot),
                failure: Mutex::new(None),
                pin: Mutex::new(pin),
            },
            retentions,
            history,
            refused_acts: RefusalsKept::new(refusals.acts_per_s),
            refused_attempts: RefusalsKept::new(refusals.attempts_per_s),
            background: Background::default(),
            opened,
            _lock: lock,
        });
        if behind.is_some() {
            let lsn = journal.correct_clock(CorrectedBy::Operator)?;
            journal.wait_durable(lsn)?;
        }
        if before != Some(limits) {
            let event = Event::LimitsSet(LimitsSet { limits });
            let lsn = journal.append_one(&event, journal.clock.moment())?;
            journal.wait_durable(lsn)?;
        }
        Background::start(&journal, snapshot_every_bytes)?;
        Ok(journal)
    }
}

/// How far the clock lies before the log's last event, where that is more than a small step and the
/// operator ordered to go on from there.
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

/// What was bought with each card and from each device follows from the purchases.
fn restore_shared(
    shards: &[Shard],
    engine: &EngineSettings,
    days: &Days,
    now: UnixMs,
) -> Result<SharedAmounts, JournalError> {
    let shared = SharedAmounts::new(&engine.amounts, engine.bounds.amount_keys_max);
    if engine.amounts.shared.is_empty() {
        return Ok(shared);
    }
    let counts = shards.iter().flat_map(Shard::shared_counts);
    if shared.restore(counts, now, |at| days.start_of(at)) {
        Ok(shared)
    } else {
        let what = "more was bought with one card or device than can be counted";
        Err(JournalError::Setting(what.to_owned()))
    }
}

/// What recovery leads to.
struct Recovered {
    log: wal::Log,
    state: Folded,
    opened: Opened,
}

/// From the newest good snapshot and the log behind it to the state.
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
    // 2. The snapshot says from where on the log is needed.
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
        let problems: Vec<_> = found.bad.iter().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        return Err(JournalError::NoSnapshot { problems, first });
    }
    // 5. Bad snapshots are set aside only after these checks, so that a refused start can be repeated
    // with other files.
    let bad_names: Vec<String> = found.bad.iter().map(|bad| bad.name.clone()).collect();
    store::tidy(&*disks.snapshots, &bad_names)?;
    // 6. The fold: the same `apply` that ran live, in the order of the log.
    let snapshot = found.restored.as_ref().map(|it| it.first);
    let mut folding = Folding::from(found.restored, engine, log_id);
    let mut reader = log.reader(wal::Lsn::new(from.0))?;
    let total = report.end.get().saturating_sub(from.0);
    while let Some(record) = reader.next()? {
        if folding.events.is_multiple_of(EVENTS_A_PROGRESS) {
            let done = record.lsn.get().saturating_sub(from.0);
            at("replaying the log", done, total);
        }
        folding.fold(&record)?;
    }
    at("replaying the log", total, total);
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
        durable: Lsn(report.end.get()),
        torn_tail,
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        digest: state.digest(),
    };
    Ok(Recovered { log, state, opened })
}

fn seen_full(full: GuardFull) -> JournalError {
    JournalError::Setting(format!(
        "webhooks that the log remembers do not fit: {full} (webhooks.events_max, \
         webhooks.nonces_max)"
    ))
}

/// Refuses a directory without a log where there is a snapshot, or one of `beside` is not empty:
/// files of `data_dir` that only a log brings about.
pub fn refuse_emptied(data_dir: &Path, beside: &[PathBuf]) -> Result<(), JournalError> {
    let log = data_dir.join("log");
    let is_begun = match wal::DiskStorage::open_read_only(&log) {
        Ok(storage) => wal::is_begun(&storage)?,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(source) => return Err(io("opening", log)(source)),
    };
    if is_begun {
        return Ok(());
    }
    let has_bytes = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|it| it.len() > 0);
    let snapshots = data_dir.join("snapshots");
    let newest = match wal::DiskStorage::open_read_only(&snapshots) {
        Ok(storage) => store::list(&storage)?.pop(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(io("opening", snapshots)(source)),
    };
    let snapshot = newest.map(|(_, name)| snapshots.join(name));
    match beside.iter().find(has_bytes).or(snapshot.as_ref()) {
        Some(path) => Err(JournalError::NoLog {
            beside: path.display().to_string(),
        }),
        None => Ok(()),
    }
}

/// A data directory that no other process opens while this lives.
#[derive(Debug)]
pub struct TakenDirectory {
    directory: Directory,
    lock: wal::FileLock,
}

impl TakenDirectory {
    /// Takes the data directory for this process, and makes it where it is missing. What is read there
    /// in order to open it, such as cursors, nobody changes any more.
    pub fn take(data_dir: &Path) -> Result<Self, JournalError> {
        let directory = Directory::create(data_dir).map_err(io("creating", data_dir))?;
        let lock = lock(&directory)?;
        Ok(Self { directory, lock })
    }

    /// Opens the journal in it: see [`Journal::open`]. The path in `options` is not looked at.
    pub fn open(
        self,
        options: JournalOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Arc<Journal>, JournalError> {
        let disks = Disks::create_in(&self.directory)?;
        Journal::open_on(disks, options, Some(self.lock), progress)
    }
}

/// Takes the directory for this process.
fn lock(data_dir: &Directory) -> Result<wal::FileLock, JournalError> {
    let path = data_dir.path().join(LOCK_FILE);
    let file = data_dir
        .append_file(LOCK_FILE)
        .map_err(io("opening", &path))?;
    match wal::FileLock::try_take(file) {
        Ok(lock) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: data_dir.path().to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io("locking", path)(source)),
    }
}

pub(in crate::journal) struct FoundSnapshots {
    pub(in crate::journal) restored: Option<Restored>,
    pub(in crate::journal) bad: Vec<BadSnapshot>,
}

/// A snapshot that does not read well.
pub(in crate::journal) struct BadSnapshot {
    name: String,
    problem: SnapshotError,
}

impl std::fmt::Display for BadSnapshot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.name, self.problem)
    }
}

/// The newest snapshot that reads well, and what is wrong with the newer ones.
pub(in crate::journal) fn newest_good(
    storage: &dyn wal::Storage,
    engine: &EngineSettings,
) -> Result<FoundSnapshots, JournalError> {
    let mut bad = Vec::new();
    for (_, name) in store::list(storage)? {
        let reading = store::SnapshotFile::open(storage, &name).map_err(io("opening", &name))?;
        match restore(reading, engine) {
            Ok(restored) => {
                return Ok(FoundSnapshots {
                    restored: Some(restored),
                    bad,
                });
            }
            Err(problem) => bad.push(BadSnapshot { name, problem }),
        }
    }
    Ok(FoundSnapshots {
        restored: None,
        bad,
    })
}

fn latest(shards: &[(Shard, Lsn)]) -> UnixMs {
    let latest = shards.iter().map(|(shard, _)| shard.last_at()).max();
    latest.unwrap_or_default()
}

fn check_belongs(restored: &Restored, log_id: u64, end: Lsn) -> Result<(), JournalError> {
    if restored.log_id != log_id {
        let (theirs, ours) = (restored.log_id, log_id);
        return Err(JournalError::Setting(format!(
            "the snapshots are of log {theirs:016x} and the segments of log {ours:016x}; put the \
             files of one data directory back together"
        )));
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

/// State while the log is folded into it.
pub(in crate::journal) struct Folding {
    pub(in crate::journal) catalogue: Catalogue,
    /// `None` before the log has said.
    limits: Option<Limits>,
    accepted: Option<LogGeneration>,
    catalogue_lsn: Lsn,
    shards: Vec<(Shard, Lsn)>,
    pub(in crate::journal) velocity: Velocity,
    rules: InForce,
    rules_lsn: Lsn,
    pub(in crate::journal) seen: SeenWebhooks,
    pub(in crate::journal) events: u64,
    /// The latest instant in the log.
    last_at: UnixMs,
}

/// State once it is.
pub(in crate::journal) struct Folded {
    pub(in crate::journal) catalogue: Catalogue,
    pub(in crate::journal) limits: Option<Limits>,
    pub(in crate::journal) accepted: Option<LogGeneration>,
    pub(in crate::journal) shards: Vec<Shard>,
    pub(in crate::journal) velocity: Velocity,
    pub(in crate::journal) rules: InForce,
    pub(in crate::journal) seen: SeenWebhooks,
    pub(in crate::journal) events: u64,
    /// The instant of the last event.
    pub(in crate::journal) last_at: UnixMs,
}

impl Folded {
    /// As [`Journal::digest`].
    pub(in crate::journal) fn digest(&self) -> String {
        let shards = self.shards.iter();
        let images = shards.map(Shard::image);
        let limits = self.limits.unwrap_or_default();
        digest(&self.catalogue, limits, self.accepted, &self.rules, images)
    }
}

impl Folding {
    pub(in crate::journal) fn from(
        restored: Option<Restored>,
        settings: &EngineSettings,
        log_id: u64,
    ) -> Self {
        match restored {
            Some(Restored {
                catalogue,
                limits,
                accepted,
                catalogue_lsn,
                shards,
                velocity,
                rules,
                rules_lsn,
                seen,
                ..
            }) => Self {
                rules,
                rules_lsn,
                seen,
                catalogue,
                limits: Some(limits),
                accepted,
                catalogue_lsn,
                last_at: latest(&shards),
                shards,
                velocity,
                events: 0,
            },
            None => Self {
                catalogue: Catalogue::default(),
                limits: None,
                accepted: None,
                catalogue_lsn: Lsn(0),
                shards: ShardId::all().map(|id| (Shard::new(id), Lsn(0))).collect(),
                velocity: Velocity::new(settings.bounds.velocity_keys_max, log_id),
                rules: InForce::default(),
                rules_lsn: Lsn(0),
                seen: SeenWebhooks::new(settings.webhooks),
                events: 0,
                last_at: UnixMs::default(),
            },
        }
    }

    pub(in crate::journal) fn fold(
        &mut self,
        record: &wal::Record<'_>,
    ) -> Result<(), JournalError> {
        let lsn = Lsn(record.lsn.get());
        let kind = Kind {
            number: record.kind,
            version: record.version,
        };
        let (at, event) = codec::decode(kind, record.payload)
            .map_err(|source| JournalError::Decode { lsn, source })?;
        self.events += 1;
        let settled = codec::settled_of(record.payload);
        let stamp = Stamp { at, lsn, settled };
        self.last_at = if let Part::Time(corrected) = event.part() {
            corrected.after
        } else {
            self.last_at.max(at)
        };
        self.apply(&event, stamp)?;
        self.velocity.record(&event, stamp);
        Ok(())
    }

    /// Applies the event to its part of the state, unless the part's image in the snapshot has it
    /// already: the parts were copied one after the other, each as of its own LSN. Nonces, event ids
    /// and counters take every event, because taking one again changes nothing.
    fn apply(&mut self, event: &Event, stamp: Stamp) -> Result<(), JournalError> {
        match event.part() {
            Part::Nothing => {}
            Part::Limits(set) => {
                if stamp.lsn >= self.catalogue_lsn {
                    self.limits = Some(set.limits);
                }
            }
            Part::History(accepted) => {
                if stamp.lsn >= self.catalogue_lsn {
                    self.accepted = Some(accepted.generation);
                }
            }
            Part::Catalogue(change) => {
                if stamp.lsn >= self.catalogue_lsn {
                    let applied = self.catalogue.apply(change);
                    applied.map_err(|what| {
                        JournalError::Broken(BrokenLog {
                            lsn: stamp.lsn,
                            kind: event.kind(),
                            what,
                        })
                    })?;
                }
            }
            Part::Risk(change) => {
                if stamp.lsn >= self.rules_lsn {
                    self.rules.apply(change, stamp, &self.velocity);
                }
            }
            // A correction is never made while a snapshot is being taken, so either every part has it
            // already, or none has.
            Part::Time(corrected) => {
                let limits = self.limits.unwrap_or_default();
                let shards = self.shards.iter_mut();
                for (shard, _) in shards.filter(|(_, from)| stamp.lsn >= *from) {
                    shard.correct(corrected, stamp.lsn, limits);
                }
                self.velocity.correct(corrected);
                self.seen.correct(corrected);
            }
            Part::Webhooks(change) => {
                let applied = self.seen.apply(change, stamp.into());
                applied.map_err(seen_full)?;
            }
            Part::Shard(shard, _) => {
                let (shard, from) = &mut self.shards[shard.index()];
                if stamp.lsn >= *from {
                    let limits = self.limits.unwrap_or_default();
                    shard
                        .apply(event, stamp, &self.catalogue, limits)
                        .map_err(JournalError::Broken)?;
                }
            }
        }
        Ok(())
    }

    /// Derives the shared sums, and checks them against their bounds.
    pub(in crate::journal) fn finish(self) -> Result<Folded, JournalError> {
        let Self {
            catalogue,
            limits,
            accepted,
            shards,
            velocity,
            rules,
            seen,
            events,
            last_at,
            ..
        } = self;
        let shards: Vec<Shard> = shards.into_iter().map(|(shard, _)| shard).collect();
        derive_stock(&catalogue, &shards)?;
        derive_uses(&catalogue, &shards)?;
        Ok(Folded {
            catalogue,
            limits,
            accepted,
            shards,
            velocity,
            rules,
            seen,
            events,
            last_at,
        })
    }
}

/// I1 and I4: the units of all purchases of a product are within its total.
fn derive_stock(catalogue: &Catalogue, shards: &[Shard]) -> Result<(), JournalError> {
    let products = catalogue.products().iter();
    let mut sums: Vec<(u64, u64)> = products
        .map(|it| (0, u64::from(it.imported_sold)))
        .collect();
    for (product, units, quantity) in shards.iter().flat_map(Shard::claimed_units) {
        let (held, sold) = &mut sums[product.place()];
        match units {
            Units::Held => *held += u64::from(quantity),
            Units::Sold => *sold += u64::from(quantity),
            Units::None => {}
        }
    }
    for (product, (held, sold)) in catalogue.products().iter().zip(sums) {
        let total = u64::from(product.terms.stock);
        if held + sold > total {
            let what = format!(
                "product {} has {held} units held and {sold} sold of {total}",
                product.terms.product
            );
            return Err(JournalError::Invariant {
                invariant: "I1",
                what,
            });
        }
        let total = product.terms.stock;
        let set = product.stock.set_total(total);
        set.expect("nothing is committed before the sums are, and the catalogue bounds the total");
        let units = |sum| u32::try_from(sum).expect("it is at most the total");
        product.stock.add_held(units(held));
        product.stock.add_sold(units(sold));
    }
    Ok(())
}

/// I2: the uses of a promotion are within its maximum.
fn derive_uses(catalogue: &Catalogue, shards: &[Shard]) -> Result<(), JournalError> {
    let promotions = catalogue.promotions().iter();
    let mut uses: Vec<u64> = promotions.map(|it| u64::from(it.imported_uses)).collect();
    for promotion in shards.iter().flat_map(Shard::claimed_uses) {
        uses[promotion.place()] += 1;
    }
    for (promotion, uses) in catalogue.promotions().iter().zip(uses) {
        let most = promotion.terms.uses_max;
        if uses > u64::from(most) {
            let code = &promotion.terms.code;
            let what = format!("promotion {code} has {uses} uses of {most}");
            return Err(JournalError::Invariant {
                invariant: "I2",
                what,
            });
        }
        promotion
            .uses
            .set_max(most)
            .expect("no uses are counted before the sums are");
        promotion
            .uses
            .add_uses(u32::try_from(uses).expect("it is at most the maximum"));
    }
    Ok(())
}
