//! Owns the producer: sending a batch and waiting until the brokers have acknowledged all of it.
//!
//! Invariants: after any failure the producer is dropped with its unsent messages, and the
//! next one starts with the batch again, so nothing is sent twice at once; a batch counts as
//! delivered only when every message of it is acknowledged by all replicas in sync; messages larger
//! than the brokers' limit cost a few refusals once, not each time (`sizes`).

use super::failure::{KafkaFailure, class_of, is_too_large};
use super::flight::Flight;
use super::history::{Marked, STAMP, TopicHistory};
use super::messages::{KafkaMessage, SinkContext};
use super::settings::KafkaSettings;
use super::sizes::{Sizes, size_of};
use super::taken_back::{blocking, has};
use super::topic::{TopicParting, TopicReader};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use crate::report::feed::sink::{
    Batch, Batching, Class, Deliver, Delivered, RejectedItem, SinkRecord,
};
use compact_str::ToCompactString;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Timeout of a request for metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for room in the producer's queue before trying again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// Maximum rejections that one delivery handles itself. With more, the runner halves the batch, so
/// that each part has the full timeout.
const REFUSALS_MAX: usize = 48;

/// Delivers messages.
pub struct Producing {
    pub(super) settings: KafkaSettings,
    batching: Batching,
    pub(super) patience: Duration,
    pub(super) own: SinkContext,
    pub(super) history: TopicHistory,
    pub(super) partitions: Vec<i32>,
    /// Where the topic's history parted from the log's, from finding it to taking it back.
    pub(super) parted: Option<TopicParting>,
    sizes: Sizes,
    producer: Option<Arc<ThreadedProducer<Flight>>>,
}

impl Producing {
    pub(super) fn new(
        settings: KafkaSettings,
        batching: Batching,
        patience: Duration,
        own: SinkContext,
    ) -> Self {
        Self {
            sizes: Sizes::new(settings.message_bytes_max),
            settings,
            batching,
            patience,
            own,
            history: TopicHistory::default(),
            partitions: Vec::new(),
            parted: None,
            producer: None,
        }
    }

    /// Sends `marked`, the message at `index` of the batch, to `topic`, with `more` additional
    /// headers.
    fn send(
        producer: &ThreadedProducer<Flight>,
        topic: &str,
        (index, marked): (usize, &Marked<'_>),
        more: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let message = &marked.placed.item;
        let id = marked.placed.lsn.0.to_compact_string();
        let stamp = marked.stamp.as_deref().map(|stamp| (STAMP, stamp));
        let fields = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_type", message.ce_type),
            ("ce_source", marked.source.as_str()),
            ("ce_time", message.ce_time.as_str()),
            ("content-type", "application/json"),
        ];
        // The extension for distributed tracing, and the header that tracing of Kafka clients reads.
        let trace = message.traceparent.as_deref();
        let trace = trace.map(|it| [("ce_traceparent", it), ("traceparent", it)]);
        let trace = trace.as_ref().map_or(&[][..], |it| it);
        let count = fields.len() + 1 + trace.len() + more.len();
        let mut headers = OwnedHeaders::new_with_capacity(count);
        for (key, value) in fields.iter().chain(&stamp).chain(trace).chain(more) {
            headers = headers.insert(Header {
                key,
                value: Some(*value),
            });
        }
        let record = BaseRecord::with_opaque_to(topic, index)
            .key(message.key.as_str())
            .payload(&message.json)
            .timestamp(i64::try_from(message.at_ms).unwrap_or(i64::MAX))
            .headers(headers);
        producer
            .send(record)
            .map_err(|(error, _)| code_of(&error))?;
        producer.context().sent();
        Ok(())
    }

