//! Owns asking a running core from the command line: one request a connection, in HTTP/1.0, over TLS
//! or on this machine in plain, whose answers end with their connection.
//!
//! Invariants: every wait and size is bounded; the key is never shown, and leaves the machine only
//! over TLS, to a server whose certificate was verified.

use hyper::Uri;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Timeout of connecting, and of each read and write.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum size of an answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Timeout of a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// A running core.
pub(super) struct CoreClient {
    host: String,
    port: u16,
    /// TLS and the name that the certificate must have; `None`: plain HTTP.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    key: SecretString,
}

impl CoreClient {
    /// The core at `url`, called with `key`. Over https, its certificate is verified with the
    /// authorities in `ca_file`, otherwise with the public ones.
    pub(super) fn new(url: &str, key: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let form = || {
            "the URL must have the form https://HOST[:PORT], or http://127.0.0.1:8080 on this machine"
                .to_owned()
        };
        let uri: Uri = url.parse().map_err(|_| form())?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(form());
        }
        if !key.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("the key must be visible ASCII".to_owned());
        }
        let host = uri.host().ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (tls, port) = match (uri.scheme_str(), ca_file) {
            (Some("https"), _) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| form())?;
                let config = crate::trust::tls_client(ca_file)?;
                (Some((Arc::new(config), name)), 443)
            }
            (Some("http"), Some(_)) => {
                return Err("--ca is for a URL that begins with https://".to_owned());
            }
            (Some("http"), None) => (None, 80),
            (Some(_) | None, _) => return Err(form()),
        };
        if tls.is_none() && !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            return Err(
                "an http:// URL must have a loopback address, like http://127.0.0.1:8080, because \
                 the key could be read on the way; use https://"
                    .to_owned(),
            );
        }
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(port),
            tls,
            key: SecretString::from(key.to_owned()),
        })
    }

    /// The JSON of a successful answer; otherwise what the answer says.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Value, String> {
        let core = format!("the core at {}:{}", self.host, self.port);
        let failed = |what: &str, why: std::io::Error| format!("{core} {what}: {}", reason(&why));
        let answer = self
            .exchange(method, path)
            .map_err(|why| failed("cannot be reached", why))?;
        let unread = || format!("{core} does not answer with HTTP");
        let end = answer
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .ok_or_else(unread)?;
        let head = std::str::from_utf8(&answer[..end]).map_err(|_| unread())?;
        let status = head.split(' ').nth(1).ok_or_else(unread)?;
        let body: Value = serde_json::from_slice(&answer[end + 4..]).map_err(|_| unread())?;
        if status.starts_with('2') {
            return Ok(body);
        }
        let detail = body["detail"].as_str().unwrap_or("no reason given");
        let elsewhere = if status == "404" {
            " If server.admin_listen is set, use that address."
        } else {
            ""
        };
        Err(format!("{core} refuses with {status}: {detail}{elsewhere}"))
    }

    fn exchange(&self, method: &str, path: &str) -> std::io::Result<Vec<u8>> {
        let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return self.exchange_over(stream, method, path),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn exchange_over(
        &self,
        stream: TcpStream,
        method: &str,
        path: &str,
    ) -> std::io::Result<Vec<u8>> {
        let stream = Timed {
            stream,
            until: Instant::now() + ANSWER_TIMEOUT,
        };
        let (host, key) = (&self.host, self.key.expose_secret());
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let Some((config, name)) = &self.tls else {
            return answered(stream, &request);
        };
        let session = ClientConnection::new(Arc::clone(config), name.clone());
        let session = session.map_err(std::io::Error::other)?;
        answered(StreamOwned::new(session, stream), &request)
    }
}

/// The answer to `request`, up to the end of its connection.
fn answered(mut stream: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        let why = format!("its answer has more than {ANSWER_BYTES_MAX} bytes");
        return Err(std::io::Error::other(why));
    }
    Ok(answer)
}

/// A connection that is used until a deadline; each read and write waits at most [`PATIENCE`].
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    fn patience(&self) -> std::io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        Ok(Some(left.min(PATIENCE)))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(self.patience()?)?;
        self.stream.read(buffer).map_err(in_time)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(self.patience()?)?;
        self.stream.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's timeout looks like a temporary error.
fn in_time(error: std::io::Error) -> std::io::Error {
    if error.kind() == std::io::ErrorKind::WouldBlock {
        return late();
    }
    error
}

fn late() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")
}

/// Why the core could not be called, and what to do if its certificate is not trusted.
fn reason(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|it| it.downcast_ref());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => format!(
            "its certificate is not trusted ({why}); name its authority's certificate with --ca FILE"
        ),
        Some(_) | None => error.to_string(),
    }
}
