//! Owns the state shared by all threads: the parts of the core, the current keys, the limits.
//!
//! Deliberately absent: answering, which each thread's `Front` does.

use super::call::auth::Keys;
use super::call::worker::WorkerBounds;
use super::hooks::webhooks::WebhookVerifier;
use super::ops::capacity::Capacity;
use super::ops::metrics::Scrape;
use super::ops::readiness::{NotReady, ReadinessCheck};
use super::ops::reports::Reports;
use super::server::tls::Tls;
use super::server::wrong_keys::WrongKeys;
use super::wire::body::BodyBounds;
use crate::backup::Backup;
use crate::config::{ApiKey, Config};
use crate::journal::Journal;
use crate::money::Currency;
use crate::payments::driver::Payments;
use crate::payments::sandbox::Sandbox;
use crate::receipts::Sealer;
use crate::reconcile::Reconciler;
use crate::report::feed::Sinks;
use crate::report::postgres::segments::SegmentJob;
use crate::report::webhooks::WebhookEndpoint;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tracer::Tracer;
use crate::webhooks::Secrets;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// The state shared by all threads.
pub struct Core {
    pub(super) journal: Arc<Journal>,
    pub(super) payments: Arc<Payments>,
    pub(super) sealer: Arc<Sealer>,
    pub(super) sandbox: Option<Arc<Sandbox>>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) backup: Option<Arc<Backup>>,
    pub(super) segments: Option<Arc<SegmentJob>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) keys: ArcSwap<Keys>,
    pub(super) currencies: Vec<Currency>,
    pub(super) answer_within: Duration,
    pub(super) config_shown: Arc<ArcSwap<Vec<u8>>>,
    pub(super) webhook_secrets: Arc<Secrets>,
    pub(super) webhooks: Arc<WebhookVerifier>,
    pub(super) wrong_keys: WrongKeys,
    pub(super) tracer: Arc<Tracer>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) endpoints: Vec<Arc<WebhookEndpoint>>,
    pub(super) readiness: Arc<ReadinessCheck>,
    /// Held while a history is being accepted.
    pub(super) accepting: Arc<tokio::sync::Mutex<()>>,
    pub(super) reports: Arc<Reports>,
    pub(super) bounds: WorkerBounds,
    pub(super) capacity: Arc<Capacity>,
}

/// How long the process waits at its end for the collector.
const SPANS_LEFT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pools with bodies; each has the same share of the bytes.
const BODY_POOLS: usize = 4;
/// Each other pool has this fraction of `server.in_flight_max`.
const OTHERS_SHARE: usize = 8;
/// Each such pool has room for at least this many requests.
const OTHERS_MIN: usize = 8;

/// The parts that a [`Core`] is made of.
pub struct CoreParts {
    /// The engine with its log.
    pub journal: Arc<Journal>,
    /// Drives payments.
    pub payments: Arc<Payments>,
    /// Seals receipts.
    pub sealer: Sealer,
    /// The sandbox gateway, if configured.
    pub sandbox: Option<Arc<Sandbox>>,
    /// Compares the gateway's charges with ours.
    pub reconciler: Arc<Reconciler>,
    /// The backup, if configured.
    pub backup: Option<Arc<Backup>>,
    /// The computation of segments, if configured.
    pub segments: Option<Arc<SegmentJob>>,
    /// Counters, one shard for each worker and one more.
    pub metrics: Arc<Metrics>,
    /// Traces requests.
    pub tracer: Arc<Tracer>,
    pub sinks: Arc<Sinks>,
    /// The endpoints of webhooks, whose sinks are among them.
    pub endpoints: Vec<Arc<WebhookEndpoint>>,
    pub webhook_secrets: Arc<Secrets>,
    /// The certificate of the listeners, if they have TLS.
    pub tls: Option<Arc<Tls>>,
    /// Connections that may be open, on all listeners.
    pub connections_max: usize,
}

