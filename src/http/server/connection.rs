//! Owns one connection from its first byte to its last: TLS, detecting HTTP/1.1 or HTTP/2, and the
//! watch that closes it when it is idle, slow with a header, or told to stop.
//!
//! Invariants: every wait for the peer has a timeout: the handshake and the first byte have the
//! header timeout, and so has the time between requests (a slow header counts as time between
//! requests); bodies have their own; the kernel ends a connection whose peer does not read
//! (`TCP_USER_TIMEOUT`). There is one timer per connection, none per request.
//! Deliberately absent: the meaning of requests.

use super::presence::{ActiveRequest, Connection};
use super::unasked::Unasked;
use super::{Handler, ServerShared};
use crate::engine::refusal::Refusal;
use crate::http::wire::answer::AnswerBody;
use crate::http::wire::problem;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Checks of the watch per header timeout.
const LOOKS: u32 = 4;

/// How long a closing connection is still written to or read from.
const LINGER: Duration = Duration::from_millis(200);
/// Maximum number of reads of a closing connection.
const LINGER_READS_MAX: usize = 256;

// HTTP/2: limits of a connection beside its requests in flight (`server.http2_streams_max`). At a
// limit, it ends.
/// Requests that were reset before they were processed.
const RESETS_PENDING_MAX: usize = 20;
/// Requests that the server reset because their frames were wrong, and whose late frames it ignores.
const STREAM_ERRORS_MAX: usize = 128;
/// Size of the header compression table.
const HEADER_TABLE_BYTES: u32 = 4_096;
/// One frame.
const FRAME_BYTES_MAX: u32 = 16_384;
/// Bodies that arrived and are not read yet.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Buffered bytes of a response.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Minimum of bytes without a response for every connection.
const UNASKED_BYTES_MIN: usize = 1 << 20;

/// Serves `stream`, tracked by `presence`, until it ends.
pub(in crate::http) async fn serve<H: Handler>(
    stream: TcpStream,
    presence: &Arc<Connection>,
    handler: Arc<H>,
    shared: Arc<ServerShared>,
) {
    let limit = shared.limits.header_read_timeout;
    match &shared.tls {
        None => match timeout(limit, speaks_http2(&stream)).await {
            Ok(Ok(true)) => serve_http2(stream, presence, handler, &shared).await,
            Ok(Ok(false)) => serve_http1(stream, presence, handler, &shared).await,
            Ok(Err(_)) | Err(_) => {}
        },
        Some(tls) => {
            let handshake = tls.acceptor().accept(stream);
            if let Ok(Ok(stream)) = timeout(limit, handshake).await {
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    serve_http2(stream, presence, handler, &shared).await;
                } else {
                    serve_http1(stream, presence, handler, &shared).await;
                }
            }
        }
    }
}

/// Whether the first bytes are the HTTP/2 preface, which differs from every method of HTTP/1.1. The
/// bytes are peeked, not consumed.
async fn speaks_http2(stream: &TcpStream) -> std::io::Result<bool> {
    const PREFACE: &[u8; 3] = b"PRI";
    let mut start = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut start).await?;
        if seen == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if start[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Only `P` or `PR` has arrived: the kernel reports it as readable, so waiting for readiness
        // would spin.
        sleep(Duration::from_millis(2)).await;
    }
}

async fn serve_http1<H, IO>(
    io: IO,
    presence: &Arc<Connection>,
    handler: Arc<H>,
    shared: &Arc<ServerShared>,
) where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service(presence, &handler);
    let mut connection = http1::Builder::new()
        // Pipelined responses are sent one by one. To collect them while more requests are read
        // would let a peer that never stops sending grow the buffer, and would delay a hold's
        // response behind a payment. One write per response: header and body are small.
        .writev(false)
        .header_read_timeout(None)
        .max_buf_size(shared.limits.header_bytes_max)
        .serve_connection(TokioIo::new(io), service);
    let end = watch(
        &mut connection,
        http1::Connection::graceful_shutdown,
        presence,
        shared,
    )
    .await;
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    if end == End::Quiet && !parts.read_buf.is_empty() {
        // A part of a header arrived: answer its sender.
        let told = problem::on_the_wire(Refusal::RequestTimeout.into(), handler.request_id());
        let _ = timeout(LINGER, io.write_all(&told)).await;
        let _ = timeout(LINGER, io.shutdown()).await;
    }
    linger(io).await;
}

