//! Owns spans as messages of OTLP: names and attributes by OpenTelemetry's conventions, ours behind
//! `holdfast.`.
//!
//! Deliberately absent: `url.path`, which has ids of holds and buyers; the route says what was called.

use crate::payments::RoundEnded;
use crate::payments::gateway::CallClass;
use crate::telemetry::tracer::{SpanRecord, Spanned};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use std::time::{Duration, UNIX_EPOCH};

/// One export.
pub(super) fn request(instance: &str, records: Vec<SpanRecord>) -> ExportTraceServiceRequest {
    let spans = ScopeSpans {
        scope: Some(scope()),
        spans: records.into_iter().map(span).collect(),
        schema_url: String::new(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(instance)),
            scope_spans: vec![spans],
            schema_url: String::new(),
        }],
    }
}

/// This process, for spans and metrics alike.
pub(super) fn resource(instance: &str) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", "holdfast"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", instance),
        ],
        ..Resource::default()
    }
}

pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "holdfast".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn span(record: SpanRecord) -> Span {
    let (name, kind, attributes, error) = described(&record.what);
    let began = record.began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let status = error.map(|message| Status {
        message,
        code: StatusCode::Error.into(),
    });
    Span {
        trace_id: record.context.trace().to_vec(),
        span_id: record.context.span().to_vec(),
        trace_state: record
            .state
            .map(|it| it.as_str().to_owned())
            .unwrap_or_default(),
        parent_span_id: record.parent.map(|it| it.to_vec()).unwrap_or_default(),
        flags: 1,
        name,
        kind: kind.into(),
        start_time_unix_nano: nanos(began),
        end_time_unix_nano: nanos(began.saturating_add(record.took)),
        attributes,
        status,
        ..Span::default()
    }
}

/// Name, kind, attributes, and what is wrong.
fn described(what: &Spanned) -> (String, SpanKind, Vec<KeyValue>, Option<String>) {
    match what {
        Spanned::Request {
            method,
            route,
            status,
            reason,
            id,
        } => {
            let mut attributes = vec![
                text("http.request.method", method),
                text("http.route", route),
                number("http.response.status_code", i64::from(*status)),
                text("holdfast.request_id", &id.to_string()),
            ];
            attributes.extend(reason.map(|it| text("holdfast.reason", it)));
            let fault = *status >= 500;
            let fault = fault.then(|| reason.map_or_else(|| status.to_string(), str::to_owned));
            attributes.extend(fault.as_deref().map(|it| text("error.type", it)));
            let name = format!("{method} {route}");
            (
                name,
                SpanKind::Server,
                attributes,
                fault.map(|_| String::new()),
            )
        }
        Spanned::LogWait => {
            let name = "log.wait".to_owned();
            (name, SpanKind::Internal, Vec::new(), None)
        }
        Spanned::Round(RoundEnded { number, end }) => {
            let attributes = vec![
                self::number("holdfast.round", i64::from(*number)),
                text("holdfast.outcome", end),
            ];
            let name = "payment.round".to_owned();
            (name, SpanKind::Internal, attributes, None)
        }
        Spanned::Gateway { call, class } => {
            let mut attributes = vec![
                text("holdfast.gateway.call", call.as_str()),
                text("holdfast.outcome", class.as_str()),
            ];
            // A declined card is an answer.
            let failed = matches!(class, CallClass::Retriable | CallClass::Unknown);
            attributes.extend(failed.then(|| text("error.type", class.as_str())));
            let name = format!("gateway.{}", call.as_str());
            (name, SpanKind::Client, attributes, failed.then(String::new))
        }
    }
}

pub(super) fn nanos(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(super) fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
