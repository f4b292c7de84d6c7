//! Owns what machines ask of the process: is it alive, is it ready, what has it counted.

use crate::http::front::Front;
use crate::http::wire::answer::{Answer, Kind};
use crate::journal::{Readiness, Status};
use crate::payments::breaker::Circuit;
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
        if self.core.stopping.load(Ordering::Relaxed) {
            return Some(NotReady::Stopping);
        }
        match self.core.journal.readiness() {
            Readiness::Ready => None,
            Readiness::DiskFull => Some(NotReady::DiskFull),
            Readiness::NotLeader => Some(NotReady::NotLeader),
            Readiness::Failed(_) => Some(NotReady::DiskFailing),
        }
    }

    pub(in crate::http) fn metrics(&self) -> Answer {
        let mut out = Exposition::default();
        self.core.metrics.render(&mut out);
        self.log_metrics(&mut out);
        out.single(
            "holdfast_audit_refusals_left_out_total",
            "counter",
            "Refused administrative acts that were not written down, because a key had more than `audit.refusals_per_s`.",
            self.core.journal.refused_acts_left_out(),
        );
        out.single(
            "holdfast_attempt_refusals_left_out_total",
            "counter",
            "Refused attempts that left nothing behind and were not written down, because a key had more than `audit.refused_attempts_per_s`.",
            self.core.journal.refused_attempts_left_out(),
        );
        out.single(
            "holdfast_log_lines_dropped_total",
            "counter",
            "Log lines that were dropped, because nobody took them from stderr in time.",
            logging::dropped(),
        );
        out.single(
            "holdfast_log_lines_left_out_total",
            "counter",
            "Log lines that were left out, because their event word came too often.",
            logging::left_out(),
        );
        out.signed_seconds(
            "holdfast_clock_offset_seconds",
            "How far the wall clock lies ahead of the core's time; negative: behind.",
            self.core.journal.clock_offset_ms(),
        );
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
        let name = "holdfast_risk_hits_total";
        out.family(name, "counter", "Attempts that met a risk rule in force.");
        for (rule, outcome, held) in self.core.journal.rule_counts() {
            let (rule, outcome) = (rule.as_str(), outcome.as_str());
            out.sample(
                name,
                &format!("rule=\"{rule}\",outcome=\"{outcome}\""),
                held,
            );
        }
        out.single(
            "holdfast_velocity_keys_given_up_total",
            "counter",
            "Counters that went, or were not taken in, because there were too many.",
            self.core.journal.velocity_given_up(),
        );
    }

    /// The journal's figures. It looks at each shard in its turn, once a scrape.
    fn log_metrics(&self, out: &mut Exposition) {
        let status = self.core.journal.status();
        let ready = self.not_ready().is_none();
        let log = &status.log;
        for (name, help, value) in [
            ("holdfast_log_syncs_total", "Syncs of the log.", log.syncs),
            (
                "holdfast_log_frames_total",
                "Frames written to the log.",
                log.frames,
            ),
            (
                "holdfast_log_records_total",
                "Records written to the log.",
                log.records,
            ),
            (
                "holdfast_log_bytes_total",
                "Bytes written to the log.",
                log.bytes,
            ),
        ] {
            out.single(name, "counter", help, value);
        }
        self.disk_metrics(out);
        self.circuit_metrics(out);
        self.bound_metrics(out);
        self.risk_metrics(out);
        units_metrics(&status, out);
        for (name, help, value) in [
            (
                "holdfast_ready",
                "1 where new purchases are taken.",
                u64::from(ready),
            ),
            (
                "holdfast_log_durable_lsn",
                "Everything before is durable.",
                status.durable.0,
            ),
            (
                "holdfast_log_appended_lsn",
                "Everything before is on its way to the disk.",
                status.appended.0,
            ),
            ("holdfast_log_segments", "Files of the log.", log.segments),
            (
                "holdfast_log_ring_used_bytes",
                "Bytes that wait to be written.",
                log.ring_used,
            ),
            ("holdfast_buyers", "Buyers kept.", status.buyers as u64),
            (
                "holdfast_purchases",
                "Purchases kept.",
                status.purchases as u64,
            ),
            (
                "holdfast_idempotency_keys",
                "Idempotency keys remembered.",
                status.keys as u64,
            ),
            (
                "holdfast_payments_in_flight",
                "Payments under way.",
                self.core.payments.in_flight() as u64,
            ),
            (
                "holdfast_open_payments",
                "Payments and refunds whose outcome is not known yet.",
                status.open_payments as u64,
            ),
            (
                "holdfast_stuck_voids",
                "Authorizations that could not be given back, in time or at all; the operator is called.",
                status.stuck_voids as u64,
            ),
            (
                "holdfast_differing_captures",
                "Captures of another sum than was asked for, which an operator has to settle.",
                status.differing_captures as u64,
            ),
            (
                "holdfast_reviews_open",
                "Purchases that wait for a person.",
                status.reviews as u64,
            ),
            (
                "holdfast_reviews_oldest_age_seconds",
                "How long the purchase has waited that has waited longest; 0: none waits.",
                status
                    .oldest_review
                    .map_or(0, |at| self.core.journal.now().since_ms(at) / 1_000),
            ),
        ] {
            out.single(name, "gauge", help, value);
        }
    }

    fn disk_metrics(&self, out: &mut Exposition) {
        let disk = self.core.journal.disk();
        out.single(
            "holdfast_disk_free_bytes",
            "gauge",
            "Free bytes on the disk of the data directory; 0 where it does not say.",
            disk.free_bytes.unwrap_or(0),
        );
        out.single(
            "holdfast_disk_free_bytes_min",
            "gauge",
            "Free bytes below which new purchases are refused: storage.disk_free_bytes_min.",
            disk.free_bytes_min,
        );
        out.family(
            "holdfast_log_sync_slowest_seconds",
            "gauge",
            "The longest sync of the last ten seconds, one that goes on included.",
        );
        let slowest_ms = u64::try_from(disk.sync_slowest.as_millis()).unwrap_or(u64::MAX);
        out.sample_ms("holdfast_log_sync_slowest_seconds", "", slowest_ms);
        let syncs = self.core.journal.sync_times();
        out.times(
            "holdfast_log_sync_seconds",
            "Time that each sync of the log took.",
            &syncs.bounded,
            syncs.above,
            syncs.sum_ns,
        );
    }

    fn bound_metrics(&self, out: &mut Exposition) {
        let name = "holdfast_bound_used_ratio";
        out.family(
            name,
            "gauge",
            "How full what `[engine]` bounds is, of each bound of a shard the fullest shard; 1: refused.",
        );
        for it in self.core.journal.bounds_used() {
            let labels = format!("bound=\"{}\"", it.bound.as_str());
            out.sample_ratio(name, &labels, it.used, it.maximum);
        }
    }

    fn circuit_metrics(&self, out: &mut Exposition) {
        out.family(
            "holdfast_gateway_circuit",
            "gauge",
            "1 for where the circuit to the gateway stands: calls are sent only while it is closed.",
        );
        let circuit = self.core.payments.circuit();
        for state in [Circuit::Closed, Circuit::Open, Circuit::HalfOpen] {
            let labels = format!("state=\"{}\"", state.as_str());
            out.sample(
                "holdfast_gateway_circuit",
                &labels,
                u64::from(state == circuit),
            );
        }
        let waiting = self.core.payments.gateway().waiting().unwrap_or_default();
        out.family(
            "holdfast_gateway_waiting",
            "gauge",
            "Calls that wait for their turn at the gateway's pace, by class.",
        );
        for (class, count) in [("urgent", waiting.urgent), ("new", waiting.new)] {
            let labels = format!("class=\"{class}\"");
            out.sample("holdfast_gateway_waiting", &labels, count as u64);
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
    out.family(
        "holdfast_units",
        "gauge",
        "Units of all products, by where they are.",
    );
    out.sample("holdfast_units", "state=\"available\"", available);
    out.sample("holdfast_units", "state=\"held\"", held);
    out.sample("holdfast_units", "state=\"sold\"", sold);
}
