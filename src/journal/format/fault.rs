//! Owns the errors below the engine: faults of the disk, damage, and directories that cannot be opened.
//! Each says what happened, where, and what to do.

use crate::engine::apply::BrokenLog;
use crate::engine::refusal::Refusal;
use crate::ids::Lsn;
use crate::journal::format::codec::DecodeError;
use crate::time::UnixMs;
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
    /// Whether the log was ended because a newer generation of it is written elsewhere, and not by
    /// its disk.
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
    /// It is refused; the log goes on.
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
    /// Why it is refused, unless the log has stopped.
    pub fn refusal(self) -> Result<Refused, StorageFault> {
        match self {
            Self::Refused(refused) => Ok(refused),
            Self::Fault(fault) => Err(fault),
        }
    }
}

/// Why a data directory could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "{path} is in use by another process; stop that process, or name another data directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Read(#[from] wal::ReadError),
    /// A record is no event.
    #[error("the record at LSN {lsn}: {source}")]
    Decode {
        /// Where it stands.
        lsn: Lsn,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The events contradict each other.
    #[error("{0}; do not change the directory, and restore a backup")]
    Broken(BrokenLog),
    /// No snapshot is good, and the log no longer begins at the beginning.
    #[error(
        "no snapshot can be read ({problems}), and the log begins at LSN {first} only; restore the \
         snapshot files from a copy"
    )]
    NoSnapshot {
        /// What is wrong with each.
        problems: String,
        /// Where the log begins.
        first: Lsn,
    },
    /// The snapshot is of a later time than the log ends.
    #[error(
        "the snapshot covers LSN {snapshot}, but the log ends at {durable}: acknowledged records \
         are missing; restore the log's files from a copy"
    )]
    LogBehindSnapshot {
        /// What the snapshot covers.
        snapshot: Lsn,
        /// Where the log ends.
        durable: Lsn,
    },
    /// There is no log, but there is what goes with one.
    #[error(
        "there is no log, but {beside} shows that there was one: starting would begin a new log \
         without the purchases of the old one; restore log/ from a copy, or, to begin anew, name an \
         empty data directory"
    )]
    NoLog {
        /// The file that shows it.
        beside: String,
    },
    /// The log's files could not be tidied.
    #[error("the log's files: {0}")]
    LogFiles(#[from] wal::IoError),
    /// There is no room for a snapshot.
    #[error("the disk is nearly full; free disk space, then take the snapshot")]
    DiskFull,
    /// An invariant does not hold.
    #[error("invariant {invariant} does not hold: {what}")]
    Invariant {
        /// Its name in `docs/architecture.md`.
        invariant: &'static str,
        /// What does not hold.
        what: String,
    },
    /// The log stopped.
    #[error(transparent)]
    Fault(#[from] StorageFault),
    /// The machine's clock lies before the last event.
    #[error(
        "the clock says {clock}, but the last event in the log is of {last}; set the clock right, or, \
         where it is right and the log's time is wrong, start with `serve --accept-clock`"
    )]
    ClockBehind {
        /// What the clock says.
        clock: UnixMs,
        /// When the last event happened.
        last: UnixMs,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(String),
}

/// A torn tail in words.
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

/// Gives a system error its place.
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
