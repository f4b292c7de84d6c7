//! Owns what RFC 9112 requires of a request's header and hyper does not check: one `Host`, and
//! `chunked` as the only transfer coding, once.
//!
//! Invariants: a request that a proxy in front could read as another one, or as two, is refused
//! before its key is checked, and its connection ends; a connection ends after every chunked
//! request, because hyper drops a `Content-Length` beside it silently, and section 6.1 requires the
//! end if there was one.
//! Deliberately absent: what hyper refuses itself (two lengths, bad characters), and HTTP/2, which
//! has neither header.

use super::problem::FieldError;
use hyper::Version;
use hyper::header::{HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

/// Whether the connection may be used for another request.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum After {
    Open,
    /// It ends with this response.
    Close,
}

/// Whether the connection may continue; an error if the header is refused, and the connection ends.
pub(in crate::http) fn check(parts: &Parts) -> Result<After, FieldError> {
    if parts.version > Version::HTTP_11 {
        return Ok(After::Open);
    }
    check_host(&parts.headers, parts.version)?;
    check_coding(&parts.headers)
}

/// Section 3.2: exactly one in HTTP/1.1, at most one in HTTP/1.0, and a valid one.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), FieldError> {
    let refused = |message: &str| {
        Err(FieldError {
            field: "Host",
            message: message.to_owned(),
        })
    };
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => refused("is required in HTTP/1.1"),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => refused("was sent twice; send it once"),
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => refused("is not a host with an optional port"),
    }
}

/// Empty if the target has no authority (section 3.2), otherwise a host without user information.
fn is_host(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    text.is_empty() || !text.contains(&b'@') && Authority::try_from(text).is_ok()
}

/// Section 7.1: only `chunked` is supported here, and it is never applied twice.
fn check_coding(headers: &HeaderMap) -> Result<After, FieldError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(After::Open),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(After::Close)
        }
        (Some(_), _) => Err(FieldError {
            field: "Transfer-Encoding",
            message: "must be `chunked`, once".to_owned(),
        }),
    }
}
