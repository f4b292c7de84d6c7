//! Owns the queue of open payments, ordered by when they are due.
//!
//! Invariants: an entry is taken out only when it is due. Its ticket says which scheduling it
//! belongs to, and the task that takes it out asks the registry whether that is still the latest
//! one. An outdated entry leaves when it is due, so the queue holds at most what was scheduled
//! within the longest wait. Deliberately absent: waits and limits (`driver`). Not durable: after a
//! crash the log says which payments are open.

use crate::ids::PurchaseId;
use crate::payments::registry::Ticket;
use crate::trace::RequestTrace;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A payment to resume.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RetryLater {
    pub(super) due: Instant,
    pub(super) purchase: PurchaseId,
    /// The scheduling that it belongs to.
    pub(super) ticket: Ticket,
    /// Number of drives that left it open.
    pub(super) rounds: u32,
    /// The trace of the request that it began with, at that request's span.
    pub(super) trace: Option<RequestTrace>,
}

/// Payments to resume.
#[derive(Debug, Default)]
pub(super) struct Later {
    queue: Mutex<BinaryHeap<Reverse<RetryLater>>>,
    changed: Notify,
}

impl Later {
    pub(super) fn put(&self, again: RetryLater) {
        self.queue.lock().push(Reverse(again));
        self.changed.notify_one();
    }

    /// When the first one is due.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.queue.lock().peek().map(|Reverse(first)| first.due)
    }

    /// Waits for the next one that is due.
    pub(super) async fn next(&self) -> RetryLater {
        loop {
            let changed = self.changed.notified();
            match self.first_due() {
                None => changed.await,
                Some(due) if due > Instant::now() => {
                    // It is due, or an earlier one may have been added.
                    let _ = tokio::time::timeout_at(due, changed).await;
                }
                Some(_) => {
                    if let Some(Reverse(due)) = self.queue.lock().pop() {
                        return due;
                    }
                }
            }
        }
    }
}
