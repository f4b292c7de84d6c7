//! Owns the producer: sending a batch and waiting until the brokers have all of it.
//!
//! Invariants: after any failure the producer is dropped with what it still has in hand, and the
//! next one begins with the batch again, so nothing is sent twice at once; a batch counts as
//! delivered only when every message of it is acknowledged by all replicas in sync.

use super::failure::{KafkaFailure, class_of};
use super::settings::KafkaSettings;
use super::{Batching, Message};
use crate::ids::Lsn;
use crate::report::feed::cursor::log_id_text;
use crate::report::feed::sink::{Batch, Class, Deliver, Delivered, Placed, Rejection};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How long the brokers may take to say what topics there are, at the longest.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for room in the producer's queue before looking again.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(5);

/// Delivers messages.
pub struct Producing {
    settings: KafkaSettings,
    batching: Batching,
    patience: Duration,
    source: String,
    last_error: Arc<Mutex<Option<String>>>,
    producer: Option<FutureProducer<Watching>>,
}

/// Keeps what went wrong with connections, to be told with the failure that comes of it.
struct Watching {
    last_error: Arc<Mutex<Option<String>>>,
}

impl ClientContext for Watching {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "kafka_client_error", %error, reason);
        *self.last_error.lock() = Some(reason.to_owned());
    }
}

impl Producing {
    pub(super) fn new(settings: KafkaSettings, batching: Batching, patience: Duration) -> Self {
        Self {
            settings,
            batching,
            patience,
            source: String::new(),
            last_error: Arc::default(),
            producer: None,
        }
    }

    fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Sends `placed` to `topic`, with `more` headers beside the event's own.
    fn send(
        &self,
        producer: &FutureProducer<Watching>,
        topic: &str,
        placed: &Placed<Message>,
        more: &[(&str, &str)],
    ) -> Result<DeliveryFuture, RDKafkaErrorCode> {
        let message = &placed.item;
        let id = placed.lsn.0.to_string();
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
        let record = FutureRecord::to(topic)
            .key(&message.key)
            .payload(&message.json)
            .timestamp(i64::try_from(message.at_ms).unwrap_or(i64::MAX))
            .headers(headers);
        producer
            .send_result(record)
            .map_err(|(error, _)| code_of(&error))
    }

    /// Sends the batch; what the library refuses by itself is left out and named.
    async fn send_all(
        &self,
        producer: &FutureProducer<Watching>,
        items: &[Placed<Message>],
        until: Instant,
    ) -> Result<Vec<Rejection>, KafkaFailure> {
        let topic = &self.settings.topic;
        let mut pending = Vec::with_capacity(items.len());
        let mut refused = Vec::new();
        for (index, placed) in items.iter().enumerate() {
            loop {
                match self.send(producer, topic, placed, &[]) {
                    Ok(sent) => pending.push((placed.lsn, sent)),
                    Err(RDKafkaErrorCode::QueueFull) if Instant::now() < until => {
                        tokio::time::sleep(QUEUE_FULL_WAIT).await;
                        continue;
                    }
                    Err(code) if class_of(code) == Class::Rejected => refused.push(Rejection {
                        index,
                        cause: code.to_string(),
                    }),
                    Err(code) => return Err(self.not_taken(producer, topic, placed.lsn, code)),
                }
                break;
            }
        }
        self.acknowledged(producer, topic, pending, until).await?;
        Ok(refused)
    }

    /// Waits for every message; of several failures the one that says most.
    async fn acknowledged(
        &self,
        producer: &FutureProducer<Watching>,
        topic: &str,
        pending: Vec<(Lsn, DeliveryFuture)>,
        until: Instant,
    ) -> Result<(), KafkaFailure> {
        let mut worst: Option<(Lsn, RDKafkaErrorCode)> = None;
        let count = pending.len();
        for (done, (lsn, sent)) in pending.into_iter().enumerate() {
            let code = match timeout_at(until.into(), sent).await {
                Ok(Ok(Ok(_))) => continue,
                Ok(Ok(Err((error, _)))) => code_of(&error),
                Ok(Err(_)) => RDKafkaErrorCode::Fail,
                Err(_) => {
                    return Err(KafkaFailure::Silent {
                        topic: topic.to_owned(),
                        unanswered: count - done,
                        waited_ms: self.patience.as_millis(),
                        last: self.last_error(),
                    });
                }
            };
            let says_more = worst.is_none_or(|(_, before)| weight(code) > weight(before));
            if says_more {
                worst = Some((lsn, code));
            }
        }
        match worst {
            None => Ok(()),
            Some((lsn, code)) => Err(self.not_taken(producer, topic, lsn, code)),
        }
    }

