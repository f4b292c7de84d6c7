//! Owns the operator's calls: snapshots, status, audit trail, settings.
//!
//! Invariants: what changes something is an act in the audit trail (`audited`); what
//! reads the disk does so on a thread that serves nobody.

use super::catalogue::{next_of, page_query};
use super::terms::ID_FORM;
use crate::engine::event::{AdminAct, Event};
use crate::engine::refusal::Refusal;
use crate::engine::view::ProductView;
use crate::http::front::{Call, Front};
use crate::http::ops::probes::readiness_json;
use crate::http::shop::buying::caller_of;
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::{KeyOwner, Lsn, PurchaseId, UserId};
use crate::journal::{AuditQuery, DiskState, LogEnd, Order};
use crate::payments::gateway::Reference;
use crate::report::event_json;
use crate::time::UnixMs;
use hyper::http::StatusCode;
use serde_json::{Value, json};

/// The most events in one answer.
const AUDIT_LIMIT_MAX: u64 = 1_000;
const AUDIT_LIMIT_DEFAULT: u64 = 100;
/// The most charges in one answer.
const CHARGES_LIMIT_MAX: u64 = 100_000;
const CHARGES_LIMIT_DEFAULT: u64 = 1_000;

/// How the disk does, as `/admin/status` shows it.
fn disk_json(disk: &DiskState) -> Value {
    json!({
        "free_bytes": disk.free_bytes,
        "free_bytes_min": disk.free_bytes_min,
        "sync_slowest_ms": u64::try_from(disk.sync_slowest.as_millis()).unwrap_or(u64::MAX),
        "slow": disk.is_slow(),
    })
}

impl Front {
    pub(in crate::http) async fn read(
        &self,
        call: &Call,
        durable_at: Lsn,
        shown: impl Fn() -> Value,
    ) -> Answer {
        match self.durable(Some(durable_at)).await {
            Ok(()) => Answer::value(StatusCode::OK, &shown()),
            Err(reason) => call.problem(reason),
        }
    }

