//! Owns a payment's future that outlives its caller.
//!
//! While the caller waits, the work runs in the caller's own task: a hop between tasks would cost a
//! payment of two syncs measurable time. When the caller disconnects, the work continues in a task
//! of its own on the same runtime.
//! Invariant: work that was requested is either finished or running, unless its runtime ends; then
//! the log has the open payment.
//! Deliberately absent: what the work is.

use crate::trace;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// A payment in progress. Dropping it does not stop the payment.
#[must_use = "the payment continues without it, but its outcome must be awaited"]
pub struct PaymentFuture<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    runtime: Handle,
}

impl<T: Send + 'static> PaymentFuture<T> {
    /// Wraps `work`; call it on the runtime that continues it.
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            // The work stays in the trace of the caller when the caller is gone.
            work: Some(Box::pin(trace::carry(work))),
            runtime: Handle::current(),
        }
    }
}

impl<T: Send + 'static> Future for PaymentFuture<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // Taken out while it runs, so that work that panicked is not handed over.
        let mut work = self
            .work
            .take()
            .expect("not polled again after it was ready");
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for PaymentFuture<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.runtime.spawn(work);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for PaymentFuture<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.work.is_some() {
            "under way"
        } else {
            "done"
        };
        out.debug_tuple("Paying").field(&state).finish()
    }
}
