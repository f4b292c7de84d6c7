//! Connections to the server: a bounded number, made when needed, made anew when lost.
//!
//! 1. No more than the connections it was given are open at the same time. Who finds all busy waits, in order; the wait is part
//!    of the latency.
//! 2. A request is sent once. A lost connection is an error of that request; the next request connects anew.
//! 3. HTTP/1.1 carries one request on a connection at a time, HTTP/2 up to `streams_max`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::CertificateError;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};

use super::origin::Origin;
use crate::scenario::file::HttpVersion;

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 4 << 20;
/// Pings find a dead HTTP/2 connection on which answers are awaited.
const PING_EVERY: Duration = Duration::from_secs(5);

type Body = Full<Bytes>;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Bytes,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Idempotent-Replayed: true` was there.
    pub(crate) replayed: bool,
    pub(crate) body: Bytes,
}

/// Why there is no answer, in words that reports show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer(pub(crate) &'static str);

/// The connections of one thread.
pub(crate) struct Pool {
    origin: Origin,
    bearer: HeaderValue,
    host: HeaderValue,
    /// A permit is the right to have one request under way.
    permits: Semaphore,
    idle: RefCell<VecDeque<http1::SendRequest<Body>>>,
    shared: Vec<Mutex<Option<http2::SendRequest<Body>>>>,
    turn: Cell<usize>,
}

impl Pool {
    /// At most `connections` connections, for requests with `key`.
    pub(crate) fn new(
        origin: Origin,
        key: &str,
        connections: usize,
        streams_max: usize,
    ) -> Result<Self, String> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {key}"))
            .map_err(|_| "a key has characters that a header cannot hold".to_owned())?;
        bearer.set_sensitive(true);
        let host = HeaderValue::try_from(origin.authority.as_str())
            .map_err(|_| "the host has characters that a header cannot hold".to_owned())?;
        let (permits, shared) = match origin.version {
            HttpVersion::One => (connections, Vec::new()),
            HttpVersion::Two => (
                connections * streams_max,
                (0..connections).map(|_| Mutex::new(None)).collect(),
            ),
        };
        Ok(Self {
            origin,
            bearer,
            host,
            permits: Semaphore::new(permits),
            idle: RefCell::default(),
            shared,
            turn: Cell::new(0),
        })
    }

    /// Sends `ask` on a free connection and reads its answer.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answer, NoAnswer> {
        let _permit = self
            .permits
            .acquire()
            .await
            .expect("the semaphore is never closed");
        match self.origin.version {
            HttpVersion::One => {
                let mut connection = self.take().await?;
                let response = connection.send_request(self.request(ask)).await;
                let answer = read(response.map_err(|e| lost(&e))?).await?;
                if !connection.is_closed() {
                    self.idle.borrow_mut().push_back(connection);
                }
                Ok(answer)
            }
            HttpVersion::Two => {
                let mut connection = self.share().await?;
                let response = connection.send_request(self.request(ask)).await;
                read(response.map_err(|e| lost(&e))?).await
            }
        }
    }

    /// The connection idle for longest, or a new one.
    async fn take(&self) -> Result<http1::SendRequest<Body>, NoAnswer> {
        loop {
            let idle = self.idle.borrow_mut().pop_front();
            let Some(mut idle) = idle else {
                break;
            };
            // One that the server closed meanwhile is not ready, and goes.
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        match self.connect().await? {
            Connected::Plain(io) => http1_on(io).await,
            Connected::Tls(io) => http1_on(io).await,
        }
    }

    /// One of the shared connections, in turn.
    async fn share(&self) -> Result<http2::SendRequest<Body>, NoAnswer> {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.shared.len());
        // Held while connecting, so that a lost connection is replaced by one and not by many.
        let mut place = self.shared[turn].lock().await;
        if let Some(connection) = place.as_ref().filter(|c| !c.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = match self.connect().await? {
            Connected::Plain(io) => http2_on(io).await?,
            Connected::Tls(io) => http2_on(io).await?,
        };
        *place = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> Result<Connected, NoAnswer> {
        let connect = async {
            let stream = TcpStream::connect(self.origin.addr).await.map_err(|e| {
                NoAnswer(match e.kind() {
                    ErrorKind::ConnectionRefused => "connection refused",
                    ErrorKind::AddrNotAvailable => "no local port left",
                    _ => "cannot connect",
                })
            })?;
            // Latency is worse without it, nothing breaks.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &self.origin.tls else {
                return Ok(Connected::Plain(stream));
            };
            let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
            let stream = connector.connect(tls.name.clone(), stream).await;
            stream
                .map(|stream| Connected::Tls(Box::new(stream)))
                .map_err(|e| handshake_failure(&e))
        };
        tokio::time::timeout(CONNECT_WAIT_MAX, connect)
            .await
            .unwrap_or(Err(NoAnswer("no connection in time")))
    }

    fn request(&self, ask: &Ask) -> Request<Body> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        let uri = match self.origin.version {
            HttpVersion::One => ask.path.parse(),
            HttpVersion::Two => format!(
                "{}://{}{}",
                self.origin.scheme(),
                self.origin.authority,
                ask.path
            )
            .parse(),
        };
        *request.uri_mut() = uri.expect("paths are made of ids, which a URI can hold");
        let headers = request.headers_mut();
        if self.origin.version == HttpVersion::One {
            headers.insert(HOST, self.host.clone());
        }
        headers.insert(AUTHORIZATION, self.bearer.clone());
        if !ask.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &ask.key {
            let key = HeaderValue::try_from(key.as_str());
            headers.insert(
                "idempotency-key",
                key.expect("keys are letters, digits and dashes"),
            );
        }
        request
    }
}

enum Connected {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn http1_on<T>(io: T) -> Result<http1::SendRequest<Body>, NoAnswer>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let made = http1::handshake(TokioIo::new(io)).await;
    let (sender, connection) = made.map_err(|e| lost(&e))?;
    // How it ends is told to the request that is on it.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn http2_on<T>(io: T) -> Result<http2::SendRequest<Body>, NoAnswer>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let made = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .handshake(TokioIo::new(io))
        .await;
    let (sender, connection) = made.map_err(|e| lost(&e))?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Runs hyper's own tasks where everything of a pool runs.
#[derive(Clone)]
struct OnThisThread;

impl<F> hyper::rt::Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, NoAnswer> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let replayed = head.headers.get("idempotent-replayed");
    Ok(Answer {
        status: head.status.as_u16(),
        replayed: replayed.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"true")),
        body: body.map_err(|_| NoAnswer("answer cut off"))?.to_bytes(),
    })
}

/// Why a handshake failed, in words that say what to do.
fn handshake_failure(e: &std::io::Error) -> NoAnswer {
    let cause = e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    NoAnswer(match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => {
                "the certificate's issuer is not trusted; --ca names whom to trust"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host name"
            }
            _ => {
                "the certificate is not accepted; one that is marked as a CA's cannot be a server's"
            }
        },
        Some(_) => "TLS could not be agreed on",
        None => "connection lost in the TLS handshake",
    })
}

fn lost(e: &hyper::Error) -> NoAnswer {
    NoAnswer(if e.is_parse() {
        "unreadable answer"
    } else {
        "connection lost"
    })
}
