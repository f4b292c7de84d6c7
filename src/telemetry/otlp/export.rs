//! Owns the thread that sends spans and metrics to the collector.
//!
//! Invariants: one request at a time, of a limited number of spans and for a limited time; what the
//! collector does not take is dropped and counted, never kept; a collector that is down is one log line
//! for spans and one for metrics, and one each when it is back.
//! Deliberately absent: retries. The next spans are the next try, the queue before them is bounded, and
//! the next metrics have all that the lost ones had.

use super::{OtlpError, OtlpSettings};
use super::{messages, metrics};
use crate::random::Random;
use crate::telemetry::process;
use crate::telemetry::tracer::{
    ExportFigures, MetricsSource, SpanQueue, SpanRecord, Tracer, TracerMessage,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;

/// Spans of one request.
const BATCH_SPANS_MAX: usize = 512;
/// How long spans wait for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How long one request may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read; it says nothing that is used.
const ANSWER_BYTES_MAX: usize = 64 << 10;

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub(super) fn start(settings: &OtlpSettings) -> Result<Arc<Tracer>, OtlpError> {
    let (tracer, queue) = Tracer::on(settings.ratio_millionths);
    let tracer = Arc::new(tracer);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build()?;
    let exporter = Exporter {
        tracer: Arc::clone(&tracer),
        runtime,
        http: client()?,
        spans: Signal::new(settings, "traces", "spans"),
        metrics: Signal::new(settings, "metrics", "metrics"),
        schedule: settings.metrics_every.map(|every| MetricsSchedule {
            every,
            source: None,
            next: Instant::now() + every,
        }),
        instance: format!("{:016x}", Random::System.draw()),
        started: process::started_at(),
    };
    std::thread::Builder::new()
        .name("otlp".to_owned())
        .spawn(move || exporter.run(&queue))?;
    Ok(tracer)
}

fn client() -> Result<Http, OtlpError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector))
}

struct Exporter {
    tracer: Arc<Tracer>,
    runtime: Runtime,
    http: Http,
    spans: Signal,
    metrics: Signal,
    /// `None`: metrics are not sent.
    schedule: Option<MetricsSchedule>,
    /// Tells this process from others, in `service.instance.id`.
    instance: String,
    started: SystemTime,
}

/// When metrics are sent.
struct MetricsSchedule {
    every: Duration,
    /// `None`: until the core has started.
    source: Option<MetricsSource>,
    next: Instant,
}

/// One kind of telemetry on its way to the collector.
struct Signal {
    url: String,
    /// The word for it in log lines.
    what: &'static str,
    /// Since when the collector takes none.
    failing: Option<Instant>,
}

/// What to do after a batch.
enum Then {
    GoOn,
    Source(MetricsSource),
    End(SyncSender<()>),
}

impl Exporter {
    fn run(mut self, queue: &SpanQueue) {
        loop {
            let (spans, then) = gather(queue);
            if !spans.is_empty() {
                self.export_spans(spans);
            }
            match then {
                Then::GoOn => {}
                Then::Source(source) => {
                    if let Some(schedule) = &mut self.schedule {
                        schedule.source = Some(source);
                    }
                }
                Then::End(done) => {
                    // What was counted since the last time would be lost.
                    self.export_metrics();
                    // Whoever asked may have stopped waiting.
                    let _ = done.try_send(());
                    return;
                }
            }
            let now = Instant::now();
            if let Some(schedule) = &mut self.schedule
                && now >= schedule.next
            {
                schedule.next = now + schedule.every;
                self.export_metrics();
            }
        }
    }

    fn export_spans(&mut self, spans: Vec<SpanRecord>) {
        let count = spans.len() as u64;
        let body = messages::request(&self.instance, spans).encode_to_vec();
        let sent = self.spans.send(&self.runtime, &self.http, body);
        count_sent(&self.tracer.spans, sent, count);
    }

    fn export_metrics(&mut self) {
        let Some(source) = self.schedule.as_ref().and_then(|it| it.source.as_ref()) else {
            return;
        };
        // `None`: the core is gone, or has too much to report already.
        let Some(figures) = source() else { return };
        let request = metrics::request(&self.instance, self.started, &figures);
        let body = request.encode_to_vec();
        let sent = self.metrics.send(&self.runtime, &self.http, body);
        count_sent(&self.tracer.exports, sent, 1);
    }
}

/// Whether the collector took something.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    Lost,
}

fn count_sent(figures: &ExportFigures, sent: Sent, count: u64) {
    let counter = match sent {
        Sent::Taken => &figures.exported,
        Sent::Lost => &figures.failed,
    };
    counter.fetch_add(count, Relaxed);
}

impl Signal {
    fn new(settings: &OtlpSettings, path: &str, what: &'static str) -> Self {
        Self {
            url: format!("{}/v1/{path}", settings.endpoint),
            what,
            failing: None,
        }
    }

    /// Sends one request and waits for its answer, for a limited time.
    fn send(&mut self, runtime: &Runtime, http: &Http, body: Vec<u8>) -> Sent {
        let sent = runtime.block_on(async {
            let sending = send(http, &self.url, body);
            let timeout = tokio::time::timeout(EXPORT_TIMEOUT, sending).await;
            timeout.unwrap_or_else(|_| Err(format!("no answer within {EXPORT_TIMEOUT:?}")))
        });
        let what = self.what;
        match (sent, self.failing) {
            (Ok(()), None) => Sent::Taken,
            (Ok(()), Some(since)) => {
                self.failing = None;
                let failed_s = since.elapsed().as_secs();
                tracing::info!(
                    event = "otlp_restored",
                    failed_s,
                    "the collector takes {what} again"
                );
                Sent::Taken
            }
            (Err(_), Some(_)) => Sent::Lost,
            (Err(why), None) => {
                self.failing = Some(Instant::now());
                tracing::warn!(
                    event = "otlp_failed",
                    "{what} cannot be exported ({why}); they are dropped until the collector at telemetry.otlp_endpoint takes them"
                );
                Sent::Lost
            }
        }
    }
}

/// The next spans: as many as fit into a request, or those that came in time.
fn gather(queue: &SpanQueue) -> (Vec<SpanRecord>, Then) {
    let mut spans = Vec::new();
    let mut until = None;
    while spans.len() < BATCH_SPANS_MAX {
        let left = until.map_or(BATCH_WAIT, |until: Instant| {
            until.saturating_duration_since(Instant::now())
        });
        match queue.0.recv_timeout(left) {
            Ok(TracerMessage::Span(span)) => {
                spans.push(*span);
                until = until.or_else(|| Some(Instant::now() + BATCH_WAIT));
            }
            Ok(TracerMessage::Metrics(source)) => return (spans, Then::Source(source)),
            Ok(TracerMessage::Stop(done)) => return (spans, Then::End(done)),
            // The tracer is kept by the exporter itself.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    (spans, Then::GoOn)
}

async fn send(http: &Http, url: &str, body: Vec<u8>) -> Result<(), String> {
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(USER_AGENT, concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let response = http.request(request).await;
    let response = response.map_err(|error| crate::causes::with_causes(&error))?;
    let status = response.status();
    // Read, so that the connection can be used again.
    let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    match status {
        StatusCode::OK => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}
