//! The Kafka sink beside a bare producer that sends the same messages, with the same settings of the
//! library, to the same broker in the same run, catching up with a whole sale: what reading the log,
//! making a `CloudEvent` of each event, keeping the order and waiting for every acknowledgement cost.
//!
//! The broker runs in this process and shares its cores with both, so the figures say how the two
//! compare, not what a cluster takes. `HOLDFAST_BENCH_EVENTS` sets how many events there are
//! (1,000,000 where it is not set).

mod common;

use common::Bench;
use common::sale::{events_wanted, feed_settings, fill, until_caught_up};
use holdfast::ids::Lsn;
use holdfast::journal::{AuditEntry, AuditQuery, LogEnd};
use holdfast::report::feed::Sinks;
use holdfast::report::feed::sink::Batching;
use holdfast::report::kafka::{Compression, KafkaSettings, sink};
use holdfast::report::types::event_type;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;

/// As `report.kafka` has it where nothing is said.
const BATCHING: Batching = Batching {
    events_max: 10_000,
    bytes_max: 8 << 20,
    wait_ms: 50,
};
const LINGER_MS: u64 = 5;

/// What the bare producer sends.
struct KafkaMessage {
    id: String,
    at: String,
    kind: &'static str,
    key: String,
    json: Vec<u8>,
}

fn main() {
    let broker = noida::kafka::spawn("127.0.0.1:0").expect("a broker");
    let brokers = broker.to_string();
    let bench = Bench::open();
    let events = fill(&bench, events_wanted());
    let began = Instant::now();
    let messages = messages(&bench);
    let made_s = began.elapsed().as_secs_f64();
    assert_eq!(messages.len() as u64, events);
    println!(
        "{events} events; reading and making messages of them alone: {:.0} events/s",
        per_second(events, made_s)
    );
    for round in 1..=ROUNDS {
        let by_sink = per_second(events, run_sink(&bench, &brokers, round));
        let bare = per_second(events, run_bare(&messages, &brokers, round));
        println!(
            "round {round}: sink {by_sink:.0} events/s, bare producer {bare:.0}, ratio {:.2}",
            by_sink / bare
        );
    }
}

fn run_sink(bench: &Bench, brokers: &str, round: usize) -> f64 {
    let scratch = tempfile::tempdir().expect("a directory");
    let settings = KafkaSettings {
        brokers: vec![brokers.to_owned()],
        topic: format!("sink-{round}"),
        dlq_topic: None,
        client_id: "bench".to_owned(),
        source: None,
        compression: Compression::Lz4,
        linger_ms: LINGER_MS,
        message_bytes_max: 1_000_000,
        login: None,
    };
    let journal = Arc::clone(&bench.journal);
    let sinks = Sinks::new(journal, feed_settings(scratch.path())).expect("an empty directory");
    let journal = Arc::clone(&bench.journal);
    let timeout = Duration::from_secs(30);
    let sink = sink(settings, BATCHING, timeout, journal, sinks.folder());
    let began = Instant::now();
    sinks.start(sink).expect("threads");
    until_caught_up(&sinks, &bench.journal);
    began.elapsed().as_secs_f64()
}

fn messages(bench: &Bench) -> Vec<KafkaMessage> {
    let mut query = AuditQuery {
        to: Lsn(u64::MAX),
        since: None,
        until: None,
        order: holdfast::journal::SortOrder::Ascending,
        purchase: None,
        from: Lsn(0),
        kind: None,
        user: None,
        act: None,
        by: None,
        limit: 10_000,
    };
    let mut messages = Vec::new();
    loop {
        let page = bench.journal.tail().audit(&query).expect("the log is well");
        messages.extend(page.entries.iter().map(message));
        query.from = page.next;
        if page.end == LogEnd::Reached {
            return messages;
        }
    }
}

fn message(entry: &AuditEntry) -> KafkaMessage {
    let user = entry.event.user();
    KafkaMessage {
        id: entry.lsn.0.to_string(),
        at: entry.at.to_string(),
        kind: event_type(entry.event.kind()),
        key: user.map_or("none", |it| it.as_str()).to_owned(),
        json: holdfast::report::event_bytes(entry),
    }
}

fn run_bare(messages: &[KafkaMessage], brokers: &str, round: usize) -> f64 {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", LINGER_MS.to_string())
        .set(
            "queue.buffering.max.messages",
            (BATCHING.events_max * 10).to_string(),
        )
        .create()
        .expect("a producer");
    let topic = format!("bare-{round}");
    producer
        .client()
        .fetch_metadata(Some(&topic), Duration::from_secs(5))
        .expect("the broker is there");
    let began = Instant::now();
    for message in messages {
        let mut headers = OwnedHeaders::new_with_capacity(7);
        for (key, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", &message.id),
            ("ce_type", message.kind),
            (
                "ce_source",
                "urn:holdfast:log:0000000000000001:1-0000000000000001",
            ),
            ("ce_time", &message.at),
            ("content-type", "application/json"),
            (
                "holdfast_history",
                "0000000000000001 1-0000000000000001 4096 00000001",
            ),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let mut record = BaseRecord::to(&topic)
            .key(&message.key)
            .payload(&message.json)
            .headers(headers);
        while let Err((_, again)) = producer.send(record) {
            record = again;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_mins(1)).expect("flushed");
    began.elapsed().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}
