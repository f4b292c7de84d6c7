//! Owns the errors below the engine: faults of the disk, damage, and directories that cannot be
//! opened. Each says what happened, where, and what to do.

use crate::engine::apply::BrokenLog;
use crate::engine::cells::GuardFull;
use crate::engine::refusal::Refusal;
use crate::ids::{Lsn, ProductId, PromotionCode};
use crate::journal::format::codec::DecodeError;
use crate::journal::format::sections::SnapshotError;
use crate::time::UnixMs;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The log has stopped for good; nothing more is acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct StorageFault(StoppedBy);

#[derive(Clone, Debug, thiserror::Error)]
enum StoppedBy {
    #[error(transparent)]
    Log(Arc<wal::Fault>),
    #[error(transparent)]
    Append(wal::AppendError),
}

impl StorageFault {
    /// Whether the log was stopped because another process writes a newer generation, not by its
    /// disk.
    pub fn is_superseded(&self) -> bool {
        match &self.0 {
            StoppedBy::Log(fault) => fault.operation == wal::Operation::Withdraw,
            StoppedBy::Append(_) => false,
        }
    }
}

impl From<Arc<wal::Fault>> for StorageFault {
    fn from(fault: Arc<wal::Fault>) -> Self {
        Self(StoppedBy::Log(fault))
    }
}

impl From<wal::AppendError> for StorageFault {
    fn from(error: wal::AppendError) -> Self {
        Self(StoppedBy::Append(error))
    }
}

/// Why nothing was written.
#[derive(Clone, Debug)]
pub enum WriteError<Refused = Refusal> {
    /// A business refusal; the log continues.
    Refused(Refused),
    /// The log has stopped.
    Fault(StorageFault),
}

impl<Refused> From<StorageFault> for WriteError<Refused> {
    fn from(fault: StorageFault) -> Self {
        Self::Fault(fault)
    }
}

impl<Refused> WriteError<Refused> {
    /// The refusal, or the fault if the log has stopped.
    pub fn refusal(self) -> Result<Refused, StorageFault> {
        match self {
            Self::Refused(refused) => Ok(refused),
            Self::Fault(fault) => Err(fault),
        }
    }

    /// The same with another word for the refusal.
    pub fn map<Other>(self, word: impl FnOnce(Refused) -> Other) -> WriteError<Other> {
        match self {
            Self::Refused(refused) => WriteError::Refused(word(refused)),
            Self::Fault(fault) => WriteError::Fault(fault),
        }
    }
}

/// Why a data directory could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it open.
    #[error(
        "{path} is in use by another process; stop that process, or name another data directory"
    )]
    InUse { path: PathBuf },
    /// An operation of the file system failed.
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Read(#[from] wal::ReadError),
    /// A record is not a valid event.
    #[error("the record at LSN {lsn}: {source}")]
    Decode { lsn: Lsn, source: DecodeError },
    /// The events contradict each other.
    #[error("{0}; do not change the directory, and restore a backup")]
    Broken(BrokenLog),
    /// No snapshot is valid, and the log no longer has its beginning.
    #[error(
        "no snapshot can be read ({}), and the log begins at LSN {first} only; restore the snapshot \
         files from a copy",
        BadSnapshots(bad)
    )]
    NoSnapshot {
        /// The snapshots that there are.
        bad: Vec<BadSnapshot>,
        /// The first LSN of the log.
        first: Lsn,
    },
    /// The snapshot is newer than the end of the log.
    #[error(
        "the snapshot covers LSN {snapshot}, but the log ends at {durable}: acknowledged records \
         are missing; restore the log's files from a copy"
    )]
    LogBehindSnapshot {
        /// What the snapshot covers.
        snapshot: Lsn,
        /// The end of the log.
        durable: Lsn,
    },
    /// There is no log, but other files show that there was one.
    #[error(
        "there is no log, but {beside} shows that there was one: starting would begin a new log \
         without the purchases of the old one; restore log/ from a copy, or, to begin anew, name an \
         empty data directory"
    )]
    NoLog {
        /// The file that shows it.
        beside: String,
    },
    /// Old files of the log could not be removed.
    #[error("the log's files: {0}")]
    LogFiles(#[from] wal::IoError),
    /// The disk is too full for a snapshot.
    #[error("the disk is nearly full; free disk space, then take the snapshot")]
    DiskFull,
    /// A snapshot is invalid.
    #[error("the snapshot {0}")]
    BadSnapshot(#[from] BadSnapshot),
    /// An invariant does not hold.
    #[error(transparent)]
    Invariant(#[from] BrokenInvariant),
    /// The log stopped.
    #[error(transparent)]
    Fault(#[from] StorageFault),
    /// The machine's clock is before the last event.
    #[error(
        "the clock says {clock}, but the last event in the log is of {last}; set the clock right, or, \
         where it is right and the log's time is wrong, start with `serve --accept-clock`"
    )]
    ClockBehind {
        clock: UnixMs,
        /// The time of the last event.
        last: UnixMs,
    },
    /// Files of two data directories lie in one.
    #[error(
        "the snapshots are of log {snapshots:016x} and the segments of log {segments:016x}; put the \
         files of one data directory back together"
    )]
    OtherLog {
        /// The log of the snapshots.
        snapshots: u64,
        /// The log of the segments.
        segments: u64,
    },
    /// The settings leave too little room for what the log holds.
    #[error(
        "webhooks that the log remembers do not fit: {0} (webhooks.events_max, webhooks.nonces_max)"
    )]
    WebhooksFull(GuardFull),
    #[error("the log has no segment; there is nothing to copy")]
    NoSegment,
    #[error("the beginning of the log is gone, and no snapshot can be read; take a snapshot")]
    NoBeginning,
}

/// An invalid snapshot.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct BadSnapshot {
    /// The name of its file.
    pub name: String,
    pub problem: SnapshotError,
}

/// Bad snapshots, one after the other.
struct BadSnapshots<'a>(&'a [BadSnapshot]);

impl fmt::Display for BadSnapshots<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return out.write_str("there is none");
        };
        write!(out, "{first}")?;
        rest.iter().try_for_each(|bad| write!(out, "; {bad}"))
    }
}

/// An invariant of `docs/architecture.md` that the log or its snapshots break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenInvariant {
    #[error(
        "invariant I1 does not hold: product {product} has {held} units held and {sold} sold of {total}"
    )]
    Units {
        product: ProductId,
        held: u64,
        sold: u64,
        total: u64,
    },
    #[error("invariant I2 does not hold: promotion {code} has {uses} uses of {most}")]
    Uses {
        code: PromotionCode,
        uses: u64,
        most: u32,
    },
    #[error(
        "invariant I6 does not hold: the snapshot and its log lead to {restored}, the whole log to \
         {replayed}"
    )]
    Digests {
        /// The digest of the snapshot and the log after it.
        restored: String,
        /// The digest of the whole log.
        replayed: String,
    },
}

/// A sentence about a torn tail.
pub(in crate::journal) fn describe(tail: &wal::TornTail) -> String {
    let wal::TornTail {
        segment,
        offset,
        lsn,
        bytes,
        reason,
    } = tail;
    format!("{bytes} bytes of {segment} from offset {offset} (LSN {lsn}): {reason}")
}

/// Adds operation and path to a system error.
pub(in crate::journal) fn io(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.into();
    move |source| JournalError::Io {
        operation,
        path,
        source,
    }
}
