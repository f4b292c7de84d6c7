//! Owns the parts of which copies of a log are made and rebuilt: segments on disk, snapshots, and
//! the end of a log that was put together from a copy.
//!
//! Invariants: of a log that is being written, only durable, verified frames are shown; a snapshot
//! is shown only once everything that it reveals is durable; a copied log is verified before its
//! end is cut, and only in a directory that no process has open.
//! Deliberately absent: where copies go, and how long they are kept.

use super::feed::LogTail;
use crate::ids::Lsn;
use crate::journal::core::directory::refuse_running;
use crate::journal::core::settings::{Disks, LogSettings};
use crate::journal::format::fault::{BadSnapshot, JournalError, io};
use crate::journal::format::sections::SnapshotReader;
use crate::journal::format::store;
use crate::journal::tail::audit::entry_of;
use crate::time::UnixMs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use wal::Generation;

/// The source of a copy: a running journal, or a directory that is only read.
pub struct CopySource {
    log: CopyFrom,
    snapshots: Arc<dyn wal::Storage>,
}

enum CopyFrom {
    Running(Arc<wal::Log>),
    Directory {
        storage: Arc<dyn wal::Storage>,
        durable: Lsn,
        /// Listed before `durable` was read, so that `durable` is past everything that they reveal.
        snapshots: Vec<Lsn>,
    },
}

/// A segment of the log.
#[derive(Clone, Debug)]
pub struct LogSegment(wal::SegmentInfo);

impl LogSegment {
    /// The LSN of its first record, which names it.
    pub fn first(&self) -> Lsn {
        Lsn(self.0.first().get())
    }

    /// The LSN at which the next segment begins; `None` for the last segment.
    pub fn sealed_at(&self) -> Option<Lsn> {
        self.0.sealed_at().map(|lsn| Lsn(lsn.get()))
    }

    pub fn log_id(&self) -> u64 {
        low_half(self.0.log_id())
    }

    pub fn generation(&self) -> Generation {
        self.0.generation()
    }

    /// The header as in the file.
    pub fn header(&self) -> Vec<u8> {
        self.0.header().to_vec()
    }

    /// Checksum of the last frame before it.
    pub fn previous(&self) -> u32 {
        self.0.previous()
    }
}

/// The frames of one segment, in order.
#[derive(Debug)]
pub struct SegmentFrames(wal::Frames);

/// Part of a segment: whole frames, as in the file.
#[derive(Debug)]
pub struct Stretch {
    pub bytes: Vec<u8>,
    /// LSN of the first record.
    pub first: Lsn,
    /// LSN after the last record.
    pub end: Lsn,
    /// Checksum of the last frame.
    pub chain: u32,
}

impl SegmentFrames {
    /// Whole frames that begin before `end`, which must be durable: at least one, and more up to
    /// `bytes_max`. `None`: there is none.
    pub fn stretch(&mut self, end: Lsn, bytes_max: usize) -> Result<Option<Stretch>, JournalError> {
        let end = wal::Lsn::new(end.0);
        let mut stretch = Stretch {
            bytes: Vec::new(),
            first: self.position(),
            end: self.position(),
            chain: self.0.chain(),
        };
        while stretch.bytes.len() < bytes_max {
            let frame = match self.0.next(end) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                // Return what was read so far; the next call fails.
                Err(_) if !stretch.bytes.is_empty() => break,
                Err(error) => return Err(error.into()),
            };
            stretch.bytes.extend_from_slice(frame.bytes);
            stretch.end = Lsn(frame.end.get());
            stretch.chain = frame.checksum;
        }
        Ok((!stretch.bytes.is_empty()).then_some(stretch))
    }

    /// Skips the frames that begin before `end`; returns the checksum of the last one.
    pub fn skip(&mut self, end: Lsn) -> Result<u32, JournalError> {
        let end = wal::Lsn::new(end.0);
        while self.0.next(end)?.is_some() {}
        Ok(self.0.chain())
    }

    /// LSN of the next frame.
    pub fn position(&self) -> Lsn {
        Lsn(self.0.position().get())
    }
}

/// The figures of a snapshot with verified checksums.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFacts {
    pub log_id: u64,
    /// Recovery reads the log from this LSN on.
    pub first: Lsn,
    /// Recovery needs the log up to this LSN.
    pub covered: Lsn,
}

