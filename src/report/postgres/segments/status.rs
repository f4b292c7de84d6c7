//! Owns the status of runs: progress, result, and the state of the job.

use crate::time::UnixMs;
use serde_json::{Value, json};
use std::sync::Arc;

/// The status of the job.
#[derive(Clone, Debug, Default)]
pub struct SegmentsStatus {
    /// Number of runs started in this process; also the number of the last one.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Changes taken over in this process.
    pub fed: u64,
    /// The progress of the run in progress.
    pub running: Option<SegmentProgress>,
    /// The latest report.
    pub last: Option<Arc<SegmentReport>>,
    /// The latest report of a successful run.
    pub last_good: Option<Arc<SegmentReport>>,
    pub(super) asked: bool,
}

impl SegmentsStatus {
    /// Number of runs started or requested in this process; also the number of the last one.
    pub fn asked_for(&self) -> u64 {
        self.runs + u64::from(self.asked)
    }
}

/// The progress of a run.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentProgress {
    /// Its row in `segment_runs`, once created.
    pub run: Option<u64>,
    /// Computed buyers; some may count more than once.
    pub seen: u64,
    pub changed: u64,
    /// Changes that the core took over, including those of earlier runs.
    pub fed: u64,
}

/// The report of a run.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its number in this process.
    pub number: u64,
    /// When it began.
    pub started_at: UnixMs,
    pub ended_at: UnixMs,
    /// Its progress at the end.
    pub progress: SegmentProgress,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl SegmentReport {
    /// The JSON for operators.
    pub fn to_json(&self) -> Value {
        json!({
            "number": self.number,
            "run": self.progress.run,
            "result": self.word(),
            "started_at": self.started_at.to_string(),
            "ended_at": self.ended_at.to_string(),
            "seen": self.progress.seen,
            "changed": self.progress.changed,
            "fed": self.progress.fed,
            "failure": self.failure,
        })
    }

    /// The word for its result.
    pub fn word(&self) -> &'static str {
        match self.failure {
            None => "done",
            Some(_) => "failed",
        }
    }
}
