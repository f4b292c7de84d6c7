//! Owns what RFC 9112 and RFC 9113 demand of a request's head and hyper lets pass: one `Host`, in HTTP/2
//! the same as `:authority`, and `chunked` as the only transfer coding, once.
//!
//! Invariants: a request that a proxy in front could read as another one, or as two, is refused
//! before its key is looked at, and its connection ends; a connection ends after every chunked
//! request, because hyper drops a `Content-Length` beside it unseen, and section 6.1 demands the
//! end where there was one.
//! Deliberately absent: what hyper refuses itself (two lengths, bad characters).

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
        return check_authority(parts);
    }
    check_host(&parts.headers, parts.version)?;
    check_coding(&parts.headers)
}

/// RFC 9113, section 8.3.1: a `Host` beside `:authority` is the same.
fn check_authority(parts: &Parts) -> Result<After, FieldError> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), parts.uri.authority()) {
        (None, _, _) => Ok(After::Open),
        (Some(_), Some(_), _) => wrong_host("was sent twice; send it once"),
        (Some(host), None, Some(authority)) => {
            let authority = authority.as_str().as_bytes();
            if host.as_bytes().eq_ignore_ascii_case(authority) {
                Ok(After::Open)
            } else {
                wrong_host("differs from :authority; send one of them, or both alike")
            }
        }
        (Some(host), None, None) if is_host(host) => Ok(After::Open),
        (Some(_), None, None) => wrong_host("is not a host with an optional port"),
    }
}

fn wrong_host<T>(message: &str) -> Result<T, FieldError> {
    Err(FieldError {
        field: "Host".into(),
        message: message.to_owned(),
    })
}

/// Section 3.2: exactly one in HTTP/1.1, at most one in HTTP/1.0, and a valid one.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), FieldError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => wrong_host("is required in HTTP/1.1"),
        (None, _) => Ok(()),
        (Some(_), Some(_)) => wrong_host("was sent twice; send it once"),
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => wrong_host("is not a host with an optional port"),
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
            field: "Transfer-Encoding".into(),
            message: "must be `chunked`, once".to_owned(),
        }),
    }
}
