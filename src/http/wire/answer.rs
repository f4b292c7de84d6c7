//! Owns outgoing responses: a complete body in memory, its media type, and the headers of every
//! response. A file of the program is sent from where it is, so slow readers cost no memory.
//! Deliberately absent: the content of bodies.

use crate::ids::RequestId;
use crate::json;
use bytes::Buf;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::StatusCode;
use std::convert::Infallible;
use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A complete body in memory.
#[derive(Debug)]
pub struct AnswerBody(Option<AnswerBytes>);

/// The bytes of a body that are not sent yet.
#[derive(Debug)]
pub enum AnswerBytes {
    Written(Cursor<Vec<u8>>),
    /// Of a file of the program.
    Fixed(&'static [u8]),
}

impl Buf for AnswerBytes {
    fn remaining(&self) -> usize {
        match self {
            Self::Written(bytes) => bytes.remaining(),
            Self::Fixed(bytes) => bytes.len(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Written(bytes) => bytes.chunk(),
            Self::Fixed(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Written(bytes) => bytes.advance(count),
            Self::Fixed(bytes) => *bytes = &bytes[count..],
        }
    }
}

impl AnswerBody {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| AnswerBytes::Written(Cursor::new(bytes))))
    }

    const fn fixed(bytes: &'static [u8]) -> Self {
        Self(Some(AnswerBytes::Fixed(bytes)))
    }
}

impl Body for AnswerBody {
    type Data = AnswerBytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.0.as_ref().map_or(0, Buf::remaining);
        SizeHint::with_exact(bytes as u64)
    }
}

/// The kind of a body.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ContentKind {
    /// No body.
    Nothing,
    /// `application/json`.
    Json,
    /// `application/problem+json`, with its reason.
    Problem(&'static str),
    /// `application/jwk-set+json`.
    JwkSet,
    /// Prometheus text.
    Metrics,
    OpenMetrics,
    /// A file of the program, which is the body.
    Fixed(&'static FixedFile),
}

/// A file that is part of the program.
#[derive(Debug, PartialEq, Eq)]
pub struct FixedFile {
    pub name: &'static str,
    pub media_type: &'static str,
    /// Never empty.
    pub bytes: &'static [u8],
}

impl ContentKind {
    const fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Json => Some("application/json"),
            Self::Problem(_) => Some("application/problem+json"),
            Self::JwkSet => Some("application/jwk-set+json"),
            Self::Metrics => Some("text/plain; version=0.0.4; charset=utf-8"),
            Self::OpenMetrics => Some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            Self::Fixed(file) => Some(file.media_type),
        }
    }
}

/// A response without its request's id.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub kind: ContentKind,
    pub body: Vec<u8>,
    /// Further headers; most responses have none.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// JSON with this status.
    pub fn json(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            kind: ContentKind::Json,
            body,
            headers: Vec::new(),
        }
    }

    /// JSON with this status, written from a value.
    pub fn value(status: StatusCode, value: &serde_json::Value) -> Self {
        Self::json(status, value.to_string().into_bytes())
    }

    /// A response without a body, such as 304.
    pub const fn empty(status: StatusCode) -> Self {
        Self {
            status,
            kind: ContentKind::Nothing,
            body: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The reason, if it is a refusal.
    pub const fn reason(&self) -> Option<&'static str> {
        match self.kind {
            ContentKind::Problem(reason) => Some(reason),
            ContentKind::Nothing
            | ContentKind::Json
            | ContentKind::JwkSet
            | ContentKind::Metrics
            | ContentKind::OpenMetrics
            | ContentKind::Fixed(_) => None,
        }
    }

    /// Whether it is the refusal of a missing or invalid key.
    pub fn asks_for_key(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, _)| *name == WWW_AUTHENTICATE)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same problem with more of what it is about: the fields of the object `facts`.
    #[must_use]
    pub fn with_facts(mut self, facts: &serde_json::Value) -> Self {
        let end = self.body.pop();
        assert_eq!(end, Some(b'}'), "problem details are an object");
        for (name, value) in facts.as_object().into_iter().flatten() {
            json::raw(&mut self.body, ",");
            json::id(&mut self.body, name);
            json::raw(&mut self.body, ":");
            json::raw(&mut self.body, &value.to_string());
        }
        self.body.push(b'}');
        self
    }

    /// The response that hyper writes.
    pub fn into_response(self, request: RequestId) -> Response<AnswerBody> {
        let body = match self.kind {
            ContentKind::Fixed(file) => AnswerBody::fixed(file.bytes),
            _ => AnswerBody::new(self.body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(kind) = self.kind.content_type() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        headers.insert(X_REQUEST_ID, id_value(request));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

/// The id of the request, on every response.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Marks a response as the stored one of an earlier request.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

fn id_value(request: RequestId) -> HeaderValue {
    let mut text = Vec::with_capacity(20);
    json::request_id(&mut text, request);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .expect("a request id is of visible ASCII")
}
