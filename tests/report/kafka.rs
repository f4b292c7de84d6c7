//! The Kafka sink through the real binary, against a broker that speaks the real protocol and
//! against a mock that answers with errors: every event arrives as a `CloudEvent`, in the order of
//! each buyer, whatever happens to broker and core meanwhile.

pub mod broker;

use broker::{Broker, Record, read_all};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use support::{ADMIN, Request, Server, Setup, until};

const TOPIC: &str = "holdfast.events";
const DLQ: &str = "holdfast.events.dlq";

/// A product whose event is larger than the small topics take.
const LARGE: &str = "a-product-with-a-name-as-long-as-names-can-be-and-an-id-likewise";
/// What those take: more than any ordinary event, less than two.
const SMALL_BYTES: &str = "1180";

/// A demo that reports to these brokers, impatiently.
fn setup(brokers: &str, data_dir: &Path, more: &str) -> Setup {
    Setup::demo().data_dir(data_dir).config(&format!(
        "[limits]\nrate = {{ count = 1000, per_s = 1 }}\n[report]\nbackoff_first_ms = 20\n\
         backoff_max_ms = 200\ndeliver_timeout_ms = 3000\nbatch.wait_ms = 10\n[report.kafka]\n\
         brokers = [\"{brokers}\"]\n{more}"
    ))
}

/// Every event in the log of a stopped core, by LSN.
fn log_of(data_dir: &Path) -> BTreeMap<u64, Value> {
    let printed = support::binary().arg("log").arg(data_dir).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let text = String::from_utf8(printed.stdout).unwrap();
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            (event["lsn"].as_u64().unwrap(), event)
        })
        .collect()
}

fn sink(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/admin/sinks").key(ADMIN));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["sinks"][0].clone()
}

fn until_all_is_delivered(server: &Server) {
    until("the sink has everything", || {
        let sink = sink(server);
        (sink["lag_bytes"] == 0 && sink["up"] == true).then_some(())
    });
}

/// What a reader who drops repeats by `ce_id` has: every event of the log once, those with the same
/// key in the order of the log, each as the log has it.
fn assert_is_the_log(records: &[Record], log: &BTreeMap<u64, Value>, missing: &BTreeSet<u64>) {
    let mut seen = BTreeSet::new();
    let mut latest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut partition_of: BTreeMap<&str, i32> = BTreeMap::new();
    for record in records {
        let lsn = record.lsn();
        let event = log
            .get(&lsn)
            .unwrap_or_else(|| panic!("LSN {lsn} is not in the log"));
        assert_eq!(&record.json, event);
        let key = ["user_id", "purchase_id", "kind"]
            .iter()
            .find_map(|field| event[field].as_str());
        assert_eq!(Some(record.key.as_str()), key, "{event}");
        let partition = partition_of.entry(&record.key).or_insert(record.partition);
        assert_eq!(
            *partition, record.partition,
            "{} is in two partitions",
            record.key
        );
        if !seen.insert(lsn) {
            continue;
        }
        let source = record.headers["ce_source"].as_str();
        let before = latest.insert((source, &record.key), lsn);
        assert!(
            before.is_none_or(|before| before < lsn),
            "{lsn} overtook {before:?}"
        );
    }
    let wanted: BTreeSet<u64> = log
        .keys()
        .copied()
        .filter(|lsn| !missing.contains(lsn))
        .collect();
    assert_eq!(seen, wanted);
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn every_event_arrives_as_a_cloud_event_of_its_schema() {
    let (broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 6, &[]);
    let server = setup(&broker.address(), dir.path(), "").start();
    for user in ["ana", "bo", "cy"] {
        let mut bought = Request::buy(user, "drop-1", "tok_ok", &format!("key-buy-{user}"));
        if user == "ana" {
            bought = bought.header("traceparent", PARENT);
        }
        assert_eq!(server.ask(&bought).status, 201);
        let held = Request::hold(user, "drop-1", 1, &format!("key-hold-{user}"));
        server.ask(&held);
    }
    let declined = Request::buy("dee", "drop-1", "tok_declined", "key-buy-dee");
    assert_eq!(server.ask(&declined).status, 402);
    until_all_is_delivered(&server);
    server.stop();

    let (records, log) = (broker.read(TOPIC), log_of(dir.path()));
    assert_is_the_log(&records, &log, &BTreeSet::new());
    let captured = records
        .iter()
        .find(|it| it.json["kind"] == "payment_captured")
        .unwrap();
    let header = |name: &str| captured.headers[name].as_str();
    assert_eq!(header("ce_specversion"), "1.0");
    assert_eq!(header("ce_type"), "holdfast.purchase.captured.v1");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("ce_time"), captured.json["at"]);
    assert!(header("ce_source").starts_with("urn:holdfast:log:"));
    assert_eq!(captured.key, captured.json["user_id"].as_str().unwrap());
    let mut traced = 0;
    for record in &records {
        // In the extension of CloudEvents and in the header that tracing of clients reads.
        let expected = record.json["traceparent"].as_str();
        for name in ["ce_traceparent", "traceparent"] {
            assert_eq!(record.headers.get(name).map(String::as_str), expected);
        }
        traced += u32::from(expected == Some(PARENT));
    }
    assert!(
        traced >= 3,
        "hold, payment and capture of the traced buy: {traced}"
    );
    let set = records
        .iter()
        .find(|it| it.json["kind"] == "product_set")
        .unwrap();
    assert_eq!(set.key, "product_set");
    for record in &records {
        let schema = format!("docs/events/{}.json", record.headers["ce_type"]);
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(&schema).exists(),
            "{schema}"
        );
    }
    the_sample_consumer_reads_it(&broker, &log);
}

