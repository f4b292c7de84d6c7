//! Owns the operator's requests about the log, the settings and the own key: snapshots, the audit
//! trail, the current configuration, name and role of a key.
//!
//! Invariant: disk reads run on a thread that serves no requests.

use crate::engine::event::Event;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::acting::role_of;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::{KeyOwner, Lsn, PurchaseId, UserId};
use crate::journal::{AuditQuery, LogEnd, SortOrder};
use crate::report::event_json;
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use hyper::http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// Maximum number of events per page.
const AUDIT_LIMIT_MAX: u64 = 1_000;
const AUDIT_LIMIT_DEFAULT: u64 = 100;

/// Snapshots, the audit trail, the settings in force.
pub struct Operator {
    pub worker: Arc<Worker>,
    pub config_shown: Arc<ArcSwap<Vec<u8>>>,
}

impl Operator {
    pub async fn snapshot(&self, call: Call) -> Answer {
        let acted = call.acting().acted(None, None, None);
        if let Err(reason) = self.worker.write_down(acted).await {
            return call.problem(reason);
        }
        let journal = Arc::clone(&self.worker.journal);
        let taken = tokio::task::spawn_blocking(move || journal.upkeep().snapshot()).await;
        match taken {
            Ok(Ok(report)) => {
                let shown = json!({
                    "lsn": report.lsn.0,
                    "bytes": report.bytes,
                    "purchases": report.purchases,
                    "elapsed_ms": report.elapsed_ms,
                });
                Answer::value(StatusCode::OK, &shown)
            }
            Ok(Err(error)) => {
                tracing::error!(event = "snapshot_failed", "{error}");
                call.problem(Refusal::StorageUnavailable)
            }
            Err(_) => call.problem(Reason::NotReady),
        }
    }

    pub async fn audit(&self, call: Call) -> Answer {
        let query = match audit_query(call.parts.uri.query()) {
            Ok(query) => query,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let journal = Arc::clone(&self.worker.journal);
        let page = tokio::task::spawn_blocking(move || journal.tail().audit(&query)).await;
        match page {
            Ok(Ok(page)) => {
                let shown = json!({
                    "events": page.entries.iter().map(event_json).collect::<Vec<_>>(),
                    "next_lsn": page.next.0,
                    "more": page.end == LogEnd::NotYet,
                    "next": (page.end == LogEnd::NotYet).then(|| page.next.0.to_string()),
                });
                Answer::value(StatusCode::OK, &shown)
            }
            Ok(Err(error)) => {
                tracing::error!(event = "audit_failed", "{error}");
                call.problem(Refusal::StorageUnavailable)
            }
            Err(_) => call.problem(Reason::NotReady),
        }
    }

    pub fn config(&self) -> Answer {
        Answer::json(StatusCode::OK, self.config_shown.load().to_vec())
    }
}

/// Name and role of the caller's key, so that a program knows what it may do before it tries.
pub fn own_key(call: &Call) -> Answer {
    let caller = call.caller();
    let shown = json!({
        "name": caller.owner.as_str(),
        "role": role_of(caller.role).as_str(),
    });
    Answer::value(StatusCode::OK, &shown)
}

fn audit_query(query: Option<&str>) -> Result<AuditQuery, Vec<FieldError>> {
    const TIME: &str = "must be an RFC 3339 time, such as 2026-11-22T10:00:00.000Z";
    const PLACE: &str = "must be the value of next from an earlier answer";
    let mut query = Query::of(
        query,
        &[
            "from_lsn",
            "to_lsn",
            "from",
            "to",
            "order",
            "kind",
            "user_id",
            "purchase_id",
            "act",
            "by",
            "limit",
            "after",
        ],
    );
    let mut from = query.integer("from_lsn", 0, u64::MAX).unwrap_or(0);
    let mut to = query.integer("to_lsn", 0, u64::MAX).unwrap_or(u64::MAX);
    let order = query.parsed("order", "must be asc or desc", SortOrder::parse);
    let order = order.unwrap_or(SortOrder::Ascending);
    let after = query.parsed("after", PLACE, |text| text.parse::<u64>().ok());
    match (order, after) {
        (SortOrder::Ascending, Some(after)) => from = from.max(after),
        (SortOrder::Descending, Some(after)) => to = to.min(after),
        (_, None) => {}
    }
    let known = Event::KINDS.join(", ");
    let form = format!("must be one of {known}");
    let asked = AuditQuery {
        from: Lsn(from),
        to: Lsn(to),
        since: query.parsed("from", TIME, UnixMs::parse),
        until: query.parsed("to", TIME, UnixMs::parse),
        order,
        kind: query.parsed("kind", &form, |text| {
            Event::KINDS.contains(&text).then(|| text.to_owned())
        }),
        user: query.parsed(
            "user_id",
            "must be a buyer's id: 1 to 64 characters of A-Z a-z 0-9 _ . : -",
            UserId::parse,
        ),
        purchase: query.parsed("purchase_id", "must be a purchase_id", purchase_or_hold),
        act: query.text("act"),
        by: query.parsed("by", "must be the name of a key", KeyOwner::parse),
        limit: usize::try_from(
            query
                .integer("limit", 1, AUDIT_LIMIT_MAX)
                .unwrap_or(AUDIT_LIMIT_DEFAULT),
        )
        .expect("at most a thousand"),
    };
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok(asked)
    } else {
        Err(errors)
    }
}

fn purchase_or_hold(text: &str) -> Option<PurchaseId> {
    PurchaseId::parse_purchase(text).or_else(|| PurchaseId::parse_hold(text))
}