/// Reads a snapshot and returns its figures.
pub fn snapshot_facts(name: &str, from: impl Read) -> Result<SnapshotFacts, JournalError> {
    let bad = |problem| BadSnapshot {
        name: name.to_owned(),
        problem,
    };
    let mut reader = SnapshotReader::open(from).map_err(bad)?;
    let mut facts = SnapshotFacts {
        log_id: reader.log_id(),
        first: Lsn(u64::MAX),
        covered: Lsn(0),
    };
    while let Some(section) = reader.next_section().map_err(bad)? {
        facts.first = facts.first.min(section.lsn);
        facts.covered = facts.covered.max(section.lsn);
    }
    Ok(facts)
}

impl CopySource {
    /// The directory of a core, running or not, up to the current durable LSN.
    pub fn of_directory(data_dir: &Path) -> Result<Self, JournalError> {
        let is_running = match refuse_running(data_dir) {
            Ok(()) => false,
            Err(JournalError::InUse { .. }) => true,
            Err(error) => return Err(error),
        };
        let disks = Disks::open_read_only(data_dir)?;
        let snapshots = lsns(&*disks.snapshots)?;
        let durable = if is_running {
            wal::extent(&*disks.log)?.durable
        } else {
            let scan = wal::scan(&*disks.log, wal::Lsn::ZERO, |_| ())?;
            if let wal::Verdict::Damaged(damage) = scan.verdict {
                return Err(wal::OpenError::Damaged(damage).into());
            }
            scan.end
        };
        Ok(Self {
            log: CopyFrom::Directory {
                storage: disks.log,
                durable: Lsn(durable.get()),
                snapshots,
            },
            snapshots: disks.snapshots,
        })
    }

    /// Everything before is durable.
    pub fn durable(&self) -> Lsn {
        match &self.log {
            CopyFrom::Running(log) => Lsn(log.durable().get()),
            CopyFrom::Directory { durable, .. } => *durable,
        }
    }

    /// The log's id and current generation.
    pub fn identity(&self) -> Result<(u64, Generation), JournalError> {
        let segments = self.segments()?;
        let last = segments.last().ok_or(JournalError::NoSegment)?;
        Ok((last.log_id(), last.generation()))
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Result<Vec<LogSegment>, JournalError> {
        let segments = match &self.log {
            CopyFrom::Running(log) => log.segments(),
            CopyFrom::Directory { storage, .. } => wal::segments(&**storage)?,
        };
        Ok(segments.into_iter().map(LogSegment).collect())
    }

    pub fn frames(&self, segment: &LogSegment) -> Result<SegmentFrames, JournalError> {
        let frames = match &self.log {
            CopyFrom::Running(log) => log.frames(&segment.0),
            CopyFrom::Directory { storage, .. } => segment.0.frames(&**storage),
        };
        Ok(SegmentFrames(frames?))
    }

    /// The snapshots, newest first.
    pub fn snapshots(&self) -> Result<Vec<Lsn>, JournalError> {
        match &self.log {
            CopyFrom::Running(_) => lsns(&*self.snapshots),
            CopyFrom::Directory { snapshots, .. } => Ok(snapshots.clone()),
        }
    }

    /// The time of the last event before `lsn`, up to which the log is durable. `None`: the log no
    /// longer has it.
    pub fn last_instant_before(&self, lsn: Lsn) -> Result<Option<UnixMs>, JournalError> {
        let segments = self.segments()?;
        let behind = segments.partition_point(|it| it.first() < lsn);
        let Some(segment) = behind.checked_sub(1).map(|at| &segments[at]) else {
            return Ok(None);
        };
        let mut frames = self.frames(segment)?;
        let mut last = None;
        while let Some(frame) = frames.0.next(wal::Lsn::new(lsn.0))? {
            for record in frame.records().filter(|it| it.lsn.get() < lsn.0) {
                last = last.max(Some(entry_of(&record)?.at));
            }
        }
        Ok(last)
    }

    /// A snapshot, to read from its beginning. It stays readable even if it is removed meanwhile.
    pub fn snapshot(&self, lsn: Lsn) -> Result<impl Read + use<>, JournalError> {
        let name = store::name_of(lsn);
        store::SnapshotFile::open(&*self.snapshots, &name).map_err(io("opening", name))
    }
}

fn lsns(snapshots: &dyn wal::Storage) -> Result<Vec<Lsn>, JournalError> {
    let found = store::list(snapshots)?;
    Ok(found.into_iter().map(|(lsn, _)| lsn).collect())
}

impl LogTail<'_> {
    pub fn copy_source(&self) -> CopySource {
        CopySource {
            log: CopyFrom::Running(Arc::clone(&self.core.log)),
            snapshots: Arc::clone(&self.core.snapshots.storage),
        }
    }

