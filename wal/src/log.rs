//! The public interface of the log: open, append, wait, read, remove, close.
//!
//! Invariants: 1. after a fault nothing more is acknowledged, and every waiter and listener learns
//! of it;
//! 2. a clean end is distinguished from a fault: [`Log::fault`] stays empty; 3. the two threads of
//!    a log end before `close` returns or the log is dropped.
//!
//! The work is done elsewhere: appends in `ring`, commits in `committer`, segments ahead in
//! `maker`.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use crate::Lsn;
use crate::committer::Committer;
use crate::config::LogConfig;
use crate::durable::Durable;
use crate::error::{AppendError, Fault, IoError, OpenError, Operation, ReadError, Withdrawn};
use crate::format::record_bytes;
use crate::frames::{Frames, SegmentInfo};
use crate::generation::{Begun, Generation, Renewal};
use crate::maker::{Maker, Settings};
use crate::reader::Reader;
use crate::recovery::{RecoveryReport, recover};
use crate::ring::{Refused, Ring};
use crate::segments::{Pin, Removed, Segments};
use crate::stats::{LogCounters, LogStats};
use crate::storage::Storage;
use crate::sync::lock;

/// One record to append.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Entry<'a> {
    /// The kind of the payload; the log only stores it.
    pub kind: u16,
    /// The version of the kind; the log only stores it.
    pub version: u16,
    /// The bytes.
    pub payload: &'a [u8],
}

/// Where an append stands.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Appended {
    /// LSN of the first record: where it starts.
    pub first: Lsn,
    /// Where the last record ends: all are durable when [`Log::durable`] is at least this.
    pub end: Lsn,
}

/// Is notified of every commit. Called by the log thread once per sync, so it must be cheap and
/// must not wait, and may only read the log's state.
pub trait CommitListener: Send + Sync {
    /// Everything below `durable` is durable.
    fn committed(&self, durable: Lsn);
    /// The log has failed; nothing more will be durable.
    fn poisoned(&self, fault: &Arc<Fault>);
}

/// The state shared by the log's users and threads.
pub(crate) struct Shared {
    pub config: LogConfig,
    pub storage: Arc<dyn Storage>,
    pub ring: Arc<Ring>,
    pub durable: Durable,
    pub maker: Maker,
    pub segments: Arc<Segments>,
    pub stats: LogCounters,
    pub renewal: Renewal,
    /// Why the log was withdrawn, if it was.
    pub withdrawn: OnceLock<Withdrawn>,
    fault: OnceLock<Arc<Fault>>,
    listeners: Mutex<Vec<Arc<dyn CommitListener>>>,
}

impl Shared {
    /// Publishes the durable LSN. By the log thread only.
    pub(crate) fn publish(&self, durable: u64) {
        self.durable.publish(durable);
        for listener in lock(&self.listeners).iter() {
            listener.committed(Lsn::new(durable));
        }
    }

    /// Ends the log for good, with the reason. By the log thread only.
    pub(crate) fn poison(&self, fault: Fault) {
        // Under the listeners' lock, so that a new listener is either notified here or finds the
        // fault when it subscribes.
        let listeners = lock(&self.listeners);
        let fault = self.fault.get_or_init(|| Arc::new(fault));
        self.stop();
        for listener in listeners.iter() {
            listener.poisoned(fault);
        }
    }

    /// Ends the log cleanly. Called by the log thread only.
    pub(crate) fn finish(&self) {
        self.stop();
    }

    fn stop(&self) {
        self.durable.stop();
        self.ring.stop();
        self.maker.stop();
        self.renewal.give_up();
    }

    /// Why the durable LSN will not move any more.
    pub(crate) fn ended(&self) -> Arc<Fault> {
        self.fault.get().cloned().unwrap_or_else(|| {
            Arc::new(Fault {
                operation: Operation::Close,
                file: ".".to_owned(),
                offset: 0,
                durable: Lsn::new(self.durable.get()),
                source: io::Error::new(io::ErrorKind::BrokenPipe, "the log was closed"),
            })
        })
    }
}

