//! Owns what an operator sees of the backup: its section of the status, its metrics.

use crate::backup::{Backup, BackupStatus};
use crate::telemetry::metrics::Exposition;
use serde_json::{Value, json};

/// What `/admin/status` says of it; `null` where none is set up.
pub(in crate::http) fn shown(backup: Option<&Backup>) -> Value {
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

/// How far behind it is, and how it went.
pub(in crate::http) fn metrics(status: &BackupStatus, out: &mut Exposition) {
    for (name, kind, help, value) in [
        (
            "holdfast_backup_up",
            "gauge",
            "1 where the last try to ship to the store succeeded.",
            u64::from(status.failing.is_none()),
        ),
        (
            "holdfast_backup_shipped_lsn",
            "gauge",
            "Everything before is in the store.",
            status.shipped.0,
        ),
        (
            "holdfast_backup_snapshot_lsn",
            "gauge",
            "The newest snapshot in the store; 0: none.",
            status.snapshot.map_or(0, |it| it.0),
        ),
        (
            "holdfast_backup_lag_bytes",
            "gauge",
            "Bytes of log that are durable here and not in the store.",
            status.lag_bytes,
        ),
        (
            "holdfast_backup_lag_seconds",
            "gauge",
            "For how long something durable has not been in the store; 0: everything is.",
            status.lag.as_secs(),
        ),
        (
            "holdfast_backup_bytes_total",
            "counter",
            "Bytes shipped to the store.",
            status.bytes,
        ),
        (
            "holdfast_backup_objects_total",
            "counter",
            "Objects written to the store.",
            status.objects,
        ),
        (
            "holdfast_backup_failures_total",
            "counter",
            "Tries to ship to the store that failed.",
            status.failures,
        ),
        (
            "holdfast_backup_gaps_total",
            "counter",
            "How often the log was not kept for as long as the store was away.",
            status.gaps,
        ),
    ] {
        out.single(name, kind, help, value);
    }
}
