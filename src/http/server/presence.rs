//! Owns the state of one open connection: its requests, whether it has shown a valid key, and
//! whether it must close.
//!
//! Invariants: 1. a connection that has shown a valid key is never evicted; 2. a request on such a
//! connection writes two words of its own connection and takes no lock; 3. an evicted connection is
//! dropped the next time its task runs, whatever it was doing.
//! Deliberately absent: which connection is evicted, which `admission` decides.

use super::admission::ConnectionTable;
use super::peer::Peer;
use futures_util::task::AtomicWaker;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Poll;

/// It has shown a valid key, or a genuine signature.
const TRUSTED: u8 = 1;
/// It was admitted beyond the limit, for probes, metrics and administration.
const RESERVED: u8 = 1 << 1;
/// It must close.
const EVICTED: u8 = 1 << 2;
/// It ends once its requests in flight are answered.
const LEAVING: u8 = 1 << 3;

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    number: u64,
    admission: Arc<ConnectionTable>,
    /// Requests in flight (low half) and ended ones (high half, wrapping).
    requests: AtomicU64,
    marks: AtomicU8,
    /// The time of the last successful response, otherwise of its acceptance; not updated once it
    /// is trusted.
    progress_ms: AtomicU64,
    /// The same at its last insertion into the order; only changed under the lock of `admission`.
    ranked_ms: AtomicU64,
    task: AtomicWaker,
}

impl Connection {
    pub(in crate::http) fn new(
        peer: Peer,
        number: u64,
        admission: Arc<ConnectionTable>,
        now_ms: u64,
    ) -> Self {
        Self {
            peer,
            number,
            admission,
            requests: AtomicU64::new(0),
            marks: AtomicU8::new(0),
            progress_ms: AtomicU64::new(now_ms),
            ranked_ms: AtomicU64::new(now_ms),
            task: AtomicWaker::new(),
        }
    }

    pub(in crate::http) fn peer(&self) -> Peer {
        self.peer
    }

    pub(in crate::http) fn number(&self) -> u64 {
        self.number
    }

    pub(in crate::http) fn admission(&self) -> &ConnectionTable {
        &self.admission
    }

    pub(in crate::http) fn requests(&self) -> RequestsRead {
        RequestsRead(self.requests.load(Relaxed))
    }

    pub(in crate::http) fn progress_ms(&self) -> u64 {
        self.progress_ms.load(Relaxed)
    }

    pub(in crate::http) fn ranked_ms(&self) -> u64 {
        self.ranked_ms.load(Relaxed)
    }

    /// Call it under the lock of `admission`, while it is not in the order.
    pub(in crate::http) fn rank_now(&self) {
        self.ranked_ms.store(self.progress_ms(), Relaxed);
    }

    fn is(&self, mark: u8) -> bool {
        self.marks.load(Relaxed) & mark != 0
    }

    pub(in crate::http) fn is_trusted(&self) -> bool {
        self.is(TRUSTED)
    }

    pub(in crate::http) fn is_reserved(&self) -> bool {
        self.is(RESERVED)
    }

    pub(in crate::http) fn is_evicted(&self) -> bool {
        self.is(EVICTED)
    }

    pub(in crate::http) fn is_leaving(&self) -> bool {
        self.is(LEAVING)
    }

    /// Call it under the lock of `admission`.
    pub(in crate::http) fn mark_trusted(&self) {
        self.marks.fetch_or(TRUSTED, Relaxed);
    }

    /// Likewise.
    pub(in crate::http) fn mark_reserved(&self) {
        self.marks.fetch_or(RESERVED, Relaxed);
    }

    /// Likewise.
    pub(in crate::http) fn mark_ordinary(&self) {
        self.marks.fetch_and(!RESERVED, Relaxed);
    }

    /// Likewise. Its task must be woken afterwards.
    pub(in crate::http) fn mark_evicted(&self) {
        self.marks.fetch_or(EVICTED, Relaxed);
    }

    /// Wakes its task to check for eviction.
    pub(in crate::http) fn wake(&self) {
        self.task.wake();
    }

    /// Drives `life` until it ends or the connection is evicted.
    pub(in crate::http) async fn until_evicted(
        &self,
        mut life: Pin<&mut impl Future<Output = ()>>,
    ) {
        let mut registered = false;
        poll_fn(|cx| {
            if !registered {
                registered = true;
                // A task's waker stays the same. Register it before reading the mark: a thread that
                // sets the mark in between wakes the task.
                self.task.register(cx.waker());
            }
            if self.is_evicted() {
                return Poll::Ready(());
            }
            life.as_mut().poll(cx)
        })
        .await;
    }
}

/// A reading of a connection's requests.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct RequestsRead(u64);

const ONE_ENDED: u64 = 1 << 32;

impl RequestsRead {
    /// Something has ended since.
    pub(in crate::http) fn ended_since(self, before: Self) -> bool {
        self.0 / ONE_ENDED != before.0 / ONE_ENDED
    }

    /// Nothing has ended since, and nothing is under way.
    pub(in crate::http) fn is_quiet_since(self, before: Self) -> bool {
        self == before && self.0 & (ONE_ENDED - 1) == 0
    }
}

/// A request in flight on its connection, until dropped.
#[derive(Debug)]
pub struct ActiveRequest(Arc<Connection>);

impl ActiveRequest {
    pub(in crate::http) fn new(connection: &Arc<Connection>) -> Self {
        connection.requests.fetch_add(1, Relaxed);
        Self(Arc::clone(connection))
    }

    /// The peer of the request.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// Its connection has shown a valid key, or a genuine signature.
    pub(in crate::http) fn trust(&self) {
        if !self.0.is_trusted() {
            self.0.admission.trust(&self.0);
        }
    }

    /// Its request was answered successfully.
    pub(in crate::http) fn progressed(&self) {
        // The idle time of a trusted connection is never used.
        if !self.0.is_trusted() {
            let now_ms = self.0.admission.now_ms();
            self.0.progress_ms.store(now_ms, Relaxed);
        }
    }

    /// Whether its connection is only there for probes, metrics and administration.
    pub(in crate::http) fn is_reserved(&self) -> bool {
        self.0.is_reserved() && !self.0.admission.make_ordinary(&self.0)
    }

    /// Ends its connection once it is answered.
    pub(in crate::http) fn leave(&self) {
        self.0.marks.fetch_or(LEAVING, Relaxed);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.requests.fetch_add(ONE_ENDED - 1, Relaxed);
    }
}
