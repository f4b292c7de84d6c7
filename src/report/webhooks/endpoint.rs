//! Owns one endpoint as operators see it: its settings, its latest tries, and a ping.
//!
//! Invariants: the list of tries is bounded and in memory only; a ping is delivered at once, apart
//! from the events; once one is accepted, what waits is tried at once.

use super::credentials::EndpointCredentials;
use super::keys::{OutgoingKey, signatures};
use super::messages::ping_body;
use super::post::{Poster, SignedMessage};
use super::settings::EndpointSettings;
use crate::ids::Lsn;
use crate::journal::Journal;
use crate::report::feed::cursor::log_id_text;
use crate::time::UnixMs;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Tries that are remembered.
const RECENT_MAX: usize = 100;
/// Characters of an answer that a ping shows.
const ANSWER_CHARS_MAX: usize = 1_000;

/// One try of a delivery.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// `webhook-id`.
    pub id: String,
    pub lsn: Lsn,
    pub kind: &'static str,
    /// From 1, in this process.
    pub attempt: u32,
    pub at: UnixMs,
    /// `None`: there was no answer.
    pub status: Option<u16>,
    /// `None`: it was accepted.
    pub failure: Option<String>,
}

/// What became of a ping.
#[derive(Clone, Debug)]
pub struct PingResult {
    pub id: String,
    pub status: Option<u16>,
    /// `None`: it was accepted.
    pub failure: Option<String>,
    /// The beginning of the endpoint's answer.
    pub answer: String,
    pub took_ms: u64,
}

/// Whether a reload brought other credentials.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    Yes,
    No,
}

pub struct WebhookEndpoint {
    settings: EndpointSettings,
    /// In place of those of `settings`, which are the ones at the start.
    credentials: Mutex<Arc<EndpointCredentials>>,
    journal: Arc<Journal>,
    recent: Mutex<VecDeque<DeliveryRecord>>,
    /// A ping was accepted.
    answers: Notify,
}

impl WebhookEndpoint {
    pub fn new(
        settings: EndpointSettings,
        credentials: EndpointCredentials,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            settings,
            credentials: Mutex::new(Arc::new(credentials)),
            journal,
            recent: Mutex::default(),
            answers: Notify::new(),
        }
    }

    pub const fn settings(&self) -> &EndpointSettings {
        &self.settings
    }

    /// What signs and is trusted from now on. Returns whether that is another one.
    pub fn replace(&self, credentials: EndpointCredentials) -> Renewed {
        let mut current = self.credentials.lock();
        if current.is_same(&credentials) {
            return Renewed::No;
        }
        *current = Arc::new(credentials);
        Renewed::Yes
    }

    pub(super) fn credentials(&self) -> Arc<EndpointCredentials> {
        Arc::clone(&self.credentials.lock())
    }

    /// Number of keys that sign.
    pub fn keys(&self) -> usize {
        self.credentials().keys.len()
    }

    /// The public halves of its keys.
    pub fn public_keys(&self) -> Vec<String> {
        let credentials = self.credentials();
        let keys = credentials.keys.iter();
        keys.filter_map(OutgoingKey::public).collect()
    }

    /// The latest tries, newest first.
    pub fn recent(&self) -> Vec<DeliveryRecord> {
        self.recent.lock().iter().cloned().collect()
    }

    /// Delivers a ping, once.
    pub async fn ping(&self) -> PingResult {
        let at = self.journal.now();
        let log = log_id_text(self.journal.log_id());
        let id = format!("{log}-ping-{}", at.get());
        let message = self.signed(id.clone(), ping_body(self.settings.sink, at));
        let begun = Instant::now();
        // A client of its own: the sink's connections live on the sink's thread.
        let posted = Poster::new(self).post(message).await;
        if posted.failure.is_none() {
            self.answers.notify_one();
        }
        let answer = String::from_utf8_lossy(&posted.answer);
        PingResult {
            id,
            status: posted.status.map(|it| it.as_u16()),
            failure: posted.failure,
            answer: answer.chars().take(ANSWER_CHARS_MAX).collect(),
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Ends once a ping was accepted after the last call.
    pub(super) async fn answers(&self) {
        self.answers.notified().await;
    }

    /// A message signed with every key, as of now by the wall clock: receivers judge by theirs.
    pub(super) fn signed(&self, id: String, body: Bytes) -> SignedMessage {
        let timestamp_s = self.journal.upkeep().wall_clock().get() / 1_000;
        SignedMessage {
            signatures: signatures(&self.credentials().keys, &id, timestamp_s, &body),
            id,
            timestamp_s,
            body,
        }
    }

    pub(super) fn note(&self, record: DeliveryRecord) {
        let mut recent = self.recent.lock();
        recent.truncate(RECENT_MAX - 1);
        recent.push_front(record);
    }
}
