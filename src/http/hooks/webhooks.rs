//! Owns accepting webhooks over HTTP: raw bytes are verified first, parsed second, answered once
//! durable.
//!
//! Invariants: no key is needed, so nothing about a forged webhook reaches the event log: it is
//! counted, and one per second is logged; no body is read if the headers cannot contain its
//! signature. A refused webhook may be sent again.
//! Deliberately absent: signatures and bodies (`webhooks`), and remembering (`journal`).

use crate::config::Config;
use crate::engine::command::ReceiveWebhook;
use crate::engine::decide::Unplaced;
use crate::engine::event::{Disposition, Flow, WebhookKind};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::Rejection;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::server::sampled::Sampled;
use crate::http::wire::answer::Answer;
use crate::http::wire::body::BodyBounds;
use crate::http::wire::problem::{FieldError, problem_of};
use crate::ids::PurchaseId;
use crate::journal::{WebhookAccepted, WriteError};
use crate::payments::driver::Payments;
use crate::payments::gateway::Reference;
use crate::telemetry::metrics::AttemptResult;
use crate::time::UnixMs;
use crate::webhooks::{
    self, About, Delivery, Endpoint, Genuine, MalformedWebhook, Secrets, WebhookClaim,
    WebhookMessage,
};
use hyper::body::Incoming;
use hyper::http::StatusCode;
use std::sync::Arc;
use std::time::Instant;

/// Settings and secrets for verifying webhooks.
pub struct WebhookVerifier {
    pub secrets: Arc<Secrets>,
    tolerance_ms: u64,
    body: BodyBounds,
    refused: Sampled,
    thin: Sampled,
}

impl WebhookVerifier {
    pub fn new(secrets: Arc<Secrets>, config: &Config) -> Self {
        Self {
            secrets,
            tolerance_ms: config.webhooks.tolerance_ms,
            body: BodyBounds {
                bytes_max: config.webhooks.body_bytes_max,
                timeout: config.server.body_read_timeout,
            },
            refused: Sampled::default(),
            thin: Sampled::default(),
        }
    }

    fn log_refused(&self, refusal: Refusal, endpoint: Endpoint, now: UnixMs) {
        self.refused.sample(now, |refused| {
            tracing::warn!(
                event = "webhook_refused",
                reason = refusal.reason(),
                stripe = endpoint == Endpoint::Stripe,
                refused,
                "webhooks were refused; this is the latest one"
            );
        });
    }
}

/// Why a webhook is refused.
enum WebhookRefused {
    For(Rejection),
    Malformed(MalformedWebhook),
}

impl From<Rejection> for WebhookRefused {
    fn from(rejection: Rejection) -> Self {
        Self::For(rejection)
    }
}

impl From<Refusal> for WebhookRefused {
    fn from(refusal: Refusal) -> Self {
        Self::For(refusal.into())
    }
}

/// Accepts webhooks.
pub struct Webhooks {
    pub worker: Arc<Worker>,
    pub payments: Arc<Payments>,
    pub desk: Arc<WebhookVerifier>,
}

impl Webhooks {
    pub async fn receive(&self, call: Call, body: Incoming, endpoint: Endpoint) -> Answer {
        let (refusal, answer) = match self.webhook_answer(&call, body, endpoint).await {
            Ok(answer) => {
                self.worker
                    .counters
                    .attempt(Flow::Webhook, AttemptResult::Success);
                return answer;
            }
            Err(WebhookRefused::For(Rejection { reason, facts })) => {
                let answer = match &facts {
                    Some(facts) => problem_of(reason.into(), call.id, Some(facts)),
                    None => call.problem(reason),
                };
                (reason, answer)
            }
            Err(WebhookRefused::Malformed(MalformedWebhook { field, message })) => {
                let refusal = Refusal::InvalidRequest;
                let (field, message) = (field.into(), message.to_owned());
                let answer = call.invalid(refusal, &[FieldError { field, message }]);
                (refusal, answer)
            }
        };
        let attempt = AttemptResult::Refused(refusal);
        self.worker.counters.attempt(Flow::Webhook, attempt);
        let now = self.worker.journal.now();
        self.desk.log_refused(refusal, endpoint, now);
        answer
    }

