//! Owns what is known of runs: how far one is, what came of it, and how the job stands.

use crate::time::UnixMs;
use serde_json::{Value, json};
use std::sync::Arc;

/// How it stands.
#[derive(Clone, Debug, Default)]
pub struct SegmentsStatus {
    /// Runs begun in this process; the last one's number.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Changes taken over in this process.
    pub fed: u64,
    /// How far the run under way is.
    pub running: Option<SegmentProgress>,
    /// The latest report.
    pub last: Option<Arc<SegmentReport>>,
    /// The latest report of a run that did not fail.
    pub last_good: Option<Arc<SegmentReport>>,
    pub(super) asked: bool,
}

impl SegmentsStatus {
    /// Runs begun or asked for in this process; the last one's number.
    pub fn asked_for(&self) -> u64 {
        self.runs + u64::from(self.asked)
    }
}

/// How far a run is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentProgress {
    /// Its row in `segment_runs`, once there is one.
    pub run: Option<u64>,
    /// Buyers that were computed, some of them more than once.
    pub seen: u64,
    pub changed: u64,
    /// Changes taken over into the core, of earlier runs, too.
    pub fed: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its number in this process.
    pub number: u64,
    /// When it began.
    pub started_at: UnixMs,
    pub ended_at: UnixMs,
    /// How far it came.
    pub progress: SegmentProgress,
    /// Why it ended early, where it did.
    pub failure: Option<String>,
}

impl SegmentReport {
    /// As the operator sees it.
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

    /// The word for how it went.
    pub fn word(&self) -> &'static str {
        match self.failure {
            None => "done",
            Some(_) => "failed",
        }
    }
}
