//! Owns taking back what a topic has and the log has lost. A topic keeps what was sent, so taking back
//! is a list of the lost events in the data directory, and a message in every partition that says what
//! readers have to take back, in front of the first event that goes on.
//!
//! Invariants: 1. the list is on the disk before a message says so; 2. done again after a crash, it
//! lists and says the same: messages of the same taking back are passed over.
//! Deliberately absent: finding where the histories parted, which `topic` does.

use super::failure::KafkaFailure;
use super::history::STAMP;
use super::producer::{Producing, code_of};
use super::topic::{TopicMessage, TopicParting, TopicReader};
use crate::journal::{Access, Cursor, Directory, Generation, Journal, Located};
use crate::time::UnixMs;
use compact_str::ToCompactString;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

/// The type of the message.
pub(super) const TAKEN_BACK: &str = "holdfast.history.taken_back.v1";

/// What was lost.
struct LostEvents {
    events: u64,
    /// `ce_source` of each generation that has some.
    sources: Vec<String>,
}

impl Producing {
    /// Where the topic's history and the log's parted.
    pub(super) async fn part(&mut self) -> Result<TopicParting, KafkaFailure> {
        let reader = self.reader()?;
        let journal = Arc::clone(&self.own.journal);
        let generation = journal.generation().to_string();
        blocking(move || {
            reader.parting(
                |cursor| has(&journal, cursor),
                |found| is_of_taking_back(found, &generation),
            )
        })
        .await
    }

    /// Takes back what is lost; how many events that is.
    pub(super) async fn take_back_lost(
        &mut self,
        from: &Cursor,
        to: &Cursor,
    ) -> Result<u64, KafkaFailure> {
        let parted = match self.parted.take() {
            Some(parted) => parted,
            None => self.part().await?,
        };
        let reader = self.reader()?;
        let folder = Arc::clone(&self.own.folder);
        let name = format!(
            "kafka.lost-{}-{:020}-{:020}.jsonl",
            from.generation, to.lsn.0, from.lsn.0
        );
        let generation = to.generation;
        let listing = move || list(&reader, &parted, &folder, &name, generation);
        let listed = blocking(listing).await?;
        if listed.events > 0 {
            self.history.goes_on_from(to);
            self.tell(from, to, &listed).await?;
        }
        Ok(listed.events)
    }

    /// Sends the message to every partition, and waits until it is there.
    async fn tell(
        &mut self,
        from: &Cursor,
        to: &Cursor,
        listed: &LostEvents,
    ) -> Result<(), KafkaFailure> {
        let producer = self.producer()?;
        let (topic, at) = (&self.settings.topic, self.own.journal.now());
        let source = self.history.source_of(to.generation);
        let body = body(at, (from, to), listed).to_string();
        let id = id(to.generation, from);
        let (time, stamp) = (at.to_compact_string(), self.history.stamp());
        let fields = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_type", TAKEN_BACK),
            ("ce_source", source.as_str()),
            ("ce_time", time.as_str()),
            ("content-type", "application/json"),
            (STAMP, stamp.as_deref().unwrap_or_default()),
        ];
        let failed = |index, code| KafkaFailure::Message {
            topic: topic.clone(),
            lsn: to.lsn.0,
            index,
            code,
            last: producer.context().last_error(),
        };
        for (index, partition) in self.partitions.iter().enumerate() {
            let mut headers = OwnedHeaders::new_with_capacity(fields.len());
            for (key, value) in fields {
                let value = Some(value);
                headers = headers.insert(Header { key, value });
            }
            let record = BaseRecord::<(), _, usize>::with_opaque_to(topic, index)
                .partition(*partition)
                .payload(&body)
                .timestamp(i64::try_from(at.get()).unwrap_or(i64::MAX))
                .headers(headers);
            let sent = producer.send(record);
            sent.map_err(|(error, _)| failed(index, code_of(&error)))?;
            producer.context().sent();
        }
        let until = Instant::now() + self.patience;
        if let Err(unanswered) = producer.context().landed(until).await {
            return Err(KafkaFailure::Silent {
                topic: topic.clone(),
                unanswered,
                waited_ms: self.patience.as_millis(),
                last: producer.context().last_error(),
            });
        }
        let failure = producer.context().failure();
        failure.map_or(Ok(()), |(index, code)| Err(failed(index, code)))
    }
}

