//! Owns `/admin/status`: log, snapshots, disk, sinks, conservation, and why the process is not
//! ready.

use super::reconcile::short as reconcile_json;
use super::sinks::sink_json;
use crate::backup::Backup;
use crate::engine::refusal::Refusal;
use crate::engine::view::ProductView;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::ops::readiness::{ReadinessCheck, readiness_json};
use crate::http::ops::reports::Reports;
use crate::http::wire::answer::Answer;
use crate::http::wire::paging::{next_of, page_query};
use crate::journal::{DiskState, Journal, Opened, Status};
use crate::payments::driver::Payments;
use crate::reconcile::Reconciler;
use crate::report::feed::Sinks;
use crate::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use std::sync::Arc;

/// The status of the process.
pub struct StatusCall {
    pub worker: Arc<Worker>,
    pub readiness: Arc<ReadinessCheck>,
    pub payments: Arc<Payments>,
    pub sinks: Arc<Sinks>,
    pub reconciler: Arc<Reconciler>,
    pub backup: Option<Arc<Backup>>,
    pub metrics: Arc<Metrics>,
    pub reports: Arc<Reports>,
}

impl StatusCall {
    pub async fn show(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(call.parts.uri.query()) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (products, _) = self.worker.journal.reads().products_after(&after, limit);
        let next = next_of(&products, |it| it.product.as_str());
        let journal = Arc::clone(&self.worker.journal);
        let status = match self
            .reports
            .gather(move || journal.figures().status())
            .await
        {
            Ok(status) => status,
            Err(reason) => return call.problem(reason),
        };
        let conservation = |view: &ProductView| {
            json!({
                "product_id": view.product.as_str(),
                "total": view.total,
                "available": view.available(),
                "held": view.held,
                "sold": view.sold,
            })
        };
        let shown = json!({
            "readiness": readiness_json(self.readiness.not_ready()),
            "durable_lsn": status.durable.0,
            "appended_lsn": status.appended.0,
            "first_lsn": status.first.0,
            "snapshot_lsn": status.snapshot.map(|lsn| lsn.0),
            "snapshot_failure": status.snapshot_failure,
            "log": log_json(&self.worker.journal, &status),
            "disk": disk_json(&self.worker.journal.figures().disk()),
            "buyers": status.buyers,
            "purchases": status.purchases,
            "idempotency_keys": status.keys,
            "velocity_keys": status.velocity_keys,
            "open_payments": status.open_payments,
            "stuck_voids": status.stuck_voids,
            "differing_captures": status.differing_captures,
            "reviews": status.reviews,
            "gateway": {
                "name": self.payments.gateway().name(),
                "circuit": self.payments.circuit().as_str(),
            },
            "sinks": self.sinks.status().iter().map(sink_json).collect::<Vec<_>>(),
            "connections": self.metrics.connections(),
            "backup": backup_json(self.backup.as_deref()),
            "reconcile": reconcile_json(&self.reconciler.status()),
            "conservation": products.entries.iter().map(conservation).collect::<Vec<_>>(),
            "next": next,
            "recovery": recovery_json(self.worker.journal.opened()),
        });
        self.worker.read(&call, status.appended, &shown).await
    }
}

/// The log's identity, and what was written since the start.
fn log_json(journal: &Journal, status: &Status) -> Value {
    let generation = journal.generation();
    json!({
        "id": format!("{:016x}", journal.log_id()),
        "generation": {
            "number": generation.number(),
            "tag": format!("{:016x}", generation.tag()),
        },
        "accepted": journal.history().is_accepted(),
        "syncs": status.log.syncs,
        "frames": status.log.frames,
        "records": status.log.records,
        "bytes": status.log.bytes,
        "segments": status.log.segments,
        "ring_used": status.log.ring_used,
        "ring_bytes": status.log.ring_bytes,
    })
}

/// The result of the recovery.
fn recovery_json(opened: &Opened) -> Value {
    json!({
        "events_replayed": opened.events_replayed,
        "snapshot_lsn": opened.snapshot.map(|lsn| lsn.0),
        "durable_lsn": opened.durable.0,
        "torn_tail": opened.torn_tail,
        "elapsed_ms": opened.elapsed_ms,
        "digest": opened.digest,
    })
}

/// The disk's part of `/admin/status`.
fn disk_json(disk: &DiskState) -> Value {
    json!({
        "free_bytes": disk.free_bytes,
        "free_bytes_min": disk.free_bytes_min,
        "sync_slowest_ms": u64::try_from(disk.sync_slowest.as_millis()).unwrap_or(u64::MAX),
        "slow": disk.is_slow(),
    })
}

/// The backup's part of `/admin/status`; `null` if none is configured.
fn backup_json(backup: Option<&Backup>) -> Value {
    let Some(status) = backup.map(Backup::status) else {
        return Value::Null;
    };
    json!({
        "to": status.to,
        "up": status.failing.is_none(),
        "failure": status.failing,
        "shipped_lsn": status.shipped.0,
        "snapshot_lsn": status.snapshot.map(|it| it.0),
        "lag_bytes": status.lag_bytes,
        "lag_s": status.lag.as_secs(),
        "failures": status.failures,
        "gaps": status.gaps,
    })
}
