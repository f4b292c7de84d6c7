//! Makes segments ahead of their use, and watches how much room the disk has.
//!
//! A spare is filled with written zeroes (syncing into them costs two thirds of syncing into space
//! that is merely reserved), synced, renamed, and its directory entry synced, all before the log
//! thread asks for it. It is written in small synced steps with pauses, so that the disk is never
//! busy with it for long while commits wait.
//!
//! Invariants: 1. at most one spare is kept; 2. a spare handed out is durable, whole and zero; 3. a
//! failure is handed to the log thread, which ends the log: no write and no sync is retried. Two
//! things are tried again, because nothing was written yet: a full disk, while nobody waits for the
//! spare, and an `open` without a free descriptor, for [`DESCRIPTOR_PATIENCE`] once somebody waits.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{At, IoError, Operation};
use crate::format::names;
use crate::storage::{Access, Storage, StorageFile, write_zeroes};
use crate::sync::lock;

/// Bytes of zeroes written and synced in one step.
const STEP_BYTES: u64 = 1 << 20;
/// No pause between two steps of filling is longer.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Between two tries to open the spare's file while the process has no free descriptor.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);
/// How long the log thread waits for a free descriptor before the log ends.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(10);

/// A segment file without a name of its own yet.
pub(crate) type Spare = (String, Box<dyn StorageFile>);

#[derive(Default)]
struct MakerState {
    spare: Option<Spare>,
    failed: Option<IoError>,
    /// The log thread waits for a spare.
    wanted: bool,
    stop: bool,
    number: u64,
}

/// The meeting place of the log thread and the maker's thread.
pub(crate) struct Maker {
    state: Mutex<MakerState>,
    changed: Condvar,
    /// A failure waits for the log thread.
    has_failed: AtomicBool,
    /// The disk has less room than asked for.
    low: AtomicBool,
    /// Free bytes at the last look; [`UNKNOWN`] if not known.
    free: AtomicU64,
}

const UNKNOWN: u64 = u64::MAX;

