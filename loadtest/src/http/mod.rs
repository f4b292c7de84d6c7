//! The least of HTTP/1.1 that a load generator needs.
//!
//! `request` pre-renders request bytes once and patches buyer and idempotency key in place; `response` reads the head by
//! `Content-Length`; `client` is a blocking connection for set-up and for the drop's checks. Left out on purpose: TLS,
//! HTTP/2, chunked bodies, redirects, pipelining. The generator shares the cores with the server that it measures, so
//! every microsecond spent here is taken from the figure.

pub(crate) mod client;
pub(crate) mod request;
pub(crate) mod response;

use std::net::{SocketAddr, ToSocketAddrs};

use crate::error::Fault;

/// Where the server under test listens.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Resolved address.
    pub(crate) addr: SocketAddr,
    /// What goes into the `Host` header.
    pub(crate) host: String,
}

impl Target {
    /// Parses `http://HOST:PORT` (a trailing slash is let pass) and resolves the host.
    pub(crate) fn parse(url: &str) -> Result<Self, Fault> {
        let bad = || Fault::BadUrl {
            url: url.to_owned(),
        };
        let host = url.strip_prefix("http://").ok_or_else(bad)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let addr = host
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next())
            .ok_or_else(bad)?;
        Ok(Self {
            addr,
            host: host.to_owned(),
        })
    }

    /// The target that listens on `addr`.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self {
            addr,
            host: addr.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn only_plain_urls_with_a_port_are_taken() {
        assert_eq!(
            Target::parse("http://127.0.0.1:8080/").unwrap().host,
            "127.0.0.1:8080"
        );
        for bad in [
            "127.0.0.1:8080",
            "https://127.0.0.1:8080",
            "http://127.0.0.1",
            "http://127.0.0.1:8080/x",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad} was taken");
        }
    }
}
