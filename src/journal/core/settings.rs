//! Owns the settings of a journal: where, how large, how durable. All sizes are in bytes.

use crate::engine::settings::EngineSettings;
use crate::journal::core::refusals::RefusalBounds;
use crate::journal::core::retention::Retention;
use crate::journal::format::fault::{JournalError, io};
use crate::journal::time::clock::ClockSettings;
use crate::journal::time::days::DayZone;
use crate::journal::time::source::Clock;
use crate::random::Random;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The settings of a journal.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The data directory; created if it is missing.
    pub data_dir: PathBuf,
    /// How the engine decides.
    pub engine: EngineSettings,
    /// How the log is written.
    pub log: LogSettings,
    /// Bytes of log after which a snapshot is taken in the background; 0: never.
    pub snapshot_every_bytes: u64,
    /// The source of the time.
    pub clock: Clock,
    /// The source of the random part of each purchase's id.
    pub random: Random,
    /// Which differences of the wall clock are followed.
    pub time: ClockSettings,
    /// The time zone of daily limits.
    pub day_zone: DayZone,
    /// The retentions of the log's readers.
    pub retentions: Vec<Retention>,
    /// Maximum number of refusals recorded.
    pub refusals: RefusalBounds,
}

impl JournalOptions {
    /// The default settings of a journal in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            engine: EngineSettings::default(),
            log: LogSettings::default(),
            snapshot_every_bytes: 1 << 30,
            clock: Clock::System,
            random: Random::System,
            time: ClockSettings::default(),
            day_zone: DayZone::default(),
            retentions: Vec::new(),
            refusals: RefusalBounds::default(),
        }
    }
}

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Size of a segment file; a multiple of 512.
    pub segment_bytes: u64,
    /// Size of the ring in which appends gather while the disk syncs; a power of two.
    pub ring_bytes: usize,
    /// When a record counts as durable.
    pub sync: Sync,
    /// Whether the witness file records the last acknowledged frame.
    pub witness: Witness,
    /// Free disk space, in bytes, below which new purchases are refused.
    pub disk_free_bytes_min: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            ring_bytes: 32 << 20,
            sync: Sync::Always,
            witness: Witness::On,
            disk_free_bytes_min: 1 << 30,
        }
    }
}

/// When a record counts as durable.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Once it is synced.
    Always,
    /// Once it is written. Syncs follow at an interval, so a crash of the machine loses up to one
    /// interval of acknowledged records.
    Interval {
        /// Time between two syncs, in milliseconds.
        interval_ms: u64,
    },
}

/// Whether the witness file records the last acknowledged frame.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// It does, so damage to the last frame can be distinguished from a torn tail.
    On,
    Off,
}

/// The directories of a journal, behind the log's seam to the disk.
#[derive(Clone)]
pub struct Disks {
    /// Segments and witness.
    pub log: Arc<dyn wal::Storage>,
    pub snapshots: Arc<dyn wal::Storage>,
}

impl Disks {
    /// The directories below `data_dir`, created if they are missing.
    pub fn create(data_dir: &Path) -> Result<Self, JournalError> {
        let directory = wal::Directory::create(data_dir).map_err(io("creating", data_dir))?;
        Self::create_in(&directory)
    }

    /// The directories in `data_dir`, created if they are missing.
    pub(in crate::journal) fn create_in(data_dir: &wal::Directory) -> Result<Self, JournalError> {
        let failed = |name: &str| io("opening", data_dir.path().join(name));
        let open = |name: &str| -> Result<wal::DiskStorage, JournalError> {
            let directory = data_dir.create_below(name);
            directory
                .and_then(wal::DiskStorage::locked)
                .map_err(failed(name))
        };
        let snapshots = open("snapshots")?;
        let beside = data_dir
            .open_below("snapshots")
            .map_err(failed("snapshots"))?;
        Ok(Self {
            log: Arc::new(open("log")?.beside(beside)),
            snapshots: Arc::new(snapshots),
        })
    }

    /// The directories below `data_dir`, to read only.
    pub fn open_read_only(data_dir: &Path) -> Result<Self, JournalError> {
        let open = |name: &str| -> Result<Arc<dyn wal::Storage>, JournalError> {
            let path = data_dir.join(name);
            let storage = wal::DiskStorage::open_read_only(&path).map_err(io("opening", path))?;
            Ok(Arc::new(storage))
        };
        Ok(Self {
            log: open("log")?,
            snapshots: open("snapshots")?,
        })
    }
}

impl LogSettings {
    pub(in crate::journal) fn config(&self, verify_from: wal::Lsn) -> wal::LogConfig {
        wal::LogConfig {
            segment_bytes: self.segment_bytes,
            ring_bytes: self.ring_bytes,
            sync: match self.sync {
                Sync::Always => wal::SyncPolicy::Always,
                Sync::Interval { interval_ms } => {
                    wal::SyncPolicy::Interval(Duration::from_millis(interval_ms))
                }
            },
            witness: match self.witness {
                Witness::On => wal::Witness::On,
                Witness::Off => wal::Witness::Off,
            },
            disk_free_bytes_min: self.disk_free_bytes_min,
            verify_from,
            ..wal::LogConfig::default()
        }
    }
}
