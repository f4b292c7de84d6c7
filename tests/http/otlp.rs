//! Spans and metrics by OTLP: a server in the test takes them as a collector would, and decodes them with
//! the published messages.

use holdfast::telemetry::families::{self, Type};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    HistogramDataPoint, Metric, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, Server, Setup, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes spans and metrics as a collector does.
struct Collector {
    url: String,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// One for each export.
    metrics: Vec<Vec<Metric>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Taken::default()));
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let taken = Arc::clone(&shared);
                std::thread::spawn(move || take(stream.unwrap(), &taken));
            }
        });
        Self { url, taken }
    }

    fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap().spans.clone()
    }

    /// The metrics of the latest export, by name.
    fn metrics(&self) -> BTreeMap<String, Metric> {
        let latest = self.taken.lock().unwrap().metrics.last().cloned();
        let latest = latest.unwrap_or_default().into_iter();
        latest.map(|it| (it.name.clone(), it)).collect()
    }

    /// The spans of this trace, once one with this name is there.
    fn trace_with(&self, trace: &str, name: &str) -> Vec<Span> {
        until("the span is exported", || {
            let mut spans = self.spans();
            spans.retain(|it| hex::encode(&it.trace_id) == trace);
            spans.iter().any(|it| it.name == name).then_some(spans)
        })
    }
}

fn take(stream: TcpStream, taken: &Mutex<Taken>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        if head.starts_with("post /v1/traces ") {
            taken.lock().unwrap().spans.extend(spans_in(&body));
        } else {
            assert!(head.starts_with("post /v1/metrics "), "{head}");
            taken.lock().unwrap().metrics.push(metrics_in(&body));
        }
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).unwrap();
    }
}

fn spans_in(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let [of_resource] = request.resource_spans.try_into().unwrap();
    let resource = of_resource.resource.unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "holdfast");
    let scopes = of_resource.scope_spans.into_iter();
    scopes.flat_map(|it| it.spans).collect()
}

fn metrics_in(body: &[u8]) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let [of_resource] = request.resource_metrics.try_into().unwrap();
    let resource = of_resource.resource.unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "holdfast");
    let scopes = of_resource.scope_metrics.into_iter();
    scopes.flat_map(|it| it.metrics).collect()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|it| it.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|it| it.name == name);
    found.unwrap_or_else(|| panic!("{name} is not there: {spans:#?}"))
}

fn setup(endpoint: &str, per_million: u32, more: &str) -> Setup {
    Setup::demo().config(&format!(
        "[telemetry]\notlp_endpoint = \"{endpoint}\"\ntrace_sample_per_million = {per_million}\n{more}"
    ))
}

fn spans_counted(server: &Server, result: &str) -> u64 {
    counted(server, "holdfast_trace_spans_total", result)
}

fn counted(server: &Server, family: &str, result: &str) -> u64 {
    let text = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let name = format!("{family}{{result=\"{result}\"}} ");
    let mut lines = text.lines().filter_map(|it| it.strip_prefix(&name));
    lines.next().expect("the metric is there").parse().unwrap()
}

