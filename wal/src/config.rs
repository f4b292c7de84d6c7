//! How a log is set up: sizes, when it syncs, what it keeps free.
//!
//! Invariants: 1. every limit has a name and a default; 2. [`LogConfig::check`] refuses combinations
//! that could not work, with the figure given and the one needed, before anything is touched; 3. any
//! setting may change between openings: what is on disk says for itself how large it is.
//!
//! It reads no files and no environment: that is for the program around it.

use std::time::Duration;

use crate::Lsn;
use crate::format::{FRAME_BYTES_LIMIT, FRAME_HEADER, SEGMENT_HEADER, record_bytes};

/// Default size of a segment file, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Default size of the ring in which appends gather, in bytes.
pub const RING_BYTES: usize = 8 << 20;
/// Default largest payload of a record, in bytes.
pub const RECORD_BYTES_MAX: usize = 256 << 10;
/// Default largest frame (what one sync makes durable), in bytes with its header.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Default free room below which the disk counts as low, in bytes.
pub const DISK_FREE_BYTES_MIN: u64 = 1 << 30;

/// When a frame counts as durable.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum SyncPolicy {
    /// Every frame is synced before it is acknowledged: nothing acknowledged is ever lost.
    #[default]
    Always,
    /// A frame is acknowledged when it is written; syncs happen at this interval. **A crash of the
    /// machine (not of the process) loses up to this much of what was acknowledged**, always a
    /// suffix.
    Interval(Duration),
}

/// Whether a separate file records the last acknowledged frame.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Witness {
    /// The durable LSN is also written to a small separate file before it is published, so that
    /// damage to the last frame is distinguished from a torn tail.
    #[default]
    On,
    /// It is not: damage to the last acknowledged frame looks like a torn tail and is cut.
    Off,
}

/// How a log is set up. Start from the default: `LogConfig { segment_bytes, ..LogConfig::default() }`.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Size of a segment file in bytes, zero-filled ahead of its use; a multiple of 512.
    pub segment_bytes: u64,
    /// Size of the ring in which appends gather while the log thread syncs, in bytes; a power of
    /// two. Appends block when it is full.
    pub ring_bytes: usize,
    /// Largest payload of one record, in bytes.
    pub record_bytes_max: usize,
    /// Largest frame, in bytes with its header: bounds one write and one append call.
    pub frame_bytes_max: usize,
    /// When a frame counts as durable.
    pub sync: SyncPolicy,
    /// Whether a separate file records the last acknowledged frame.
    pub witness: Witness,
    /// Free bytes below which [`Log::disk_free_low`](crate::Log::disk_free_low) says so.
    pub disk_free_bytes_min: u64,
    /// How often the free room is looked at.
    pub disk_check_every: Duration,
    /// How often an idle log checks that its directory still is the one under its path.
    pub place_check_every: Duration,
    /// Segments that end at or before this LSN are not read at opening (a snapshot covers them);
    /// their headers are checked all the same. Zero: everything is verified.
    pub verify_from: Lsn,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            ring_bytes: RING_BYTES,
            record_bytes_max: RECORD_BYTES_MAX,
            frame_bytes_max: FRAME_BYTES_MAX,
            sync: SyncPolicy::Always,
            witness: Witness::On,
            disk_free_bytes_min: DISK_FREE_BYTES_MIN,
            disk_check_every: Duration::from_secs(1),
            place_check_every: Duration::from_secs(1),
            verify_from: Lsn::ZERO,
        }
    }
}

/// A setting that cannot work.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Positions in the ring wrap by a mask.
    #[error("ring_bytes is {0}; it must be a power of two of at least 64")]
    Ring(usize),
    /// A frame must be allocatable by any reader.
    #[error("frame_bytes_max is {given}; it must be at most {max}")]
    Frame {
        /// What was asked for.
        given: usize,
        /// What is possible.
        max: usize,
    },
    /// A record must fit a frame and the ring.
    #[error("record_bytes_max is {given}; at most {max} fits a frame and the ring")]
    Record {
        /// What was asked for.
        given: usize,
        /// What is possible.
        max: usize,
    },
    /// A frame must fit a segment.
    #[error(
        "segment_bytes is {given}; it must be a multiple of 512 and at least {min} to hold a frame"
    )]
    Segment {
        /// What was asked for.
        given: u64,
        /// What is needed.
        min: u64,
    },
}

impl LogConfig {
    /// The largest sum of [`record_bytes`] that one append may have.
    pub fn append_bytes_max(&self) -> usize {
        self.frame_bytes_max
            .saturating_sub(FRAME_HEADER)
            .min(self.ring_bytes)
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.ring_bytes.is_power_of_two() || self.ring_bytes < 64 {
            return Err(ConfigError::Ring(self.ring_bytes));
        }
        if self.frame_bytes_max > FRAME_BYTES_LIMIT {
            let (given, max) = (self.frame_bytes_max, FRAME_BYTES_LIMIT);
            return Err(ConfigError::Frame { given, max });
        }
        let max = self.append_bytes_max().saturating_sub(record_bytes(0));
        if self.record_bytes_max > max
            || record_bytes(self.record_bytes_max) > self.append_bytes_max()
        {
            return Err(ConfigError::Record {
                given: self.record_bytes_max,
                max,
            });
        }
        let min = (SEGMENT_HEADER + self.frame_bytes_max) as u64;
        if self.segment_bytes < min || !self.segment_bytes.is_multiple_of(512) {
            return Err(ConfigError::Segment {
                given: self.segment_bytes,
                min,
            });
        }
        Ok(())
    }
}
