//! Owns driving payments and refunds: for a caller who waits, after a crash, after a webhook or an
//! operator's request, and repeatedly while one stays open.
//!
//! Invariants:
//! 1. The gateway is called only after the intent is durable; an outcome is answered only after it is.
//! 2. At most one drive has a payment. If an earlier drive did not finish, the outcome of its last
//!    call is unknown, and the next drive begins with a look-up.
//! 3. Every wait and every number of concurrent drives is bounded by [`PaymentSettings`].
//! 4. Every open payment is in the log; the sweeper finds those with no task driving them.
//!
//! The front end calls [`Payments::pay`], [`Payments::refund`], [`Payments::void`],
//! [`Payments::decide_review`] and
//! [`Payments::look_again`], the start-up [`Payments::start`]; nothing else calls a gateway.

use crate::engine::command::{PaymentStep, Verdict};
use crate::engine::event::{AdminAct, AdminActed, Decider, VoidCause};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::{PurchaseView, RefundView};
use crate::ids::{Lsn, PurchaseId};
use crate::job::Alarm;
use crate::journal::{Audit, Clock, CommitGate, Journal, StorageFault, WriteError};
use crate::money::Currency;
use crate::payments::breaker::Circuit;
use crate::payments::calls::Calls;
use crate::payments::drive::{Drive, Ended, Pace};
use crate::payments::gateway::{CallClass, CapturedMoney, Gateway, GatewayCall};
use crate::payments::handover::PaymentFuture;
use crate::payments::later::{Later, RetryLater};
use crate::payments::refund::{DriveEnd, KnownRefund, RefundDrive};
use crate::payments::registry::{DriveAgain, Driving, Registry};
use crate::payments::saga::{GatewayState, Late, RestReason};
use crate::payments::settings::{PaymentSettings, SettingsError};
use crate::payments::settle::{Suspects, has_books};
use crate::receipts::CaptureKeys;
use crate::time::UnixMs;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How often a payment checks for room in a full ring of the log.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(10);

/// Drives payments; shared by all threads.
pub struct Payments {
    journal: Arc<Journal>,
    calls: Calls,
    settings: PaymentSettings,
    keys: CaptureKeys,
    meter: Arc<dyn Meter>,
    registry: Registry,
    suspects: Suspects,
    permits: Semaphore,
    later: Later,
    /// The thread that drives payments nobody waits for.
    background: Arc<Alarm>,
}

/// Measurements of payments. It is called on the hot path: count and return.
pub trait Meter: Send + Sync + 'static {
    /// A call to the gateway ended or timed out after `took`.
    fn gateway_call(&self, call: GatewayCall, class: CallClass, took: Duration);

    /// A wait for the log ended, before the payment continued or was answered.
    fn log_waited(&self, took: Duration);

    /// A drive left a payment open; it is resumed later.
    fn left_open(&self);

    /// A void is overdue or refused: the operator must be called.
    fn void_stuck(&self, purchase: PurchaseId);

    /// The gateway captured a different amount than requested: the operator must be called.
    fn capture_differs(&self, purchase: PurchaseId) {
        let _ = purchase;
    }

    /// The sweeper found a payment in a transient state with no task driving it.
    fn neglected(&self, purchase: PurchaseId);
}

/// Measures nothing.
impl Meter for () {
    fn gateway_call(&self, _: GatewayCall, _: CallClass, _: Duration) {}

    fn log_waited(&self, _: Duration) {}

    fn left_open(&self) {}

    fn void_stuck(&self, _: PurchaseId) {}

    fn neglected(&self, _: PurchaseId) {}
}

/// The state of a payment when its caller is answered. What it reveals is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// Captured.
    Captured(PurchaseView),
    /// Nothing was charged; the units are back in stock, or with the hold that stays.
    Declined(PurchaseView),
    /// The authorization is voided, and the units are back in stock.
    Voided(PurchaseView),
    /// Not known yet: a review is open, or the gateway has not answered and is asked again later.
    Open(PurchaseView),
}

impl PaymentOutcome {
    pub const fn view(&self) -> &PurchaseView {
        match self {
            Self::Captured(view) | Self::Declined(view) | Self::Voided(view) | Self::Open(view) => {
                view
            }
        }
    }
}