    fn not_taken(
        &self,
        producer: &FutureProducer<Watching>,
        topic: &str,
        lsn: Lsn,
        code: RDKafkaErrorCode,
    ) -> KafkaFailure {
        let fatal = producer.client().fatal_error();
        KafkaFailure::Message {
            topic: topic.to_owned(),
            lsn: lsn.0,
            code,
            last: fatal.map(|(_, why)| why).or_else(|| self.last_error()),
        }
    }

    /// Sends what was refused to the dead-letter topic; what remains is what that refuses too.
    async fn bury(
        &mut self,
        items: &[Placed<Message>],
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
            let sent = match self.send(&producer, &topic, placed, &causes) {
                Ok(sent) => {
                    let pending = vec![(placed.lsn, sent)];
                    self.acknowledged(&producer, &topic, pending, until).await
                }
                Err(code) => Err(self.not_taken(&producer, &topic, placed.lsn, code)),
            };
            match sent {
                Ok(()) => tracing::error!(
                    event = "kafka_dead_letter",
                    lsn = placed.lsn.0,
                    topic,
                    cause = rejection.cause,
                    "the broker refused an event for good; it went to the dead-letter topic"
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
    fn producer(&mut self) -> Result<FutureProducer<Watching>, KafkaFailure> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        let watching = Watching {
            last_error: Arc::clone(&self.last_error),
        };
        let config = self.settings.client_config(self.batching);
        let producer: FutureProducer<Watching> = config
            .create_with_context(watching)
            .map_err(KafkaFailure::Setup)?;
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    async fn try_deliver(&mut self, batch: &Batch<'_, Message>) -> Result<Delivered, KafkaFailure> {
        if batch.items.is_empty() {
            return Ok(Delivered::default());
        }
        let until = Instant::now() + self.patience;
        let producer = self.producer()?;
        let refused = match self.send_all(&producer, batch.items, until).await {
            // Alone, it is the one that is refused; among others, the runner finds it by halving.
            Err(failure @ KafkaFailure::Message { .. })
                if failure.class() == Class::Rejected && batch.items.len() == 1 =>
            {
                self.producer = None;
                vec![Rejection {
                    index: 0,
                    cause: failure.to_string(),
                }]
            }
            sent => sent?,
        };
        drop(producer);
        let rejected = self.bury(batch.items, refused, until).await?;
        Ok(Delivered { rejected })
    }
}

impl Deliver for Producing {
    type Item = Message;
    type Error = KafkaFailure;

    async fn open(&mut self, log_id: u64) -> Result<Option<Lsn>, KafkaFailure> {
        self.source = match &self.settings.source {
            Some(source) => source.clone(),
            None => format!("urn:holdfast:log:{}", log_id_text(log_id)),
        };
        // What an earlier one still has in hand would be sent beside what comes.
        self.producer = None;
        *self.last_error.lock() = None;
        let producer = self.producer()?;
        let topic = self.settings.topic.clone();
        let asked = topic.clone();
        let timeout = METADATA_TIMEOUT.min(self.patience);
        let metadata = tokio::task::spawn_blocking(move || {
            let client = producer.client();
            client.fetch_metadata(Some(&asked), timeout)
        });
        let metadata = metadata.await.map_err(|_| KafkaFailure::NotOpen)?;
        let metadata = metadata.map_err(|error| KafkaFailure::Ask {
            brokers: self.settings.brokers.join(","),
            topic: topic.clone(),
            code: code_of(&error),
            last: self.last_error(),
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

    async fn deliver(&mut self, batch: Batch<'_, Message>) -> Result<Delivered, KafkaFailure> {
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

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

/// How much a failure says: what speaks of the message, then of the set-up, then the rest.
fn weight(code: RDKafkaErrorCode) -> u8 {
    match class_of(code) {
        Class::Rejected => 2,
        Class::Misconfigured => 1,
        Class::Retriable => 0,
    }
}
