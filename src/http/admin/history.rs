//! Owns the operator's order to accept a restored or copied history of the log.
//!
//! Invariants: one order at a time; the gateway's charges are compared with our books before
//! anything is accepted, so payments that the copy does not have are known before the first sale;
//! the order, its note and the result are in the audit trail, in the same append as the acceptance.
//! An order continues if its client disconnects. Deliberately absent: what sinks do about events
//! that the log has lost.

use super::reasons::{REASON_FORM, plain_reason};
use crate::engine::event::HistoryAccepted;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, InvalidBody, required};
use crate::http::wire::problem::{Reason, problem_about};
use crate::ids::RequestId;
use crate::journal::{NothingToAccept, WriteError};
use crate::reconcile::{DifferenceKind, ReconcileReport, Reconciler, Scope};
use crate::report::feed::Sinks;
use crate::trace;
use hyper::body::Incoming;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

const NOT_ACCEPTED: &str = "The data directory is a restored or older copy, and nobody has ordered to go on with it yet; nothing was done, try again later.";

/// The response to the shop's changes until this history of the log is accepted.
pub fn not_accepted(id: RequestId) -> Answer {
    let facts = json!({});
    problem_about(Refusal::StorageUnavailable.into(), id, NOT_ACCEPTED, &facts)
}

/// Accepting a restored or copied history of the log.
pub struct Histories {
    pub worker: Arc<Worker>,
    pub reconciler: Arc<Reconciler>,
    pub sinks: Arc<Sinks>,
    /// Held while a history is being accepted.
    pub accepting: Arc<tokio::sync::Mutex<()>>,
}

impl Histories {
    /// Compares with the gateway, accepts, and lets the sinks continue.
    pub async fn accept(&self, call: Call, body: Incoming) -> Answer {
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let note = match note_of(&body) {
            Ok(note) => note,
            Err((reason, errors)) => return call.invalid(reason, &errors),
        };
        let Ok(_one_at_a_time) = self.accepting.try_lock() else {
            let detail = "Another order to accept this history is being carried out.";
            return call.problem_about(Refusal::WrongState, detail, &json!({}));
        };
        if self.worker.journal.history().may_sell() {
            return nothing_to_accept(&call);
        }
        // 1. Find what the gateway has and this history has not, before anything is sold.
        let run = self.reconciler.ask(Scope::All);
        let Some(report) = self.reconciler.report_of(run).await else {
            return call.problem(Reason::NotReady);
        };
        if !report.succeeded() {
            let detail = "The gateway's charges could not be compared (GET /admin/reconcile says why), so nothing was accepted; try again once the gateway answers.";
            let facts = json!({ "reconcile": found(&report) });
            return call.problem_about(Refusal::GatewayUnavailable, detail, &facts);
        }
        // 2. Accept this history; it may sell from here on.
        let (journal, acting) = (Arc::clone(&self.worker.journal), Arc::clone(call.acting()));
        let (by, compared) = (call.by(), found(&report));
        let accepting = tokio::task::spawn_blocking(trace::carried(move || {
            journal.history().accept(by, |accepted| {
                let mut after = shown(accepted);
                after["note"] = note.into();
                after["reconcile"] = compared;
                acting.acted(None, None, Some(&after))
            })
        }));
        let (accepted, durable_at) = match accepting.await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(WriteError::Refused(NothingToAccept))) => return nothing_to_accept(&call),
            Ok(Err(WriteError::Fault(_))) => return call.problem(Refusal::StorageUnavailable),
            Err(_) => return call.problem(Reason::NotReady),
        };
        if let Err(reason) = self.worker.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        tracing::warn!(
            event = "history_accepted",
            generation = accepted.generation.number,
            first_lsn = accepted.first.0,
            unknown_here = report.count(DifferenceKind::UnknownHere),
            differences = report.differences.len(),
            "the shop's calls are taken again; see GET /admin/reconcile for payments that this history does not know, and GET /admin/sinks for what sinks take back"
        );
        // 3. Let stopped sinks retry at once.
        self.sinks.try_again();
        let mut answer = shown(&accepted);
        answer["reconcile"] = found(&report);
        Answer::value(StatusCode::OK, &answer)
    }
}

fn nothing_to_accept(call: &Call) -> Answer {
    let detail = "This history of the log goes on already; there is nothing to accept.";
    call.problem_about(Refusal::WrongState, detail, &json!({}))
}

fn shown(accepted: &HistoryAccepted) -> Value {
    json!({
        "generation": {
            "number": accepted.generation.number,
            "tag": format!("{:016x}", accepted.generation.tag),
        },
        "first_lsn": accepted.first.0,
    })
}

/// The figures of a comparison; `GET /admin/reconcile` has each difference.
fn found(report: &ReconcileReport) -> Value {
    json!({
        "run": report.run,
        "result": report.word(),
        "charges": report.counts.charges,
        "differences": report.differences.len(),
        "unknown_here": report.count(DifferenceKind::UnknownHere),
    })
}

fn note_of(body: &[u8]) -> Result<String, InvalidBody> {
    let mut fields = Fields::of(body, &["note"]);
    let note = fields.words(required("note"), REASON_FORM, plain_reason);
    match (note, fields.into_errors()) {
        (Some(note), errors) if errors.is_empty() => Ok(note),
        (_, errors) => Err((Refusal::InvalidRequest, errors)),
    }
}
