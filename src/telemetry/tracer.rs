//! Owns which requests are traced here, and the queue of what is exported: their finished spans, and
//! where the metrics come from.
//!
//! Invariants:
//! 1. Off, it costs one check per request. Recording a span never waits: where the queue is full, the
//!    span is dropped and counted.
//! 2. A caller with a valid key decides by its `traceparent` whether its request is traced; others
//!    cannot force it. Where nobody decided, the ratio does.
//! 3. A span has no buyer, card, path or text of a request: words of this program, numbers and ids of
//!    requests.
//!
//! Deliberately absent: the export (`otlp`), and the current trace of a thread (`crate::trace`).
#![cfg_attr(
    not(feature = "otlp"),
    allow(dead_code, reason = "without the export nothing turns it on")
)]

use crate::ids::RequestId;
use crate::payments::RoundEnded;
use crate::payments::gateway::{CallClass, GatewayCall};
use crate::random::Random;
use crate::telemetry::exposition::Exposition;
use crate::trace::{Recording, RequestTrace, SampledFlag, TraceContext, TraceState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

/// Finished spans that wait for their export.
const SPANS_WAITING_MAX: usize = 4_096;
/// The ratio is in parts of this.
pub const RATIO_ONE: u32 = 1_000_000;

/// A finished span.
#[derive(Debug)]
pub struct SpanRecord {
    pub context: TraceContext,
    /// The span that it is a part of; `None`: it begins the trace.
    pub parent: Option<[u8; 8]>,
    pub state: Option<TraceState>,
    pub began: SystemTime,
    pub took: Duration,
    pub what: Spanned,
}

/// What a span is of.
#[derive(Debug)]
pub enum Spanned {
    /// A request, from its head read to its answer written into memory.
    Request {
        method: &'static str,
        route: &'static str,
        status: u16,
        /// Why it was refused.
        reason: Option<&'static str>,
        id: RequestId,
    },
    /// A wait for the log.
    LogWait,
    /// A round of a payment that nobody waits for.
    Round(RoundEnded),
    /// A call to the gateway.
    Gateway { call: GatewayCall, class: CallClass },
}

/// Gathers all metrics, on the thread that exports them; `None` if that is not possible now.
pub type MetricsSource = Box<dyn Fn() -> Option<Exposition> + Send>;

pub(super) enum TracerMessage {
    Span(Box<SpanRecord>),
    /// Export these from now on.
    Metrics(MetricsSource),
    /// Export what is left, then answer and end.
    Stop(SyncSender<()>),
}

/// Traces requests, if there is anywhere to send their spans.
#[derive(Debug, Default)]
pub struct Tracer {
    queue: Option<SyncSender<TracerMessage>>,
    ratio_millionths: u32,
    pub(super) spans: ExportFigures,
    /// Spans that found the queue full.
    dropped: AtomicU64,
    /// Exports of metrics.
    pub(super) exports: ExportFigures,
}

/// What became of what was sent.
#[derive(Debug, Default)]
pub(super) struct ExportFigures {
    /// The collector took it.
    pub(super) exported: AtomicU64,
    /// The collector did not take it.
    pub(super) failed: AtomicU64,
}

/// The span of a request that is recorded, until its end.
#[derive(Debug)]
pub struct RequestSpan {
    pub trace: RequestTrace,
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    pub method: &'static str,
    pub route: &'static str,
}

/// Whether a caller may decide that its request is traced.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CallerTrust {
    /// It has a valid key.
    Key,
    Stranger,
}

impl Tracer {
    /// Traces this part of the requests of which nobody decided; the spans wait in the second value.
    pub(super) fn on(ratio_millionths: u32) -> (Self, SpanQueue) {
        let (sender, receiver) = sync_channel(SPANS_WAITING_MAX);
        let tracer = Self {
            queue: Some(sender),
            ratio_millionths,
            ..Self::default()
        };
        (tracer, SpanQueue(receiver))
    }

    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// The trace of a request that came with `parent`: at a span of its own, if it is recorded here.
    pub fn request(
        &self,
        parent: Option<RequestTrace>,
        caller: CallerTrust,
    ) -> Option<RequestTrace> {
        if !self.is_on() {
            return parent;
        }
        let decided = parent.as_ref().map(|it| it.context.sampled());
        let records = match (decided, caller) {
            (Some(SampledFlag::Yes), CallerTrust::Key) => true,
            (Some(SampledFlag::No), _) => false,
            (Some(SampledFlag::Yes), CallerTrust::Stranger) | (None, _) => self.draws(),
        };
        if !records {
            return parent;
        }
        let state = parent.as_ref().and_then(|it| it.state.clone());
        let context = match parent {
            Some(parent) => parent.context.at(span_id(), SampledFlag::Yes),
            None => TraceContext::new(trace_id(), span_id(), SampledFlag::Yes)?,
        };
        Some(RequestTrace {
            context,
            state,
            recording: Recording::Yes,
        })
    }

