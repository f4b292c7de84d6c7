//! Owns one exchange with Stripe: a request, and the meaning of its response.
//!
//! Invariant: a successful response that cannot be read counts as none: unknown if money may have
//! moved. It is logged once if Stripe refuses the key, and once if it accepts it again.
//! Deliberately absent: which requests make up a call (`flow`, `find`, `refunds`).

use super::classify::{Back, Classification, Moves, classify};
use super::client::{ResponseOrigin, StripeClient, StripeRequest, StripeResponse};
use super::pacer::Pacer;
use super::wire::{ApiError, FormFields, Refusing};
use crate::journal::Clock;
use crate::payments::gateway::{CoreTime, Trouble};
use crate::time::UnixMs;
use hyper::Method;
use serde::de::DeserializeOwned;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stripe's API.
pub(super) struct Api {
    client: StripeClient,
    key_refused: AtomicBool,
    time: OnceLock<CoreTime>,
}

impl Api {
    pub(super) const fn new(client: StripeClient) -> Self {
        Self {
            client,
            key_refused: AtomicBool::new(false),
            time: OnceLock::new(),
        }
    }

    /// Uses the core's time from now on; the first one set stays.
    pub(super) fn keep_time(&self, time: CoreTime) {
        let _ = self.time.set(time);
    }

    /// The core's time, by which payments were started; if it was not set, the wall clock's.
    pub(super) fn now(&self) -> UnixMs {
        self.time
            .get()
            .map_or_else(|| Clock::System.wall(), |now| now())
    }

    /// The pacer of requests.
    pub(super) const fn pacer(&self) -> &Pacer {
        self.client.pacer()
    }

    /// Sends a GET.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        form: FormFields,
    ) -> Result<T, Classification> {
        let call = StripeRequest {
            method: Method::GET,
            path,
            form,
            idempotency_key: None,
        };
        let exchanged = self.exchange(call, Moves::Nothing).await;
        exchanged
            .map(|(read, _)| read)
            .map_err(|(verdict, _)| verdict)
    }

    /// Sends a POST, under `key` if it has one.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: FormFields,
        key: Option<&str>,
        moves: Moves,
    ) -> Result<(T, ResponseOrigin), Classification> {
        let posted = self.post_told(path, form, key, moves).await;
        posted.map_err(|(verdict, _)| verdict)
    }

    /// The same, if it matters whether a refusal is a stored one.
    pub(super) async fn post_told<T: DeserializeOwned>(
        &self,
        path: &str,
        form: FormFields,
        key: Option<&str>,
        moves: Moves,
    ) -> Result<(T, ResponseOrigin), (Classification, ResponseOrigin)> {
        let call = StripeRequest {
            method: Method::POST,
            path,
            form,
            idempotency_key: key,
        };
        self.exchange(call, moves).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        call: StripeRequest<'_>,
        moves: Moves,
    ) -> Result<(T, ResponseOrigin), (Classification, ResponseOrigin)> {
        let reply = match self.client.send(call).await {
            Ok(reply) => reply,
            Err(lost) => return Err((classify(&Back::Lost(lost), moves), ResponseOrigin::Now)),
        };
        let error = error_in(&reply);
        let back = Back::Answer {
            status: reply.status,
            told: reply.told,
            again: reply.again,
            error: error.as_ref(),
        };
        let verdict = classify(&back, moves);
        self.obey(&reply, error.as_ref());
        self.note(&verdict, &reply);
        if verdict != Classification::Done {
            return Err((verdict, reply.told));
        }
        let read = reply
            .body
            .and_then(|body| serde_json::from_slice(&body).ok());
        match (read, moves) {
            (Some(read), _) => Ok((read, reply.told)),
            (None, Moves::Money) => Err((Classification::Unknown(Trouble::Internal), reply.told)),
            (None, Moves::Nothing) => {
                Err((Classification::Retriable(Trouble::Internal), reply.told))
            }
        }
    }

    /// Slows down if Stripe asks for it.
    fn obey(&self, reply: &StripeResponse, error: Option<&ApiError>) {
        let of_one_object = error.is_some_and(|it| it.code.as_deref() == Some("lock_timeout"));
        match (reply.status, reply.retry_after) {
            (429, retry_after) if !of_one_object => {
                self.pacer().too_many(retry_after.unwrap_or_default());
            }
            (429 | 503, Some(retry_after)) => self.pacer().pause(retry_after),
            _ => {}
        }
    }

    fn note(&self, verdict: &Classification, reply: &StripeResponse) {
        let request_id = reply.request_id.as_deref().unwrap_or("none");
        match verdict {
            Classification::KeyRefused => {
                if !self.key_refused.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        event = "stripe_key_refused",
                        status = reply.status,
                        request_id,
                        "Stripe does not accept payments.stripe.secret_key for this call, so payments wait; set a valid key and restart"
                    );
                }
            }
            Classification::Done => {
                if self.key_refused.load(Ordering::Relaxed)
                    && self.key_refused.swap(false, Ordering::Relaxed)
                {
                    tracing::info!(
                        event = "stripe_key_accepted",
                        "Stripe accepts payments.stripe.secret_key again"
                    );
                }
            }
            Classification::KeyMismatch => {
                tracing::error!(
                    event = "stripe_key_mismatch",
                    request_id,
                    "Stripe has our idempotency key for a different request; check whether another holdfast runs on a copy of this data directory"
                );
            }
            Classification::Declined(_)
            | Classification::Retriable(_)
            | Classification::Unknown(_)
            | Classification::KeySpent => {
                tracing::debug!(
                    event = "stripe_answer",
                    status = reply.status,
                    request_id,
                    ?verdict
                );
            }
        }
    }
}

fn error_in(reply: &StripeResponse) -> Option<ApiError> {
    if reply.status < 400 {
        return None;
    }
    let refusing: Refusing = serde_json::from_slice(reply.body.as_ref()?).ok()?;
    Some(refusing.error)
}