impl Payments {
    /// Drives payments of `journal` at `gateway`; captures name the sealing `keys`.
    pub fn new(
        journal: Arc<Journal>,
        gateway: Arc<dyn Gateway>,
        settings: PaymentSettings,
        keys: CaptureKeys,
        meter: Arc<dyn Meter>,
    ) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        tell_time(&*gateway, &journal);
        Ok(Arc::new(Self {
            journal,
            calls: Calls::new(gateway, &settings, Arc::clone(&meter)),
            permits: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
            settings,
            keys,
            meter,
            registry: Registry::new(),
            suspects: Suspects::default(),
            later: Later::default(),
            background: Arc::default(),
        }))
    }

    /// Drives the payment of `purchase`, which was just started, and whose `gate` belongs to this
    /// runtime. Resolves once the outcome is durable, or once it is clear that it will take longer;
    /// continues by itself when dropped. Call it on a tokio runtime.
    pub fn pay(
        self: &Arc<Self>,
        purchase: PurchaseId,
        gate: &Arc<CommitGate>,
    ) -> PaymentFuture<Result<PaymentOutcome, StorageFault>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        PaymentFuture::new(async move { payments.settle(purchase, &gate).await })
    }

    /// Drives the refund with this number, whose intent was just recorded. Resolves and continues
    /// like [`Payments::pay`]; if the outcome is unknown, the refund is pending.
    pub fn refund(
        self: &Arc<Self>,
        purchase: PurchaseId,
        number: u32,
        gate: &Arc<CommitGate>,
    ) -> PaymentFuture<Result<RefundView, StorageFault>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        PaymentFuture::new(async move {
            payments.settle(purchase, &gate).await?;
            let (view, durable_at) = payments
                .journal
                .reads()
                .refund(purchase, number)
                .expect("a refund is driven only where the journal has it");
            payments.durable(durable_at, &gate).await?;
            Ok(view)
        })
    }

    /// Voids an authorization for the operator, or retries a void that is in progress or stuck.
    /// Resolves and continues like [`Payments::pay`], with the purchase as it is then;
    /// [`Refusal::WrongState`] if there is nothing to void (any more).
    ///
    /// `acted` turns the purchase before it into the audit record, which is appended with the
    /// intent, if that is new.
    pub fn void(
        self: &Arc<Self>,
        purchase: PurchaseId,
        by: AdminAct,
        acted: impl Fn(&PurchaseView) -> AdminActed + Send + 'static,
        gate: &Arc<CommitGate>,
    ) -> PaymentFuture<Result<PurchaseView, WriteError>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        PaymentFuture::new(async move {
            let step = PaymentStep::StartVoid {
                cause: VoidCause::Operator,
                code: None,
                within_ms: payments.settings.void_deadline_ms,
                by: Some(by),
            };
            let journal = &payments.journal;
            let recorded = journal.record(purchase, step, Audit::Act(&acted));
            if let Err(error) = recorded {
                let refused = WriteError::Refused(error.refusal()?);
                let Some((view, durable_at)) = journal.reads().purchase(purchase) else {
                    return Err(refused);
                };
                if view.state != PurchaseState::Voiding {
                    // The response shows the state of the purchase, too.
                    payments.durable(durable_at, &gate).await?;
                    return Err(refused);
                }
                journal.trail().admin_acted(acted(&view))?;
            }
            // If another task drives it now, that task drives it once more.
            let settled = payments.settle(purchase, &gate).await?;
            Ok(settled.into_view())
        })
    }

    /// Decides a review for a person. Resolves and continues like [`Payments::pay`], with the
    /// purchase as it is then; [`Refusal::WrongState`] if it is not under review, so of two
    /// simultaneous decisions only one succeeds. `acted` turns the purchase before it into the
    /// audit record, which is appended with the decision.
    pub fn decide_review(
        self: &Arc<Self>,
        purchase: PurchaseId,
        verdict: Verdict,
        decider: Decider,
        acted: impl Fn(&PurchaseView) -> AdminActed + Send + 'static,
        gate: &Arc<CommitGate>,
    ) -> PaymentFuture<Result<PurchaseView, WriteError>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        PaymentFuture::new(async move {
            let step = PaymentStep::DecideReview {
                verdict,
                decider,
                void_within_ms: payments.settings.void_deadline_ms,
            };
            let journal = &payments.journal;
            let recorded = journal.record(purchase, step, Audit::Act(&acted));
            if let Err(error) = recorded {
                return Err(payments.refused(purchase, error, &gate).await);
            }
            let settled = payments.settle(purchase, &gate).await?;
            Ok(settled.into_view())
        })
    }

    /// Looks an open payment or refund up at once, and compares a paid purchase with the gateway's
    /// books, because something was reported about it. Does nothing for other purchases.
    pub fn look_again(&self, purchase: PurchaseId) {
        if self.journal.reads().is_open(purchase) {
            self.put_down(purchase, Duration::ZERO);
            return;
        }
        let known = self.journal.reads().purchase(purchase);
        if known.is_some_and(|(view, _)| has_books(&view)) {
            self.suspects.put(purchase);
            self.put_down(purchase, Duration::ZERO);
        }
    }

    /// Resumes open payments ([`Payments::resume`]) on a thread of its own until
    /// [`Payments::stop`]. Call it before the first [`Payments::pay`].
    pub fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let gate = self.journal.gate();
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
        for (purchase, _) in self.journal.reads().open_payments() {
            self.put_down(purchase, Duration::ZERO);
        }
        for (purchase, deadline) in self.journal.reads().reviews() {
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

    /// Resolves once no payment is being driven; open ones that wait for a retry do not count.
    pub async fn idle(&self) {
        self.registry.idle().await;
    }

    /// Number of payments being driven.
    pub fn in_flight(&self) -> usize {
        self.registry.driven()
    }

    /// Whether another payment would be driven at once; checked before a buy is accepted, while
    /// nothing is held yet: [`Refusal::Overloaded`], or [`Refusal::GatewayUnavailable`] while the
    /// breaker is open. A buy that slips through waits for its turn, or is declined.
    pub fn admission(&self) -> Result<(), Refusal> {
        if self.in_flight() >= self.settings.in_flight_max {
            Err(Refusal::Overloaded)
        } else if self.circuit() != Circuit::Closed {
            Err(Refusal::GatewayUnavailable)
        } else {
            Ok(())
        }
    }

    /// Whether calls are sent to the gateway.
    pub fn circuit(&self) -> Circuit {
        self.calls.circuit()
    }

    /// Number of payments being driven or waiting for a retry.
    pub fn open(&self) -> usize {
        self.registry.open()
    }

    pub fn gateway(&self) -> &dyn Gateway {
        self.calls.gateway()
    }

    pub(super) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Claims the payment for this task; `None` while another task drives it.
    pub(super) fn enter(&self, purchase: PurchaseId) -> Option<Driving<'_>> {
        self.registry.enter(purchase)
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Waits until the log's ring has room, or for its fault: an append into a full ring would
    /// block the thread and with it all other requests.
    pub(super) async fn log_room(&self) {
        while !self.journal.figures().log_has_room() && self.journal.fault().is_none() {
            tokio::time::sleep(ROOM_LOOK_EVERY).await;
        }
    }

    pub(super) fn settings(&self) -> &PaymentSettings {
        &self.settings
    }

    /// The step that records a capture, with today's keys for the receipt.
    pub(super) fn captured_step(&self, money: CapturedMoney, asked: Currency) -> PaymentStep {
        PaymentStep::Captured {
            capture: money.capture,
            amount: money.captured,
            currency: money.currency.unwrap_or(asked),
            receipt_key: self.keys.seal.clone(),
            signing_key: self.keys.sign.clone(),
        }
    }

    pub(super) fn meter(&self) -> &dyn Meter {
        &*self.meter
    }

    /// The purchase, and the LSN that must be durable before the response.
    pub(super) fn read(&self, purchase: PurchaseId) -> (PurchaseView, Lsn) {
        let read = self.journal.reads().purchase(purchase);
        read.expect("a payment is driven only for a purchase that the journal has")
    }

    /// Drives the payment, or returns its state if another task drives it.
    pub(super) async fn settle(
        &self,
        purchase: PurchaseId,
        gate: &CommitGate,
    ) -> Result<PaymentOutcome, StorageFault> {
        let Some(driving) = self.registry.enter(purchase) else {
            // The other task may have read the purchase before the last step was recorded.
            self.look_again(purchase);
            let (view, durable_at) = self.read(purchase);
            gate.wait(durable_at).await?;
            return Ok(settled(None, view));
        };
        self.drive(driving, purchase, 0, gate).await
    }

    async fn drive(
        &self,
        driving: Driving<'_>,
        purchase: PurchaseId,
        rounds: u32,
        gate: &CommitGate,
    ) -> Result<PaymentOutcome, StorageFault> {
        let permit = self
            .permits
            .acquire()
            .await
            .expect("this semaphore is never closed");
        let before = driving.late();
        let known = match before {
            Late::Impossible => GatewayState::Unasked,
            Late::Possible => GatewayState::InDoubt,
        };
        let (view, _) = self.read(purchase);
        let intent = after_last_step(&view);
        self.durable(intent, gate).await?;
        let ended = Drive::new(self, gate, (view, intent), known).run().await?;
        let Ended {
            rest,
            pace,
            mut view,
            mut durable_at,
            late,
        } = ended;
        let mut end = match (rest, pace) {
            (Some(_), _) => DriveEnd::Reached,
            (None, Pace::Retry) => DriveEnd::Open,
            (None, Pace::Slow) => DriveEnd::Refused,
        };
        if let Some(number) = view.pending_refund {
            let of = (&view, durable_at);
            end = self.drive_refund(of, number, before, gate).await?;
            (view, durable_at) = self.read(purchase);
        }
        if end == DriveEnd::Reached && rest == Some(RestReason::Captured) {
            end = self.compare_books(&view).await?;
            (view, durable_at) = self.read(purchase);
        }
        drop(permit);
        match end {
            DriveEnd::Reached if let Some(deadline) = deadline_of(rest, &view) => {
                self.leave_waiting(driving, purchase, deadline);
            }
            DriveEnd::Reached => {
                if driving.end() == DriveAgain::Again {
                    self.look_again(purchase);
                }
            }
            DriveEnd::Open => {
                self.meter.left_open();
                let wait = self.settings.backoff(rounds + 1);
                self.leave_open(driving, (&view, late), wait, rounds + 1);
            }
            DriveEnd::Refused => {
                self.meter.left_open();
                let wait = self.settings.refused_backoff(rounds);
                self.leave_open(driving, (&view, Late::Possible), wait, rounds + 1);
            }
            // A webhook makes it look earlier.
            DriveEnd::Pending => {
                let wait = Duration::from_millis(self.settings.pending_after_ms);
                self.leave_open(driving, (&view, Late::Possible), wait, rounds + 1);
            }
        }
        self.durable(durable_at, gate).await?;
        Ok(settled(rest, view))
    }

    async fn drive_refund(
        &self,
        (view, durable_at): (&PurchaseView, Lsn),
        number: u32,
        before: Late,
        gate: &CommitGate,
    ) -> Result<DriveEnd, StorageFault> {
        let (refund, _) = self
            .journal
            .reads()
            .refund(view.purchase, number)
            .expect("the refund under way is one of the purchase's");
        let known = match before {
            Late::Impossible => KnownRefund::Unasked,
            Late::Possible => KnownRefund::InDoubt,
        };
        let drive = RefundDrive::new(self, (view.clone(), durable_at), refund, known);
        drive.run(gate).await
    }

    pub(super) async fn durable(&self, lsn: Lsn, gate: &CommitGate) -> Result<(), StorageFault> {
        let began = std::time::Instant::now();
        let waited = gate.wait(lsn).await;
        self.meter.log_waited(began.elapsed());
        waited
    }

    /// Schedules a payment with an unknown outcome; a task that drives it now drives it once more.
    fn put_down(&self, purchase: PurchaseId, wait: Duration) {
        let due = Instant::now() + wait;
        if let Some(ticket) = self.registry.put_down(purchase, due) {
            self.later.put(RetryLater {
                due,
                purchase,
                ticket,
                rounds: 0,
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
        });
    }

    fn until(&self, deadline: UnixMs) -> Duration {
        Duration::from_millis(deadline.since_ms(self.journal.now()))
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
                .map(|at| at.plus_ms(self.settings.give_up_after_ms)),
            _ => None,
        };
        if let Some(deadline) = deadline {
            let left_ms = deadline.since_ms(self.journal.now());
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
        });
    }

    async fn keep_trying(self: Arc<Self>, gate: Arc<CommitGate>) {
        let parallel = Arc::new(Semaphore::new(self.settings.resume_parallel_max));
        while self.journal.fault().is_none() {
            let permit = Arc::clone(&parallel).acquire_owned().await;
            let permit = permit.expect("this semaphore is never closed");
            // Taken out only once it can be driven, because the sweeper relies on the queue.
            let again = self.later.next().await;
            let (payments, gate) = (Arc::clone(&self), Arc::clone(&gate));
            tokio::spawn(async move {
                let RetryLater {
                    purchase,
                    ticket,
                    rounds,
                    ..
                } = again;
                if let Some(driving) = payments.registry.enter_due(purchase, ticket) {
                    // A fault of the log ends the loop above; its open payments are in the log.
                    let _ = payments.drive(driving, purchase, rounds, &gate).await;
                }
                drop(permit);
            });
        }
    }

    /// Checks every open payment, again and again, and resumes those that were too long in a transient
    /// state with no task driving them. A healthy run finds none.
    async fn keep_sweeping(&self) {
        let every = Duration::from_millis(self.settings.sweep_every_ms);
        while self.journal.fault().is_none() {
            tokio::time::sleep(every).await;
            self.sweep();
        }
    }

    /// While the breaker is open, probes the gateway now and then with a harmless call, so that no
    /// buyer's payment has to.
    async fn keep_probing(&self) {
        let every = Duration::from_millis(self.settings.breaker.open_ms);
        while self.journal.fault().is_none() {
            tokio::time::sleep(every).await;
            if self.circuit() == Circuit::HalfOpen {
                let asked = self
                    .calls
                    .ask(GatewayCall::List, |gateway| gateway.list(None));
                // The breaker records its outcome.
                let _ = asked.await;
            }
        }
    }

    fn sweep(&self) {
        let grace_ms = self.settings.pending_after_ms;
        let now = self.journal.now();
        let next_due = self.later.first_due();
        for (purchase, changed) in self.journal.reads().open_payments() {
            let resting = now.since_ms(changed) >= grace_ms;
            let grace = Duration::from_millis(grace_ms);
            if resting && self.registry.is_neglected(purchase, grace, next_due) {
                self.meter.neglected(purchase);
                self.put_down(purchase, Duration::ZERO);
            }
        }
        // Deadlines are wall-clock instants, and that clock can be set.
        for (purchase, deadline) in self.journal.reads().reviews() {
            if deadline > now {
                continue;
            }
            let grace = Duration::from_millis(grace_ms);
            if self.registry.is_neglected(purchase, grace, next_due) {
                self.meter.neglected(purchase);
                self.put_down(purchase, Duration::ZERO);
            } else if self.registry.rests(purchase) {
                self.put_down(purchase, Duration::ZERO);
            }
        }
    }
}

