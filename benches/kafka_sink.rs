//! The Kafka sink beside a bare producer that sends the same messages, with the same settings of the
//! library, to the same broker in the same run: what making a `CloudEvent` of each event, keeping the
//! order and waiting for every acknowledgement cost.
//!
//! The broker runs in this process and shares its cores with both, so the figures say how the two
//! compare, not what a cluster takes.

use holdfast::engine::event::{Actor, ActorRole, AdminActed, Event, HoldExpired};
use holdfast::ids::{KeyOwner, Lsn, PurchaseId, RequestId, ShardId, UserId};
use holdfast::journal::AuditEntry;
use holdfast::report::feed::sink::{Batch, Batching, Convert, Deliver, Fed, Placed, Purpose};
use holdfast::report::kafka::{Compression, KafkaSettings, sink};
use holdfast::report::types::event_type;
use holdfast::time::UnixMs;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::{Duration, Instant};

const BATCH: usize = 10_000;
const BATCHES: usize = 20;
const ROUNDS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let broker = noida::kafka::spawn("127.0.0.1:0").expect("a broker");
    let brokers = broker.to_string();
    println!("{BATCHES} batches of {BATCH} events, {ROUNDS} rounds, events a second:");
    for round in 1..=ROUNDS {
        let by_sink = run_sink(&runtime, &brokers, round);
        let bare = run_bare(&brokers, round);
        println!(
            "round {round}: sink {by_sink:.0}, bare producer {bare:.0}, ratio {:.2}",
            by_sink / bare
        );
    }
}

fn batching() -> Batching {
    Batching {
        events_max: BATCH,
        bytes_max: 64 << 20,
        wait_ms: 0,
    }
}

fn events(batch: usize) -> Vec<Fed> {
    let event = |number: usize| {
        let user = UserId::parse(&format!("user-{}", number % 1_000)).expect("an id");
        let event = if number.is_multiple_of(50) {
            Event::AdminActed(AdminActed {
                act: "snapshot".to_owned(),
                target: None,
                before: None,
                after: None,
                by: Actor {
                    request: RequestId(7),
                    owner: KeyOwner::parse("admin").expect("an id"),
                    role: ActorRole::Admin,
                },
            })
        } else {
            let purchase = PurchaseId::new(ShardId::of(&user), number as u64);
            Event::HoldExpired(HoldExpired { purchase, user })
        };
        let lsn = Lsn(((batch * BATCH + number) * 64) as u64);
        let at = UnixMs::new(1_800_000_000_000 + number as u64);
        Fed {
            entry: AuditEntry { lsn, at, event },
            end: Lsn(lsn.0 + 64),
        }
    };
    (0..BATCH).map(event).collect()
}

fn run_sink(runtime: &tokio::runtime::Runtime, brokers: &str, round: usize) -> f64 {
    let settings = KafkaSettings {
        brokers: vec![brokers.to_owned()],
        topic: format!("sink-{round}"),
        dlq_topic: None,
        client_id: "bench".to_owned(),
        source: None,
        compression: Compression::Lz4,
        linger_ms: 5,
        message_bytes_max: 1_000_000,
        login: None,
    };
    let mut sink = sink(settings, batching(), Duration::from_mins(1));
    let batches: Vec<_> = (0..BATCHES).map(events).collect();
    runtime.block_on(async {
        sink.deliver.open(1).await.expect("the broker is there");
        let began = Instant::now();
        for fed in &batches {
            let place = |fed: &Fed| Placed {
                lsn: fed.entry.lsn,
                end: fed.end,
                item: sink
                    .convert
                    .convert(fed)
                    .expect("it fits")
                    .expect("it is wanted"),
            };
            let items: Vec<_> = fed.iter().map(place).collect();
            let purpose = Purpose::Feed {
                from: items[0].lsn,
                to: items[BATCH - 1].end,
            };
            let batch = Batch {
                items: &items,
                purpose,
            };
            let delivered = sink.deliver.deliver(batch).await.expect("delivered");
            assert!(delivered.rejected.is_empty());
        }
        per_second(began)
    })
}

fn run_bare(brokers: &str, round: usize) -> f64 {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", (BATCH * 10).to_string())
        .create()
        .expect("a producer");
    let topic = format!("bare-{round}");
    let batches: Vec<Vec<_>> = (0..BATCHES)
        .map(|batch| {
            let events = events(batch).into_iter();
            events
                .map(|fed| {
                    let key = fed
                        .entry
                        .event
                        .user()
                        .map_or("none", UserId::as_str)
                        .to_owned();
                    let kind = event_type(fed.entry.event.kind());
                    let json = holdfast::report::event_json(&fed.entry).to_string();
                    (
                        fed.entry.lsn.0.to_string(),
                        fed.entry.at.to_string(),
                        kind,
                        key,
                        json,
                    )
                })
                .collect()
        })
        .collect();
    producer
        .client()
        .fetch_metadata(Some(&topic), Duration::from_secs(5))
        .expect("the broker is there");
    let began = Instant::now();
    for (id, at, kind, key, json) in batches.iter().flatten() {
        let mut headers = OwnedHeaders::new_with_capacity(6);
        for (key, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_type", kind),
            ("ce_source", "urn:holdfast:log:0000000000000001"),
            ("ce_time", at.as_str()),
            ("content-type", "application/json"),
        ] {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        let mut record = BaseRecord::to(&topic)
            .key(key)
            .payload(json)
            .headers(headers);
        while let Err((_, again)) = producer.send(record) {
            record = again;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_mins(1)).expect("flushed");
    per_second(began)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_second(began: Instant) -> f64 {
    (BATCH * BATCHES) as f64 / began.elapsed().as_secs_f64()
}