/// Reads and drops remaining bytes for a short time: closing with unread bytes resets the
/// connection, and the reset may overtake a response such as "too large".
async fn linger(mut io: impl AsyncRead + Unpin) {
    let mut unwanted = [0; 4_096];
    let reading = async {
        for _ in 0..LINGER_READS_MAX {
            if matches!(io.read(&mut unwanted).await, Ok(0) | Err(_)) {
                return;
            }
        }
    };
    let _ = timeout(LINGER, reading).await;
}

async fn serve_http2<H, IO>(
    io: IO,
    presence: &Arc<Connection>,
    handler: Arc<H>,
    shared: &Arc<ServerShared>,
) where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let window = u32::try_from(limits.body_bytes_max.max(65_535)).unwrap_or(u32::MAX >> 1);
    let header_bytes = u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX);
    let streams = usize::try_from(limits.http2_streams_max).unwrap_or(usize::MAX);
    let request_bytes = limits.header_bytes_max + limits.body_bytes_max;
    let unasked_bytes = streams.saturating_mul(request_bytes);
    let io = Unasked::new(io, presence, unasked_bytes.max(UNASKED_BYTES_MIN));
    let service = service(presence, &handler);
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(STREAM_ERRORS_MAX)
        .max_header_list_size(header_bytes)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window.max(CONNECTION_WINDOW_BYTES))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .serve_connection(TokioIo::new(io), service);
    watch(
        &mut connection,
        http2::Connection::graceful_shutdown,
        presence,
        shared,
    )
    .await;
}

/// The handler for hyper; records each request in `presence`.
fn service<H: Handler>(
    presence: &Arc<Connection>,
    handler: &Arc<H>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<AnswerBody>,
    Error = Infallible,
    Future: Send + 'static,
> + use<H> {
    let (handler, presence) = (Arc::clone(handler), Arc::clone(presence));
    hyper::service::service_fn(move |request: Request<Incoming>| {
        Arc::clone(&handler).handle(request, ActiveRequest::new(&presence))
    })
}

/// How a watched connection ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum End {
    Done,
    /// No complete request arrived within the header timeout.
    Quiet,
}

/// Drives `connection` until it ends, is idle for too long, or is drained.
async fn watch<C: Future + Unpin>(
    connection: &mut C,
    drain: impl Fn(Pin<&mut C>),
    presence: &Connection,
    shared: &ServerShared,
) -> End {
    let look_every = shared.limits.header_read_timeout / LOOKS;
    let mut look = pin!(sleep(look_every));
    let mut stopped = pin!(shared.stop.wait());
    let (mut registered, mut draining) = (false, false);
    let (mut last, mut quiet_looks) = (presence.requests(), 0);
    poll_fn(|cx| {
        loop {
            if !draining {
                // A task's waker stays the same, so registering it once is enough.
                let set = if registered {
                    shared.stop.is_set()
                } else {
                    registered = true;
                    stopped.as_mut().poll(cx).is_ready()
                };
                let leaving = presence.is_leaving();
                if set || leaving {
                    draining = true;
                    drain(Pin::new(&mut *connection));
                }
                if leaving {
                    // A peer that does not close is not waited for.
                    look.as_mut().reset(Instant::now() + LINGER);
                }
            }
            if Pin::new(&mut *connection).poll(cx).is_ready() {
                return Poll::Ready(End::Done);
            }
            // A response of this poll may have ended it.
            if draining || !presence.is_leaving() {
                break;
            }
        }
        while look.as_mut().poll(cx).is_ready() {
            look.as_mut().reset(Instant::now() + look_every);
            let now = presence.requests();
            if presence.is_leaving() && now.is_quiet_since(now) {
                return Poll::Ready(End::Done);
            }
            quiet_looks = if now.is_quiet_since(last) {
                quiet_looks + 1
            } else {
                0
            };
            last = now;
            if quiet_looks >= LOOKS {
                return Poll::Ready(End::Quiet);
            }
        }
        Poll::Pending
    })
    .await
}
