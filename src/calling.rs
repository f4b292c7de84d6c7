//! Owns how this process calls others by HTTP: a pool of connections with their bounds.
//!
//! Invariants: HTTP/1.1 only; without TLS only where the caller says so; connecting and idling are bounded.
//! Deliberately absent: whom TLS trusts (`trust`), requests, and how long an answer may take.

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use std::time::Duration;

/// A client whose names are resolved by `R`.
pub type HttpClient<R, B> = Client<HttpsConnector<HttpConnector<R>>, B>;

/// Whether requests may go without TLS.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    Tls,
    /// Where the URL says so.
    PlainToo,
}

/// The bounds of a pool.
#[derive(Copy, Clone, Debug)]
pub struct PoolBounds {
    pub connect_timeout: Duration,
    /// How long a connection is kept for the next request.
    pub idle: Duration,
    /// Connections that are kept.
    pub idle_max: usize,
}

/// A client that resolves names by `resolver`.
pub fn http_client<R, B>(
    resolver: R,
    tls: ClientConfig,
    transport: Transport,
    bounds: PoolBounds,
) -> HttpClient<R, B>
where
    HttpsConnector<HttpConnector<R>>: Connect + Clone,
    B: Body + Send,
    B::Data: Send,
{
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(bounds.connect_timeout));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let builder = match transport {
        Transport::Tls => builder.https_only(),
        Transport::PlainToo => builder.https_or_http(),
    };
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(bounds.idle)
        .pool_max_idle_per_host(bounds.idle_max)
        .build(builder.enable_http1().wrap_connector(tcp))
}