    /// Stops the journal with this reason, as a fault of the disk would: nothing more is
    /// acknowledged. Returns at once.
    pub fn withdraw(&self, why: String) {
        self.core.log.withdraw(why);
    }
}

/// The name of the file in `log` of the segment that begins at `first`.
pub fn segment_file_name(first: Lsn) -> String {
    wal::segment_name(wal::Lsn::new(first.0))
}

/// The name of the file in `snapshots` of the snapshot at `lsn`.
pub fn snapshot_file_name(lsn: Lsn) -> String {
    store::name_of(lsn)
}

/// The figures of a copied segment with verified frames.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub log_id: u64,
    /// Its sequence number in the log.
    pub sequence: u64,
    /// Checksum of the last frame before it.
    pub previous: u32,
    /// LSN after its last frame.
    pub end: Lsn,
    /// Checksum of the last frame.
    pub chain: u32,
    pub records: u64,
    /// The full size of its file.
    pub file_bytes: u64,
    pub generation: Generation,
    /// The time of its first event; only known if a time was asked for.
    pub begun: Option<UnixMs>,
    /// LSN of the first append after the time that was asked for.
    pub later: Option<Lsn>,
}

/// Reads the segment that begins at `first` from its file in `log_dir`, up to `end`, and finds the
/// first append of an event after `until`. The file may end where the frames do.
pub fn segment_facts(
    log_dir: &Path,
    first: Lsn,
    end: Lsn,
    until: Option<UnixMs>,
) -> Result<SegmentFacts, JournalError> {
    let storage = wal::DiskStorage::open_read_only(log_dir).map_err(io("opening", log_dir))?;
    let info = wal::lone_segment(&storage, wal::Lsn::new(first.0))?;
    let mut frames = info.frames(&storage)?;
    let (mut records, mut first_at, mut later) = (0, None, None);
    while let Some(frame) = frames.next(wal::Lsn::new(end.0))? {
        let mut begun = None;
        for record in frame.records() {
            records += 1;
            let append = *begun.get_or_insert(record.lsn);
            if let Some(until) = until
                && later.is_none()
            {
                let at = entry_of(&record)?.at;
                first_at.get_or_insert(at);
                later = (at > until).then(|| Lsn(append.get()));
            }
            if !record.more {
                begun = None;
            }
        }
    }
    Ok(SegmentFacts {
        log_id: low_half(info.log_id()),
        sequence: info.sequence(),
        previous: info.previous(),
        end: Lsn(frames.position().get()),
        chain: frames.chain(),
        records,
        file_bytes: info.bytes(),
        generation: info.generation(),
        begun: first_at,
        later,
    })
}

/// Cuts the log of a directory that no process has open after the last append that ends at or
/// before `at`; returns the new end. `None`: the log begins later.
pub fn cut_log(data_dir: &Path, at: Lsn) -> Result<Option<Lsn>, JournalError> {
    let log = data_dir.join("log");
    let storage = wal::DiskStorage::open(&log).map_err(io("opening", log))?;
    let end = wal::cut(&storage, wal::Lsn::new(at.0))?;
    Ok(end.map(|lsn| Lsn(lsn.get())))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "as snapshots and references name it"
)]
fn low_half(log_id: u128) -> u64 {
    log_id as u64
}

/// Begins the next generation of the log in a directory that no process has open, in a segment as
/// large as the last one.
pub fn begin_generation(data_dir: &Path) -> Result<Generation, JournalError> {
    let log = data_dir.join("log");
    let storage = wal::DiskStorage::open(&log).map_err(io("opening", log))?;
    let last = wal::segments(&storage)?.pop();
    let settings = LogSettings {
        segment_bytes: last.ok_or(wal::OpenError::NotBegun)?.bytes(),
        ..LogSettings::default()
    };
    let config = settings.config(wal::Lsn::ZERO);
    Ok(wal::begin_generation(&storage, &config)?.generation)
}