    async fn webhook_answer(
        &self,
        call: &Call,
        body: Incoming,
        endpoint: Endpoint,
    ) -> Result<Answer, WebhookRefused> {
        let desk = &self.desk;
        let claim = WebhookClaim::read(endpoint, &call.parts.headers)?;
        let body = self.worker.body_within(call, body, desk.body).await?;
        // Gateways use the wall clock, which may differ from the core's time.
        let (tolerance_ms, now) = (desk.tolerance_ms, self.worker.journal.upkeep().wall_clock());
        let Genuine { delivery, secret } = claim.verify(&desk.secrets, tolerance_ms, &body, now)?;
        tracing::debug!(event = "webhook_genuine", secret = %secret, "signed with a known secret");
        let message = match webhooks::read(&delivery, &body, tolerance_ms, now) {
            Ok(message) => message,
            Err(malformed) => {
                // A used nonce is reported first, even if the body is malformed this time.
                let nonce = delivery.nonce();
                let known =
                    nonce.and_then(|nonce| self.worker.journal.webhooks().knows_nonce(nonce));
                let durable_at = known.ok_or(WebhookRefused::Malformed(malformed))?;
                self.worker.durable(Some(durable_at)).await?;
                return Err(Refusal::ReplayedNonce.into());
            }
        };
        let accepted = self.accept(call, &delivery, message).await?;
        let status = accepted.disposition.as_str();
        let body = format!("{{\"status\":\"{status}\"}}");
        Ok(Answer::json(StatusCode::OK, body.into_bytes()))
    }

    /// Accepts `message` durably, and starts the look-up that it hints at.
    async fn accept(
        &self,
        call: &Call,
        delivery: &Delivery,
        message: WebhookMessage,
    ) -> Result<WebhookAccepted, Rejection> {
        let mut command = ReceiveWebhook {
            format: delivery.format(),
            event_id: message.event_id,
            kind: message.kind,
            nonce: Some(message.nonce),
            happened_at: message.happened_at,
            purchase: None,
            dispute: message.dispute,
            amount: message.amount,
            currency: message.currency,
            code: message.code,
            request: call.id,
        };
        // A refund found by the gateway's id was made at its own site; it is not in our books.
        let by_us = !matches!(message.about, About::Authorization(_));
        command.purchase = self.purchase_about(message.about, &command).await?;
        let began = Instant::now();
        let received = self.worker.journal.webhooks().receive(&command);
        self.worker.shard_took(began.elapsed());
        let received = match received {
            Ok(accepted) => Ok(accepted),
            Err(WriteError::Refused(not)) => Err(not),
            Err(WriteError::Fault(_)) => return Err(Refusal::StorageUnavailable.into()),
        };
        // A dispute of a payment without a known capture shows that there is a capture: look it up.
        let (look_at, durable_at) = match &received {
            Ok(accepted) => (accepted.look_at, Some(accepted.durable_at)),
            Err(not) if not.rejection.reason == Refusal::WrongState => {
                (command.purchase, not.durable_at)
            }
            Err(not) => (None, not.durable_at),
        };
        if let Some(purchase) = look_at {
            self.payments.look_again(purchase);
        }
        self.worker.durable(durable_at).await?;
        let accepted = received.map_err(|not| not.rejection)?;
        if let Some(why) = accepted.unplaced {
            self.tell_of_dispute(&command, why);
        }
        if by_us {
            self.tell_of_refund(&command, message.refund, accepted.disposition);
        }
        Ok(accepted)
    }

    /// Logs a dispute that cannot be booked.
    fn tell_of_dispute(&self, command: &ReceiveWebhook, why: Unplaced) {
        let view = command
            .purchase
            .and_then(|purchase| self.worker.journal.reads().purchase(purchase));
        let Some((view, _)) = view else { return };
        tracing::error!(
            event = "dispute_unplaced",
            purchase_id = %view.purchase,
            status = view.state.as_str(),
            kind = command.kind.as_str(),
            reason = why.as_str(),
            "a dispute cannot be booked: the purchase is not captured, the currency differs, or it has too many disputes; look the payment up at the gateway"
        );
    }

