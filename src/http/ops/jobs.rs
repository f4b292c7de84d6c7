//! Owns the metrics of background work: backup, reconciliation, segments, sinks.

use crate::backup::BackupStatus;
use crate::reconcile::{DifferenceKind, ReconcileStatus};
use crate::report::feed::{Mode, SinkStatus};
use crate::report::postgres::segments::SegmentsStatus;
use crate::telemetry::exposition::Exposition;
use crate::telemetry::families::{self, Family};

/// Lag and failures of the backup.
pub fn backup(status: &BackupStatus, out: &mut Exposition) {
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

/// The figures of the latest successful run; none before the first.
pub fn reconciliation(status: &ReconcileStatus, out: &mut Exposition) {
    let good = status.last_good.as_deref();
    out.single(&families::RECONCILE_FAILED, status.failed);
    out.single(
        &families::RECONCILE_LAST_SUCCESS,
        good.map_or(0, |report| report.ended_at.get() / 1_000),
    );
    let Some(report) = good else { return };
    let differences = out.family(&families::RECONCILE_DIFFERENCES);
    for kind in DifferenceKind::ALL {
        differences.sample(&[("kind", kind.as_str())], report.count(kind) as u64);
    }
}

/// The figures of this process's runs.
pub fn segments(status: &SegmentsStatus, out: &mut Exposition) {
    let good = status.last_good.as_deref();
    out.single(&families::SEGMENTS_FAILED, status.failed);
    out.single(&families::SEGMENTS_FED, status.fed);
    out.single(
        &families::SEGMENTS_LAST_SUCCESS,
        good.map_or(0, |report| report.ended_at.get() / 1_000),
    );
}

/// The figures of each sink.
pub fn sinks(sinks: &[SinkStatus], out: &mut Exposition) {
    type Value = fn(&SinkStatus) -> u64;
    const VALUES: [(&Family, Value); 8] = [
        (&families::SINK_UP, |it| u64::from(it.up)),
        (&families::SINK_LAG_BYTES, |it| it.lag_bytes),
        (&families::SINK_CURSOR, |it| it.cursor.0),
        (&families::SINK_DELIVERED, |it| it.delivered),
        (&families::SINK_REJECTED, |it| it.rejected),
        (&families::SINK_RETRIES, |it| it.retries),
        (&families::SINK_DEAD_LETTERS, |it| it.dead_letter_bytes),
        (&families::SINK_GIVEN_UP, |it| {
            u64::from(it.mode == Mode::GivenUp)
        }),
    ];
    if sinks.is_empty() {
        return;
    }
    for (family, of) in VALUES {
        let samples = out.family(family);
        for sink in sinks {
            samples.sample(&[("sink", sink.name)], of(sink));
        }
    }
    let ages = out.family(&families::SINK_AGE);
    for sink in sinks {
        ages.sample_ms(&[("sink", sink.name)], sink.age_ms);
    }
}
