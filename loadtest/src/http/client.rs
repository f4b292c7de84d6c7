//! A blocking keep-alive connection for set-up, polling and the drop's buyers.
//!
//! 1. One request at a time; `ANSWER_WAIT_MAX` bounds every wait.
//! 2. A request is never sent twice on its own: a lost connection is an error of that request, and the next request
//!    connects anew. Whether to send again under the same key is the caller's decision.
//!
//! The hot path of the generator does not use it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::Target;
use super::response::{self, BadResponse};
use crate::error::{During as _, Fault};

/// Longest wait for any byte of an answer.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16 << 10;

/// One connection, made when it is first needed.
pub(crate) struct Client {
    target: Target,
    key: String,
    stream: Option<TcpStream>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// `Idempotent-Replayed: true` was there.
    pub(crate) replayed: bool,
    /// The body's bytes.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The `reason` of a problem, or the status as words where there is none.
    pub(crate) fn reason(&self) -> &str {
        response::reason(&self.body).unwrap_or("none")
    }

    /// The body as JSON; `Null` where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client that sends `Authorization: Bearer key`.
    pub(crate) fn new(target: &Target, key: &str) -> Self {
        Self {
            target: target.clone(),
            key: key.to_owned(),
            stream: None,
        }
    }

    /// `GET path`.
    pub(crate) fn get(&mut self, path: &str) -> Result<Answer, Fault> {
        self.send("GET", path, None, None)
    }

    /// `PUT path` with a JSON body; anything but 200 or 201 is a fault.
    pub(crate) fn put(&mut self, path: &str, body: &Value) -> Result<Answer, Fault> {
        let answer = self.send("PUT", path, None, Some(body))?;
        if matches!(answer.status, 200 | 201) {
            return Ok(answer);
        }
        Err(Fault::Refused {
            request: format!("PUT {path}"),
            status: answer.status,
            body: answer.text(),
        })
    }

    /// Sends one request and reads its answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        idempotency_key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let request = self.render(method, path, idempotency_key, body);
        let outcome = self.exchange(&request, &format!("{method} {path}"));
        // After a failure nobody knows what is still on its way: never reuse the connection.
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    fn render(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Vec<u8> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
            self.target.host,
            self.key,
            body.len()
        );
        if !body.is_empty() {
            text.push_str("content-type: application/json\r\n");
        }
        if let Some(key) = key {
            text.push_str("idempotency-key: ");
            text.push_str(key);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&body);
        text.into_bytes()
    }

    fn exchange(&mut self, request: &[u8], name: &str) -> Result<Answer, Fault> {
        let what = || format!("{name} to {}", self.target.addr);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => empty.insert(connect(&self.target)?),
        };
        stream.write_all(request).during(what)?;
        let bad = |source| Fault::BadResponse {
            request: name.to_owned(),
            source,
        };
        let mut buf = Vec::with_capacity(READ_BYTES);
        let mut chunk = [0; READ_BYTES];
        let head = loop {
            if let Some(head) = response::parse(&buf).map_err(bad)? {
                break head;
            }
            match stream.read(&mut chunk) {
                Ok(0) => return Err(bad(BadResponse::Cut)),
                Ok(n) => buf.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).during(what),
            }
        };
        if head.close {
            self.stream = None;
        }
        Ok(Answer {
            status: head.status,
            replayed: head.replayed,
            body: buf[head.body_at..head.len()].to_vec(),
        })
    }
}

fn connect(target: &Target) -> Result<TcpStream, Fault> {
    let what = || format!("connect to {}", target.addr);
    let stream = TcpStream::connect_timeout(&target.addr, CONNECT_WAIT_MAX).during(what)?;
    stream.set_nodelay(true).during(what)?;
    stream
        .set_read_timeout(Some(ANSWER_WAIT_MAX))
        .during(what)?;
    stream
        .set_write_timeout(Some(ANSWER_WAIT_MAX))
        .during(what)?;
    Ok(stream)
}
