//! Owns the producer: sending a batch and waiting until the brokers have acknowledged all of it.
//!
//! Invariants: after any failure the producer is dropped with its unsent messages, and the
//! next one starts with the batch again, so nothing is sent twice at once; a batch counts as
//! delivered only when every message of it is acknowledged by all replicas in sync; messages larger
//! than the brokers' limit cost a few refusals once, not each time (`sizes`).

use super::failure::{KafkaFailure, class_of, is_too_large};
use super::flight::Flight;
use super::messages::KafkaMessage;
use super::settings::KafkaSettings;
use super::sizes::{Sizes, size_of};
use crate::ids::Lsn;
use crate::journal::{Cursor, Generation};
use crate::report::feed::cursor::log_id_text;
use crate::report::feed::sink::{
    Batch, Batching, Class, Deliver, Delivered, Mark, Placed, Rejection,
};
use compact_str::ToCompactString;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the brokers may take to say what topics there are, at the longest.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for room in the producer's queue before looking again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// Refusals that one delivery settles by itself; with more, the runner halves it, so that each part
/// has the whole time.
const REFUSALS_MAX: usize = 48;

/// Delivers messages.
pub struct Producing {
    settings: KafkaSettings,
    batching: Batching,
    patience: Duration,
    source: String,
    sizes: Sizes,
    producer: Option<Arc<ThreadedProducer<Flight>>>,
}

impl Producing {
    pub(super) fn new(settings: KafkaSettings, batching: Batching, patience: Duration) -> Self {
        Self {
            sizes: Sizes::new(settings.message_bytes_max),
            settings,
            batching,
            patience,
            source: String::new(),
            producer: None,
        }
    }

    /// Sends `placed`, the batch's message number `index`, to `topic`, with `more` headers beside
    /// the event's own.
    fn send(
        &self,
        producer: &ThreadedProducer<Flight>,
        topic: &str,
        (index, placed): (usize, &Placed<KafkaMessage>),
        more: &[(&str, &str)],
    ) -> Result<(), RDKafkaErrorCode> {
        let message = &placed.item;
        let id = placed.lsn.0.to_compact_string();
        let fields = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_type", message.ce_type),
            ("ce_source", self.source.as_str()),
            ("ce_time", message.ce_time.as_str()),
            ("content-type", "application/json"),
        ];
        let mut headers = OwnedHeaders::new_with_capacity(fields.len() + more.len());
        for (key, value) in fields.iter().chain(more) {
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

    /// Sends the batch; what the library refuses by itself is left out and named.
    async fn send_all(
        &self,
        producer: &ThreadedProducer<Flight>,
        items: &[Placed<KafkaMessage>],
        until: Instant,
    ) -> Result<Vec<Rejection>, KafkaFailure> {
        let topic = &self.settings.topic;
        let mut refused = Vec::new();
        for (index, placed) in items.iter().enumerate() {
            loop {
                match self.send(producer, topic, (index, placed), &[]) {
                    Ok(()) => {}
                    Err(RDKafkaErrorCode::QueueFull) if Instant::now() < until => {
                        tokio::time::sleep(QUEUE_FULL_WAIT).await;
                        continue;
                    }
                    Err(code) if class_of(code) == Class::Rejected => refused.push(Rejection {
                        index,
                        cause: code.to_string(),
                    }),
                    Err(code) => return Err(not_taken(producer, topic, (index, placed.lsn), code)),
                }
                break;
            }
        }
        self.acknowledged(producer, topic, items, until).await?;
        Ok(refused)
    }

    /// Waits for every message that was sent of `items`.
    async fn acknowledged(
        &self,
        producer: &ThreadedProducer<Flight>,
        topic: &str,
        items: &[Placed<KafkaMessage>],
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
            Some((index, code)) => Err(not_taken(producer, topic, (index, items[index].lsn), code)),
        }
    }

    /// Sends what was refused to the dead-letter topic; what remains is what that refuses too.
    async fn bury(
        &mut self,
        items: &[Placed<KafkaMessage>],
        refused: Vec<Rejection>,
        until: Instant,
    ) -> Result<Vec<Rejection>, KafkaFailure> {
        let Some(topic) = self.settings.dlq_topic.clone() else {
            return Ok(refused);
        };
        let mut left = Vec::new();
        for rejection in refused {
            let producer = self.producer()?;
            let placed = &items[rejection.index];
            let causes = [
                ("holdfast_cause", rejection.cause.as_str()),
                ("holdfast_topic", self.settings.topic.as_str()),
            ];
            let sent = match self.send(&producer, &topic, (rejection.index, placed), &causes) {
                Ok(()) => self.acknowledged(&producer, &topic, items, until).await,
                Err(code) => {
                    let at = (rejection.index, placed.lsn);
                    Err(not_taken(&producer, &topic, at, code))
                }
            };
            match sent {
                Ok(()) => tracing::error!(
                    event = "kafka_dead_letter",
                    lsn = placed.lsn.0,
                    topic,
                    cause = rejection.cause,
                    "the broker rejected an event permanently; it is in the dead-letter topic"
                ),
                Err(failure) if failure.class() == Class::Retriable => return Err(failure),
                // The data directory keeps it.
                Err(failure) => {
                    self.producer = None;
                    left.push(Rejection {
                        index: rejection.index,
                        cause: format!("{}; and {failure}", rejection.cause),
                    });
                }
            }
        }
        Ok(left)
    }

    /// The producer, set up anew where a failure took it.
    fn producer(&mut self) -> Result<Arc<ThreadedProducer<Flight>>, KafkaFailure> {
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

    async fn try_deliver(
        &mut self,
        batch: &Batch<'_, KafkaMessage>,
    ) -> Result<Delivered, KafkaFailure> {
        let items = batch.items;
        let begun = Instant::now();
        let until = begun + self.patience;
        let sizes: Vec<usize> = items.iter().map(|it| size_of(&it.item)).collect();
        let mut refused = Vec::new();
        let (mut start, mut refusals) = (0, 0);
        while start < items.len() {
            let together = self.sizes.together(sizes[start..].iter().copied());
            let end = start + together;
            let producer = self.producer()?;
            let failure = match self.send_all(&producer, &items[start..end], until).await {
                Ok(by_library) => {
                    refused.extend(by_library.into_iter().map(|it| Rejection {
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
                // Among others, the runner finds what is refused by halving.
                return Err(failure);
            }
            // Alone, it is the one that is refused; together, they go again in smaller batches.
            if together == 1 {
                refused.push(Rejection {
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
        self.source = match &self.settings.source {
            Some(source) => source.clone(),
            None => format!("urn:holdfast:log:{}", log_id_text(log_id)),
        };
        // What an earlier one still has in hand would be sent beside what comes.
        self.producer = None;
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
        let found = metadata.topics().iter().find(|it| it.name() == topic);
        match found.map(|it| (it.error(), it.partitions().is_empty())) {
            Some((None, false)) => Ok(None),
            Some((Some(code), _)) => Err(KafkaFailure::Topic {
                topic,
                code: code.into(),
            }),
            Some((None, true)) | None => Err(KafkaFailure::Topic {
                topic,
                code: RDKafkaErrorCode::UnknownTopicOrPartition,
            }),
        }
    }

    /// What the topic has is not looked up: everything from where the log begins is sent again.
    async fn newest(&mut self, _from: Lsn, _before: Lsn) -> Result<Option<Mark>, KafkaFailure> {
        Ok(None)
    }

    async fn take_back(&mut self, _from: &Cursor, _to: &Cursor) -> Result<u64, KafkaFailure> {
        Ok(0)
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

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}
