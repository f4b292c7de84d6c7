//! Owns sending one delivery, and what its answer means.
//!
//! Invariants: a redirect is a failure and is not followed; only 2xx is success, whatever follows the
//! status; only a bounded part of an answer's body is read, in a bounded time. Deliberately absent: when to try again.

use super::address::JudgingResolver;
use super::credentials::EndpointCredentials;
use super::endpoint::WebhookEndpoint;
use super::settings::AddressRule;
use crate::calling::{HttpClient, PoolBounds, Transport, http_client};
use crate::causes::with_causes;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection is kept for the next delivery.
const IDLE: Duration = Duration::from_secs(30);
/// Of an answer's body more is not read, nor for longer, and its connection is closed.
const ANSWER_BYTES_MAX: usize = 16_384;
const ANSWER_BODY_MAX: Duration = Duration::from_secs(1);
const AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));

/// A signed delivery.
pub(super) struct SignedMessage {
    pub(super) id: String,
    pub(super) timestamp_s: u64,
    pub(super) signatures: String,
    pub(super) body: Bytes,
}

/// What became of one try.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// `None`: there was no answer.
    pub(super) status: Option<StatusCode>,
    /// Why it failed; `None`: it was accepted.
    pub(super) failure: Option<String>,
    /// What the endpoint asks to wait.
    pub(super) retry_after: Option<RetryAfter>,
    /// The beginning of the answer.
    pub(super) answer: Vec<u8>,
}

/// When the endpoint wants the next try.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum RetryAfter {
    Seconds(u64),
    /// Unix seconds.
    At(u64),
}

/// Sends to one endpoint.
#[derive(Clone)]
pub(super) struct Poster {
    http: HttpClient<JudgingResolver, Full<Bytes>>,
    credentials: Arc<EndpointCredentials>,
    uri: Uri,
    answer_timeout: Duration,
}

impl Poster {
    /// With the endpoint's credentials of now.
    pub(super) fn new(endpoint: &WebhookEndpoint) -> Self {
        let (settings, credentials) = (endpoint.settings(), endpoint.credentials());
        let is_plain = settings.url.is_plain();
        let resolver = JudgingResolver {
            addresses: settings.addresses,
            private_only: is_plain && settings.addresses == AddressRule::PrivateToo,
        };
        let transport = if is_plain {
            Transport::PlainToo
        } else {
            Transport::Tls
        };
        let bounds = PoolBounds {
            connect_timeout: settings.connect_timeout,
            idle: IDLE,
            idle_max: settings.parallel_max,
        };
        Self {
            http: http_client(resolver, credentials.tls(), transport, bounds),
            credentials,
            uri: settings.url.uri().clone(),
            answer_timeout: settings.answer_timeout,
        }
    }

    /// How long one try takes at most.
    pub(super) fn longest_try(answer_timeout: Duration) -> Duration {
        answer_timeout + ANSWER_BODY_MAX
    }

    /// Whether a reload has brought other credentials since.
    pub(super) fn is_outdated(&self, endpoint: &WebhookEndpoint) -> bool {
        !Arc::ptr_eq(&self.credentials, &endpoint.credentials())
    }

    /// Sends it once. The status decides, once it is there.
    pub(super) async fn post(&self, message: SignedMessage) -> Posted {
        let asking = self.http.request(self.request(message));
        let response = match tokio::time::timeout(self.answer_timeout, asking).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Posted::unanswered(with_causes(&error)),
            Err(_) => {
                let ms = self.answer_timeout.as_millis();
                return Posted::unanswered(format!("no answer within {ms} ms"));
            }
        };
        let (parts, body) = response.into_parts();
        let answer = beginning(body).await;
        let status = parts.status;
        let failure = if status.is_success() {
            None
        } else if status.is_redirection() {
            Some(format!("answered {status}, and redirects are not followed"))
        } else {
            Some(format!("answered {status}"))
        };
        Posted {
            status: Some(status),
            retry_after: failure.as_ref().and_then(|_| retry_after(&parts.headers)),
            failure,
            answer,
        }
    }

    fn request(&self, message: SignedMessage) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp_s)
            .header("webhook-signature", message.signatures)
            .body(Full::new(message.body))
            .expect("the URL was parsed, and ids, numbers and base64 may be in headers")
    }
}

impl Posted {
    pub(super) const fn unanswered(why: String) -> Self {
        Self {
            status: None,
            failure: Some(why),
            retry_after: None,
            answer: Vec::new(),
        }
    }
}

/// The beginning of an answer's body. What fails on the way does not change what the status said.
async fn beginning(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                let room = ANSWER_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(ANSWER_BODY_MAX, reading).await;
    bytes
}

fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(RetryAfter::Seconds(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text)
        .ok()?
        .timestamp()
        .as_second();
    u64::try_from(at).ok().map(RetryAfter::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("120"), Some(RetryAfter::Seconds(120)));
        let date = read("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(date, Some(RetryAfter::At(1_445_412_480)));
        for bad in ["soon", "-1", "", "1.5"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
