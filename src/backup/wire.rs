//! Owns the HTTP client for the store: pooled connections, and the same TLS as elsewhere.
//!
//! Invariants: a response that does not begin in time is an error; a failure before anything was
//! sent is distinguishable, so that it can be retried. Deliberately absent: signing, names of
//! objects, when to retry.

use crate::calling::{self, PoolBounds, Transport, http_client};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::ClientConfig;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

/// Timeout until a response begins, including sending the request's body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(50);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_MAX: usize = 4;

/// Creates clients.
#[derive(Debug)]
pub(super) struct Connector {
    tls: ClientConfig,
}

impl Connector {
    /// Trusts the certificates in `ca_file`, or the public ones.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let tls = crate::trust::tls_client(ca_file)?;
        Ok(Self { tls })
    }
}

impl object_store::client::HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let bounds = PoolBounds {
            connect_timeout: CONNECT_TIMEOUT,
            idle: IDLE,
            idle_max: IDLE_CONNECTIONS_MAX,
        };
        // Plain HTTP is for loopback only; the settings allow no other address.
        let (tls, plain) = (self.tls.clone(), Transport::PlainToo);
        let http = http_client(GaiResolver::new(), tls, plain, bounds);
        Ok(HttpClient::new(StoreClient { http }))
    }
}

#[derive(Debug)]
struct StoreClient {
    http: calling::HttpClient<GaiResolver, HttpRequestBody>,
}

impl StoreClient {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answering = tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request));
        let response = answering
            .await
            .map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?
            .map_err(|error| {
                let kind = if error.is_connect() {
                    HttpErrorKind::Connect
                } else {
                    HttpErrorKind::Request
                };
                HttpError::new(kind, error)
            })?;
        let (parts, body) = response.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

impl HttpService for StoreClient {
    // What `async fn` means in a trait of `async_trait`.
    fn call<'a: 'f, 'f>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        Self: 'f,
    {
        Box::pin(self.answer(request))
    }
}
