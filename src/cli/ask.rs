//! Owns asking a running core from the command line: one request a connection, in plain HTTP/1.0,
//! whose answers end with their connection.
//!
//! Invariants: every wait and size is bounded; the key is never shown, and never leaves the
//! machine, for it would be readable on the way. Deliberately absent: TLS; a core that has it, or
//! is elsewhere, is asked by `curl`.

use hyper::Uri;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A running core.
pub(super) struct CoreClient {
    host: String,
    port: u16,
    key: SecretString,
}

impl CoreClient {
    /// The core at `url`, asked with `key`.
    pub(super) fn new(url: &str, key: &str) -> Result<Self, String> {
        let form = || "the URL must have the form http://127.0.0.1:8080".to_owned();
        let uri: Uri = url.parse().map_err(|_| form())?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            return Err(form());
        }
        if !key.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("the key must be visible ASCII".to_owned());
        }
        let host = uri.host().ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            return Err(
                "the URL must have a loopback address, like http://127.0.0.1:8080: the key would \
                 be readable on the way; elsewhere, POST and GET /admin/reconcile over https"
                    .to_owned(),
            );
        }
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(80),
            key: SecretString::from(key.to_owned()),
        })
    }

    /// The JSON of a good answer; of any other, what it says.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Value, String> {
        let core = format!("the core at {}:{}", self.host, self.port);
        let failed = |what: &str, why: std::io::Error| format!("{core} {what}: {why}");
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
        mut stream: TcpStream,
        method: &str,
        path: &str,
    ) -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (host, key) = (&self.host, self.key.expose_secret());
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}