/// `docs/examples/kafka_consumer.py` prints each event once and finds nothing wrong.
fn the_sample_consumer_reads_it(broker: &Broker, log: &BTreeMap<u64, Value>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/servers/bin/python");
    assert!(python.exists(), "run ./dev servers first");
    let output = Command::new(python)
        .arg(root.join("docs/examples/kafka_consumer.py"))
        .args([
            "--brokers",
            &broker.address(),
            "--topic",
            TOPIC,
            "--group",
            "sample",
        ])
        .arg("--until-end")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lsns = printed.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["lsn"].as_u64().unwrap()
    });
    let lsns: Vec<u64> = lsns.collect();
    let once: BTreeSet<u64> = lsns.iter().copied().collect();
    assert_eq!(lsns.len(), once.len(), "an event was handled twice");
    assert_eq!(once, log.keys().copied().collect());
    assert!(told.contains("0 invalid"), "{told}");
}

/// A broker that goes and comes for as long as this lives: what is interrupted differs each time.
struct Flapping {
    broker: Arc<Broker>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flapping {
    fn start(broker: &Arc<Broker>) -> Self {
        let (done, of_thread) = (Arc::new(AtomicBool::new(false)), Arc::clone(broker));
        let until = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                of_thread.cut();
                std::thread::sleep(Duration::from_millis(15));
                of_thread.mend();
                std::thread::sleep(Duration::from_millis(60));
            }
        });
        Self {
            broker: Arc::clone(broker),
            done,
            thread: Some(thread),
        }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
        self.broker.mend();
    }
}

#[test]
fn nothing_is_lost_or_overtaken_while_the_broker_goes_and_the_core_is_killed() {
    const ROUNDS: usize = 3;
    let (broker, dir) = (Arc::new(Broker::start()), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 4, &[]);
    let mut number = 0;
    for round in 0..ROUNDS {
        let mut server = setup(&broker.address(), dir.path(), "").start();
        server.put_product("drop-1", 100_000);
        let flapping = Flapping::start(&broker);
        for _ in 0..150 {
            number += 1;
            let user = format!("user-{}", number % 7);
            let key = format!("key-load-{round}-{number}");
            let held = server.ask(&Request::hold(&user, "drop-1", 1, &key));
            assert!(matches!(held.status, 201 | 409), "{held:?}");
        }
        server.kill();
        drop(flapping);
    }
    let server = setup(&broker.address(), dir.path(), "").start();
    until_all_is_delivered(&server);
    server.stop();
    let (records, log) = (broker.read(TOPIC), log_of(dir.path()));
    println!(
        "{} events in the log, {} messages",
        log.len(),
        records.len()
    );
    assert!(log.len() > ROUNDS * 150);
    assert_is_the_log(&records, &log, &BTreeSet::new());
}

#[test]
fn sales_go_on_without_a_broker_and_it_gets_everything_when_it_is_back() {
    let (broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 2, &[]);
    broker.cut();
    let server = setup(&broker.address(), dir.path(), "").start();
    let bought = server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-buy-01"));
    assert_eq!(bought.status, 201, "{bought:?}");
    let failure = until("the sink says why", || {
        let sink = sink(&server);
        sink["failure"].as_str().map(str::to_owned)
    });
    assert!(failure.contains(&broker.address()), "{failure}");
    assert_eq!(sink(&server)["up"], false);
    broker.mend();
    until_all_is_delivered(&server);
    server.stop();
    // Nor does a start wait for it, in the directory that was there before.
    broker.cut();
    let server = setup(&broker.address(), dir.path(), "").start();
    let bought = server.ask(&Request::buy("bo", "drop-1", "tok_ok", "key-buy-02"));
    assert_eq!(bought.status, 201, "{bought:?}");
    broker.mend();
    until_all_is_delivered(&server);
    server.stop();
    assert_is_the_log(&broker.read(TOPIC), &log_of(dir.path()), &BTreeSet::new());
}

