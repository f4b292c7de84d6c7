//! A Kafka broker in this process that can go away and come back with what it has, and reading
//! whole topics.

use noida::kafka::connection::handle_connection;
use noida::kafka::engine::Engine;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one question to the broker may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The broker.
pub struct Broker {
    address: SocketAddr,
    line: Arc<Line>,
}

/// What connects it with its clients.
#[derive(Default)]
struct Line {
    cut: AtomicBool,
    accepted: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

/// A message as it was read.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub json: Value,
}

impl Record {
    pub fn lsn(&self) -> u64 {
        self.headers["ce_id"].parse().expect("an LSN")
    }
}

impl Broker {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let engine = Engine::new("127.0.0.1".to_owned(), i32::from(address.port()));
        let line = Arc::new(Line::default());
        let of_thread = Arc::clone(&line);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let engine = engine.clone();
                let mut streams = of_thread.streams.lock().expect("nobody panics with it");
                if of_thread.cut.load(Ordering::SeqCst) {
                    continue;
                }
                of_thread.accepted.fetch_add(1, Ordering::SeqCst);
                streams.push(stream.try_clone().expect("a second handle"));
                drop(streams);
                std::thread::spawn(move || handle_connection(stream, engine));
            }
        });
        Self { address, line }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections that it ever accepted: a producer that was refused comes back with new ones.
    pub fn accepted(&self) -> usize {
        self.line.accepted.load(Ordering::SeqCst)
    }

    /// Nobody reaches it any more; what it has, it keeps.
    pub fn cut(&self) {
        let mut streams = self.line.streams.lock().expect("nobody panics with it");
        self.line.cut.store(true, Ordering::SeqCst);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// It can be reached again.
    pub fn mend(&self) {
        self.line.cut.store(false, Ordering::SeqCst);
    }

    /// Creates a topic.
    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().expect("an admin client");
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            wanted = wanted.set(key, value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let created = runtime.block_on(admin.create_topics(&[wanted], &options));
        let created = created.expect("an answer");
        assert!(created.iter().all(Result::is_ok), "{created:?}");
    }

    /// Everything in a topic now, partition by partition, in the order of each.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        read_all(&self.address(), topic)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }
}

/// Everything in a topic of these brokers.
pub fn read_all(brokers: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER);
    let metadata = metadata.expect("what partitions there are");
    let mut left = BTreeMap::new();
    let mut assigned = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let marks = consumer.fetch_watermarks(topic, partition.id(), ANSWER);
        let (low, high) = marks.expect("where it ends");
        if low < high {
            left.insert(partition.id(), high);
            let begin = Offset::Beginning;
            let added = assigned.add_partition_offset(topic, partition.id(), begin);
            added.expect("a partition");
        }
    }
    consumer.assign(&assigned).expect("assigned");
    let mut records = Vec::new();
    while !left.is_empty() {
        let message = consumer.poll(ANSWER).expect("more is there");
        let message = message.expect("a message");
        if left
            .get(&message.partition())
            .is_some_and(|high| message.offset() + 1 >= *high)
        {
            left.remove(&message.partition());
        }
        let headers = message.headers().expect("headers").iter();
        let headers = headers.map(|header| {
            let value = String::from_utf8_lossy(header.value.unwrap_or_default());
            (header.key.to_owned(), value.into_owned())
        });
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
            headers: headers.collect(),
            json: serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON"),
        });
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}