/// `ce_id` of the message: the same in every partition and when it is sent again.
fn id(generation: Generation, from: &Cursor) -> String {
    format!("taken-back-{generation}-{}-{}", from.generation, from.lsn)
}

fn body(at: UnixMs, (from, to): (&Cursor, &Cursor), listed: &LostEvents) -> serde_json::Value {
    json!({
        "kind": "history_taken_back",
        "at": at.to_string(),
        "generation": {
            "number": to.generation.number(),
            "tag": format!("{:016x}", to.generation.tag()),
        },
        "from_lsn": to.lsn.0,
        "to_lsn": from.lsn.0,
        "events": listed.events,
        "sources": listed.sources,
    })
}

/// Whether this is the message of the taking back that `generation` goes on with: it was sent to some
/// partitions only, and the process ended.
fn is_of_taking_back(found: &TopicMessage<'_>, generation: &str) -> bool {
    found.ce_type == TAKEN_BACK && found.ce_source.ends_with(generation)
}

/// Whether the log has this position, as far as it is known.
pub(super) fn has(journal: &Journal, cursor: &Cursor) -> Result<bool, KafkaFailure> {
    let located = journal
        .history()
        .locate(cursor)
        .map_err(KafkaFailure::Compare)?;
    Ok(!matches!(located, Located::Elsewhere(_)))
}

/// Writes every lost event as a line to the file `name` in `folder`, each once.
fn list(
    reader: &TopicReader,
    parted: &TopicParting,
    folder: &Directory,
    name: &str,
    generation: Generation,
) -> Result<LostEvents, KafkaFailure> {
    let failed = |source| KafkaFailure::Listing {
        path: folder.path().join(name),
        source,
    };
    let generation = generation.to_string();
    let mut events = 0;
    let mut seen: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
    let mut lines = None;
    reader.read(&parted.lost, |_, _, found| {
        // Messages of a taking back are no events.
        let Ok(lsn) = found.ce_id.parse::<u64>() else {
            return Ok(());
        };
        // A repeat or a driven dead letter of what both have.
        let is_common = parted.common.is_some_and(|common| lsn < common.0);
        if is_common || is_of_taking_back(&found, &generation) {
            return Ok(());
        }
        if !seen.contains_key(found.ce_source) {
            seen.insert(found.ce_source.to_owned(), HashSet::new());
        }
        let of_source = seen.get_mut(found.ce_source).expect("it is there now");
        if !of_source.insert(lsn) {
            return Ok(());
        }
        events += 1;
        if lines.is_none() {
            let file = folder.open_file(name, Access::Create).map_err(failed)?;
            lines = Some(BufWriter::new(file));
        }
        let lines = lines.as_mut().expect("it was opened just now");
        lines
            .write_all(found.json)
            .and_then(|()| lines.write_all(b"\n"))
            .map_err(failed)
    })?;
    if let Some(mut lines) = lines {
        lines
            .flush()
            .and_then(|()| lines.get_ref().sync_all())
            .and_then(|()| folder.sync())
            .map_err(failed)?;
    }
    Ok(LostEvents {
        events,
        sources: seen.into_keys().collect(),
    })
}

/// Runs what blocks beside the sink's thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaFailure> + Send + 'static,
) -> Result<T, KafkaFailure> {
    let ended = tokio::task::spawn_blocking(work).await;
    // A panic has stopped the process already.
    ended.map_err(|_| KafkaFailure::NotOpen)?
}
