//! Owns the messages in flight of one producer: how many were sent, how many ended, and what failed.
//!
//! Invariants: counts cover the life of the producer, which a failure ends, so nothing is ever
//! reset; each message's end is counted once, by the one thread that polls the producer; the waiting
//! task is woken once, by the last one. Counting allocates nothing: a message is known by its index
//! in the batch.
//! Deliberately absent: what a failure leads to.

use super::super::feed::sink::Class;
use super::failure::class_of;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// No task waits.
const NOBODY: usize = usize::MAX;

/// The messages in flight of one producer.
pub(super) struct Flight {
    sent: AtomicUsize,
    ended: AtomicUsize,
    /// The number of ended messages at which the waiting task is woken.
    awaited: AtomicUsize,
    all_ended: Notify,
    failure: Mutex<Option<(usize, RDKafkaErrorCode)>>,
    last_error: Mutex<Option<String>>,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            sent: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            awaited: AtomicUsize::new(NOBODY),
            all_ended: Notify::new(),
            failure: Mutex::new(None),
            last_error: Mutex::new(None),
        }
    }
}

impl Flight {
    /// Counts a sent message.
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, SeqCst);
    }

    /// Waits until every sent message has ended; returns the number of unfinished messages at
    /// `until`.
    pub(super) async fn landed(&self, until: Instant) -> Result<(), usize> {
        let sent = self.sent.load(SeqCst);
        // This thread sets `awaited` and then reads the count; the polling thread counts and then
        // reads `awaited`. So at least one of them sees the other's write.
        self.awaited.store(sent, SeqCst);
        while self.ended.load(SeqCst) < sent {
            let woken = timeout_at(until.into(), self.all_ended.notified()).await;
            let left = sent - self.ended.load(SeqCst).min(sent);
            if woken.is_err() && left > 0 {
                return Err(left);
            }
        }
        self.awaited.store(NOBODY, SeqCst);
        Ok(())
    }

    /// The most specific of several failures, with the message's index in its batch.
    pub(super) fn failure(&self) -> Option<(usize, RDKafkaErrorCode)> {
        *self.failure.lock()
    }

    /// The last error of a connection.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    fn failed(&self, index: usize, code: RDKafkaErrorCode) {
        let mut failure = self.failure.lock();
        if failure.is_none_or(|(_, before)| weight(code) > weight(before)) {
            *failure = Some((index, code));
        }
    }
}

impl ClientContext for Flight {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "kafka_client_error", %error, reason);
        *self.last_error.lock() = Some(reason.to_owned());
    }
}

impl ProducerContext for Flight {
    type DeliveryOpaque = usize;

    fn delivery(&self, ended: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = ended {
            let code = error.rdkafka_error_code();
            self.failed(index, code.unwrap_or(RDKafkaErrorCode::Fail));
        }
        let ended = self.ended.fetch_add(1, SeqCst) + 1;
        if ended == self.awaited.load(SeqCst) {
            self.all_ended.notify_one();
        }
    }
}

/// How specific a failure is: about the message, then about the set-up, then any other.
fn weight(code: RDKafkaErrorCode) -> u8 {
    match class_of(code) {
        Class::Rejected => 2,
        Class::Misconfigured => 1,
        Class::Retriable | Class::Unwanted => 0,
    }
}
