//! Owns driving the payments that nobody waits for: after a start, after a wait, and those that the
//! sweeper finds.
//!
//! Invariants: a limited number is driven at once; all of it ends with a fault of the log, which has
//! every open payment.

use super::Payments;
use crate::journal::CommitGate;
use crate::payments::breaker::Circuit;
use crate::payments::gateway::GatewayCall;
use crate::payments::later::RetryLater;
use crate::trace::Scoped;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

impl Payments {
    /// Resumes open payments ([`Payments::resume`]) on a thread of its own until
    /// [`Payments::stop`]. Call it before the first [`Payments::pay`].
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let gate = self.means.journal.gate();
        let resumed = self.resume(&gate);
        self.background.start("payments", move || async move {
            // The gate goes on after it: what was begun may still wait for the log.
            tokio::join!(gate.drive(), resumed);
        })
    }

    /// Ends that thread; open payments are in the log.
    pub fn stop(&self) {
        self.background.stop();
    }

    /// Drives every payment that is open in the log, a limited number at once, and from then on
    /// every payment that is left open, until it ends or the log stops. Call it before the first
    /// [`Payments::pay`], on the runtime of `gate`; the open payments are collected at once.
    pub fn resume(
        self: &Arc<Self>,
        gate: &Arc<CommitGate>,
    ) -> impl Future<Output = ()> + Send + use<> {
        for (purchase, _) in self.means.journal.reads().open_payments() {
            self.put_down(purchase, Duration::ZERO);
        }
        for (purchase, deadline) in self.means.journal.reads().reviews() {
            self.put_down(purchase, self.until(deadline));
        }
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        async move {
            tokio::select! {
                () = Arc::clone(&payments).keep_trying(gate) => {}
                () = payments.keep_sweeping() => {}
                () = payments.keep_probing() => {}
            }
        }
    }

    async fn keep_trying(self: Arc<Self>, gate: Arc<CommitGate>) {
        let parallel = Arc::new(Semaphore::new(self.means.settings.resume_parallel_max));
        while self.means.journal.fault().is_none() {
            let permit = Arc::clone(&parallel).acquire_owned().await;
            let permit = permit.expect("this semaphore is never closed");
            // Taken out only once it can be driven, because the sweeper relies on the queue.
            let again = self.later.next().await;
            let (payments, gate) = (Arc::clone(&self), Arc::clone(&gate));
            let RetryLater {
                purchase,
                ticket,
                rounds,
                trace,
                ..
            } = again;
            let driving = async move {
                if let Some(driving) = payments.registry.enter_due(purchase, ticket) {
                    // A fault of the log ends the loop above; its open payments are in the log.
                    let _ = payments.drive_later(driving, purchase, rounds, &gate).await;
                }
                drop(permit);
            };
            tokio::spawn(Scoped::new(trace, driving));
        }
    }

    /// Checks every open payment, again and again, and resumes those that were too long in a transient
    /// state with no task driving them. A healthy run finds none.
    async fn keep_sweeping(&self) {
        let every = Duration::from_millis(self.means.settings.sweep_every_ms);
        while self.means.journal.fault().is_none() {
            tokio::time::sleep(every).await;
            self.sweep();
        }
    }

    /// While the breaker is open, probes the gateway now and then with a harmless call, so that no
    /// buyer's payment has to.
    async fn keep_probing(&self) {
        let every = Duration::from_millis(self.means.settings.breaker.open_ms);
        while self.means.journal.fault().is_none() {
            tokio::time::sleep(every).await;
            if self.circuit() == Circuit::HalfOpen {
                let asked = self
                    .means
                    .calls
                    .ask(GatewayCall::List, |gateway| gateway.list(None));
                // The breaker records its outcome.
                let _ = asked.await;
            }
        }
    }

    fn sweep(&self) {
        let grace_ms = self.means.settings.pending_after_ms;
        let now = self.means.journal.now();
        let next_due = self.later.first_due();
        for (purchase, changed) in self.means.journal.reads().open_payments() {
            let resting = now.since_ms(changed) >= grace_ms;
            let grace = Duration::from_millis(grace_ms);
            if resting && self.registry.is_neglected(purchase, grace, next_due) {
                self.means.meter.neglected(purchase);
                self.put_down(purchase, Duration::ZERO);
            }
        }
        // Deadlines are wall-clock instants, and that clock can be set.
        for (purchase, deadline) in self.means.journal.reads().reviews() {
            if deadline > now {
                continue;
            }
            let grace = Duration::from_millis(grace_ms);
            if self.registry.is_neglected(purchase, grace, next_due) {
                self.means.meter.neglected(purchase);
                self.put_down(purchase, Duration::ZERO);
            } else if self.registry.rests(purchase) {
                self.put_down(purchase, Duration::ZERO);
            }
        }
    }
}
