//! What Kafka has of a history that an older copy of the data directory does not go on with: it is
//! recognised from the topic alone, nothing is sold until the operator orders it, lost events are listed
//! and named in the topic, and no two events of any history share `ce_source` and `ce_id`.

use crate::feed::log_of;
use crate::kafka::broker::{Broker, Record};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::copies::{Scene, accept, assert_waits, caught_up, ready, sell, sink, status, stopped};
use support::{ADMIN, Request, Server, binary, until};

const TOPIC: &str = "holdfast.events";
const PARTITIONS: i32 = 3;
const TAKEN_BACK: &str = "holdfast.history.taken_back.v1";

/// A broker with a topic, and a directory whose events go there and nowhere else.
fn scene(more: &str) -> (Broker, Scene) {
    let broker = Broker::start();
    broker.create(TOPIC, PARTITIONS, &[]);
    let address = broker.address();
    let kafka = format!("[report.kafka]\nbrokers = [\"{address}\"]\n{more}");
    (broker, Scene::new(&kafka))
}

/// Every event of a stopped core, by LSN.
fn events_of(data_dir: &Path) -> BTreeMap<u64, Value> {
    let lines = log_of(data_dir).into_iter();
    let events = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    events.map(|it| (it["lsn"].as_u64().unwrap(), it)).collect()
}

fn is_taking_back(record: &Record) -> bool {
    record.headers["ce_type"] == TAKEN_BACK
}

/// A message of this program; others have no headers that are its.
fn is_ours(record: &Record) -> bool {
    record.headers.contains_key("ce_type")
}

/// What a reader has who takes back what it is told to: each event by its name.
fn read_as_told(records: &[Record]) -> BTreeMap<(String, u64), Value> {
    let mut read = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut here: BTreeMap<(String, u64), Value> = BTreeMap::new();
        for record in records.iter().filter(|it| it.partition == partition) {
            if is_taking_back(record) {
                let sources = record.json["sources"].as_array().unwrap();
                let from = record.json["from_lsn"].as_u64().unwrap();
                here.retain(|(source, lsn), _| {
                    *lsn < from || !sources.iter().any(|it| it == source)
                });
                continue;
            }
            let name = (record.headers["ce_source"].clone(), record.lsn());
            let before = here.insert(name, record.json.clone());
            assert!(before.is_none_or(|it| it == record.json), "{record:?}");
        }
        read.extend(here);
    }
    read
}

/// The topic tells the log that goes on, whatever else it had; gives the messages of taking back.
fn assert_tells_the_log(broker: &Broker, data_dir: &Path) -> Vec<Record> {
    let mut records = broker.read(TOPIC);
    records.retain(is_ours);
    let mut named: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    for record in records.iter().filter(|it| !is_taking_back(it)) {
        let header = |name: &str| record.headers[name].as_str();
        let name = (header("ce_source"), header("ce_id"));
        let before = named.insert(name, &record.json);
        assert!(
            before.is_none_or(|it| *it == record.json),
            "two events are named {name:?}"
        );
    }
    let told: BTreeMap<u64, Value> = read_as_told(&records)
        .into_iter()
        .map(|((_, lsn), event)| (lsn, event))
        .collect();
    assert!(told == events_of(data_dir), "the topic tells another log");
    records.retain(is_taking_back);
    records
}

/// The lists of what was taken back.
fn lists(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join("sinks")).unwrap();
    let mut lists: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
    lists.retain(|it| it.to_string_lossy().contains("kafka.lost-"));
    lists.sort();
    lists
}

