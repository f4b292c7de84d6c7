//! Owns what machines ask of the process: is it alive, is it ready, what has it counted.

use crate::http::front::Front;
use crate::http::wire::answer::{Answer, Kind};
use crate::journal::{Readiness, Status};
use crate::payments::breaker::Circuit;
use crate::telemetry::families;
use crate::telemetry::logging;
use crate::telemetry::metrics::Exposition;
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Why new purchases are not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum NotReady {
    /// The log is being read; said by another handler, because this one is not there yet.
    Recovering,
    /// The process was told to end.
    Stopping,
    /// The disk is nearly full.
    DiskFull,
    /// The log has stopped.
    DiskFailing,
    /// Another process has taken the log over.
    NotLeader,
    /// The data directory is a restored or older copy, and nobody has ordered to go on with it.
    RestoredCopy,
}

impl NotReady {
    /// The word for it, and what to do.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Recovering => (
                "recovering",
                "The server is starting and reads its log. It accepts requests when that is done.",
            ),
            Self::Stopping => (
                "stopping",
                "The process is shutting down. Send requests to another one.",
            ),
            Self::DiskFull => (
                "disk_full",
                "Less than storage.disk_free_bytes_min is free on the disk of the data directory. Free disk space.",
            ),
            Self::DiskFailing => (
                "disk_failing",
                "A write or sync of the log failed, and the process is stopping. Check the disk, then start the process again.",
            ),
            Self::NotLeader => (
                "not_leader",
                "Another process writes this log's backup, and this one ends; send requests to the other one. The log line `backup_refused` names it.",
            ),
            Self::RestoredCopy => (
                "restored_copy",
                "The data directory is a restored or older copy, or a sink has more than its log (GET /admin/status says which). Put the right directory back, or order to go on with this one: POST /admin/history/accept.",
            ),
        }
    }
}

/// Readiness as `/readyz` and `/admin/status` show it.
pub(in crate::http) fn readiness_json(not_ready: Option<NotReady>) -> Value {
    let told = not_ready.map(NotReady::told);
    json!({
        "status": if told.is_some() { "not_ready" } else { "ready" },
        "reason": told.map(|(reason, _)| reason),
        "detail": told.map(|(_, detail)| detail),
    })
}

impl Front {
    pub(in crate::http) fn live() -> Answer {
        Answer::json(StatusCode::OK, b"{\"status\":\"live\"}".to_vec())
    }