    /// Logs a refund that failed after reporting success: the buyer did not get the money.
    fn tell_of_refund(&self, command: &ReceiveWebhook, number: Option<u32>, told: Disposition) {
        let failed = command.kind == WebhookKind::RefundFailed && told == Disposition::Processed;
        let Some(purchase) = command.purchase.filter(|_| failed) else {
            return;
        };
        if self
            .worker
            .journal
            .webhooks()
            .refund_succeeded(purchase, number)
        {
            self.worker.counters.refund_failed_late();
            tracing::error!(
                event = "refund_failed_late",
                purchase_id = %purchase,
                number,
                "the gateway reported a refund as failed after reporting success; if a look-up confirms it, it is booked back (refund_returned): refund again or pay the buyer another way"
            );
        }
    }

    /// Our purchase that a webhook is about. Refused, so that it is sent again, if it may be about
    /// a payment whose gateway id is not known yet.
    async fn purchase_about(
        &self,
        about: About,
        command: &ReceiveWebhook,
    ) -> Result<Option<PurchaseId>, Refusal> {
        match about {
            About::Nothing => Ok(None),
            About::NamedOnly => {
                self.desk.thin.sample(self.worker.journal.now(), |ignored| {
                    tracing::warn!(
                        event = "webhook_thin",
                        ignored,
                        "Stripe sends thin events, which carry no data; configure the endpoint for snapshot events"
                    );
                });
                Ok(None)
            }
            About::Purchase(purchase) => {
                self.tell_of_forgotten(purchase, command.kind);
                Ok(Some(purchase))
            }
            About::Reference(reference) => {
                if reference.log_id() == self.worker.journal.log_id() {
                    self.tell_of_forgotten(reference.purchase(), command.kind);
                }
                Ok(self.purchase_under(reference))
            }
            About::Authorization(authorization) => {
                let journal = Arc::clone(&self.worker.journal);
                if journal.webhooks().knows(command) {
                    return Ok(None);
                }
                let disputed = command.kind.is_dispute();
                let tolerance_ms = self.desk.tolerance_ms;
                let begun_by = command.happened_at.plus_ms(tolerance_ms);
                let looked = tokio::task::spawn_blocking(move || {
                    // Checked before the search, so that a payment that gets its id meanwhile is
                    // found.
                    let unnamed = disputed && journal.webhooks().awaits_authorization(begun_by);
                    (journal.webhooks().purchase_of(&authorization), unnamed)
                });
                match looked.await.map_err(|_| Refusal::Overloaded)? {
                    (None, true) => Err(Refusal::WrongState),
                    (found, _) => Ok(found),
                }
            }
        }
    }

    /// Logs a forgotten purchase without money for which the gateway reports money. The webhook is
    /// answered `ignored`; reconciliation finds the charge.
    fn tell_of_forgotten(&self, purchase: PurchaseId, kind: WebhookKind) {
        let of_money = match kind {
            WebhookKind::PaymentAuthorized
            | WebhookKind::PaymentCaptured
            | WebhookKind::RefundSucceeded
            | WebhookKind::RefundFailed
            | WebhookKind::DisputeOpened
            | WebhookKind::DisputeWon
            | WebhookKind::DisputeLost => true,
            WebhookKind::PaymentVoided | WebhookKind::PaymentFailed | WebhookKind::Other => false,
        };
        if of_money && self.worker.journal.reads().has_forgotten(purchase) {
            tracing::error!(
                event = "webhook_of_forgotten",
                purchase_id = %purchase,
                kind = kind.as_str(),
                "the gateway reports a payment for a purchase that ended without one and is no longer kept; look the payment up at the gateway"
            );
        }
    }

    fn purchase_under(&self, reference: Reference) -> Option<PurchaseId> {
        // Another data directory may use the same gateway account, and after a restore a purchase's
        // number may belong to another payment.
        (reference.log_id() == self.worker.journal.log_id()).then_some(())?;
        let (view, _) = self.worker.journal.reads().purchase(reference.purchase())?;
        (view.request == Some(reference.request())).then_some(reference.purchase())
    }
}