/// Fills partitions with what has nothing to do with holdfast.
fn write_something_else(broker: &Broker, count: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .create()
        .unwrap();
    for number in 0..count {
        let partition = i32::try_from(number).unwrap() % PARTITIONS;
        let header = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
            key: "of",
            value: Some("another producer"),
        });
        let record = BaseRecord::<(), _>::to(TOPIC)
            .partition(partition)
            .headers(header)
            .payload("{}");
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_topic_that_has_more_than_the_copy_stops_it_and_is_told_what_to_take_back() {
    let (broker, scene) = scene("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 5, "before");
    let (lost, old_cursor) = scene.lose_of(server, 25, "kafka");
    let old_log = events_of(&scene.data());
    write_something_else(&broker, 200);
    scene.put_back();

    let before = broker.read(TOPIC).len();
    let server = scene.start_waiting("kafka", old_cursor);
    assert_eq!(broker.read(TOPIC).len(), before);

    let accepted = accept(&server);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let unknown = &accepted.json()["reconcile"]["unknown_here"];
    assert_eq!(*unknown, lost.len());
    sell(&server, 5, "after");
    caught_up(&server);
    let taken = sink(&server, "kafka")["lost"][0].clone();
    stopped(server);

    let told = assert_tells_the_log(&broker, &scene.data());
    let partitions: Vec<i32> = told.iter().map(|it| it.partition).collect();
    assert_eq!(partitions, [0, 1, 2], "each partition is told once");
    let from = taken["from_lsn"].as_u64().unwrap();
    let cut: BTreeMap<_, _> = old_log.into_iter().filter(|it| it.0 >= from).collect();
    assert!(cut.len() > 25);
    assert_eq!(taken["events"], cut.len());
    assert_eq!(taken["to_lsn"], old_cursor);
    for record in &told {
        assert_eq!(record.json["from_lsn"], from);
        assert_eq!(record.json["events"], cut.len());
        assert_fits_its_schema(&record.json);
    }
    let kept = lists(&scene.data());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let lines = std::fs::read_to_string(&kept[0]).unwrap();
    let listed = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let listed: BTreeMap<_, _> = listed.map(|it| (it["lsn"].as_u64().unwrap(), it)).collect();
    assert!(listed == cut);
    assert_eq!(lines.lines().count(), cut.len(), "each once");

    // It stays so, and what is sent again has the same names.
    std::fs::remove_file(scene.data().join("sinks/kafka.cursor")).unwrap();
    let server = scene.start();
    assert_eq!(ready(&server), (200, Value::Null));
    caught_up(&server);
    stopped(server);
    assert_eq!(assert_tells_the_log(&broker, &scene.data()).len(), 3);
}

fn assert_fits_its_schema(message: &Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(format!("docs/events/kafka/{TAKEN_BACK}.json")));
    let schema: Value = serde_json::from_str(&text.unwrap()).unwrap();
    for document in std::iter::once(message).chain(schema["examples"].as_array().unwrap()) {
        let valid = jsonschema::validate(&schema, document);
        assert!(valid.is_ok(), "{document}: {valid:?}");
    }
    let described = schema["properties"].as_object().unwrap();
    let fields = message.as_object().unwrap();
    assert!(fields.keys().eq(described.keys()), "{message}");
}

#[test]
fn killed_while_a_topic_is_told_what_to_take_back_it_tells_the_same_in_the_end() {
    let (broker, scene) = scene("");
    let server = scene.start();
    server.put_product("drop", 10_000);
    sell(&server, 3, "before");
    stopped(server);
    scene.take_copy();
    let moments = [
        "history_accepted",
        "sink_returns",
        "sink_returns",
        "sink_took_back",
    ];
    for (round, moment) in moments.into_iter().enumerate() {
        let server = scene.start();
        if ready(&server).0 != 200 {
            assert_eq!(accept(&server).status, 200);
        }
        sell(&server, 12, &format!("lost-{round}"));
        caught_up(&server);
        stopped(server);
        scene.put_back();

        let mut server = scene.start();
        assert_waits(&server, &format!("round-{round}"));
        assert_eq!(accept(&server).status, 200);
        server.log.wait_for(moment).unwrap();
        server.kill();
        let server = scene.start();
        assert_eq!(ready(&server), (200, Value::Null));
        sell(&server, 3, &format!("after-{round}"));
        caught_up(&server);
        stopped(server);
        let told = assert_tells_the_log(&broker, &scene.data());
        let ids: BTreeSet<&str> = told.iter().map(|it| it.headers["ce_id"].as_str()).collect();
        assert_eq!(ids.len(), round + 1, "one name for each taking back");
        std::fs::remove_dir_all(scene.copy()).unwrap();
        scene.take_copy();
    }
}