#[test]
fn a_traced_buy_has_a_span_for_itself_each_wait_for_the_log_and_each_call_to_the_gateway() {
    let (collector, stripe) = (Collector::start(), StripeServer::start());
    let gateway = format!(
        "[payments]\ngateway = \"stripe\"\n\
         [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"",
        stripe.base()
    );
    let server = setup(&collector.url, 0, &gateway).start();
    let plain = Request::buy("bo", "drop-1", "pm_card_visa", "key-of-bo-1");
    assert_eq!(server.ask(&plain).status, 201);
    let unsampled = PARENT.replace("-01", "-00").replace(TRACE, &"b".repeat(32));
    let unsampled =
        Request::hold("cy", "drop-1", 1, "key-of-cy-1").header("traceparent", &unsampled);
    assert_eq!(server.ask(&unsampled).status, 201);
    let before = stripe.traces().len();
    let buy = Request::buy("ana", "drop-1", "pm_card_visa", "key-of-ana");
    let buy = buy
        .header("traceparent", PARENT)
        .header("tracestate", "rojo=1");
    assert_eq!(server.ask(&buy).status, 201);
    let spans = collector.trace_with(TRACE, "POST /limited/buy");

    let request = named(&spans, "POST /limited/buy");
    assert_eq!(hex::encode(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!((request.kind, request.trace_state.as_str()), (2, "rojo=1"));
    assert_eq!(text(&request.attributes, "http.request.method"), "POST");
    assert_eq!(text(&request.attributes, "http.route"), "/limited/buy");
    let status = value(&request.attributes, "http.response.status_code");
    assert_eq!(status, Some(&Value::IntValue(201)));
    assert!(request.start_time_unix_nano <= request.end_time_unix_nano);
    let wait = named(&spans, "log.wait");
    let call = named(&spans, "gateway.authorize");
    assert_eq!(call.kind, 3);
    assert_eq!(text(&call.attributes, "holdfast.outcome"), "approved");
    for part in [wait, call] {
        assert_eq!(part.parent_span_id, request.span_id);
        assert!(part.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= request.end_time_unix_nano);
    }
    // What the gateway got is within the span of the call, and what the log got within the request.
    let sent = stripe.traces();
    let sent = sent[before][0].as_deref().unwrap();
    let expected = format!("00-{TRACE}-{}-01", hex::encode(&call.span_id));
    assert_eq!(sent, expected);
    let audit = server.ask(&Request::get("/admin/audit?limit=1000&user_id=ana").key(ADMIN));
    let expected = format!("00-{TRACE}-{}-01", hex::encode(&request.span_id));
    for event in audit.json()["events"].as_array().unwrap() {
        assert_eq!(event["traceparent"], expected.as_str(), "{event}");
    }
    // Nothing of the buyer, and nothing of what was not to be traced.
    let all = format!("{:?}", collector.spans());
    for word in ["ana", "pm_card_visa", "drop-1", "key-of"] {
        assert!(!all.contains(word), "{word}: {all}");
    }
    assert!(
        collector
            .spans()
            .iter()
            .all(|it| hex::encode(&it.trace_id) == TRACE)
    );
    assert!(spans_counted(&server, "exported") >= spans.len() as u64);
}

/// The rounds of a trace, and the calls of this name in them; all rounds are beside each other in `parent`.
fn rounds_with<'a>(spans: &'a [Span], parent: &Span, call: &str) -> (Vec<&'a Span>, usize) {
    let rounds = spans.iter().filter(|it| it.name == "payment.round");
    let rounds: Vec<_> = rounds
        .filter(|it| it.parent_span_id == parent.span_id)
        .collect();
    let in_round = |it: &&Span| {
        rounds
            .iter()
            .any(|round| round.span_id == it.parent_span_id)
    };
    let calls = spans.iter().filter(|it| it.name == call);
    let calls = calls.filter(in_round).count();
    (rounds, calls)
}

#[test]
fn a_payment_a_void_and_a_refund_that_go_on_in_the_background_have_a_span_for_each_round() {
    let collector = Collector::start();
    // The rounds follow so soon that an answer may tell of them.
    let quick = "[payments]\nretries_max = 0\nbackoff_first_ms = 1\nbackoff_max_ms = 20";
    let server = setup(&collector.url, 0, quick).start();
    let traced = |request: Request, trace: &str| {
        let parent = format!("00-{trace}-b7ad6b7169203331-01");
        let answer = server.ask(&request.header("traceparent", &parent));
        assert!([201, 202, 402].contains(&answer.status), "{answer:?}");
    };
    // The first call is within the request, the other ones each in a round of their own.
    let [paid, voided, refunded] = [1, 2, 3].map(|it| format!("{it:032x}"));
    let buy = Request::buy("ana", "drop-1", "tok_auth_busy_2", "key-of-ana");
    traced(buy, &paid);
    let buy = Request::buy("bo", "drop-1", "tok_void_busy_2", "key-of-bo-1");
    traced(buy, &voided);
    let buy = Request::buy("cy", "drop-1", "tok_refund_busy_2", "key-of-cy-1");
    let bought_by_cy = server.ask(&buy).json();
    let id = bought_by_cy["purchase_id"].as_str().unwrap();
    let refund = Request::post(&format!("/admin/purchases/{id}/refunds"))
        .key(ADMIN)
        .once("key-of-refund")
        .json(&serde_json::json!({"previously_refunded": 0, "reason": "asked for"}));
    traced(refund, &refunded);

    for (trace, request, call, calls) in [
        (paid, "POST /limited/buy", "gateway.authorize", 2),
        (voided, "POST /limited/buy", "gateway.void", 2),
        (
            refunded,
            "POST /admin/purchases/{purchase_id}/refunds",
            "gateway.refund",
            2,
        ),
    ] {
        let ends = |spans: &[Span]| {
            let rounds = spans.iter().filter(|it| it.name == "payment.round");
            let mut outcomes = rounds.map(|it| text(&it.attributes, "holdfast.outcome").to_owned());
            outcomes.any(|it| it == "reached")
        };
        let spans = until("its last round is exported", || {
            let spans = collector.trace_with(&trace, request);
            ends(&spans).then_some(spans)
        });
        let (rounds, made) = rounds_with(&spans, named(&spans, request), call);
        let outcomes: Vec<_> = rounds
            .iter()
            .map(|it| text(&it.attributes, "holdfast.outcome"))
            .collect();
        assert_eq!(outcomes, ["open", "reached"], "{trace}");
        let numbers = rounds
            .iter()
            .map(|it| value(&it.attributes, "holdfast.round"));
        let wanted = [2, 3].map(Value::IntValue);
        assert!(numbers.eq(wanted.iter().map(Some)), "{trace}");
        let told = spans
            .iter()
            .map(|it| (&it.name, hex::encode(&it.parent_span_id)));
        assert_eq!(made, calls, "{:#?}", told.collect::<Vec<_>>());
    }
}

#[test]
fn only_a_key_can_have_a_request_traced_and_the_ratio_traces_the_others() {
    let collector = Collector::start();
    let server = setup(&collector.url, 0, "").start();
    // Strangers: without a key, and with a wrong one.
    let probe = Request::get("/livez").header("traceparent", PARENT);
    assert_eq!(server.ask(&probe).status, 200);
    let wrong = Request::get("/limited/products/drop-1").key("no-such-key");
    assert_eq!(server.ask(&wrong.header("traceparent", PARENT)).status, 401);
    let refused = Request::hold("ana", "no-such-drop", 1, "key-of-ana-1");
    assert_eq!(
        server.ask(&refused.header("traceparent", PARENT)).status,
        404
    );
    let spans = collector.trace_with(TRACE, "POST /limited/holds");
    let request = named(&spans, "POST /limited/holds");
    assert_eq!(
        text(&request.attributes, "holdfast.reason"),
        "product_not_found"
    );
    assert_eq!(request.status, None, "a refusal is no error");
    server.stop();
    let names: Vec<_> = collector.spans().into_iter().map(|it| it.name).collect();
    assert!(names.iter().all(|it| !it.contains("GET")), "{names:?}");

    let collector = Collector::start();
    let server = setup(&collector.url, 1_000_000, "").start();
    assert_eq!(
        server
            .ask(&Request::hold("ana", "drop-1", 1, "key-of-ana-1"))
            .status,
        201
    );
    // What is left is exported before the process ends.
    assert_eq!(server.stop().0.code(), Some(0));
    let spans = collector.spans();
    let request = named(&spans, "POST /limited/holds");
    assert!(request.parent_span_id.is_empty(), "it begins its trace");
    assert_eq!(named(&spans, "log.wait").trace_id, request.trace_id);
}

#[test]
fn a_collector_that_is_down_costs_what_it_would_have_got_and_one_log_line_for_each_kind() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let server = setup(&url, 1_000_000, "metrics_every_s = 1").start();
    until("two exports of metrics have failed", || {
        let failed = counted(&server, "holdfast_metric_exports_total", "failed");
        (failed >= 2).then_some(())
    });
    until("two exports have failed", || {
        let before = spans_counted(&server, "failed");
        let read = Request::get("/limited/products/drop-1").key(support::SHOP);
        assert_eq!(server.ask(&read).status, 200);
        let more = until("one more has failed", || {
            let failed = spans_counted(&server, "failed");
            (failed > before).then_some(failed)
        });
        (before > 0 && more > before).then_some(())
    });
    assert_eq!(spans_counted(&server, "exported"), 0);
    let (status, log) = server.stop();
    assert!(status.success());
    let told = log
        .iter()
        .filter(|it| it.contains("\"otlp_failed\""))
        .count();
    assert_eq!(told, 2, "{log:?}");
}

