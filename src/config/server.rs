//! Owns the section `server`: listeners, their limits, TLS.
//!
//! Invariant: two listeners never take the same connections.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Sockets and their limits.
#[derive(Debug)]
pub struct ServerConfig {
    /// The main listener.
    pub listen: SocketAddr,
    /// The listener for administration, metrics and probes.
    pub admin_listen: Option<SocketAddr>,
    /// HTTP threads, at least 1.
    pub workers: usize,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// Maximum of one address without a key; 0: half of `max_connections`.
    pub connections_per_peer_max: usize,
    /// Connections that the kernel queues, per worker.
    pub backlog: u32,
    /// Timeout of a handshake, of a request's header, and of an idle connection.
    pub header_read_timeout: Duration,
    /// Maximum size of a request's header.
    pub header_bytes_max: usize,
    /// Timeout of a request's body.
    pub body_read_timeout: Duration,
    /// Maximum size of a request's body.
    pub body_bytes_max: usize,
    /// Maximum bytes of all bodies being received.
    pub bodies_bytes_max: usize,
    /// Timeout for a peer to read a response.
    pub send_timeout: Duration,
    /// Maximum concurrent requests on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Maximum number of shop requests in flight.
    pub in_flight_max: usize,
    /// Time after SIGTERM in which requests are still served.
    pub leave: Duration,
    /// Time to finish requests in flight at shutdown.
    pub drain: Duration,
    /// The files for TLS.
    pub tls: Option<TlsConfig>,
}

impl ServerConfig {
    /// Every listening address, with its configuration key.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let admin = self.admin_listen.map(|it| ("server.admin_listen", it));
        std::iter::once(("server.listen", self.listen)).chain(admin)
    }
}

/// The files for TLS.
#[derive(Debug)]
pub struct TlsConfig {
    /// PEM file of the certificate chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<ServerConfig, ConfigError> {
    let listen = reader.text("server.listen")?;
    let listen = address("server.listen", &listen)?;
    let admin_listen = reader.text_if_given("server.admin_listen")?;
    let admin_listen = admin_listen
        .map(|text| address("server.admin_listen", &text))
        .transpose()?;
    if admin_listen.is_some_and(|admin| overlap(admin, listen)) {
        return Err(invalid(
            "server.admin_listen",
            "takes the same port of the same address as server.listen; use another address or port, or remove it",
        ));
    }
    let workers = match reader.size("server.workers")? {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    Ok(ServerConfig {
        listen,
        admin_listen,
        workers,
        max_connections: reader.size("server.max_connections")?,
        connections_per_peer_max: reader.size("server.connections_per_peer_max")?,
        backlog: reader.small("server.backlog")?,
        header_read_timeout: reader.milliseconds("server.header_read_timeout_ms")?,
        header_bytes_max: reader.size("server.header_bytes_max")?,
        body_read_timeout: reader.milliseconds("server.body_read_timeout_ms")?,
        body_bytes_max: reader.size("server.body_bytes_max")?,
        bodies_bytes_max: reader.size("server.bodies_bytes_max")?,
        send_timeout: reader.milliseconds("server.send_timeout_ms")?,
        http2_streams_max: reader.small("server.http2_streams_max")?,
        in_flight_max: reader.size("server.in_flight_max")?,
        leave: reader.seconds("server.leave_s")?,
        drain: reader.seconds("server.drain_s")?,
        tls: tls(reader)?,
    })
}

fn address(key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        invalid(
            key,
            "must be an IP address and a port, such as \"127.0.0.1:8080\"",
        )
    })
}

fn tls(reader: &mut ConfigReader<'_>) -> Result<Option<TlsConfig>, ConfigError> {
    let cert = reader.text_if_given("server.tls.cert")?;
    let key = reader.text_if_given("server.tls.key")?;
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsConfig {
            cert: cert.into(),
            key: key.into(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid(
            "server.tls.key",
            "is missing; server.tls.cert needs it",
        )),
        (None, Some(_)) => Err(invalid(
            "server.tls.cert",
            "is missing; server.tls.key needs it",
        )),
    }
}

/// Whether two listeners would take the same connections: a wildcard takes every address, and that of IPv6
/// those of IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |it: IpAddr, of: IpAddr| match it {
        IpAddr::V4(_) => it.is_unspecified() && of.to_canonical().is_ipv4(),
        IpAddr::V6(_) => it.is_unspecified(),
    };
    let (first, second) = (one.ip(), other.ip());
    let is_same = first.to_canonical() == second.to_canonical();
    one.port() == other.port()
        && one.port() != 0
        && (is_same || takes(first, second) || takes(second, first))
}
