//! Owns letting webhooks in over HTTP: raw bytes verified first, read second, told once durable.
//!
//! Invariants: no key is asked for, so nothing of a webhook that is not genuine reaches the log of
//! events: it is counted, and one a second is logged. Whatever is refused may be sent again.
//! Deliberately absent: signatures and bodies (`webhooks`), and remembering (`journal`).

use super::answer::Answer;
use super::body;
use super::front::{Call, Front};
use super::problem::FieldError;
use crate::engine::command::ReceiveWebhook;
use crate::engine::event::Flow;
use crate::engine::refusal::Refusal;
use crate::ids::PurchaseId;
use crate::telemetry::metrics::{Attempt, Stage};
use crate::time::UnixMs;
use crate::webhooks::{self, About, Endpoint, Genuine, Malformed, Secrets};
use hyper::body::Incoming;
use hyper::http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// How far apart two log lines about refused webhooks are at least, in milliseconds.
const SAMPLE_EVERY_MS: u64 = 1_000;

/// What webhooks are verified with.
pub(super) struct WebhookDesk {
    pub(super) secrets: Arc<Secrets>,
    tolerance_ms: u64,
    sampled_at_ms: AtomicU64,
    refused_since: AtomicU64,
}

impl WebhookDesk {
    pub(super) fn new(secrets: Arc<Secrets>, tolerance_ms: u64) -> Self {
        Self {
            secrets,
            tolerance_ms,
            sampled_at_ms: AtomicU64::new(0),
            refused_since: AtomicU64::new(0),
        }
    }

    /// Logs one refusal a second, with the number of those that were not.
    fn sample(&self, refusal: Refusal, endpoint: Endpoint, now: UnixMs) {
        let refused = 1 + self.refused_since.fetch_add(1, Relaxed);
        let last = self.sampled_at_ms.load(Relaxed);
        let due = now.get().abs_diff(last) >= SAMPLE_EVERY_MS;
        let sampled = &self.sampled_at_ms;
        if due
            && sampled
                .compare_exchange(last, now.get(), Relaxed, Relaxed)
                .is_ok()
        {
            self.refused_since.fetch_sub(refused, Relaxed);
            tracing::warn!(
                event = "webhook_refused",
                reason = refusal.reason(),
                stripe = endpoint == Endpoint::Stripe,
                refused,
                "webhooks were refused; this is the latest of them"
            );
        }
    }
}

/// Why a webhook is not let in.
enum Refused {
    For(Refusal),
    Malformed(Malformed),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::For(refusal)
    }
}

impl Front {
    pub(super) async fn webhook(&self, call: Call, body: Incoming, endpoint: Endpoint) -> Answer {
        let (refusal, answer) = match self.webhook_told(&call, body, endpoint).await {
            Ok(answer) => {
                self.counters.attempt(Flow::Webhook, Attempt::Success);
                return answer;
            }
            Err(Refused::For(refusal)) => (refusal, call.problem(refusal)),
            Err(Refused::Malformed(Malformed { field, message })) => {
                let refusal = Refusal::InvalidRequest;
                let message = message.to_owned();
                let answer = call.invalid(refusal, &[FieldError { field, message }]);
                (refusal, answer)
            }
        };
        let attempt = Attempt::Refused(refusal);
        self.counters.attempt(Flow::Webhook, attempt);
        let now = self.core.journal.now();
        self.core.webhooks.sample(refusal, endpoint, now);
        answer
    }

    async fn webhook_told(
        &self,
        call: &Call,
        body: Incoming,
        endpoint: Endpoint,
    ) -> Result<Answer, Refused> {
        let body = body::read(body, self.core.body).await?;
        let desk = &self.core.webhooks;
        let (tolerance_ms, now) = (desk.tolerance_ms, self.core.journal.now());
        let headers = &call.parts.headers;
        let Genuine { delivery, secret } =
            webhooks::verify(&desk.secrets, tolerance_ms, endpoint, headers, &body, now)?;
        tracing::debug!(event = "webhook_genuine", secret = %secret, "signed with a known secret");
        let message = match webhooks::read(&delivery, &body, tolerance_ms, now) {
            Ok(message) => message,
            Err(malformed) => {
                // A nonce that was used is told of first, whatever came with it this time.
                let nonce = delivery.nonce();
                let seen = nonce.is_some_and(|nonce| self.core.journal.knows_nonce(nonce));
                return Err(if seen {
                    Refused::For(Refusal::ReplayedNonce)
                } else {
                    Refused::Malformed(malformed)
                });
            }
        };
        let purchase = self.purchase_about(message.about.clone()).await;
        let command = ReceiveWebhook {
            format: delivery.format(),
            event_id: message.event_id,
            kind: message.kind,
            nonce: Some(message.nonce),
            happened_at: message.happened_at,
            purchase,
            amount: message.amount,
            code: message.code,
            request: call.id,
        };
        let began = Instant::now();
        let received = self.core.journal.receive_webhook(&command);
        self.counters.took(Stage::Shard, began.elapsed());
        let received = received.map_err(|_| Refusal::StorageUnavailable)?;
        // A dispute of a payment whose capture is not known here says that there is one.
        let look_at = match received {
            Ok(let_in) => let_in.look_at,
            Err(Refusal::WrongState) => purchase,
            Err(_) => None,
        };
        if let Some(purchase) = look_at {
            self.core.payments.look_again(purchase);
        }
        let let_in = received?;
        self.durable(Some(let_in.durable_at)).await?;
        let status = let_in.disposition.as_str();
        let body = format!("{{\"status\":\"{status}\"}}");
        Ok(Answer::json(StatusCode::OK, body.into_bytes()))
    }

    /// The purchase of ours that a webhook is about.
    async fn purchase_about(&self, about: About) -> Option<PurchaseId> {
        match about {
            About::Nothing => None,
            About::Purchase(purchase) => Some(purchase),
            About::Reference(reference) => {
                // Another data directory may share the gateway; and a purchase's number may have
                // been given again, for another payment, after a copy of the log was restored.
                (reference.log_id() == self.core.journal.log_id()).then_some(())?;
                let (view, _) = self.core.journal.purchase(reference.purchase())?;
                (view.request == Some(reference.request())).then_some(reference.purchase())
            }
            About::Authorization(authorization) => {
                let journal = Arc::clone(&self.core.journal);
                let looked =
                    tokio::task::spawn_blocking(move || journal.purchase_of(&authorization));
                looked.await.ok().flatten()
            }
        }
    }
}