/// A product whose event is larger than small topics take.
fn put_large_product(server: &Server) {
    let name: String = (0..200_u32)
        .map(|n| char::from_u32(0x4e00 + n * 37).unwrap())
        .collect();
    let product = json!({
        "name": name,
        "price": { "USD": 1_999, "EUR": 1_999, "KRW": 25_000 },
        "stock": 5, "per_user_limit": null, "starts_at": null, "ends_at": null, "active": true,
    });
    let put = Request::put(&format!("/admin/products/{LARGE}"))
        .key(ADMIN)
        .json(&product);
    let put = server.ask(&put);
    assert_eq!(put.status, 201, "{put:?}");
}

/// The events of setting it: what it is, and who did it.
fn lsns_of_large(log: &BTreeMap<u64, Value>) -> BTreeSet<u64> {
    let large = |event: &Value| event["product_id"] == LARGE || event["target"] == LARGE;
    let found: BTreeSet<u64> = log
        .iter()
        .filter(|(_, event)| large(event))
        .map(|(lsn, _)| *lsn)
        .collect();
    assert_eq!(found.len(), 2, "it was set once");
    found
}

#[test]
fn permanently_rejected_events_go_to_the_dead_letter_topic_and_the_rest_keeps_its_order() {
    let (broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 1, &[("max.message.bytes", SMALL_BYTES)]);
    broker.create(DLQ, 1, &[]);
    // Up to three messages go together, so that some fit and others behind or before them do not.
    let config = "compression = \"none\"\nmessage_bytes_max = 2800\nlinger_ms = 0";
    let server = setup(&broker.address(), dir.path(), config).start();
    let tell = |what: &str| {
        let path = format!("/admin/sinks/kafka/{what}");
        let told = server.ask(&Request::post(&path).key(ADMIN));
        assert_eq!(told.status, 200, "{told:?}");
    };
    tell("pause");
    let hold = |from: usize| {
        for number in from..from + 20 {
            let (user, key) = (format!("user-{}", number % 2), format!("key-hold-{number}"));
            server.ask(&Request::hold(&user, "drop-1", 1, &key));
        }
    };
    hold(0);
    put_large_product(&server);
    hold(100);
    tell("resume");
    until_all_is_delivered(&server);
    let figures = sink(&server);
    assert_eq!(figures["rejected"], 2, "{figures}");
    assert_eq!(figures["dead_letter_bytes"], 0, "{figures}");
    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = "holdfast_sink_rejected_total{sink=\"kafka\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    server.stop();
    let log = log_of(dir.path());
    let large = lsns_of_large(&log);
    assert_eq!(figures["delivered"], log.len() - large.len());
    assert_is_the_log(&broker.read(TOPIC), &log, &large);
    let dead = broker.read(DLQ);
    assert!(!dead.is_empty());
    for letter in &dead {
        assert!(large.contains(&letter.lsn()), "{letter:?}");
        assert_eq!(letter.json, log[&letter.lsn()]);
        assert_eq!(letter.headers["holdfast_topic"], TOPIC);
        assert!(
            letter.headers["holdfast_cause"]
                .to_lowercase()
                .contains("too large"),
            "{letter:?}"
        );
    }
}

/// The topic takes a hundredth of what the sink is set to send at once. It is learned once: nothing
/// that comes later is refused again.
#[test]
fn a_smaller_limit_of_the_topic_is_learned_once_and_then_everything_goes_at_full_speed() {
    let (broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 2, &[("max.message.bytes", "9000")]);
    broker.create(DLQ, 1, &[]);
    let server = setup(&broker.address(), dir.path(), "compression = \"none\"").start();
    server.put_product("drop-1", 100_000);
    let tell = |what: &str| {
        let path = format!("/admin/sinks/kafka/{what}");
        let told = server.ask(&Request::post(&path).key(ADMIN));
        assert_eq!(told.status, 200, "{told:?}");
    };
    // So much at once that the library makes batches as large as it may.
    let mut number = 0;
    let mut round = || {
        tell("pause");
        let mut client = server.connect();
        for _ in 0..300 {
            number += 1;
            let (user, key) = (
                format!("user-{}", number % 20),
                format!("key-hold-{number}"),
            );
            let held = client.ask(&Request::hold(&user, "drop-1", 1, &key));
            assert!(matches!(held.status, 201 | 409), "{held:?}");
        }
        let before = broker.accepted();
        tell("resume");
        until_all_is_delivered(&server);
        broker.accepted() - before
    };
    let rounds: Vec<usize> = (0..4).map(|_| round()).collect();
    let told = server.log.wait_for("kafka_batches_smaller").unwrap();
    server.stop();
    println!("connections of each round {rounds:?}, told {told}");
    let learned = told["batch_bytes"].as_u64().unwrap();
    assert!((2_000..9_000).contains(&learned), "{told}");
    for later in &rounds[1..] {
        assert!(
            *later <= 6,
            "one producer and one reader each round: {rounds:?}"
        );
    }
    assert_is_the_log(&broker.read(TOPIC), &log_of(dir.path()), &BTreeSet::new());
}

