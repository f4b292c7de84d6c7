//! The errors as types: each says what happened, where, and what to do.
//!
//! A [`Fault`] stops a running log permanently. An [`OpenError`] prevents a start. Append and read
//! errors concern one call. None is ever a reason to retry a sync.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Lsn;
use crate::config::ConfigError;
use crate::format::{Bad, Mismatch};

/// What the log was doing.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Opening or creating a file.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making written data durable.
    Sync,
    /// Making a directory entry durable.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing the directory.
    List,
    /// Checking that the directory and its files still are those that were opened.
    CheckPlace,
    /// Continuing: the program around the log withdrew it.
    Withdraw,
    /// Running: the log thread itself ended unexpectedly (a panic, in a listener perhaps).
    Run,
    /// Starting a thread.
    Spawn,
    /// Closing: the log was closed in good order before what was waited for.
    Close,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDirectory => "sync directory",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::CheckPlace => "check of the place",
            Self::Withdraw => "withdrawal",
            Self::Run => "run",
            Self::Spawn => "spawn thread",
            Self::Close => "close",
        })
    }
}

/// Why a log stopped for good. Shared by everyone who waited.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log stopped: {}; everything below LSN {durable} is durable, nothing above is acknowledged{}",
    self.what(),
    self.advice()
)]
pub struct Fault {
    /// What failed.
    pub operation: Operation,
    /// On which file of the log's directory (`.` for the directory itself).
    pub file: String,
    /// At which offset, in bytes; 0 where there is none.
    pub offset: u64,
    /// Everything below had been acknowledged.
    pub durable: Lsn,
    pub source: io::Error,
}

impl Fault {
    fn what(&self) -> String {
        let Self {
            operation,
            file,
            offset,
            source,
            ..
        } = self;
        match operation {
            // They say what happened themselves.
            Operation::CheckPlace | Operation::Withdraw => source.to_string(),
            _ => format!("{operation} failed on {file} at offset {offset}: {source}"),
        }
    }

    fn advice(&self) -> &'static str {
        match self.operation {
            Operation::CheckPlace | Operation::Withdraw => "",
            _ => "; look at the disk, then restart",
        }
    }
}

/// The program around the log decided that this process may not continue: why, and what to do.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Withdrawn(pub String);

/// The file exists, but no longer has what this process wrote.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error(
    "{file} was changed by something else while this process wrote it: the checksum at offset \
     {offset} was {expected:#x} and is {found}; a copy was restored over it, perhaps; run \
     `holdfast check` on the directory, then start again"
)]
pub struct Overwritten {
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was written there.
    pub expected: u32,
    /// What stands there now.
    pub found: Found,
}

/// The value found in place of a checksum.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Found {
    /// Other bytes.
    Other(u32),
    /// The file ends before.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(found) => write!(f, "{found:#x}"),
            Self::End => f.write_str("behind the end of the file"),
        }
    }
}

/// A failed call to the storage, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{operation} failed on {file} at offset {offset}: {source}")]
pub struct IoError {
    /// What failed.
    pub operation: Operation,
    pub file: String,
    /// At which offset, in bytes.
    pub offset: u64,
    pub source: io::Error,
}

impl IoError {
    pub(crate) fn fault(self, durable: u64) -> Fault {
        Fault {
            operation: self.operation,
            file: self.file,
            offset: self.offset,
            durable: Lsn::new(durable),
            source: self.source,
        }
    }
}

/// Gives a system error its place.
pub(crate) trait At<T> {
    fn at(self, operation: Operation, file: &str, offset: u64) -> Result<T, IoError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: Operation, file: &str, offset: u64) -> Result<T, IoError> {
        self.map_err(|source| IoError {
            operation,
            file: file.to_owned(),
            offset,
            source,
        })
    }
}

/// The evidence that damaged bytes were acknowledged.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Vouched {
    /// A later segment exists, and one is only begun when the one before is durable.
    BySealedSegment,
    /// A later frame, at this offset of the segment, says so.
    ByLaterFrame(u64),
    /// The witness says so.
    ByWitness,
    /// The log was closed cleanly, and a mark records the end.
    ByCleanStop,
    /// A file gets its name only once it is complete.
    ByName,
}

impl fmt::Display for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BySealedSegment => f.write_str("the segment is sealed"),
            Self::ByLaterFrame(offset) => write!(f, "the frame at offset {offset} says so"),
            Self::ByWitness => f.write_str("the witness says so"),
            Self::ByCleanStop => f.write_str("the mark of a clean stop says so"),
            Self::ByName => f.write_str("a file is whole before it gets its name"),
        }
    }
}

/// Acknowledged data is not what was written.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error(
    "the log is damaged: {segment} at offset {offset} (LSN {lsn}): {problem}: expected {expected:#x}, \
     found {found:#x}; this was acknowledged ({vouched}), so it is not cut away; restore the file \
     from a copy, or check the disk and memory of this machine"
)]
pub struct Damage {
    /// The file.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// Up to here the log is good.
    pub lsn: Lsn,
    /// What does not fit.
    pub problem: Mismatch,
    /// What should stand there.
    pub expected: u64,
    /// What stands there.
    pub found: u64,
    /// The evidence that it was acknowledged.
    pub vouched: Vouched,
}

impl Damage {
    pub(crate) fn new(segment: &str, offset: u64, lsn: u64, bad: Bad, vouched: Vouched) -> Self {
        Self {
            segment: segment.to_owned(),
            offset,
            lsn: Lsn::new(lsn),
            problem: bad.what,
            expected: bad.expected,
            found: bad.found,
            vouched,
        }
    }
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Acknowledged data is not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// Written by another version of this crate.
    #[error(
        "{segment} has log format {found}; this program reads {expected}; use the one that wrote it"
    )]
    Format {
        /// The file.
        segment: String,
        /// The version this crate reads.
        expected: u32,
        /// The version in the file.
        found: u32,
    },
    /// There is no log to continue.
    #[error("the directory has no segment of a log; name one that has")]
    NotBegun,
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log has failed.
    #[error(transparent)]
    Poisoned(Arc<Fault>),
    /// More than one append may have.
    #[error("{bytes} bytes in one {what}; the limit is {max}")]
    TooLarge {
        /// What is too large: `record` or `append`.
        what: &'static str,
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

/// Why nothing more was read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The storage failed.
    #[error(transparent)]
    Io(Arc<IoError>),
    /// Acknowledged data is not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// The log begins later.
    #[error("LSN {from} is gone; the log begins at {first}")]
    Removed {
        /// What was asked for.
        from: Lsn,
        /// Where the log begins now.
        first: Lsn,
    },
    /// Not there yet.
    #[error("LSN {from} is ahead of the log, which is durable up to {durable}")]
    Ahead {
        /// What was asked for.
        from: Lsn,
        /// Where the log ends now.
        durable: Lsn,
    },
    /// No record starts there.
    #[error("no record starts at LSN {from}; one starts at {next}")]
    NotARecord {
        /// What was asked for.
        from: Lsn,
        /// Where the next record starts.
        next: Lsn,
    },
    /// Everything durable has been read, and the log has stopped.
    #[error("nothing follows: {0}")]
    Ended(Arc<Fault>),
}

impl From<IoError> for ReadError {
    fn from(error: IoError) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}
