//! Owns metrics as messages of OTLP: the same figures as `/metrics`, in the same order.
//!
//! Invariants: counters are cumulative and monotonic, from the start of the process on; histograms have
//! the buckets of `/metrics`; names are ours except where OpenTelemetry's conventions have one
//! ([`Family::otlp`](crate::telemetry::families::Family)).

use super::messages::{nanos, number, resource, scope, text};
use crate::telemetry::exposition::{Bucket, Distribution, Exposition, FamilySamples, SampleValue};
use crate::telemetry::families::Type;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, number_data_point,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The period that all figures are of.
#[derive(Copy, Clone, Debug)]
struct Period {
    started_ns: u64,
    now_ns: u64,
}

/// One export; the process `started` then.
pub(super) fn request(
    instance: &str,
    started: SystemTime,
    figures: &Exposition,
) -> ExportMetricsServiceRequest {
    let unix_ns = |at: SystemTime| nanos(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let period = Period {
        started_ns: unix_ns(started),
        now_ns: unix_ns(SystemTime::now()),
    };
    let families = figures.families().iter();
    let families = families.filter(|it| !it.samples.is_empty());
    let metrics = ScopeMetrics {
        scope: Some(scope()),
        metrics: families.map(|it| metric(it, period)).collect(),
        schema_url: String::new(),
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(instance)),
            scope_metrics: vec![metrics],
            schema_url: String::new(),
        }],
    }
}

fn metric(of: &FamilySamples, period: Period) -> Metric {
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match of.family.kind {
        Type::Counter => Data::Sum(Sum {
            data_points: numbers(of, period),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Type::Gauge => Data::Gauge(Gauge {
            data_points: numbers(of, period),
        }),
        Type::Histogram => Data::Histogram(Histogram {
            data_points: histograms(of, period),
            aggregation_temporality: cumulative,
        }),
    };
    Metric {
        name: of.family.otlp.to_owned(),
        description: of.family.help.to_owned(),
        unit: of.family.unit().to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn numbers(of: &FamilySamples, period: Period) -> Vec<NumberDataPoint> {
    let is_gauge = of.family.kind == Type::Gauge;
    let samples = of.samples.iter().filter_map(|sample| {
        let value = match &sample.value {
            SampleValue::Integer(value) => {
                number_data_point::Value::AsInt(i64::try_from(*value).unwrap_or(i64::MAX))
            }
            SampleValue::Billionths(value) => {
                let size = seconds(value.unsigned_abs());
                number_data_point::Value::AsDouble(if *value < 0 { -size } else { size })
            }
            // A family of numbers has none.
            SampleValue::Times(_) => return None,
        };
        Some(NumberDataPoint {
            attributes: attributes(&sample.labels),
            // A gauge is of one moment.
            start_time_unix_nano: if is_gauge { 0 } else { period.started_ns },
            time_unix_nano: period.now_ns,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    });
    samples.collect()
}

fn histograms(of: &FamilySamples, period: Period) -> Vec<HistogramDataPoint> {
    let samples = of.samples.iter().filter_map(|sample| {
        let SampleValue::Times(times) = &sample.value else {
            return None;
        };
        Some(histogram(attributes(&sample.labels), times, period))
    });
    samples.collect()
}

fn histogram(
    attributes: Vec<KeyValue>,
    times: &Distribution,
    period: Period,
) -> HistogramDataPoint {
    let buckets = times.buckets.iter();
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: period.started_ns,
        time_unix_nano: period.now_ns,
        count: times.count(),
        sum: Some(seconds(times.sum_ns)),
        bucket_counts: buckets.clone().map(|it| it.count).collect(),
        explicit_bounds: buckets
            .clone()
            .filter_map(|it| it.bound_ns)
            .map(seconds)
            .collect(),
        exemplars: buckets.filter_map(exemplar_of).collect(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar_of(bucket: &Bucket) -> Option<Exemplar> {
    let exemplar = bucket.exemplar?;
    Some(Exemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.at_ns,
        span_id: exemplar.span.to_vec(),
        trace_id: exemplar.trace.to_vec(),
        value: Some(exemplar::Value::AsDouble(seconds(exemplar.value_ns))),
    })
}

fn attributes(labels: &[(&'static str, String)]) -> Vec<KeyValue> {
    let attribute = |(name, value): &(&'static str, String)| match value.parse() {
        // The conventions want a number here.
        Ok(status) if *name == "http.response.status_code" => number(name, status),
        _ => text(name, value),
    };
    labels.iter().map(attribute).collect()
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