    /// Whether new purchases are taken; the status code says it, too.
    pub(in crate::http) fn ready(&self) -> Answer {
        let not_ready = self.not_ready();
        let status = match not_ready {
            None => StatusCode::OK,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer::value(status, &readiness_json(not_ready))
    }

    pub(in crate::http) fn not_ready(&self) -> Option<NotReady> {
        let stopping = self.core.stopping.load(Ordering::Relaxed);
        match self.core.journal.readiness() {
            // A fault ends the process: it says more than that the process ends.
            Readiness::NotLeader => Some(NotReady::NotLeader),
            Readiness::RestoredCopy => Some(NotReady::RestoredCopy),
            Readiness::Failed(_) => Some(NotReady::DiskFailing),
            Readiness::Ready | Readiness::DiskFull if stopping => Some(NotReady::Stopping),
            Readiness::DiskFull => Some(NotReady::DiskFull),
            Readiness::Ready => None,
        }
    }

    pub(in crate::http) fn metrics(&self) -> Answer {
        let mut out = Exposition::default();
        self.core.metrics.render(&mut out);
        self.log_metrics(&mut out);
        out.single(
            &families::AUDIT_REFUSALS_LEFT_OUT,
            self.core.journal.refused_acts_left_out(),
        );
        out.single(
            &families::ATTEMPT_REFUSALS_LEFT_OUT,
            self.core.journal.refused_attempts_left_out(),
        );
        out.single(&families::LOG_LINES_DROPPED, logging::dropped());
        out.single(&families::LOG_LINES_LEFT_OUT, logging::left_out());
        out.signed_seconds(&families::CLOCK_OFFSET, self.core.journal.clock_offset_ms());
        crate::http::admin::reconcile::metrics(&self.core.reconciler.status(), &mut out);
        if let Some(job) = &self.core.segments {
            crate::http::admin::segments::metrics(&job.status(), &mut out);
        }
        if let Some(backup) = &self.core.backup {
            crate::http::admin::backup::metrics(&backup.status(), &mut out);
        }
        self.sink_metrics(&mut out);
        Answer {
            status: StatusCode::OK,
            kind: Kind::Metrics,
            body: out.into_text().into_bytes(),
            headers: Vec::new(),
        }
    }

    /// A rule's name is the operator's, of a closed alphabet, and there are few: see the rules.
    fn risk_metrics(&self, out: &mut Exposition) {
        let family = &families::RISK_HITS;
        out.family(family);
        for (rule, outcome, held) in self.core.journal.rule_counts() {
            let (rule, outcome) = (rule.as_str(), outcome.as_str());
            out.sample(
                family,
                &format!("rule=\"{rule}\",outcome=\"{outcome}\""),
                held,
            );
        }
        out.single(
            &families::VELOCITY_KEYS_GIVEN_UP,
            self.core.journal.velocity_given_up(),
        );
    }

    /// The journal's figures. It looks at each shard in its turn, once a scrape.
    fn log_metrics(&self, out: &mut Exposition) {
        let status = self.core.journal.status();
        let ready = self.not_ready().is_none();
        let log = &status.log;
        for (family, value) in [
            (&families::LOG_SYNCS, log.syncs),
            (&families::LOG_FRAMES, log.frames),
            (&families::LOG_RECORDS, log.records),
            (&families::LOG_BYTES, log.bytes),
        ] {
            out.single(family, value);
        }
        self.disk_metrics(out);
        self.circuit_metrics(out);
        self.bound_metrics(out);
        self.risk_metrics(out);
        units_metrics(&status, out);
        for (family, value) in [
            (&families::READY, u64::from(ready)),
            (&families::LOG_DURABLE, status.durable.0),
            (&families::LOG_APPENDED, status.appended.0),
            (&families::LOG_SEGMENTS, log.segments),
            (&families::LOG_RING_USED, log.ring_used),
            (&families::BUYERS, status.buyers as u64),
            (&families::PURCHASES, status.purchases as u64),
            (&families::IDEMPOTENCY_KEYS, status.keys as u64),
            (
                &families::PAYMENTS_IN_FLIGHT,
                self.core.payments.in_flight() as u64,
            ),
            (&families::OPEN_PAYMENTS, status.open_payments as u64),
            (&families::STUCK_VOIDS, status.stuck_voids as u64),
            (
                &families::DIFFERING_CAPTURES,
                status.differing_captures as u64,
            ),
            (&families::REVIEWS_OPEN, status.reviews as u64),
            (
                &families::REVIEWS_OLDEST_AGE,
                status
                    .oldest_review
                    .map_or(0, |at| self.core.journal.now().since_ms(at) / 1_000),
            ),
        ] {
            out.single(family, value);
        }
    }

    fn disk_metrics(&self, out: &mut Exposition) {
        let disk = self.core.journal.disk();
        out.single(&families::DISK_FREE, disk.free_bytes.unwrap_or(0));
        out.single(&families::DISK_FREE_MIN, disk.free_bytes_min);
        out.family(&families::LOG_SYNC_SLOWEST);
        let slowest_ms = u64::try_from(disk.sync_slowest.as_millis()).unwrap_or(u64::MAX);
        out.sample_ms(&families::LOG_SYNC_SLOWEST, "", slowest_ms);
        let syncs = self.core.journal.sync_times();
        out.times(
            &families::LOG_SYNC,
            &syncs.bounded,
            syncs.above,
            syncs.sum_ns,
        );
    }

    fn bound_metrics(&self, out: &mut Exposition) {
        let family = &families::BOUND_USED;
        out.family(family);
        for it in self.core.journal.bounds_used() {
            let labels = format!("bound=\"{}\"", it.bound.as_str());
            out.sample_ratio(family, &labels, it.used, it.maximum);
        }
    }

    fn circuit_metrics(&self, out: &mut Exposition) {
        out.family(&families::GATEWAY_CIRCUIT);
        let circuit = self.core.payments.circuit();
        for state in [Circuit::Closed, Circuit::Open, Circuit::HalfOpen] {
            let labels = format!("state=\"{}\"", state.as_str());
            out.sample(
                &families::GATEWAY_CIRCUIT,
                &labels,
                u64::from(state == circuit),
            );
        }
        let waiting = self.core.payments.gateway().waiting().unwrap_or_default();
        out.family(&families::GATEWAY_WAITING);
        for (class, count) in [("urgent", waiting.urgent), ("new", waiting.new)] {
            let labels = format!("class=\"{class}\"");
            out.sample(&families::GATEWAY_WAITING, &labels, count as u64);
        }
    }
}

fn units_metrics(status: &Status, out: &mut Exposition) {
    let held: u64 = status
        .products
        .iter()
        .map(|view| u64::from(view.held))
        .sum();
    let sold: u64 = status
        .products
        .iter()
        .map(|view| u64::from(view.sold))
        .sum();
    let available: u64 = status
        .products
        .iter()
        .map(|view| u64::from(view.available()))
        .sum();
    out.family(&families::UNITS);
    out.sample(&families::UNITS, "state=\"available\"", available);
    out.sample(&families::UNITS, "state=\"held\"", held);
    out.sample(&families::UNITS, "state=\"sold\"", sold);
}
