//! Segments of buyers: computed in the database that receives the events, and taken back into the
//! core, where rules and promotions use them.
//!
//! `job` is the thread that runs periodically and on request, `run` one run, `feed` its second
//! half, `status` their figures; `absent` replaces the job in a build without PostgreSQL. The
//! computation is SQL (`sql/V2__segments.sql`); `docs/segments.md` explains it.

#[cfg(not(feature = "postgres"))]
mod absent;
#[cfg(feature = "postgres")]
mod feed;
#[cfg(feature = "postgres")]
mod job;
#[cfg(feature = "postgres")]
mod run;
mod status;

#[cfg(not(feature = "postgres"))]
pub use absent::NoSegmentJob as SegmentJob;
#[cfg(feature = "postgres")]
pub use job::SegmentJob;
pub use status::{SegmentProgress, SegmentReport, SegmentsStatus};

use std::time::Duration;

/// The settings of the computation of segments.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SegmentSettings {
    /// Time between two runs; `None`: on request only.
    pub every: Option<Duration>,
    /// Buyers per batch, which is one transaction.
    pub batch: u32,
    /// Maximum number of batches per run.
    pub batches_max: u64,
    /// Maximum number of changes per second that the core takes over.
    pub feedback_per_s: u32,
    /// Timeout of one statement.
    pub timeout: Duration,
}
