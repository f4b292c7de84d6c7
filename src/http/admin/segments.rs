//! Owns the operator's requests about segments of buyers: starting a run, and the latest report.
//! Deliberately absent: computing segments, which happens in the database.

use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::report::postgres::segments::{SegmentJob, SegmentReport, SegmentsStatus};
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Segments of buyers.
pub struct Segments {
    pub worker: Arc<Worker>,
    pub segments: Option<Arc<SegmentJob>>,
}

impl Segments {
    /// The status.
    pub fn runs(&self) -> Answer {
        let status = self.segments.as_ref().map(|job| job.status());
        Answer::value(StatusCode::OK, &shown(status.as_ref()))
    }

    /// Requests a run if a database is configured; answers with the status.
    pub async fn ask(&self, call: Call) -> Answer {
        let Some(job) = &self.segments else {
            let detail = "Segments are computed in PostgreSQL, which is not configured. Set report.postgres.url and restart.";
            let facts = json!({ "configured": false });
            return call.problem_about(Refusal::WrongState, detail, &facts);
        };
        let acted = call.acting().acted(None, None, None);
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let number = job.ask();
        let mut shown = shown(Some(&job.status()));
        shown["number"] = number.into();
        Answer::value(StatusCode::ACCEPTED, &shown)
    }
}

fn shown(status: Option<&SegmentsStatus>) -> Value {
    let Some(status) = status else {
        return json!({ "configured": false, "runs": 0, "running": null, "last_success_at": null, "report": null });
    };
    json!({
        "configured": true,
        "runs": status.asked_for(),
        "running": status.running.map(|progress| json!({
            "number": status.runs,
            "run": progress.run,
            "seen": progress.seen,
            "changed": progress.changed,
            "fed": progress.fed,
        })),
        "last_success_at": status.last_good.as_deref().map(|good| good.ended_at.to_string()),
        "report": status.last.as_deref().map(SegmentReport::to_json),
    })
}
