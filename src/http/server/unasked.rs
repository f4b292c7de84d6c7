//! Owns a limit on what an HTTP/2 connection may send without getting a response: pings, settings,
//! window updates, endless headers, reset requests.
//!
//! Invariant: between two responses no more is read than all requests that may be in flight at once
//! can have in headers and bodies; then the connection ends. Such frames are cheap, so their total
//! cost is limited.
//! Deliberately absent: HTTP/1.1, which has no frames outside of requests.

use super::presence::{Connection, RequestsRead};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose bytes are counted between responses.
pub(in crate::http) struct Unasked<IO> {
    io: IO,
    presence: Arc<Connection>,
    bytes_max: usize,
    bytes: usize,
    answered: RequestsRead,
}

impl<IO> Unasked<IO> {
    pub(in crate::http) fn new(io: IO, presence: &Arc<Connection>, bytes_max: usize) -> Self {
        Self {
            io,
            presence: Arc::clone(presence),
            bytes_max,
            bytes: 0,
            answered: presence.requests(),
        }
    }

    /// Counts bytes read; an error beyond the limit.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let requests = self.presence.requests();
        if requests.ended_since(self.answered) {
            (self.answered, self.bytes) = (requests, 0);
        }
        self.bytes += bytes;
        if self.bytes > self.bytes_max {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Unasked<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.count(buffer.filled().len() - before)?;
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Unasked<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
