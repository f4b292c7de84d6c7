//! Owns what an operator sees of the segments of buyers: asking for a run, the latest report, its
//! metrics. Deliberately absent: computing, which happens in the database.

use crate::engine::refusal::Refusal;
use crate::http::front::{Call, Front};
use crate::http::wire::answer::Answer;
use crate::report::postgres::segments::{SegmentReport, SegmentsStatus};
use crate::telemetry::families;
use crate::telemetry::metrics::Exposition;
use hyper::Method;
use hyper::http::StatusCode;
use serde_json::{Value, json};

impl Front {
    /// GET: how it stands. POST: the same, with a run asked for, where there is a database for it.
    pub(in crate::http) async fn segments(&self, call: Call) -> Answer {
        let job = self.core.segments.as_ref();
        if call.parts.method != Method::POST {
            return Answer::value(StatusCode::OK, &shown(job.map(|job| job.status()).as_ref()));
        }
        let Some(job) = job else {
            let detail = "Segments are computed in PostgreSQL, which is not configured. Set report.postgres.url and restart.";
            let facts = json!({ "configured": false });
            return call.problem_about(Refusal::WrongState, detail, &facts);
        };
        let acted = call.acting().acted(None, None, None);
        if let Err(reason) = self.write_down(acted).await {
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

/// The figures of the runs of this process.
pub(in crate::http) fn metrics(status: &SegmentsStatus, out: &mut Exposition) {
    let good = status.last_good.as_deref();
    out.single(&families::SEGMENTS_FAILED, status.failed);
    out.single(&families::SEGMENTS_FED, status.fed);
    out.single(
        &families::SEGMENTS_LAST_SUCCESS,
        good.map_or(0, |report| report.ended_at.get() / 1_000),
    );
}
