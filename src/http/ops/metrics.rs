//! Owns `/metrics`: the process's figures as text for Prometheus, or as `OpenMetrics` where the scraper
//! prefers that.

use super::capacity::Capacity;
use super::jobs;
use super::readiness::{NotReady, ReadinessCheck};
use super::reports::Reports;
use crate::backup::Backup;
use crate::engine::view::ProductView;
use crate::http::call::Call;
use crate::http::wire::accept;
use crate::http::wire::answer::{Answer, ContentKind};
use crate::journal::{Journal, Status};
use crate::payments::breaker::Circuit;
use crate::payments::driver::Payments;
use crate::reconcile::Reconciler;
use crate::report::feed::Sinks;
use crate::report::postgres::segments::SegmentJob;
use crate::telemetry::exposition::{Bucket, Distribution, Exposition, TextFormat};
use crate::telemetry::families;
use crate::telemetry::logging;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process;
use crate::telemetry::tracer::Tracer;
use hyper::http::StatusCode;
use std::sync::Arc;

/// The sources of all metrics.
pub struct Scrape {
    pub journal: Arc<Journal>,
    pub readiness: Arc<ReadinessCheck>,
    pub metrics: Arc<Metrics>,
    pub tracer: Arc<Tracer>,
    pub payments: Arc<Payments>,
    pub reconciler: Arc<Reconciler>,
    pub segments: Option<Arc<SegmentJob>>,
    pub backup: Option<Arc<Backup>>,
    pub sinks: Arc<Sinks>,
    pub reports: Arc<Reports>,
    pub capacity: Arc<Capacity>,
}

impl Scrape {
    /// Collects the metrics on the thread of the reports.
    pub async fn answer(self: &Arc<Self>, call: Call) -> Answer {
        let scrape = Arc::clone(self);
        let format = accept::metrics(&call.parts.headers);
        let text = move || scrape.figures().text(format);
        match self.reports.gather(text).await {
            Ok(text) => Answer {
                status: StatusCode::OK,
                kind: match format {
                    TextFormat::Prometheus => ContentKind::Metrics,
                    TextFormat::OpenMetrics => ContentKind::OpenMetrics,
                },
                body: text.into_bytes(),
                headers: Vec::new(),
            },
            Err(reason) => call.problem(reason),
        }
    }

    /// All metrics as of now, for an export; `None` if too many reports wait.
    pub fn gathered(self: &Arc<Self>) -> Option<Exposition> {
        let scrape = Arc::clone(self);
        self.reports.gather_blocking(move || scrape.figures())
    }

    /// It takes the lock of each shard once.
    fn figures(&self) -> Exposition {
        let mut out = Exposition::default();
        self.metrics.render(&mut out);
        self.log_metrics(&mut out);
        out.single(
            &families::AUDIT_REFUSALS_LEFT_OUT,
            self.journal.trail().acts_left_out(),
        );
        out.single(
            &families::ATTEMPT_REFUSALS_LEFT_OUT,
            self.journal.trail().attempts_left_out(),
        );
        out.single(&families::LOG_LINES_DROPPED, logging::dropped());
        out.single(&families::LOG_LINES_LEFT_OUT, logging::left_out());
        let spans = out.family(&families::TRACE_SPANS);
        for (result, count) in self.tracer.span_figures() {
            spans.sample(&[("result", result)], count);
        }
        let exports = out.family(&families::METRIC_EXPORTS);
        for (result, count) in self.tracer.export_figures() {
            exports.sample(&[("result", result)], count);
        }
        out.signed_seconds(
            &families::CLOCK_OFFSET,
            self.journal.upkeep().clock_offset_ms(),
        );
        jobs::reconciliation(&self.reconciler.status(), &mut out);
        if let Some(job) = &self.segments {
            jobs::segments(&job.status(), &mut out);
        }
        if let Some(backup) = &self.backup {
            jobs::backup(&backup.status(), &mut out);
        }
        jobs::sinks(&self.sinks.status(), &mut out);
        self.capacity.render(&mut out);
        process::build(&mut out);
        process::process(&mut out);
        out
    }

    /// Rule names come from the operator, but have a limited alphabet and number.
    fn risk_metrics(&self, out: &mut Exposition) {
        let hits = out.family(&families::RISK_HITS);
        for (rule, outcome, held) in self.journal.risk().rule_counts() {
            let labels = [("rule", rule.as_str()), ("outcome", outcome.as_str())];
            hits.sample(&labels, held);
        }
        out.single(
            &families::VELOCITY_KEYS_GIVEN_UP,
            self.journal.risk().velocity_given_up(),
        );
    }