/// Makes a whole, durable, zero-filled spare. After each step `go_on` is asked; `None` if it says no.
pub(crate) fn make_spare(
    storage: &dyn Storage,
    number: u64,
    bytes: u64,
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<Spare>, IoError> {
    let name = names::spare(number);
    let unfinished = names::unfinished(&name);
    let file = storage
        .open(&unfinished, Access::Create)
        .at(Operation::Open, &unfinished, 0)?;
    let mut at = 0;
    while at < bytes {
        let end = bytes.min(at + STEP_BYTES);
        write_zeroes(&*file, at, end).at(Operation::Write, &unfinished, at)?;
        file.sync_data().at(Operation::Sync, &unfinished, at)?;
        at = end;
        if !go_on() {
            return Ok(None);
        }
    }
    storage
        .rename(&unfinished, &name)
        .at(Operation::Rename, &name, 0)?;
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    Ok(Some((name, file)))
}

impl Maker {
    /// Of a disk with `free` bytes, of which `free_min` are asked for.
    pub(crate) fn new(free: Option<u64>, free_min: u64) -> Self {
        let maker = Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            has_failed: AtomicBool::new(false),
            low: AtomicBool::new(false),
            free: AtomicU64::new(UNKNOWN),
        };
        maker.note_room(free, free_min, SpareRoom::Enough);
        maker
    }

    /// Records the free room. If it is not known, the disk counts as full.
    fn note_room(&self, free: Option<u64>, free_min: u64, for_spare: SpareRoom) {
        self.free.store(free.unwrap_or(UNKNOWN), Ordering::Relaxed);
        let low = free.unwrap_or(0) < free_min || for_spare == SpareRoom::Lacking;
        self.low.store(low, Ordering::Relaxed);
    }

    /// Free bytes at the last look, if known.
    pub(crate) fn disk_free_bytes(&self) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed)).filter(|free| *free != UNKNOWN)
    }

    /// Whether the disk has less room than asked for.
    pub(crate) fn disk_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// The failure that ends the log, if there is one. For the log thread.
    pub(crate) fn take_failure(&self) -> Option<IoError> {
        lock(&self.state).failed.take()
    }

    /// A spare, waiting for it if need be. For the log thread.
    pub(crate) fn take(&self) -> Result<Spare, IoError> {
        let mut state = lock(&self.state);
        loop {
            if let Some(failed) = state.failed.take() {
                return Err(failed);
            }
            if let Some(spare) = state.spare.take() {
                state.wanted = false;
                self.changed.notify_all();
                return Ok(spare);
            }
            state.wanted = true;
            self.changed.notify_all();
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.changed.notify_all();
    }

    /// The maker's thread. `nudge` makes the log thread look for a failure.
    pub(crate) fn run(&self, storage: &dyn Storage, settings: Settings, nudge: &dyn Fn()) {
        let _ending = FailOnUnwind { maker: self, nudge };
        // Since when the log thread has been waiting for a descriptor.
        let mut waited_since = None;
        // Until a spare is made, the disk counts as low, whatever it reports: a state that changes
        // with every attempt would admit purchases that find no room.
        let mut for_spare = SpareRoom::Enough;
        loop {
            let job = self.next_job(settings.check_every);
            if matches!(job, Job::End) {
                return;
            }
            self.note_room(storage.free_bytes().ok(), settings.free_min, for_spare);
            let Job::Make(number) = job else { continue };
            let bytes = settings.segment_bytes;
            let made = make_spare(storage, number, bytes, self.pacer());
            let mut state = lock(&self.state);
            match made {
                Ok(Some(spare)) => {
                    state.spare = Some(spare);
                    waited_since = None;
                    for_spare = SpareRoom::Enough;
                    self.note_room(storage.free_bytes().ok(), settings.free_min, for_spare);
                }
                // Called off: the log is closing.
                Ok(None) => return,
                Err(e) if is_full(&e.source) && !state.wanted => {
                    for_spare = SpareRoom::Lacking;
                    self.low.store(true, Ordering::Relaxed);
                    let name = names::unfinished(&names::spare(number));
                    // Frees the room; if that fails, too, the next opening removes the file.
                    let _ = storage.remove(&name);
                    // Wait before the next attempt, unless the log thread needs the spare.
                    let wait = self
                        .changed
                        .wait_timeout_while(state, settings.check_every, |s| !s.stop && !s.wanted);
                    drop(wait);
                    continue;
                }
                Err(e) if lacks_descriptor(&e) && Self::may_retry(&state, &mut waited_since) => {
                    let wait = self
                        .changed
                        .wait_timeout_while(state, DESCRIPTOR_PAUSE, |s| !s.stop);
                    drop(wait);
                    continue;
                }
                Err(e) => {
                    drop(state);
                    self.fail(e, nudge);
                    return;
                }
            }
            self.changed.notify_all();
        }
    }

    /// Whether a spare whose file could not be opened is tried again.
    fn may_retry(state: &MakerState, waited_since: &mut Option<Instant>) -> bool {
        if !state.wanted {
            *waited_since = None;
            return true;
        }
        waited_since.get_or_insert_with(Instant::now).elapsed() < DESCRIPTOR_PATIENCE
    }

    /// Hands a failure to the log thread, asleep or waiting for a spare.
    fn fail(&self, error: IoError, nudge: &dyn Fn()) {
        lock(&self.state).failed = Some(error);
        self.has_failed.store(true, Ordering::Release);
        self.changed.notify_all();
        nudge();
    }

    /// Sleeps until there is something to do.
    fn next_job(&self, check_every: Duration) -> Job {
        let mut state = lock(&self.state);
        let idle = |s: &mut MakerState| !s.stop && s.spare.is_some();
        if state.spare.is_some() {
            state = self
                .changed
                .wait_timeout_while(state, check_every, idle)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if state.stop {
            return Job::End;
        }
        if state.spare.is_some() {
            return Job::LookAtDisk;
        }
        state.number += 1;
        Job::Make(state.number)
    }

    /// Pauses after each step of filling for about as long as the step took, unless the log thread
    /// waits.
    fn pacer(&self) -> impl FnMut() -> bool {
        let mut since = Instant::now();
        move || {
            let pause = since.elapsed().min(PAUSE_MAX);
            let state = lock(&self.state);
            let state = self
                .changed
                .wait_timeout_while(state, pause, |s| !s.stop && !s.wanted)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            since = Instant::now();
            !state.stop
        }
    }
}

/// Fails the log if the thread unwinds, so that the log thread does not wait for it.
struct FailOnUnwind<'a> {
    maker: &'a Maker,
    nudge: &'a dyn Fn(),
}

impl Drop for FailOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let source = io::Error::other("the thread that makes segments panicked");
            let (operation, file, offset) = (Operation::Run, ".".to_owned(), 0);
            let error = IoError {
                operation,
                file,
                offset,
                source,
            };
            self.maker.fail(error, self.nudge);
        }
    }
}

/// Whether there was room for the last spare.
#[derive(Copy, Clone, Eq, PartialEq)]
enum SpareRoom {
    Enough,
    Lacking,
}

/// What the maker does next.
enum Job {
    /// Make the spare of this number.
    Make(u64),
    /// See how much room there is.
    LookAtDisk,
    /// The log is closing.
    End,
}

/// What the maker needs to know.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Settings {
    pub segment_bytes: u64,
    pub free_min: u64,
    pub check_every: Duration,
}

/// Whether a write failed for want of room; the last one that fits is a short one.
fn is_full(e: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
    matches!(e.kind(), StorageFull | QuotaExceeded | WriteZero)
}

/// Whether a file could not be opened because the process, or the machine, has no descriptor free:
/// the disk has done nothing wrong, and connections that close give some back.
fn lacks_descriptor(e: &IoError) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(&e.source);
    e.operation == Operation::Open && matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}
