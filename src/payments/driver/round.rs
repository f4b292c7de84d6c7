//! Owns one round of a payment: a drive from its permit to the schedule of the next one.
//!
//! Invariants: the gateway is called only after the intent is durable; the round ends with the
//! payment at rest or scheduled, never in between; its answer waits for the log.
//! Deliberately absent: what a drive does (`drive`, `refund`), and who asks for a round.

use super::{PaymentOutcome, Payments};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::view::PurchaseView;
use crate::ids::{Lsn, PurchaseId};
use crate::journal::{CommitGate, StorageFault};
use crate::payments::drive::{Drive, Ended, Pace};
use crate::payments::later::RetryLater;
use crate::payments::meter::RoundEnded;
use crate::payments::refund::{DriveEnd, KnownRefund, RefundDrive};
use crate::payments::registry::{DriveAgain, Driving};
use crate::payments::saga::{GatewayState, Late, RestReason};
use crate::time::UnixMs;
use crate::trace::{self, Scoped};
use std::time::Duration;
use tokio::time::Instant;

/// What one round came to.
struct FinishedRound {
    end: DriveEnd,
    /// Why the payment's drive ended; `None`: no retries are left.
    rest: Option<RestReason>,
    view: PurchaseView,
    /// The LSN that must be durable before the response.
    durable_at: Lsn,
    late: Late,
}

impl Payments {
    /// Drives a payment, and its refund in progress, as far as possible now; then schedules what
    /// stays open. Resolves once what it reveals is durable.
    pub(super) async fn drive(
        &self,
        driving: Driving<'_>,
        purchase: PurchaseId,
        gate: &CommitGate,
    ) -> Result<PaymentOutcome, StorageFault> {
        let round = self.round(&driving, purchase, gate).await?;
        self.leave(driving, round, 0, gate).await
    }

    /// The same for a payment that nobody waits for and that this many drives left open: the round has
    /// a span of its own in the trace of the request that the payment began with.
    pub(super) async fn drive_later(
        &self,
        driving: Driving<'_>,
        purchase: PurchaseId,
        rounds: u32,
        gate: &CommitGate,
    ) -> Result<PaymentOutcome, StorageFault> {
        let span = self.means.meter.span_begins();
        let began = std::time::Instant::now();
        let round = self.round(&driving, purchase, gate);
        let round = Scoped::new(span.clone(), round).await;
        if let Some(span) = span {
            let ended = RoundEnded {
                number: rounds.saturating_add(1),
                end: round.as_ref().map_or("fault", |it| it.end.as_str()),
            };
            self.means.meter.round_ended(span, ended, began.elapsed());
        }
        // Outside of the span: the next round is beside this one, and not a part of it.
        self.leave(driving, round?, rounds, gate).await
    }

    /// One round, up to its schedule.
    async fn round(
        &self,
        driving: &Driving<'_>,
        purchase: PurchaseId,
        gate: &CommitGate,
    ) -> Result<FinishedRound, StorageFault> {
        let permit = self.permits.acquire().await;
        let permit = permit.expect("this semaphore is never closed");
        // 1. The intent is durable before anything is sent. If an earlier drive did not finish, the
        // outcome of its last call is unknown, so this one begins with a look-up.
        let before = driving.late();
        let known = match before {
            Late::Impossible => GatewayState::Unasked,
            Late::Possible => GatewayState::InDoubt,
        };
        let (view, _) = self.means.read(purchase);
        let intent = after_last_step(&view);
        self.means.durable(intent, gate).await?;
        // 2. The payment.
        let Ended {
            rest,
            pace,
            mut view,
            mut durable_at,
            late,
        } = Drive::new(&self.means, gate, (view, intent), known)
            .run()
            .await?;
        let mut end = match (rest, pace) {
            (Some(_), _) => DriveEnd::Reached,
            (None, Pace::Retry) => DriveEnd::Open,
            (None, Pace::Slow) => DriveEnd::Refused,
        };
        // 3. Its refund in progress.
        if let Some(number) = view.pending_refund {
            let of = (&view, durable_at);
            end = self.drive_refund(of, number, before, gate).await?;
            (view, durable_at) = self.means.read(purchase);
        }
        // 4. The gateway's books, if something was reported about the purchase.
        if end == DriveEnd::Reached
            && rest == Some(RestReason::Captured)
            && self.suspects.take(purchase)
        {
            end = self.compare_books(&view).await?;
            (view, durable_at) = self.means.read(purchase);
        }
        drop(permit);
        Ok(FinishedRound {
            end,
            rest,
            view,
            durable_at,
            late,
        })
    }

    /// 5. Scheduling before the wait for the log: a payment left open must not depend on it.
    async fn leave(
        &self,
        driving: Driving<'_>,
        round: FinishedRound,
        rounds: u32,
        gate: &CommitGate,
    ) -> Result<PaymentOutcome, StorageFault> {
        let FinishedRound {
            end,
            rest,
            view,
            durable_at,
            late,
        } = round;
        self.schedule(driving, end, (rest, &view, late), rounds);
        self.means.durable(durable_at, gate).await?;
        Ok(settled(rest, view))
    }

