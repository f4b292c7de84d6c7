//! Owns the connection to Stripe: a pool, and one request with its whole response.
//!
//! Invariants:
//! 1. Failures are distinguished by whether anything was sent: a failed connection is not a request
//!    whose response was lost.
//! 2. Connections, the wait for one, and the size of a response are bounded.
//! 3. The key is in one header, marked sensitive; no error here holds it, a path or a body.
//!
//! Deliberately absent: what a response means (`classify`), when a request may be sent (`pacer`),
//! the timeout of a whole call (the driver's), proxies, HTTP/2.

use super::pacer::Pacer;
use super::settings::{ApiBase, StripeSettings};
use super::wire::FormFields;
use crate::calling::{HttpClient, PoolBounds, Transport, http_client};
use crate::payments::gateway::Trouble;
use crate::trace;
use crate::trust::public_tls_client;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The version of Stripe's interface that requests and answers are written for.
const STRIPE_VERSION: &str = "2025-10-29.clover";

/// How long a connection is kept for the next request. Stripe closes idle ones later than this.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no response.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum NoResponse {
    /// Nothing was sent.
    Unsent(Trouble),
    /// It may have arrived, and may have had an effect.
    Sent(Trouble),
}

/// Whether Stripe's response was stored under the idempotency key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum ResponseOrigin {
    /// The request was executed, or refused, now.
    Now,
    /// It is the stored response of an earlier request.
    Again,
}

/// Whether Stripe says that the same request may be sent again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum ResendAllowed {
    /// It may.
    Yes,
    /// The response would be the same.
    No,
    /// It does not say.
    Unsaid,
}

/// A complete response.
#[derive(Debug)]
pub(super) struct StripeResponse {
    pub(super) status: u16,
    pub(super) told: ResponseOrigin,
    pub(super) again: ResendAllowed,
    /// The earliest time for another request.
    pub(super) retry_after: Option<Duration>,
    /// Stripe's id of the request, for its support.
    pub(super) request_id: Option<String>,
    /// `None`: it could not be read completely.
    pub(super) body: Option<Bytes>,
}

/// One request.
pub(super) struct StripeRequest<'a> {
    pub(super) method: Method,
    /// Below the base, such as `/v1/refunds`.
    pub(super) path: &'a str,
    pub(super) form: FormFields,
    pub(super) idempotency_key: Option<&'a str>,
}

/// Pooled connections to Stripe.
pub(super) struct StripeClient {
    http: HttpClient<GaiResolver, Full<Bytes>>,
    base: ApiBase,
    authorization: HeaderValue,
    pacer: Pacer,
    permits: Semaphore,
    connect_timeout: Duration,
    body_bytes_max: usize,
}

/// Why the client cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key is not a valid header.
    #[error(
        "payments.stripe.secret_key has characters that a header cannot contain; use the key as Stripe shows it"
    )]
    SecretKey,
}

impl StripeClient {
    pub(super) fn new(settings: StripeSettings) -> Result<Self, ClientError> {
        let bearer = format!("Bearer {}", settings.secret_key.expose_secret());
        let mut authorization =
            HeaderValue::try_from(bearer).map_err(|_| ClientError::SecretKey)?;
        authorization.set_sensitive(true);
        // A base over plain HTTP is on loopback: `ApiBase` admits no other.
        let transport = if settings.api_base.is_plain() {
            Transport::PlainToo
        } else {
            Transport::Tls
        };
        let bounds = PoolBounds {
            connect_timeout: settings.connect_timeout,
            idle: IDLE,
            idle_max: settings.connections_max,
        };
        let http = http_client(GaiResolver::new(), public_tls_client(), transport, bounds);
        Ok(Self {
            http,
            base: settings.api_base,
            authorization,
            pacer: Pacer::new(settings.requests_per_s),
            permits: Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS)),
            connect_timeout: settings.connect_timeout,
            body_bytes_max: settings.body_bytes_max,
        })
    }

    /// Sends one request and reads its response. If a pooled connection was closed before anything
    /// was written, the request is written on another one; nothing else is repeated here.
    pub(super) async fn send(&self, call: StripeRequest<'_>) -> Result<StripeResponse, NoResponse> {
        let _permit = self.permit().await?;
        self.pacer.sent();
        let request = self.request(call);
        let response = self.http.request(request).await.map_err(|error| {
            if error.is_connect() {
                NoResponse::Unsent(Trouble::Unreachable)
            } else {
                NoResponse::Sent(Trouble::Internal)
            }
        })?;
        Ok(self.read(response).await)
    }

    /// The pacer of requests.
    pub(super) const fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, NoResponse> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.connect_timeout, self.permits.acquire()).await {
            Ok(permit) => Ok(permit.expect("nobody closes the connections' permits")),
            Err(_) => Err(NoResponse::Unsent(Trouble::Busy)),
        }
    }

    fn request(&self, call: StripeRequest<'_>) -> Request<Full<Bytes>> {
        let fields = call.form.into_encoded();
        let (query, body) = if call.method == Method::GET {
            (fields, String::new())
        } else {
            (String::new(), fields)
        };
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{}{separator}{query}", self.base.as_str(), call.path);
        let mut request = Request::builder()
            .method(call.method)
            .uri(uri)
            .header(AUTHORIZATION, self.authorization.clone())
            .header("stripe-version", STRIPE_VERSION);
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        // Without `tracestate`: what others keep of a trace is none of Stripe's business.
        if let Some(context) = trace::current() {
            request = request.header("traceparent", context.to_string());
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        request
            .body(Full::new(Bytes::from(body)))
            .expect("base, ids, keys and traces are of characters that a request may have")
    }

    async fn read(&self, response: Response<hyper::body::Incoming>) -> StripeResponse {
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let told = match header("idempotent-replayed").as_deref() {
            Some("true") => ResponseOrigin::Again,
            _ => ResponseOrigin::Now,
        };
        let again = match header("stripe-should-retry").as_deref() {
            Some("true") => ResendAllowed::Yes,
            Some("false") => ResendAllowed::No,
            _ => ResendAllowed::Unsaid,
        };
        let retry_after = header("retry-after").and_then(|it| it.parse().ok());
        let request_id = header("request-id").filter(|id| crate::ids::is_id(id));
        let status = response.status().as_u16();
        let whole = Limited::new(response.into_body(), self.body_bytes_max);
        let body = whole
            .collect()
            .await
            .ok()
            .map(http_body_util::Collected::to_bytes);
        StripeResponse {
            status,
            told,
            again,
            retry_after: retry_after.map(Duration::from_secs),
            request_id,
            body,
        }
    }
}