    fn draws(&self) -> bool {
        let draw = Random::System.draw() % u64::from(RATIO_ONE);
        draw < u64::from(self.ratio_millionths)
    }

    /// A span within the current one, to be begun now; `None` if the current one is not recorded.
    pub fn child(&self) -> Option<RequestTrace> {
        if !self.is_on() {
            return None;
        }
        let current = crate::trace::recorded()?;
        let context = current.context.at(span_id(), SampledFlag::Yes);
        Some(RequestTrace { context, ..current })
    }

    /// The span that is current and recorded.
    pub fn current(&self) -> Option<TraceContext> {
        self.is_on()
            .then(crate::trace::recorded)?
            .map(|it| it.context)
    }

    /// A span of the current one that ended now, after `took`; `None`: it is not recorded.
    pub fn child_ended(&self, took: Duration, what: Spanned) -> Option<TraceContext> {
        let child = self.child()?;
        let context = child.context;
        self.ended(child, took, what);
        Some(context)
    }

    /// `child`, a span of the current one, ended now, after `took`.
    pub fn ended(&self, child: RequestTrace, took: Duration, what: Spanned) {
        let parent = crate::trace::current().map(TraceContext::span);
        self.record(child, parent, took, what);
    }

    /// A request was answered with this status and reason, after `took`.
    pub fn request_ended(
        &self,
        span: RequestSpan,
        took: Duration,
        id: RequestId,
        (status, reason): (u16, Option<&'static str>),
    ) {
        let what = Spanned::Request {
            method: span.method,
            route: span.route,
            status,
            reason,
            id,
        };
        self.record(span.trace, span.parent, took, what);
    }

    fn record(&self, trace: RequestTrace, parent: Option<[u8; 8]>, took: Duration, what: Spanned) {
        let Some(queue) = &self.queue else { return };
        let now = SystemTime::now();
        let record = SpanRecord {
            context: trace.context,
            parent,
            state: trace.state,
            began: now.checked_sub(took).unwrap_or(now),
            took,
            what,
        };
        if queue
            .try_send(TracerMessage::Span(Box::new(record)))
            .is_err()
        {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Exports what `source` gathers, now and then from now on.
    pub fn export_metrics(&self, source: MetricsSource) {
        if let Some(queue) = &self.queue {
            // The queue is empty: nothing was served yet. Its other end lives as long as this one.
            let _ = queue.try_send(TracerMessage::Metrics(source));
        }
    }

    /// Exports what is left, for `most` at most.
    pub fn stop(&self, most: Duration) {
        let Some(queue) = &self.queue else { return };
        let (done, wait) = sync_channel(1);
        // A full queue means a collector that takes nothing: nothing is waited for.
        if queue.try_send(TracerMessage::Stop(done)).is_ok() {
            let _ = wait.recv_timeout(most);
        }
    }

    /// Spans that were exported, dropped, and not taken by the collector.
    pub fn span_figures(&self) -> [(&'static str, u64); 3] {
        [
            ("exported", self.spans.exported.load(Relaxed)),
            ("dropped", self.dropped.load(Relaxed)),
            ("failed", self.spans.failed.load(Relaxed)),
        ]
    }

    /// Exports of the metrics that the collector took and did not take.
    pub fn export_figures(&self) -> [(&'static str, u64); 2] {
        [
            ("exported", self.exports.exported.load(Relaxed)),
            ("failed", self.exports.failed.load(Relaxed)),
        ]
    }
}

/// Where finished spans wait.
pub(super) struct SpanQueue(pub(super) Receiver<TracerMessage>);

fn span_id() -> [u8; 8] {
    Random::System.draw().max(1).to_be_bytes()
}

fn trace_id() -> [u8; 16] {
    let halves = [Random::System.draw().max(1), Random::System.draw()];
    let mut id = [0; 16];
    id[..8].copy_from_slice(&halves[0].to_be_bytes());
    id[8..].copy_from_slice(&halves[1].to_be_bytes());
    id
}