/// The points of `http.server.request.duration` with this route and status.
fn durations(
    metrics: &BTreeMap<String, Metric>,
    route: Option<&str>,
    status: i64,
) -> Vec<HistogramDataPoint> {
    let Some(Data::Histogram(all)) = &metrics["http.server.request.duration"].data else {
        panic!("a histogram: {metrics:?}");
    };
    let mut points = all.data_points.clone();
    points.retain(|it| {
        let of_route = value(&it.attributes, "http.route").is_some();
        let of_route = of_route.then(|| text(&it.attributes, "http.route"));
        let of_status = value(&it.attributes, "http.response.status_code");
        of_route == route && of_status == Some(&Value::IntValue(status))
    });
    points
}

/// Whether a metric has the form that a family of this type has.
fn fits(kind: Type, metric: &Metric) -> bool {
    let is_cumulative = |temporality| temporality == 2;
    match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => kind == Type::Gauge && !gauge.data_points.is_empty(),
        Data::Sum(sum) => {
            kind == Type::Counter
                && sum.is_monotonic
                && is_cumulative(sum.aggregation_temporality)
                && sum.data_points.iter().all(|it| {
                    0 < it.start_time_unix_nano && it.start_time_unix_nano < it.time_unix_nano
                })
        }
        Data::Histogram(all) => {
            kind == Type::Histogram
                && is_cumulative(all.aggregation_temporality)
                && all.data_points.iter().all(|it| {
                    it.bucket_counts.len() == it.explicit_bounds.len() + 1
                        && it.bucket_counts.iter().sum::<u64>() == it.count
                        && 0 < it.start_time_unix_nano
                })
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_collector_gets_each_family_of_the_metrics_with_the_same_figures() {
    let collector = Collector::start();
    let server = setup(&collector.url, 0, "metrics_every_s = 1").start();
    let buy = Request::buy("ana", "drop-1", "tok_ok", "key-of-ana");
    assert_eq!(server.ask(&buy.header("traceparent", PARENT)).status, 201);
    let unknown = Request::get("/no/such/route").key(support::SHOP);
    assert_eq!(server.ask(&unknown).status, 404);
    let metrics = until("an export after the buy", || {
        let metrics = collector.metrics();
        let counts_it = |it: &BTreeMap<_, _>| !durations(it, None, 404).is_empty();
        (!metrics.is_empty() && counts_it(&metrics)).then_some(metrics)
    });

    // Each family that the text shows, by the one table.
    let shown = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    for family in families::ALL {
        let has_samples = shown.lines().any(|it| is_sample_of(it, family.name));
        let metric = metrics.get(family.otlp);
        assert_eq!(metric.is_some(), has_samples, "{}", family.name);
        let Some(metric) = metric else { continue };
        assert!(fits(family.kind, metric), "{metric:?}");
        assert_eq!(metric.description, family.help);
    }
    assert_eq!(metrics["holdfast_log_sync_seconds"].unit, "s");
    assert_eq!(metrics["process.memory.usage"].unit, "By");
    // A figure that rests.
    let records = shown.lines();
    let mut records = records.filter_map(|it| it.strip_prefix("holdfast_log_records_total "));
    let records: i64 = records.next().unwrap().parse().unwrap();
    let Some(Data::Sum(sum)) = &metrics["holdfast_log_records_total"].data else {
        panic!("a sum");
    };
    let sent = &sum.data_points[0].value;
    assert_eq!(*sent, Some(number_data_point::Value::AsInt(records)));

    assert!(counted(&server, "holdfast_metric_exports_total", "exported") > 0);
}

#[test]
fn requests_have_the_conventions_name_and_traced_ones_an_exemplar() {
    let collector = Collector::start();
    let server = setup(&collector.url, 0, "metrics_every_s = 1").start();
    let buy = Request::buy("ana", "drop-1", "tok_ok", "key-of-ana");
    assert_eq!(server.ask(&buy.header("traceparent", PARENT)).status, 201);
    let unknown = Request::get("/no/such/route").key(support::SHOP);
    assert_eq!(server.ask(&unknown).status, 404);
    // The last figures are exported before the process ends.
    assert_eq!(server.stop().0.code(), Some(0));
    let metrics = collector.metrics();
    let [bought] = &durations(&metrics, Some("/limited/buy"), 201)[..] else {
        panic!("{metrics:?}");
    };
    assert_eq!(text(&bought.attributes, "http.request.method"), "POST");
    assert_eq!(bought.count, 1);
    let [exemplar] = &bought.exemplars[..] else {
        panic!("{bought:?}");
    };
    assert_eq!(hex::encode(&exemplar.trace_id), TRACE);
    let spans = collector.trace_with(TRACE, "POST /limited/buy");
    assert_eq!(exemplar.span_id, named(&spans, "POST /limited/buy").span_id);
    let Some(exemplar::Value::AsDouble(took)) = exemplar.value else {
        panic!("{exemplar:?}");
    };
    let differs = (took - bought.sum.unwrap()).abs();
    assert!(differs < 1e-9, "{bought:?}");
    let lost = &durations(&metrics, None, 404)[0];
    assert_eq!((lost.count, &lost.exemplars[..]), (1, &[][..]));
}

/// Whether a line of the text is of this family, or of a part of its histogram.
fn is_sample_of(line: &str, name: &str) -> bool {
    let own = line.split(['{', ' ']).next().unwrap_or_default();
    let parts = ["", "_bucket", "_sum", "_count"];
    parts.iter().any(|it| own.strip_suffix(it) == Some(name))
}
