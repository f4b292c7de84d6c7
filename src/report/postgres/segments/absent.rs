//! The job in a build without PostgreSQL: it does not exist, so the type has no value.

use super::SegmentsStatus;
use std::sync::Arc;

/// Never made.
#[derive(Debug)]
pub enum NoSegmentJob {}

impl NoSegmentJob {
    /// Starts it.
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        match **self {}
    }

    /// Ends it.
    pub fn stop(&self) {
        match *self {}
    }

    /// Asks for a run.
    pub fn ask(&self) -> u64 {
        match *self {}
    }

    /// The status of the job.
    pub fn status(&self) -> SegmentsStatus {
        match *self {}
    }
}
