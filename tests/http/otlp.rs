//! Spans by OTLP: a server in the test takes them as a collector would, and decodes them with the
//! published messages.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, Server, Setup, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes spans as a collector does.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || take(stream.unwrap(), &taken));
            }
        });
        Self { url, spans }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
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

fn take(stream: TcpStream, taken: &Mutex<Vec<Span>>) {
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
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap();
            assert_eq!(text(&resource.attributes, "service.name"), "holdfast");
            for of_scope in of_resource.scope_spans {
                taken.lock().unwrap().extend(of_scope.spans);
            }
        }
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).unwrap();
    }
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
    let text = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let name = format!("holdfast_trace_spans_total{{result=\"{result}\"}} ");
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
fn a_collector_that_is_down_costs_spans_and_one_log_line() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let server = setup(&url, 1_000_000, "").start();
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
    assert_eq!(told, 1, "{log:?}");
}
