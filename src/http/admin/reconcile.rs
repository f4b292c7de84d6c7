//! Owns the operator's requests about reconciliation: starting a run, the latest report, a summary.
//! Deliberately absent: comparing, which happens on a thread of its own.

use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::query::Query;
use crate::reconcile::{ReconcileReport, ReconcileStatus, Reconciler, Scope};
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Comparing the gateway's charges with ours.
pub struct Reconciliation {
    pub worker: Arc<Worker>,
    pub reconciler: Arc<Reconciler>,
}

impl Reconciliation {
    /// The status.
    pub fn runs(&self) -> Answer {
        Answer::value(StatusCode::OK, &shown(&self.reconciler.status()))
    }

    /// Requests a run; answers with the status.
    pub async fn ask(&self, call: Call) -> Answer {
        let mut query = Query::of(call.parts.uri.query(), &["full"]);
        let full = query.parsed("full", "must be true or false", |it| it.parse().ok());
        let errors = query.into_errors();
        if !errors.is_empty() {
            return call.invalid(Refusal::InvalidRequest, &errors);
        }
        let scope = match full {
            Some(true) => Scope::All,
            Some(false) | None => Scope::Window,
        };
        let acted = call.acting().acted(None, None, None);
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let run = self.reconciler.ask(scope);
        let mut shown = shown(&self.reconciler.status());
        shown["run"] = run.into();
        Answer::value(StatusCode::ACCEPTED, &shown)
    }
}

fn shown(status: &ReconcileStatus) -> Value {
    json!({
        "runs": status.asked_for(),
        "running": status.running.map(|progress| json!({
            "run": status.runs,
            "charges": progress.charges,
            "payments": progress.payments,
            "differences": progress.differences,
        })),
        "last_success_at": last_success(status),
        "report": status.last.as_deref().map(ReconcileReport::to_json),
    })
}

/// The summary in `/admin/status`.
pub fn short(status: &ReconcileStatus) -> Value {
    let last = status.last.as_deref();
    json!({
        "running": status.running.is_some(),
        "last_success_at": last_success(status),
        "result": last.map(ReconcileReport::word),
        "differences": last.map(|report| report.differences.len()),
    })
}

fn last_success(status: &ReconcileStatus) -> Option<String> {
    let good = status.last_good.as_deref()?;
    Some(good.ended_at.to_string())
}