/// Makes `gateway` use the time of `journal`. Call it wherever a gateway is used: the wall clock
/// may be wrong for a moment.
pub fn tell_time(gateway: &dyn Gateway, journal: &Arc<Journal>) {
    // Weak: a gateway may outlive the journal, whose directory another process may open then.
    let time = Arc::downgrade(journal);
    let wall = || Clock::System.wall();
    gateway.keep_time(Arc::new(move || {
        time.upgrade().map_or_else(wall, |it| it.now())
    }));
}

impl PaymentOutcome {
    fn into_view(self) -> PurchaseView {
        match self {
            Self::Captured(view) | Self::Declined(view) | Self::Voided(view) | Self::Open(view) => {
                view
            }
        }
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

fn settled(rest: Option<RestReason>, view: PurchaseView) -> PaymentOutcome {
    match rest {
        Some(RestReason::Captured) => PaymentOutcome::Captured(view),
        Some(RestReason::Declined) => PaymentOutcome::Declined(view),
        Some(RestReason::Voided) => PaymentOutcome::Voided(view),
        // The hold stays.
        Some(RestReason::NoPayment) if !view.declines.is_empty() => PaymentOutcome::Declined(view),
        Some(RestReason::Waiting | RestReason::NoPayment) | None => PaymentOutcome::Open(view),
    }
}
