//! A write-ahead log that knows bytes only.
//!
//! Many threads [`append`](Log::append) records; one log thread gathers what they appended, writes
//! it as one frame, syncs it, and publishes the durable LSN. While it syncs, the next frame gathers:
//! the slower the disk, the larger the frames, so that the cost of a sync is shared by all who wait.
//!
//! - An append is one atomic add and a copy. It makes no system call while the log thread is busy.
//! - An [`Lsn`] is a byte position in the stream of records; it never depends on batching.
//! - Every byte on disk is checksummed, frames are chained, and a **torn tail** (written, never
//!   acknowledged) is told from **damage** (acknowledged, no longer there): the first is cut, with a
//!   copy kept aside, the second refuses to open.
//! - The first failed write or sync ends the log: everyone who waits hears of it, nothing is retried.
//! - [`Reader`]s follow the durable LSN; whole segments behind the slowest [`Pin`] can be removed.
//!
//! ```
//! use std::sync::Arc;
//! use wal::{DiskStorage, Entry, Log, LogConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let config = LogConfig { segment_bytes: 4 << 20, ..LogConfig::default() };
//! let storage = Arc::new(DiskStorage::open(directory.path())?);
//! let (log, report) = Log::open(storage, config)?;
//! assert!(report.created);
//!
//! // Both records, or after a crash neither.
//! let appended = log.append(&[
//!     Entry { kind: 1, version: 1, payload: b"placed" },
//!     Entry { kind: 2, version: 1, payload: b"paid" },
//! ])?;
//! log.wait_durable(appended.end)?;
//!
//! let mut reader = log.reader(appended.first)?;
//! let record = reader.next()?.expect("it is durable");
//! assert_eq!((record.kind, record.payload), (1, &b"placed"[..]));
//! log.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: it knows no keys, keeps no index, compresses nothing, replicates nothing,
//! and never decides what may be removed. The format on disk is drawn in `docs/log-format.md`.

#![deny(unsafe_code)]

mod clean_stop;
mod committer;
mod config;
mod cut;
mod doorbell;
mod durable;
mod error;
mod format;
mod frames;
mod generation;
mod log;
mod lsn;
mod maker;
mod reader;
mod recovery;
mod ring;
mod scan;
mod segments;
pub mod sim;
mod stats;
mod storage;
mod survey;
mod sync;
mod walker;
mod witness;

pub use config::{
    ConfigError, DISK_FREE_BYTES_MIN, FRAME_BYTES_MAX, LogConfig, RECORD_BYTES_MAX, RING_BYTES,
    SEGMENT_BYTES, SyncPolicy, Witness,
};
pub use cut::cut;
pub use error::{
    AppendError, Damage, Fault, Found, IoError, OpenError, Operation, Overwritten, ReadError,
    Vouched, Withdrawn,
};
pub use format::{
    FORMAT_VERSION, FRAME_BYTES_LIMIT, FRAME_HEADER, Mismatch, RECORD_ALIGN, RECORD_HEADER, Record,
    SEGMENT_HEADER, WITNESS_SLOT_BYTES, record_bytes,
};
pub use frames::{Frames, RawFrame, SegmentInfo, lone_segment, segment_name, segments};
pub use generation::{Begun, Generation, begin_generation};
pub use log::{Appended, CommitListener, Entry, Log};
pub use lsn::Lsn;
pub use reader::Reader;
pub use recovery::{RecoveryReport, TORN_COPIES_MAX};
pub use scan::{Extent, Scan, Verdict, extent, is_begun, scan};
pub use segments::{PINS_MAX, Pin, Removed};
pub use stats::{LATENCY_BUCKETS, LogStats, RECENTLY, SyncLatency};
pub use storage::{
    Access, Directory, DiskStorage, Displaced, FileLock, Identity, Storage, StorageFile,
};
pub use survey::TornTail;

/// The lock-free parts, for the model checker.
#[cfg(loom)]
#[doc(hidden)]
pub mod modelled {
    pub use crate::doorbell::Doorbell;
    pub use crate::durable::Durable;
    pub use crate::ring::{Consumer, Refused, Ring, RingBatch};
}
