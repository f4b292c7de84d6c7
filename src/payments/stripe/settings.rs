//! Owns the operator's settings of Stripe: the key, the address, and the bounds.
//!
//! Invariant: an [`ApiBase`] is https, or http to a loopback address, and has neither path nor
//! user. Deliberately absent: reading them (`config`).

use hyper::Uri;
use secrecy::SecretString;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// How Stripe is reached.
#[derive(Clone, Debug)]
pub struct StripeSettings {
    /// The account's secret key, `sk_…` or a restricted one, `rk_…`.
    pub secret_key: SecretString,
    /// Where the interface is.
    pub api_base: ApiBase,
    /// Requests per second; `None`: no limit.
    pub requests_per_s: Option<NonZeroU32>,
    /// Requests under way at once, each on a connection of its own; at least 1.
    pub connections_max: usize,
    /// For a free connection, and for a new one to be made.
    pub connect_timeout: Duration,
    /// Bytes of an answer.
    pub body_bytes_max: usize,
}

/// Scheme, host and port of Stripe's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiBase(String);

/// Why a text is not a base.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiBaseError {
    /// It is not such a URL.
    #[error("must be a URL of scheme, host and port only, such as \"https://api.stripe.com\"")]
    Form,
    /// The key would be readable in transit.
    #[error(
        "may use http with a loopback address only, such as \"http://127.0.0.1:8420\"; use https"
    )]
    Plain,
}

impl ApiBase {
    /// The base written as `text`.
    pub fn parse(text: &str) -> Result<Self, ApiBaseError> {
        let uri: Uri = text.parse().map_err(|_| ApiBaseError::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(ApiBaseError::Form);
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(ApiBaseError::Form);
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => return Err(ApiBaseError::Plain),
            _ => return Err(ApiBaseError::Form),
        }
        Ok(Self(format!("{scheme}://{authority}")))
    }

    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_plain(&self) -> bool {
        self.0.starts_with("http://")
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_https_or_on_loopback_and_nothing_else() {
        use ApiBaseError::{Form, Plain};
        for (text, expected) in [
            ("https://api.stripe.com", Ok("https://api.stripe.com")),
            ("https://api.stripe.com/", Ok("https://api.stripe.com")),
            ("http://127.0.0.1:8420", Ok("http://127.0.0.1:8420")),
            ("http://[::1]:8420", Ok("http://[::1]:8420")),
            ("http://api.stripe.com", Err(Plain)),
            ("http://localhost:8420", Err(Plain)),
            ("http://10.0.0.1", Err(Plain)),
            ("https://api.stripe.com/v1", Err(Form)),
            ("https://api.stripe.com?x=1", Err(Form)),
            ("https://me@api.stripe.com", Err(Form)),
            ("ftp://127.0.0.1", Err(Form)),
            ("api.stripe.com", Err(Form)),
            ("", Err(Form)),
        ] {
            let found = ApiBase::parse(text);
            assert_eq!(
                found.as_ref().map(ApiBase::as_str).map_err(|e| *e),
                expected,
                "{text}"
            );
        }
    }
}