    /// The journal's figures. It takes the lock of each shard once per scrape.
    fn log_metrics(&self, out: &mut Exposition) {
        let status = self.journal.figures().status();
        let log = &status.log;
        for (family, value) in [
            (&families::LOG_SYNCS, log.syncs),
            (&families::LOG_FRAMES, log.frames),
            (&families::LOG_RECORDS, log.records),
            (&families::LOG_BYTES, log.bytes),
        ] {
            out.single(family, value);
        }
        self.readiness_metrics(out);
        self.snapshot_metrics(&status, out);
        self.disk_metrics(out);
        self.circuit_metrics(out);
        self.bound_metrics(out);
        self.risk_metrics(out);
        units_metrics(&status, out);
        for (family, value) in [
            (&families::LOG_DURABLE, status.durable.0),
            (&families::LOG_APPENDED, status.appended.0),
            (&families::LOG_SEGMENTS, log.segments),
            (&families::LOG_RING_USED, log.ring_used),
            (&families::LOG_RING_MAX, log.ring_bytes),
            (&families::BUYERS, status.buyers as u64),
            (&families::PURCHASES, status.purchases as u64),
            (&families::IDEMPOTENCY_KEYS, status.keys as u64),
            (
                &families::PAYMENTS_IN_FLIGHT,
                self.payments.in_flight() as u64,
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
                    .map_or(0, |at| self.journal.now().since_ms(at) / 1_000),
            ),
        ] {
            out.single(family, value);
        }
    }

    fn readiness_metrics(&self, out: &mut Exposition) {
        let not_ready = self.readiness.not_ready();
        out.single(&families::READY, u64::from(not_ready.is_none()));
        let reasons = out.family(&families::NOT_READY);
        for reason in NotReady::AFTER_RECOVERY {
            let is_it = u64::from(not_ready == Some(reason));
            reasons.sample(&[("reason", reason.reason())], is_it);
        }
    }

    fn snapshot_metrics(&self, status: &Status, out: &mut Exposition) {
        let lsn = status.snapshot.map_or(0, |it| it.0);
        out.single(&families::SNAPSHOT_LSN, lsn);
        let failing = u64::from(status.snapshot_failure.is_some());
        out.single(&families::SNAPSHOT_FAILING, failing);
        if let Some(at) = status.snapshot_at {
            let age_ms = self.journal.now().since_ms(at);
            out.single(&families::SNAPSHOT_AGE, age_ms / 1_000);
        }
    }

    fn disk_metrics(&self, out: &mut Exposition) {
        let disk = self.journal.figures().disk();
        out.single(&families::DISK_FREE, disk.free_bytes.unwrap_or(0));
        out.single(&families::DISK_FREE_MIN, disk.free_bytes_min);
        let slowest_ms = u64::try_from(disk.sync_slowest.as_millis()).unwrap_or(u64::MAX);
        let slowest = out.family(&families::LOG_SYNC_SLOWEST);
        slowest.sample_ms(&[], slowest_ms);
        let syncs = self.journal.figures().sync_times();
        let bounded = syncs.bounded.iter().map(|it| (Some(it.0), it.1));
        let buckets = bounded.chain([(None, syncs.above)]);
        let buckets = buckets.map(|(bound_ns, count)| Bucket {
            bound_ns,
            count,
            exemplar: None,
        });
        let times = Distribution {
            buckets: buckets.collect(),
            sum_ns: syncs.sum_ns,
        };
        out.family(&families::LOG_SYNC).times(&[], times);
    }

    fn bound_metrics(&self, out: &mut Exposition) {
        let bounds = out.family(&families::BOUND_USED);
        for it in self.journal.figures().bounds_used() {
            let labels = [("bound", it.bound.as_str())];
            bounds.sample_ratio(&labels, it.used, it.maximum);
        }
    }

    fn circuit_metrics(&self, out: &mut Exposition) {
        let states = out.family(&families::GATEWAY_CIRCUIT);
        let circuit = self.payments.circuit();
        for state in [Circuit::Closed, Circuit::Open, Circuit::HalfOpen] {
            let is_it = u64::from(state == circuit);
            states.sample(&[("state", state.as_str())], is_it);
        }
        let waiting = self.payments.gateway().waiting().unwrap_or_default();
        let calls = out.family(&families::GATEWAY_WAITING);
        for (class, count) in [("urgent", waiting.urgent), ("new", waiting.new)] {
            calls.sample(&[("class", class)], count as u64);
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
        .map(|view| {
            u64::from(
                view.total
                    .saturating_sub(view.held)
                    .saturating_sub(view.sold),
            )
        })
        .sum();
    // Not by `available`, so that a product that breaks the rule is seen.
    let oversold = |view: &ProductView| {
        let committed = u64::from(view.held) + u64::from(view.sold);
        committed.saturating_sub(u64::from(view.total))
    };
    let total = status.products.iter().map(|it| u64::from(it.total)).sum();
    let oversold = status.products.iter().map(oversold).sum();
    out.single(&families::STOCK, total);
    out.single(&families::UNITS_OVERSOLD, oversold);
    let units = out.family(&families::UNITS);
    for (state, count) in [("available", available), ("held", held), ("sold", sold)] {
        units.sample(&[("state", state)], count);
    }
}