#[test]
fn without_a_dead_letter_topic_it_stays_in_the_data_directory_and_can_be_driven_again() {
    let (broker, dir) = (Broker::start(), tempfile::tempdir().unwrap());
    broker.create(TOPIC, 1, &[]);
    let small =
        format!("dlq_topic = \"\"\nmessage_bytes_max = {SMALL_BYTES}\ncompression = \"none\"");
    let server = setup(&broker.address(), dir.path(), &small).start();
    put_large_product(&server);
    until_all_is_delivered(&server);
    assert_eq!(sink(&server)["rejected"], 2);
    server.stop();
    let log = log_of(dir.path());
    let large = lsns_of_large(&log);
    assert_is_the_log(&broker.read(TOPIC), &log, &large);

    let server = setup(&broker.address(), dir.path(), "").start();
    until_all_is_delivered(&server);
    let again = Request::post("/admin/dead-letters/redrive")
        .key(ADMIN)
        .json(&json!({ "sink": "kafka" }));
    let again = server.ask(&again);
    assert_eq!(again.status, 200, "{again:?}");
    server.stop();
    let arrived = broker.read(TOPIC);
    let arrived: BTreeSet<u64> = arrived.iter().map(broker::Record::lsn).collect();
    assert!(large.is_subset(&arrived), "they came after all");
}

#[test]
fn errors_of_the_broker_are_waited_out_or_told_and_then_everything_arrives() {
    use RDKafkaRespErr as Error;
    let table: [(&str, &[RDKafkaRespErr]); 4] = [
        (
            "leader moved",
            &[Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3],
        ),
        (
            "too few replicas",
            &[Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3],
        ),
        (
            "fatal: another has its epoch",
            &[Error::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH; 2],
        ),
        (
            "not allowed for a while",
            &[Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2],
        ),
    ];
    for (what, errors) in table {
        let (mock, dir) = (MockCluster::new(1).unwrap(), tempfile::tempdir().unwrap());
        mock.create_topic(TOPIC, 2, 1).unwrap();
        let brokers = mock.bootstrap_servers();
        mock.request_errors(RDKafkaApiKey::Produce, errors);
        let server = setup(&brokers, dir.path(), "").start();
        for number in 0..20 {
            let user = format!("user-{}", number % 3);
            server.ask(&Request::hold(
                &user,
                "drop-1",
                1,
                &format!("key-hold-{number}"),
            ));
        }
        until_all_is_delivered(&server);
        server.stop();
        println!("{what}: everything arrived");
        assert_is_the_log(
            &read_all(&brokers, TOPIC),
            &log_of(dir.path()),
            &BTreeSet::new(),
        );
    }
}

#[test]
fn a_missing_or_forbidden_topic_is_reported_and_sales_continue() {
    use RDKafkaRespErr as Error;
    for (error, word) in [
        (
            Error::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            "holdfast schema kafka",
        ),
        (
            Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            "authorization",
        ),
    ] {
        let (mock, dir) = (MockCluster::new(1).unwrap(), tempfile::tempdir().unwrap());
        let brokers = mock.bootstrap_servers();
        mock.create_topic(TOPIC, 1, 1).unwrap();
        mock.topic_error(TOPIC, error).unwrap();
        let server = setup(&brokers, dir.path(), "").start();
        let failure = until("the sink says why", || {
            sink(&server)["failure"].as_str().map(str::to_owned)
        });
        assert!(failure.to_lowercase().contains(word), "{failure}");
        let bought = server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-buy-01"));
        assert_eq!(bought.status, 201, "{bought:?}");
        mock.topic_error(TOPIC, Error::RD_KAFKA_RESP_ERR_NO_ERROR)
            .unwrap();
        until_all_is_delivered(&server);
        server.stop();
        assert_is_the_log(
            &read_all(&brokers, TOPIC),
            &log_of(dir.path()),
            &BTreeSet::new(),
        );
    }
}