/// A running write-ahead log. Share it in an [`Arc`]; see the crate's documentation for an example.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log in `storage`, or begins one there. A torn tail is copied aside and cut (see
    /// [`RecoveryReport::torn`]); damage to acknowledged data is refused.
    pub fn open(
        storage: Arc<dyn Storage>,
        config: LogConfig,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        config.check()?;
        let recovered = recover(&*storage, &config)?;
        let end = recovered.report.end.get();
        let (ring, consumer) = Ring::new(config.ring_bytes, end);
        let free = storage.free_bytes().ok();
        let maker = Maker::new(free, config.disk_free_bytes_min);
        let shared = Arc::new(Shared {
            config,
            storage,
            ring,
            durable: Durable::new(end),
            maker,
            segments: Arc::new(Segments::new(recovered.segments)),
            stats: LogCounters::default(),
            renewal: Renewal::default(),
            withdrawn: OnceLock::new(),
            fault: OnceLock::new(),
            listeners: Mutex::default(),
        });
        let log = Self {
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        let maker = Arc::clone(&shared);
        log.spawn("wal-maker", move || {
            let settings = Settings {
                segment_bytes: maker.config.segment_bytes,
                free_min: maker.config.disk_free_bytes_min,
                check_every: maker.config.disk_check_every,
            };
            maker
                .maker
                .run(&*maker.storage, settings, &|| maker.ring.nudge());
        })?;
        let committer = Committer::new(shared, consumer, recovered.active, recovered.witness);
        log.spawn("wal-log", move || committer.run())?;
        Ok((log, recovered.report))
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), IoError> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = spawned.map_err(|source| {
            // Without both threads there is no log; a running one must not be left waiting.
            self.shared.stop();
            IoError {
                operation: Operation::Spawn,
                file: ".".to_owned(),
                offset: 0,
                source,
            }
        })?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Appends all entries, together and in order: after a crash either all of them are there or
    /// none. Returns before they are durable. Waits only while the ring is full.
    pub fn append(&self, entries: &[Entry<'_>]) -> Result<Appended, AppendError> {
        let total = self.check_sizes(entries)?;
        if let Some(fault) = self.shared.fault.get() {
            return Err(AppendError::Poisoned(Arc::clone(fault)));
        }
        if entries.is_empty() {
            let at = self.appended();
            return Ok(Appended { first: at, end: at });
        }
        match self.shared.ring.append(entries, total) {
            Ok((first, end)) => Ok(Appended {
                first: Lsn::new(first),
                end: Lsn::new(end),
            }),
            Err(Refused::Closed) => Err(AppendError::Closed),
            Err(Refused::Stopped) => Err(match self.shared.fault.get() {
                Some(fault) => AppendError::Poisoned(Arc::clone(fault)),
                None => AppendError::Closed,
            }),
        }
    }

    fn check_sizes(&self, entries: &[Entry<'_>]) -> Result<usize, AppendError> {
        let config = &self.shared.config;
        let mut total = 0_usize;
        for entry in entries {
            let (bytes, max) = (entry.payload.len(), config.record_bytes_max);
            if bytes > max {
                return Err(AppendError::TooLarge {
                    what: "record",
                    bytes,
                    max,
                });
            }
            total = total.saturating_add(record_bytes(bytes));
        }
        let max = config.append_bytes_max();
        if total > max {
            return Err(AppendError::TooLarge {
                what: "append",
                bytes: total,
                max,
            });
        }
        Ok(total)
    }

    /// Everything below is durable (under [`SyncPolicy::Interval`](crate::SyncPolicy::Interval):
    /// written).
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.shared.durable.get())
    }

    /// Everything below has been appended.
    pub fn appended(&self) -> Lsn {
        Lsn::new(self.shared.ring.reserved())
    }

    /// Whether half of the ring is free. Who asks before an append, and waits where it is not, never
    /// finds the ring full: the other half is for those who asked at the same time.
    pub fn has_room(&self) -> bool {
        let ring = &self.shared.ring;
        ring.used() <= ring.bytes() as u64 / 2
    }

    /// Blocks until everything below `lsn` is durable, or the log stops short of it.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<(), Arc<Fault>> {
        if self.shared.durable.wait(lsn.get()) {
            Ok(())
        } else {
            Err(self.shared.ended())
        }
    }

    /// Notifies `listener` of every commit from now on, or at once of the fault of a failed log.
    /// Read [`Log::durable`] after subscribing to learn about earlier commits.
    pub fn subscribe(&self, listener: Arc<dyn CommitListener>) {
        let mut listeners = lock(&self.shared.listeners);
        if let Some(fault) = self.shared.fault.get() {
            listener.poisoned(fault);
        }
        listeners.push(listener);
    }

    /// The generation that is written.
    pub fn generation(&self) -> Generation {
        self.shared.segments.generation()
    }

    /// The generations that are still there, oldest first.
    pub fn generations(&self) -> Vec<Begun> {
        self.shared.segments.generations()
    }

    /// Continues in the next generation, with a number that is also greater than `above`, in a new
    /// segment, which is durable when this returns. Records appended before the call may be in
    /// either. Blocks.
    pub fn begin_generation(&self, above: u32) -> Result<Generation, Arc<Fault>> {
        let answer = self.shared.renewal.ask(above);
        self.shared.ring.nudge();
        if self.shared.durable.is_stopped() {
            // It may have stopped before it saw the request.
            self.shared.renewal.give_up();
        }
        answer.recv().map_err(|_| self.shared.ended())
    }

    /// Stops the log with this reason: once the log thread has seen it, nothing more is
    /// acknowledged. Returns at once.
    pub fn withdraw(&self, why: String) {
        // The first reason stays.
        let _ = self.shared.withdrawn.set(Withdrawn(why));
        self.shared.ring.nudge();
    }

    /// The segments, oldest first. One may be removed at any time unless it is pinned.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.segments.infos()
    }

    /// The frames of one of its segments; do not read beyond [`Log::durable`].
    pub fn frames(&self, segment: &SegmentInfo) -> Result<Frames, IoError> {
        segment.frames(&*self.shared.storage)
    }

    /// Why the log has failed, if it has.
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.shared.fault.get().cloned()
    }

    /// Reads from the record that starts at `from`, and follows the durable LSN. The reader holds a
    /// pin: what it has not read is not removed.
    pub fn reader(&self, from: Lsn) -> Result<Reader, ReadError> {
        Reader::open(Arc::clone(&self.shared), from)
    }

    /// Keeps everything from `lsn` on from being removed, until the pin moves forward or is dropped.
    pub fn pin(&self, name: &str, lsn: Lsn) -> Pin {
        self.shared.segments.pin(name, lsn)
    }

    /// The name and LSN of every pin, readers' included.
    pub fn pins(&self) -> Vec<(String, Lsn)> {
        self.shared.segments.pins()
    }

    /// Removes whole sealed segments that end at or before `lsn` and before every pin. A failure
    /// does not stop the log; what was not removed is tried again at the next opening.
    pub fn remove_before(&self, lsn: Lsn) -> Result<Removed, IoError> {
        self.shared
            .segments
            .remove_before(&*self.shared.storage, lsn)
    }

    /// Where the log begins: earlier records have been removed.
    pub fn first_lsn(&self) -> Lsn {
        self.shared.segments.first()
    }

    /// Whether the disk has less than [`LogConfig::disk_free_bytes_min`] left, has no room for the
    /// next segment, or does not say.
    pub fn disk_free_low(&self) -> bool {
        self.shared.maker.disk_low()
    }

    /// Free bytes that are asked for.
    pub fn disk_free_bytes_min(&self) -> u64 {
        self.shared.config.disk_free_bytes_min
    }

    /// Figures since the log was opened.
    pub fn stats(&self) -> LogStats {
        let (shared, stats) = (&self.shared, &self.shared.stats);
        LogStats {
            syncs: stats.syncs.get(),
            frames: stats.frames.get(),
            records: stats.records.get(),
            bytes: stats.bytes.get(),
            rolls: stats.rolls.get(),
            rolls_ns: stats.rolls_ns.get(),
            writes_ns: stats.writes_ns.get(),
            witness_ns: stats.witness_ns.get(),
            sync_latency: stats.sync_latency(),
            sync_slowest_recently: stats.sync_slowest_recently(),
            disk_free_bytes: shared.maker.disk_free_bytes(),
            ring_used: shared.ring.used(),
            ring_bytes: shared.ring.bytes() as u64,
            segments: shared.segments.count() as u64,
        }
    }

    /// Takes no more appends, makes durable what was appended, and ends the threads. Says why if the
    /// log has failed, now or before. Calling it again changes nothing.
    pub fn shutdown(&self) -> Result<(), Arc<Fault>> {
        self.shared.ring.close();
        let threads: Vec<_> = lock(&self.threads).drain(..).rev().collect();
        for thread in threads {
            // A panic of the log thread has poisoned the log, which is what is reported.
            let _ = thread.join();
        }
        self.fault().map_or(Ok(()), Err)
    }

    /// [`Log::shutdown`], giving the log up.
    pub fn close(self) -> Result<(), Arc<Fault>> {
        self.shutdown()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The result is only available through `close`.
        let _ = self.shutdown();
    }
}
