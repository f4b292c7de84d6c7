//! Owns reading a request's body completely, within limits of size and time.
//!
//! Invariant: no more than the limit is ever kept; a body that arrived with its header (nearly
//! every one) is used in place, without a copy or a timer.

use crate::engine::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Limits of a body.
#[derive(Copy, Clone, Debug)]
pub struct BodyBounds {
    pub bytes_max: usize,
    /// Timeout for the whole body.
    pub timeout: Duration,
}

/// Reads all of `body`. Refused if it is too large, too slow, or incomplete. A body that has not
/// arrived yet is waited for after `keep_room` has reserved room for it.
pub async fn read<R>(
    mut body: Incoming,
    bounds: BodyBounds,
    keep_room: impl FnOnce(usize) -> Result<R, Refusal>,
) -> Result<Bytes, Refusal> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > bounds.bytes_max {
        return Err(Refusal::BodyTooLarge);
    }
    let mut reading = BodyRead::Nothing;
    // First without a timer, because the body has nearly always arrived already.
    let first = poll_fn(|cx| Poll::Ready(reading.advance(&mut body, bounds.bytes_max, cx))).await;
    let done = match first {
        Poll::Ready(done) => done,
        Poll::Pending => {
            // Without a declared length, reserve the maximum.
            let declared = body.size_hint().upper().map(usize::try_from);
            let most = declared.and_then(Result::ok).unwrap_or(bounds.bytes_max);
            let _room = keep_room(most.min(bounds.bytes_max))?;
            let rest = poll_fn(|cx| reading.advance(&mut body, bounds.bytes_max, cx));
            tokio::time::timeout(bounds.timeout, rest)
                .await
                .map_err(|_| Refusal::RequestTimeout)?
        }
    };
    done.map(|()| reading.into_bytes())
}

/// The part of a body that was read.
enum BodyRead {
    Nothing,
    OnePart(Bytes),
    Parts(BytesMut),
}

impl BodyRead {
    /// Reads what has arrived; ready at the end.
    fn advance(
        &mut self,
        body: &mut Incoming,
        bytes_max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if body.is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(_))) => {
                    // The sender closed before the end.
                    return Poll::Ready(Err(Refusal::InvalidRequest));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(part) = frame.into_data() {
                        if self.len() + part.len() > bytes_max {
                            return Poll::Ready(Err(Refusal::BodyTooLarge));
                        }
                        self.push(part);
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::OnePart(part) => part.len(),
            Self::Parts(parts) => parts.len(),
        }
    }

    fn push(&mut self, part: Bytes) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::OnePart(part),
            Self::OnePart(first) => {
                let mut parts = BytesMut::with_capacity(2 * (first.len() + part.len()));
                parts.extend_from_slice(&first);
                parts.extend_from_slice(&part);
                Self::Parts(parts)
            }
            Self::Parts(mut parts) => {
                parts.extend_from_slice(&part);
                Self::Parts(parts)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::OnePart(part) => part,
            Self::Parts(parts) => parts.freeze(),
        }
    }
}
