//! Owns what an operator sees of reconciliation: asking for a run, the latest report, its short
//! form, its metrics. Deliberately absent: comparing, which happens on a thread of its own.

use crate::engine::refusal::Refusal;
use crate::http::front::{Call, Front};
use crate::http::wire::answer::Answer;
use crate::http::wire::query::Query;
use crate::reconcile::{DifferenceKind, ReconcileReport, ReconcileStatus, Scope};
use crate::telemetry::families;
use crate::telemetry::metrics::Exposition;
use hyper::Method;
use hyper::http::StatusCode;
use serde_json::{Value, json};

impl Front {
    /// GET: how it stands. POST: the same, with a run asked for.
    pub(in crate::http) async fn reconcile(&self, call: Call) -> Answer {
        if call.parts.method != Method::POST {
            let shown = shown(&self.core.reconciler.status());
            return Answer::value(StatusCode::OK, &shown);
        }
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
        if let Err(reason) = self.write_down(acted).await {
            return call.problem(reason);
        }
        let run = self.core.reconciler.ask(scope);
        let mut shown = shown(&self.core.reconciler.status());
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

/// What `/admin/status` says of it.
pub(in crate::http) fn short(status: &ReconcileStatus) -> Value {
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

/// The figures of the latest run that did not fail; none before there was one.
pub(in crate::http) fn metrics(status: &ReconcileStatus, out: &mut Exposition) {
    let good = status.last_good.as_deref();
    out.single(&families::RECONCILE_FAILED, status.failed);
    out.single(
        &families::RECONCILE_LAST_SUCCESS,
        good.map_or(0, |report| report.ended_at.get() / 1_000),
    );
    let Some(report) = good else { return };
    let family = &families::RECONCILE_DIFFERENCES;
    out.family(family);
    for kind in DifferenceKind::ALL {
        let label = format!("kind=\"{}\"", kind.as_str());
        out.sample(family, &label, report.count(kind) as u64);
    }
}
