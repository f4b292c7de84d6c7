//! Owns the operator's settings of one endpoint.
//!
//! Invariants: an [`EndpointUrl`] is https, or http where that is allowed, has neither a user nor a
//! fragment, and names no address that the endpoint may not have; a sink's name lives as long as the
//! process. Deliberately absent: reading the settings (`config`), and the addresses of names (`address`).

use super::address::is_public;
use super::keys::OutgoingKey;
use crate::report::feed::Backoff;
use hyper::Uri;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the names of these sinks begin with.
const SINK_PREFIX: &str = "webhooks_";
const NAME_CHARS_MAX: usize = 32;

#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// The name of its sink.
    pub sink: &'static str,
    pub url: EndpointUrl,
    /// Each signs; at least one.
    pub keys: Vec<OutgoingKey>,
    /// The kinds of events that it gets.
    pub kinds: Vec<String>,
    pub addresses: AddressRule,
    /// Authorities that sign its certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// From the beginning of a request to the status of its answer.
    pub answer_timeout: Duration,
    /// Waits between two tries of a delivery.
    pub backoff: Backoff,
    /// The longest wait that the endpoint may ask for.
    pub retry_after_max: Duration,
    /// How long a delivery is tried, from its first try on.
    pub give_up_after_ms: u64,
    /// Buyers to whose events it is sent at one time.
    pub parallel_max: usize,
    /// Events that wait for their next try.
    pub waiting_max: usize,
    /// Of one buyer, as long as the endpoint accepts others'.
    pub waiting_per_buyer_max: usize,
}

impl EndpointSettings {
    /// Whether they differ in nothing but keys and authorities, which a reload may change.
    pub fn differ_in_credentials_only(&self, other: &Self) -> bool {
        let names = |it: &Self| (it.sink, it.url.clone(), it.kinds.clone(), it.addresses);
        let times = |it: &Self| {
            let give_up = (it.give_up_after_ms, it.backoff, it.retry_after_max);
            (it.connect_timeout, it.answer_timeout, give_up)
        };
        let bounds = |it: &Self| {
            let waiting = (it.waiting_max, it.waiting_per_buyer_max);
            (it.parallel_max, waiting)
        };
        names(self) == names(other) && times(self) == times(other) && bounds(self) == bounds(other)
    }
}

/// The addresses that an endpoint may have.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum AddressRule {
    PublicOnly,
    /// Also private ones, loopback and the like.
    PrivateToo,
}

/// Whether requests may go without TLS.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PlainRule {
    TlsOnly,
    /// To private addresses only.
    PlainToo,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(Uri);

/// Why a text is not the URL of an endpoint.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpointUrl {
    #[error(
        "must be a URL such as \"https://shop.example/webhooks\", without a user and without #"
    )]
    Form,
    #[error(
        "must be https; http is for loopback addresses with allow_private = true, and for other private addresses with allow_http = true, too"
    )]
    Plain,
    #[error("has an address that is not public; set allow_private = true if that is meant")]
    Private,
}

impl EndpointUrl {
    pub fn parse(
        text: &str,
        addresses: AddressRule,
        plain: PlainRule,
    ) -> Result<Self, BadEndpointUrl> {
        let uri: Uri = text.parse().map_err(|_| BadEndpointUrl::Form)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadEndpointUrl::Form);
        };
        let has_more = authority.as_str().contains('@') || text.contains('#');
        if authority.host().is_empty() || has_more {
            return Err(BadEndpointUrl::Form);
        }
        let literal = address_in(authority.host());
        if addresses == AddressRule::PublicOnly && literal.is_some_and(|ip| !is_public(ip)) {
            return Err(BadEndpointUrl::Private);
        }
        let is_loopback = literal.is_some_and(|ip| ip.is_loopback());
        let allows_plain = addresses == AddressRule::PrivateToo
            && (is_loopback
                || plain == PlainRule::PlainToo && literal.is_none_or(|ip| !is_public(ip)));
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if allows_plain => Ok(Self(uri)),
            "http" => Err(BadEndpointUrl::Plain),
            _ => Err(BadEndpointUrl::Form),
        }
    }
    /// As operators and auditors see it. What stands behind `?` is often a token of the shop's.
    pub fn without_query(&self) -> String {
        let text = self.0.to_string();
        match text.split_once('?') {
            Some((place, _)) => format!("{place}?…"),
            None => text,
        }
    }

    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether requests go without TLS.
    pub fn is_plain(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }
}

/// The address that `host` is, if it is not a name.
fn address_in(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

/// The name of the sink of the endpoint `name`: `a-z`, `0-9` and `_`, at most 32 characters. Kept for
/// the life of the process, each name once.
pub fn sink_name(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let may_be = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(may_be) {
        return None;
    }
    let whole = format!("{SINK_PREFIX}{name}");
    let mut names = NAMES.lock();
    if let Some(known) = names.get(whole.as_str()) {
        return Some(known);
    }
    let kept: &'static str = whole.leak();
    names.insert(kept);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_and_public_unless_the_settings_say_otherwise() {
        use AddressRule::{PrivateToo, PublicOnly};
        use BadEndpointUrl::{Form, Plain, Private};
        use PlainRule::{PlainToo, TlsOnly};
        for (text, addresses, plain, expected) in [
            ("https://shop.example/hooks?a=1", PublicOnly, TlsOnly, None),
            ("https://8.8.8.8:8443", PublicOnly, TlsOnly, None),
            ("https://127.0.0.1/", PublicOnly, TlsOnly, Some(Private)),
            ("https://[::1]/", PublicOnly, PlainToo, Some(Private)),
            (
                "https://[::ffff:10.0.0.1]/",
                PublicOnly,
                TlsOnly,
                Some(Private),
            ),
            ("https://10.0.0.1/", PrivateToo, TlsOnly, None),
            ("http://127.0.0.1:9/", PrivateToo, TlsOnly, None),
            ("http://shop.example/", PublicOnly, PlainToo, Some(Plain)),
            ("http://shop.example/", PrivateToo, TlsOnly, Some(Plain)),
            ("http://hooks.internal/", PrivateToo, PlainToo, None),
            ("http://8.8.8.8/", PrivateToo, PlainToo, Some(Plain)),
            (
                "https://me:pass@shop.example/",
                PublicOnly,
                TlsOnly,
                Some(Form),
            ),
            (
                "https://shop.example/#here",
                PublicOnly,
                TlsOnly,
                Some(Form),
            ),
            ("ftp://shop.example/", PublicOnly, TlsOnly, Some(Form)),
            ("shop.example", PublicOnly, TlsOnly, Some(Form)),
        ] {
            let found = EndpointUrl::parse(text, addresses, plain);
            assert_eq!(found.err(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let [one, two] = ["orders", "orders"].map(|it| sink_name(it).unwrap());
        assert!(std::ptr::eq(one, two));
        assert_eq!(one, "webhooks_orders");
        for bad in ["", "A", "a-b", "a/b", &"a".repeat(33)] {
            assert_eq!(sink_name(bad), None, "{bad}");
        }
    }
}