    /// Sends the batch; returns the messages that the library itself rejected.
    async fn send_all(
        &self,
        producer: &ThreadedProducer<Flight>,
        items: &[Marked<'_>],
        until: Instant,
    ) -> Result<Vec<RejectedItem>, KafkaFailure> {
        let topic = &self.settings.topic;
        let mut refused = Vec::new();
        for (index, marked) in items.iter().enumerate() {
            loop {
                match Self::send(producer, topic, (index, marked), &[]) {
                    Ok(()) => {}
                    Err(RDKafkaErrorCode::QueueFull) if Instant::now() < until => {
                        tokio::time::sleep(QUEUE_FULL_WAIT).await;
                        continue;
                    }
                    Err(code) if class_of(code) == Class::Rejected => refused.push(RejectedItem {
                        index,
                        cause: code.to_string(),
                    }),
                    Err(code) => {
                        let at = (index, marked.placed.lsn);
                        return Err(not_taken(producer, topic, at, code));
                    }
                }
                break;
            }
        }
        self.acknowledged(producer, topic, items, until).await?;
        Ok(refused)
    }

    /// Waits for every sent message of `items`.
    async fn acknowledged(
        &self,
        producer: &ThreadedProducer<Flight>,
        topic: &str,
        items: &[Marked<'_>],
        until: Instant,
    ) -> Result<(), KafkaFailure> {
        let flight = producer.context();
        if let Err(unanswered) = flight.landed(until).await {
            return Err(KafkaFailure::Silent {
                topic: topic.to_owned(),
                unanswered,
                waited_ms: self.patience.as_millis(),
                last: flight.last_error(),
            });
        }
        match flight.failure() {
            None => Ok(()),
            Some((index, code)) => {
                let at = (index, items[index].placed.lsn);
                Err(not_taken(producer, topic, at, code))
            }
        }
    }

    /// Sends rejected messages to the dead-letter topic; returns those that it rejects, too.
    async fn bury(
        &mut self,
        items: &[Marked<'_>],
        refused: Vec<RejectedItem>,
        until: Instant,
    ) -> Result<Vec<RejectedItem>, KafkaFailure> {
        let Some(topic) = self.settings.dlq_topic.clone() else {
            return Ok(refused);
        };
        let mut left = Vec::new();
        for rejection in refused {
            let producer = self.producer()?;
            let marked = &items[rejection.index];
            let lsn = marked.placed.lsn;
            let causes = [
                ("holdfast_cause", rejection.cause.as_str()),
                ("holdfast_topic", self.settings.topic.as_str()),
            ];
            let sent = match Self::send(&producer, &topic, (rejection.index, marked), &causes) {
                Ok(()) => self.acknowledged(&producer, &topic, items, until).await,
                Err(code) => {
                    let at = (rejection.index, lsn);
                    Err(not_taken(&producer, &topic, at, code))
                }
            };
            match sent {
                Ok(()) => tracing::error!(
                    event = "kafka_dead_letter",
                    lsn = lsn.0,
                    topic,
                    cause = rejection.cause,
                    "the broker rejected an event permanently; it is in the dead-letter topic"
                ),
                Err(failure) if failure.class() == Class::Retriable => return Err(failure),
                // The dead letters of the data directory keep it.
                Err(failure) => {
                    self.producer = None;
                    left.push(RejectedItem {
                        index: rejection.index,
                        cause: format!("{}; and {failure}", rejection.cause),
                    });
                }
            }
        }
        Ok(left)
    }

    /// The producer; a new one after a failure.
    pub(super) fn producer(&mut self) -> Result<Arc<ThreadedProducer<Flight>>, KafkaFailure> {
        if let Some(producer) = &self.producer {
            return Ok(Arc::clone(producer));
        }
        let settings = &self.settings;
        let config = settings.client_config(self.batching, self.sizes.batch_bytes());
        let producer: ThreadedProducer<Flight> = config
            .create_with_context(Flight::default())
            .map_err(KafkaFailure::Setup)?;
        let producer = Arc::new(producer);
        self.producer = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Reads the topic.
    pub(super) fn reader(&self) -> Result<Arc<TopicReader>, KafkaFailure> {
        let log_id = self.own.journal.log_id();
        let partitions = self.partitions.clone();
        let reader = TopicReader::new(&self.settings, partitions, log_id, self.patience)?;
        Ok(Arc::new(reader))
    }

    /// The partitions of the topic, where it is there and may be written to.
    async fn ask_for_partitions(&mut self) -> Result<Vec<i32>, KafkaFailure> {
        let producer = self.producer()?;
        let topic = self.settings.topic.clone();
        let (asked, asking) = (topic.clone(), Arc::clone(&producer));
        let timeout = METADATA_TIMEOUT.min(self.patience);
        let metadata = tokio::task::spawn_blocking(move || {
            let client = asking.client();
            client.fetch_metadata(Some(&asked), timeout)
        });
        let metadata = metadata.await.map_err(|_| KafkaFailure::NotOpen)?;
        let metadata = metadata.map_err(|error| KafkaFailure::Ask {
            brokers: self.settings.brokers.join(","),
            topic: topic.clone(),
            code: code_of(&error),
            last: producer.context().last_error(),
        })?;
        let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
        let found = metadata.topics().iter().find(|it| it.name() == topic);
        let partitions = match found.map(|it| (it.error(), it.partitions())) {
            Some((Some(code), _)) => Err(code.into()),
            Some((None, partitions)) if !partitions.is_empty() => Ok(partitions),
            Some(_) | None => Err(unknown),
        };
        match partitions {
            Ok(partitions) => Ok(partitions.iter().map(MetadataPartition::id).collect()),
            Err(code) => Err(KafkaFailure::Topic { topic, code }),
        }
    }

    async fn try_deliver(
        &mut self,
        batch: &Batch<'_, KafkaMessage>,
    ) -> Result<Delivered, KafkaFailure> {
        let items = &self
            .history
            .mark(batch.items, &self.own.journal.history().generations());
        let begun = Instant::now();
        let until = begun + self.patience;
        let sizes: Vec<usize> = items.iter().map(|it| size_of(&it.placed.item)).collect();
        let mut refused = Vec::new();
        let (mut start, mut refusals) = (0, 0);
        while start < items.len() {
            let together = self.sizes.together(sizes[start..].iter().copied());
            let end = start + together;
            let producer = self.producer()?;
            let failure = match self.send_all(&producer, &items[start..end], until).await {
                Ok(by_library) => {
                    refused.extend(by_library.into_iter().map(|it| RejectedItem {
                        index: start + it.index,
                        ..it
                    }));
                    start = end;
                    continue;
                }
                Err(failure) => failure,
            };
            let KafkaFailure::Message { code, index, .. } = &failure else {
                return Err(failure);
            };
            self.producer = None;
            if is_too_large(*code) {
                self.sizes.refused(&sizes[start..end], *index);
            }
            refusals += 1;
            let has_time = refusals <= REFUSALS_MAX && begun.elapsed() < self.patience / 2;
            let is_known = together == 1 || is_too_large(*code);
            if failure.class() != Class::Rejected || items.len() > 1 && !(has_time && is_known) {
                // In a batch, the runner finds the rejected message by halving.
                return Err(failure);
            }
            // A message sent alone is the rejected one; otherwise send them again in smaller
            // batches.
            if together == 1 {
                refused.push(RejectedItem {
                    index: start,
                    cause: failure.to_string(),
                });
                start = end;
            }
        }
        if let Some(batch_bytes) = self.sizes.news() {
            tracing::warn!(
                event = "kafka_batches_smaller",
                batch_bytes,
                topic = self.settings.topic,
                "the brokers take smaller batches than report.kafka.message_bytes_max; raise the \
                 topic's max.message.bytes, or lower that"
            );
        }
        let count = refused.len();
        let rejected = self.bury(items, refused, until).await?;
        Ok(Delivered {
            buried: count - rejected.len(),
            rejected,
            put_off: 0,
            left: Vec::new(),
        })
    }
}

impl Deliver for Producing {
    type Item = KafkaMessage;
    type Error = KafkaFailure;

    async fn open(
        &mut self,
        log_id: u64,
        _generation: Generation,
    ) -> Result<Option<Cursor>, KafkaFailure> {
        // An earlier producer could still send its messages between the new ones.
        self.producer = None;
        self.parted = None;
        self.partitions = self.ask_for_partitions().await?;
        let (reader, journal) = (self.reader()?, Arc::clone(&self.own.journal));
        let (newest, shown) = blocking(move || {
            let stamps = reader.newest()?;
            let mut elsewhere = Vec::new();
            for stamp in &stamps {
                if !has(&journal, &stamp.newest)? {
                    elsewhere.push(stamp.newest);
                }
            }
            let place = |it: &Cursor| (it.generation.number(), it.lsn);
            let newest = stamps.into_iter().max_by_key(|it| place(&it.newest));
            // One partition that has another history is enough.
            let elsewhere = elsewhere.into_iter().max_by_key(place);
            let shown = elsewhere.or(newest.as_ref().map(|it| it.newest));
            Ok((newest, shown))
        })
        .await?;
        let source = self.settings.source.as_deref();
        self.history = TopicHistory::new(log_id, source, newest);
        Ok(shown)
    }

    async fn parting(&mut self) -> Result<Option<Lsn>, KafkaFailure> {
        let parted = self.part().await?;
        let common = parted.common;
        self.parted = Some(parted);
        Ok(common)
    }

    /// [`Self::parting`] tells all that there is to tell.
    async fn newest(
        &mut self,
        _from: Lsn,
        _before: Lsn,
    ) -> Result<Option<SinkRecord>, KafkaFailure> {
        Ok(None)
    }

    async fn take_back(&mut self, from: &Cursor, to: &Cursor) -> Result<u64, KafkaFailure> {
        let taken = self.take_back_lost(from, to).await;
        if taken.is_err() {
            self.producer = None;
        }
        taken
    }

    async fn deliver(&mut self, batch: Batch<'_, KafkaMessage>) -> Result<Delivered, KafkaFailure> {
        let delivered = self.try_deliver(&batch).await;
        if delivered.is_err() {
            self.producer = None;
        }
        delivered
    }

    fn classify(failure: &KafkaFailure) -> Class {
        failure.class()
    }
}

fn not_taken(
    producer: &ThreadedProducer<Flight>,
    topic: &str,
    (index, lsn): (usize, Lsn),
    code: RDKafkaErrorCode,
) -> KafkaFailure {
    let fatal = producer.client().fatal_error();
    KafkaFailure::Message {
        topic: topic.to_owned(),
        lsn: lsn.0,
        index,
        code,
        last: fatal
            .map(|(_, why)| why)
            .or_else(|| producer.context().last_error()),
    }
}

pub(super) fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}
