//! Owns what an operator sees of the backup: its section of the status, its metrics.

use crate::backup::{Backup, BackupStatus};
use crate::telemetry::families;
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
    for (family, value) in [
        (&families::BACKUP_UP, u64::from(status.failing.is_none())),
        (&families::BACKUP_SHIPPED, status.shipped.0),
        (
            &families::BACKUP_SNAPSHOT,
            status.snapshot.map_or(0, |it| it.0),
        ),
        (&families::BACKUP_LAG_BYTES, status.lag_bytes),
        (&families::BACKUP_LAG, status.lag.as_secs()),
        (&families::BACKUP_BYTES, status.bytes),
        (&families::BACKUP_OBJECTS, status.objects),
        (&families::BACKUP_FAILURES, status.failures),
        (&families::BACKUP_GAPS, status.gaps),
    ] {
        out.single(family, value);
    }
}