    /// Schedules the next drive of a payment that stays open after this one.
    fn schedule(
        &self,
        driving: Driving<'_>,
        end: DriveEnd,
        (rest, view, late): (Option<RestReason>, &PurchaseView, Late),
        rounds: u32,
    ) {
        match end {
            DriveEnd::Reached if let Some(deadline) = deadline_of(rest, view) => {
                self.leave_waiting(driving, view.purchase, deadline);
            }
            DriveEnd::Reached => {
                if driving.end() == DriveAgain::Again {
                    self.look_again(view.purchase);
                }
            }
            DriveEnd::Open => {
                self.means.meter.left_open();
                let wait = self.means.settings.backoff(rounds + 1);
                self.leave_open(driving, (view, late), wait, rounds + 1);
            }
            DriveEnd::Refused => {
                self.means.meter.left_open();
                let wait = self.means.settings.refused_backoff(rounds);
                self.leave_open(driving, (view, Late::Possible), wait, rounds + 1);
            }
            // A webhook makes it look earlier.
            DriveEnd::Pending => {
                let wait = Duration::from_millis(self.means.settings.pending_after_ms);
                self.leave_open(driving, (view, Late::Possible), wait, rounds + 1);
            }
        }
    }

    async fn drive_refund(
        &self,
        (view, durable_at): (&PurchaseView, Lsn),
        number: u32,
        before: Late,
        gate: &CommitGate,
    ) -> Result<DriveEnd, StorageFault> {
        let (refund, _) = self
            .means
            .journal
            .reads()
            .refund(view.purchase, number)
            .expect("the refund under way is one of the purchase's");
        let known = match before {
            Late::Impossible => KnownRefund::Unasked,
            Late::Possible => KnownRefund::InDoubt,
        };
        let drive = RefundDrive::new(&self.means, (view.clone(), durable_at), refund, known);
        drive.run(gate).await
    }

    /// Schedules a payment with an unknown outcome; a task that drives it now drives it once more.
    pub(super) fn put_down(&self, purchase: PurchaseId, wait: Duration) {
        let due = Instant::now() + wait;
        if let Some(ticket) = self.registry.put_down(purchase, due) {
            self.later.put(RetryLater {
                due,
                purchase,
                ticket,
                rounds: 0,
                trace: trace::current_trace(),
            });
        }
    }

    /// Schedules a purchase under review for its deadline.
    fn leave_waiting(&self, driving: Driving<'_>, purchase: PurchaseId, deadline: UnixMs) {
        let (ticket, due) = driving.put_down(Instant::now() + self.until(deadline), Late::Possible);
        self.later.put(RetryLater {
            due,
            purchase,
            ticket,
            rounds: 0,
            trace: trace::current_trace(),
        });
    }

    pub(super) fn until(&self, deadline: UnixMs) -> Duration {
        Duration::from_millis(deadline.since_ms(self.means.journal.now()))
    }

    /// Schedules an open payment: after `wait`, or at the deadline of its void or of giving up,
    /// whichever is first.
    fn leave_open(
        &self,
        driving: Driving<'_>,
        (view, late): (&PurchaseView, Late),
        mut wait: Duration,
        rounds: u32,
    ) {
        let deadline = match view.state {
            PurchaseState::Voiding => view.void_deadline,
            PurchaseState::Authorizing => view
                .payment_started_at()
                .map(|at| at.plus_ms(self.means.settings.give_up_after_ms)),
            _ => None,
        };
        if let Some(deadline) = deadline {
            let left_ms = deadline.since_ms(self.means.journal.now());
            if left_ms > 0 {
                wait = wait.min(Duration::from_millis(left_ms));
            }
        }
        let (ticket, due) = driving.put_down(Instant::now() + wait, late);
        self.later.put(RetryLater {
            due,
            purchase: view.purchase,
            ticket,
            rounds,
            trace: trace::current_trace(),
        });
    }
}

/// Just behind the start of the last step's record. Durability ends at the end of a record, so once
/// this LSN is durable the whole record is; waiting for the end of the log would mean waiting for
/// other appends.
fn after_last_step(view: &PurchaseView) -> Lsn {
    let last = view
        .history
        .last()
        .expect("a purchase has at least its first step");
    Lsn(last.lsn.0 + 1)
}

/// The review's deadline, if the drive ended because a person must decide.
fn deadline_of(rest: Option<RestReason>, view: &PurchaseView) -> Option<UnixMs> {
    (rest == Some(RestReason::Waiting)).then_some(())?;
    view.review.as_ref()?.deadline
}

/// The outcome for a caller, by why the drive ended.
pub(super) fn settled(rest: Option<RestReason>, view: PurchaseView) -> PaymentOutcome {
    match rest {
        Some(RestReason::Captured) => PaymentOutcome::Captured(view),
        Some(RestReason::Declined) => PaymentOutcome::Declined(view),
        Some(RestReason::Voided) => PaymentOutcome::Voided(view),
        // The hold stays.
        Some(RestReason::NoPayment) if !view.declines.is_empty() => PaymentOutcome::Declined(view),
        Some(RestReason::Waiting | RestReason::NoPayment) | None => PaymentOutcome::Open(view),
    }
}