    pub(in crate::http) async fn snapshot(&self, call: Call) -> Answer {
        let acted = call.acting().acted(None, None, None);
        if let Err(reason) = self.write_down(acted).await {
            return call.problem(reason);
        }
        let journal = std::sync::Arc::clone(&self.core.journal);
        let taken = tokio::task::spawn_blocking(move || journal.snapshot()).await;
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

    pub(in crate::http) async fn status(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(&call) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (products, _) = self.core.journal.products_after(&after, limit);
        let next = next_of(&products, |it| it.product.as_str());
        let status = self.core.journal.status();
        let opened = self.core.journal.opened();
        let conservation = |view: &ProductView| {
            json!({
                "product_id": view.product.as_str(),
                "total": view.total,
                "available": view.available(),
                "held": view.held,
                "sold": view.sold,
            })
        };
        let generation = self.core.journal.generation();
        let shown = json!({
            "readiness": readiness_json(self.not_ready()),
            "durable_lsn": status.durable.0,
            "appended_lsn": status.appended.0,
            "first_lsn": status.first.0,
            "snapshot_lsn": status.snapshot.map(|lsn| lsn.0),
            "snapshot_failure": status.snapshot_failure,
            "log": {
                "id": format!("{:016x}", self.core.journal.log_id()),
                "generation": {
                    "number": generation.number(),
                    "tag": format!("{:016x}", generation.tag()),
                },
                "accepted": self.core.journal.is_history_accepted(),
                "syncs": status.log.syncs,
                "frames": status.log.frames,
                "records": status.log.records,
                "bytes": status.log.bytes,
                "segments": status.log.segments,
                "ring_used": status.log.ring_used,
                "ring_bytes": status.log.ring_bytes,
            },
            "disk": disk_json(&self.core.journal.disk()),
            "buyers": status.buyers,
            "purchases": status.purchases,
            "idempotency_keys": status.keys,
            "velocity_keys": status.velocity_keys,
            "open_payments": status.open_payments,
            "stuck_voids": status.stuck_voids,
            "differing_captures": status.differing_captures,
            "reviews": status.reviews,
            "gateway": {
                "name": self.core.payments.gateway().name(),
                "circuit": self.core.payments.circuit().as_str(),
            },
            "sinks": self.core.sinks.status().iter().map(super::sinks::sink_json).collect::<Vec<_>>(),
            "connections": self.core.metrics.connections(),
            "backup": super::backup::shown(self.core.backup.as_deref()),
            "reconcile": super::reconcile::short(&self.core.reconciler.status()),
            "conservation": products.entries.iter().map(conservation).collect::<Vec<_>>(),
            "next": next,
            "recovery": {
                "events_replayed": opened.events_replayed,
                "snapshot_lsn": opened.snapshot.map(|lsn| lsn.0),
                "durable_lsn": opened.durable.0,
                "torn_tail": opened.torn_tail,
                "elapsed_ms": opened.elapsed_ms,
                "digest": opened.digest,
            },
        });
        self.read(&call, status.appended, || shown.clone()).await
    }

    pub(in crate::http) async fn audit(&self, call: Call) -> Answer {
        let query = match audit_query(call.parts.uri.query()) {
            Ok(query) => query,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let journal = std::sync::Arc::clone(&self.core.journal);
        let page = tokio::task::spawn_blocking(move || journal.audit(&query)).await;
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

    pub(in crate::http) fn config(&self) -> Answer {
        Answer::json(StatusCode::OK, self.core.config_shown.load().to_vec())
    }

    pub(in crate::http) fn sandbox_charges(&self, call: &Call) -> Answer {
        let Some(sandbox) = &self.core.sandbox else {
            return call.problem(Reason::NotFound);
        };
        let mut query = Query::of(call.parts.uri.query(), &["after", "limit"]);
        let after = query.parsed(
            "after",
            "must be the value of next from an earlier answer",
            |text| Reference::parse(text).map(|_| text.to_owned()),
        );
        let limit = query
            .integer("limit", 1, CHARGES_LIMIT_MAX)
            .unwrap_or(CHARGES_LIMIT_DEFAULT);
        let errors = query.into_errors();
        if !errors.is_empty() {
            return call.invalid(Refusal::InvalidRequest, &errors);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let charges = sandbox.charges();
        // They are in the order of their references, whose text is in the same order.
        let mut rest = charges.iter().filter(|charge| {
            after
                .as_ref()
                .is_none_or(|after| charge.reference.to_string() > *after)
        });
        let shown: Vec<_> = rest.by_ref().take(limit).map(charge).collect();
        let more = rest.next().is_some();
        let last = shown.last().map(|it: &Value| it["reference"].clone());
        let next = last.filter(|_| more);
        let shown = json!({ "charges": shown, "total": charges.len(), "more": more, "next": next });
        Answer::value(StatusCode::OK, &shown)
    }
}

fn charge(charge: &crate::payments::sandbox::SandboxCharge) -> Value {
    use crate::payments::sandbox::ChargeState;
    let state = match charge.state {
        ChargeState::Declined => "declined",
        ChargeState::Authorized => "authorized",
        ChargeState::Captured => "captured",
        ChargeState::Voided => "voided",
        ChargeState::Refunded => "refunded",
    };
    json!({
        "reference": charge.reference.to_string(),
        "purchase_id": charge.reference.purchase().to_string(),
        "currency": charge.currency.as_str(),
        "state": state,
        "amount": charge.amount.get(),
        "captured": charge.captured.get(),
        "refunded": charge.refunded.get(),
    })
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
    let order = query.parsed("order", "must be asc or desc", Order::parse);
    let order = order.unwrap_or(Order::Ascending);
    let after = query.parsed("after", PLACE, |text| text.parse::<u64>().ok());
    match (order, after) {
        (Order::Ascending, Some(after)) => from = from.max(after),
        (Order::Descending, Some(after)) => to = to.min(after),
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

pub(in crate::http) fn by(call: &Call) -> AdminAct {
    AdminAct {
        request: call.id,
        owner: caller_of(call).owner.clone(),
    }
}

pub(in crate::http) fn bad_path_id(call: &Call, field: &'static str) -> Answer {
    let error = FieldError {
        field,
        message: ID_FORM.to_owned(),
    };
    call.invalid(Refusal::InvalidRequest, &[error])
}
