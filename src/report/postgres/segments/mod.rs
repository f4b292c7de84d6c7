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

/// When and how segments are computed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SegmentSettings {
    /// Between two runs; `None`: only when asked.
    pub every: Option<Duration>,
    /// Buyers of one batch, which is one transaction.
    pub batch: u32,
    /// Batches of one run.
    pub batches_max: u64,
    /// Changes that are taken over in a second, so that a sale is not disturbed.
    pub feedback_per_s: u32,
    /// For one statement.
    pub timeout: Duration,
}