impl Core {
    /// Builds the core from `config` and these parts. Starts the thread of the reports.
    pub fn new(config: &Config, parts: CoreParts) -> std::io::Result<Arc<Self>> {
        let webhooks = WebhookVerifier::new(Arc::clone(&parts.webhook_secrets), config);
        let bounds = bounds(config);
        let capacity = Capacity {
            connections_max: parts.connections_max,
            threads: config.server.workers,
            bounds,
            tls: parts.tls,
        };
        Ok(Arc::new(Self {
            readiness: ReadinessCheck::new(&parts.journal),
            journal: parts.journal,
            payments: parts.payments,
            sealer: Arc::new(parts.sealer),
            sandbox: parts.sandbox,
            reconciler: parts.reconciler,
            backup: parts.backup,
            segments: parts.segments,
            metrics: parts.metrics,
            tracer: parts.tracer,
            keys: ArcSwap::from_pointee(Keys::new(&config.keys)),
            currencies: config.sale.currencies.clone(),
            answer_within: config.payments.answer_within,
            config_shown: Arc::new(ArcSwap::from_pointee(
                config.shown().to_string().into_bytes(),
            )),
            sinks: parts.sinks,
            endpoints: parts.endpoints,
            webhook_secrets: parts.webhook_secrets,
            webhooks: Arc::new(webhooks),
            wrong_keys: WrongKeys::new(),
            accepting: Arc::default(),
            reports: Reports::start()?,
            bounds,
            capacity: Arc::new(capacity),
        }))
    }

    /// Replaces the keys, also for open connections, and the shown configuration.
    pub fn reload(&self, keys: &[ApiKey], shown: &serde_json::Value) {
        let now = Keys::after(keys, &self.keys.load());
        self.keys.store(Arc::new(now));
        self.config_shown
            .store(Arc::new(shown.to_string().into_bytes()));
    }

    /// Reports the process as not ready from now on; requests are still served.
    pub fn leave(&self) {
        self.readiness.leave();
    }

    /// Why new purchases are not accepted, as `/readyz` says it.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.readiness.not_ready().map(NotReady::reason)
    }

    /// Starts the thread that resumes open payments of the log. Call it before the first request.
    pub fn start_driving(&self) -> std::io::Result<()> {
        self.payments.start()
    }

    /// Ends that thread, once no request is in flight.
    pub fn stop_driving(&self) {
        self.payments.stop();
    }

    /// Exports the metrics now and then, if there is a collector.
    pub fn start_exporting(self: &Arc<Self>) {
        // Weak: the exporter may outlive the core by a call to a collector that is down.
        let core = Arc::downgrade(self);
        let gathered = move || core.upgrade()?.scrape().gathered();
        self.tracer.export_metrics(Box::new(gathered));
    }

    /// The sources of all metrics.
    pub(super) fn scrape(&self) -> Arc<Scrape> {
        Arc::new(Scrape {
            journal: Arc::clone(&self.journal),
            readiness: Arc::clone(&self.readiness),
            metrics: Arc::clone(&self.metrics),
            tracer: Arc::clone(&self.tracer),
            payments: Arc::clone(&self.payments),
            reconciler: Arc::clone(&self.reconciler),
            segments: self.segments.clone(),
            backup: self.backup.clone(),
            sinks: Arc::clone(&self.sinks),
            reports: Arc::clone(&self.reports),
            capacity: Arc::clone(&self.capacity),
        })
    }

    /// Exports the spans and metrics that are left.
    pub fn stop_tracing(&self) {
        self.tracer.stop(SPANS_LEFT_TIMEOUT);
    }

    /// Starts the thread that compares the gateway's charges with ours.
    pub fn start_reconciling(&self) -> std::io::Result<()> {
        self.reconciler.start()
    }

    /// Starts the thread that computes segments of buyers.
    pub fn start_segmenting(&self) -> std::io::Result<()> {
        self.segments.as_ref().map_or(Ok(()), SegmentJob::start)
    }

    /// Reports the process as not ready, and ends its background work.
    pub fn stop(&self) {
        self.leave();
        self.reconciler.stop();
        if let Some(segments) = &self.segments {
            segments.stop();
        }
    }
}

/// The limits of each thread.
fn bounds(config: &Config) -> WorkerBounds {
    let server = &config.server;
    let workers = server.workers.max(1);
    let in_flight_each = server.in_flight_max.div_ceil(workers);
    let others = (server.in_flight_max / OTHERS_SHARE).max(OTHERS_MIN);
    // There is always room for one body of any kind.
    let body_max = config.webhooks.body_bytes_max.max(server.body_bytes_max);
    let bodies = (server.bodies_bytes_max / BODY_POOLS / workers).max(body_max);
    WorkerBounds {
        body: BodyBounds {
            bytes_max: server.body_bytes_max,
            timeout: server.body_read_timeout,
        },
        in_flight_shop_max: in_flight_each as u64,
        in_flight_others_max: others.div_ceil(workers) as u64,
        bodies_bytes_max: bodies as u64,
    }
}
