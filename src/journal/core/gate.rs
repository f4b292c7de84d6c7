//! Owns waiting for durability: one gate for each runtime, at which responses wait for their LSN.
//!
//! Invariants: a waiter passes only by the log's durable LSN or by its fault; the log thread wakes
//! a gate once per sync, and only if a task waits there; waiters are woken on their own runtime.
//! The front end's limit on requests in flight bounds the waiters: each request waits at most once.
//! Deliberately absent: a runtime (plain wakers only), so that tests and tools can wait, too.

use crate::ids::Lsn;
use crate::journal::format::fault::StorageFault;
use parking_lot::Mutex;
use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// The gate of one runtime.
pub struct CommitGate {
    log: Arc<wal::Log>,
    waiting: AtomicUsize,
    waiters: Mutex<BinaryHeap<Waiter>>,
    driver: Mutex<Option<Waker>>,
}

struct Waiter {
    lsn: Lsn,
    waker: Waker,
}

impl CommitGate {
    /// A gate to `log`. Waiters pass only while [`CommitGate::drive`] runs.
    pub(in crate::journal) fn new(log: &Arc<wal::Log>) -> Arc<Self> {
        let gate = Arc::new(Self {
            log: Arc::clone(log),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(BinaryHeap::new()),
            driver: Mutex::new(None),
        });
        log.subscribe(Arc::new(Bell(Arc::downgrade(&gate))));
        gate
    }

    /// Resolves once everything before `lsn` is durable, or fails with the fault that stopped the
    /// log.
    pub fn wait(&self, lsn: Lsn) -> Wait<'_> {
        Wait {
            gate: self,
            lsn,
            registered: None,
        }
    }

    /// Wakes waiters as the log becomes durable; runs until its runtime ends.
    pub async fn drive(self: Arc<Self>) {
        std::future::poll_fn(|context| {
            *self.driver.lock() = Some(context.waker().clone());
            self.wake_due();
            Poll::<()>::Pending
        })
        .await;
    }

    fn state(&self, lsn: Lsn) -> Poll<Result<(), StorageFault>> {
        if self.log.durable().get() >= lsn.0 {
            return Poll::Ready(Ok(()));
        }
        match self.log.fault() {
            Some(fault) => Poll::Ready(Err(StorageFault::from(fault))),
            None => Poll::Pending,
        }
    }

    fn wake_due(&self) {
        let failed = self.log.fault().is_some();
        let durable = self.log.durable().get();
        let mut waiters = self.waiters.lock();
        while let Some(first) = waiters.peek()
            && (failed || first.lsn.0 <= durable)
        {
            let due = waiters.pop().expect("it was just peeked at");
            due.waker.wake();
        }
        self.waiting.store(waiters.len(), Ordering::SeqCst);
    }

    /// Called by the log thread.
    fn ring(&self) {
        // Pairs with the fence in `poll`: either the waiter sees the new durable LSN, or this
        // thread sees the waiter. Without the fences both could miss, and the waiter would sleep
        // until the next sync.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0
            && let Some(driver) = &*self.driver.lock()
        {
            driver.wake_by_ref();
        }
    }
}

/// A subscription to the log.
struct Bell(Weak<CommitGate>);

impl wal::CommitListener for Bell {
    fn committed(&self, _durable: wal::Lsn) {
        if let Some(gate) = self.0.upgrade() {
            gate.ring();
        }
    }

    fn poisoned(&self, _fault: &Arc<wal::Fault>) {
        if let Some(gate) = self.0.upgrade() {
            gate.ring();
        }
    }
}

/// Waits for one LSN: see [`CommitGate::wait`].
pub struct Wait<'a> {
    gate: &'a CommitGate,
    lsn: Lsn,
    registered: Option<Waker>,
}

impl Future for Wait<'_> {
    type Output = Result<(), StorageFault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.gate.state(self.lsn) {
            return Poll::Ready(done);
        }
        let waker = context.waker();
        if self
            .registered
            .as_ref()
            .is_some_and(|it| it.will_wake(waker))
        {
            return Poll::Pending;
        }
        self.registered = Some(waker.clone());
        let mut waiters = self.gate.waiters.lock();
        waiters.push(Waiter {
            lsn: self.lsn,
            waker: waker.clone(),
        });
        self.gate.waiting.store(waiters.len(), Ordering::SeqCst);
        drop(waiters);
        fence(Ordering::SeqCst);
        self.gate.state(self.lsn)
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.lsn == other.lsn
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    /// Reversed, so that the max-heap yields the earliest LSN first.
    fn cmp(&self, other: &Self) -> Order {
        other.lsn.cmp(&self.lsn)
    }
}