#[test]
fn what_a_restored_log_goes_on_with_has_names_of_its_own() {
    let store = tempfile::tempdir().unwrap();
    let to = format!("file://{}", store.path().display());
    let (broker, scene) = scene(&format!(
        "source = \"https://shop.example/drops\"\n[backup]\nto = \"{to}\"\nevery_ms = 100\n"
    ));
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 4, "before");
    caught_up(&server);
    let at = status(&server)["durable_lsn"].as_u64().unwrap();
    sell(&server, 9, "lost");
    caught_up(&server);
    stopped(server);
    let ledger = scene.aside();
    std::fs::rename(scene.data().join("sandbox"), &ledger).unwrap();
    std::fs::remove_dir_all(scene.data()).unwrap();
    let restored = binary()
        .args([
            "restore",
            "--from",
            &to,
            "--at",
            &at.to_string(),
            "--data-dir",
        ])
        .arg(scene.data())
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    std::fs::rename(&ledger, scene.data().join("sandbox")).unwrap();

    let server = scene.start();
    assert_waits(&server, "restored");
    assert!(sink(&server, "kafka")["elsewhere"].is_object());
    assert_eq!(accept(&server).status, 200);
    sell(&server, 4, "after");
    caught_up(&server);
    stopped(server);
    let told = assert_tells_the_log(&broker, &scene.data());
    assert_eq!(told.len(), 3);
    for record in told {
        let source = record.headers["ce_source"].as_str();
        assert!(
            source.starts_with("https://shop.example/drops:"),
            "{source}"
        );
    }
}

/// Whoever resumes or reconnects looks again: the directory that is not the newest stops.
#[test]
fn a_sink_that_is_resumed_finds_that_a_copy_has_gone_on_elsewhere() {
    let (_broker, scene) = scene("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    let (_, _) = scene.lose_of(server, 6, "kafka");
    let original = scene.start();
    assert_eq!(ready(&original), (200, Value::Null));
    let copy = scene.start_copy();
    assert_waits(&copy, "copy");
    assert_eq!(accept(&copy).status, 200);
    sell(&copy, 2, "copy");
    caught_up(&copy);
    sell(&original, 1, "unsuspecting");

    let tell = |what: &str| {
        let path = format!("/admin/sinks/kafka/{what}");
        let told = original.ask(&Request::post(&path).key(ADMIN).json(&json!({})));
        assert_eq!(told.status, 200, "{told:?}");
    };
    tell("pause");
    tell("resume");
    until("it is found", || (ready(&original).0 == 503).then_some(()));
    assert_waits(&original, "original");
    let why = sink(&original, "kafka")["elsewhere"]["why"].clone();
    assert!(why.as_str().unwrap().contains("generation"), "{why}");
    stopped_both(original, copy);
}

fn stopped_both(one: Server, other: Server) {
    stopped(one);
    stopped(other);
}

/// What a copied cursor says is what was so when it was copied.
#[test]
fn a_copy_sells_nothing_while_its_sink_cannot_be_reached() {
    let (broker, scene) = scene("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 3, "before");
    caught_up(&server);
    stopped(server);
    // A copy of everything: it is ready by itself once that is known.
    scene.take_copy();
    scene.put_back();
    broker.cut();
    let server = scene.start();
    assert_waits(&server, "unheard");
    let why = sink(&server, "kafka")["elsewhere"]["why"].clone();
    assert!(why.as_str().unwrap().contains("not known"), "{why}");
    broker.mend();
    until("it is heard", || (ready(&server).0 == 200).then_some(()));
    sell(&server, 1, "heard");
    caught_up(&server);
    stopped(server);

    // An older one stays as it is,
    let server = scene.start();
    sell(&server, 4, "lost");
    caught_up(&server);
    stopped(server);
    let cursor_file = scene.data().join("sinks/kafka.cursor");
    let newest_cursor = std::fs::read(&cursor_file).unwrap();
    scene.put_back();
    broker.cut();
    let server = scene.start();
    assert_waits(&server, "older");
    stopped(server);
    // also where the cursor's file is the newest, which tells by itself;
    std::fs::write(&cursor_file, newest_cursor).unwrap();
    let server = scene.start();
    assert_waits(&server, "ahead");
    let why = sink(&server, "kafka")["elsewhere"]["why"].clone();
    assert!(why.as_str().unwrap().starts_with("the log ends"), "{why}");
    // the order is taken without the sink, and holds over a start;
    assert_eq!(accept(&server).status, 200);
    sell(&server, 2, "after");
    stopped(server);
    let server = scene.start();
    assert_eq!(ready(&server), (200, Value::Null));
    // and what the topic has is taken back once it can be.
    broker.mend();
    caught_up(&server);
    stopped(server);
    assert_eq!(assert_tells_the_log(&broker, &scene.data()).len(), 3);
}
