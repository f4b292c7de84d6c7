//! Owns driving payments and refunds: for a caller who waits, after a crash, after a webhook or an
//! operator's request, and repeatedly while one stays open. One round is in `round`, the payments that
//! nobody waits for are in `background`.
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

mod background;
mod round;
mod settle;

pub use settle::SettleAs;

use crate::engine::command::{PaymentStep, Verdict};
use crate::engine::event::{AdminAct, AdminActed, Decider, VoidCause};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::{PurchaseView, RefundView};
use crate::ids::PurchaseId;
use crate::job::Alarm;
use crate::journal::{Audit, Clock, CommitGate, Journal, StorageFault, WriteError};
use crate::payments::books::{Suspects, has_books};
use crate::payments::breaker::Circuit;
use crate::payments::calls::Calls;
use crate::payments::gateway::Gateway;
use crate::payments::handover::PaymentFuture;
use crate::payments::later::Later;
use crate::payments::means::Means;
use crate::payments::meter::Meter;
use crate::payments::registry::Registry;
use crate::payments::settings::{PaymentSettings, SettingsError};
use crate::receipts::CaptureKeys;
use round::settled;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Drives payments; shared by all threads.
pub struct Payments {
    means: Means,
    registry: Registry,
    suspects: Suspects,
    permits: Semaphore,
    later: Later,
    /// The thread that drives payments nobody waits for.
    background: Arc<Alarm>,
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
            permits: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
            means: Means {
                journal,
                calls: Calls::new(gateway, &settings, Arc::clone(&meter)),
                settings,
                keys,
                meter,
            },
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
                .means
                .journal
                .reads()
                .refund(purchase, number)
                .expect("a refund is driven only where the journal has it");
            payments.means.durable(durable_at, &gate).await?;
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
                within_ms: payments.means.settings.void_deadline_ms,
                by: Some(by),
            };
            let journal = &payments.means.journal;
            let recorded = journal.record(purchase, step, Audit::Act(&acted));
            if let Err(error) = recorded {
                let refused = WriteError::Refused(error.refusal()?);
                let Some((view, durable_at)) = journal.reads().purchase(purchase) else {
                    return Err(refused);
                };
                if view.state != PurchaseState::Voiding {
                    // The response shows the state of the purchase, too.
                    payments.means.durable(durable_at, &gate).await?;
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
                void_within_ms: payments.means.settings.void_deadline_ms,
            };
            let journal = &payments.means.journal;
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
        if self.means.journal.reads().is_open(purchase) {
            self.put_down(purchase, Duration::ZERO);
            return;
        }
        let known = self.means.journal.reads().purchase(purchase);
        if known.is_some_and(|(view, _)| has_books(&view)) {
            self.suspects.put(purchase);
            self.put_down(purchase, Duration::ZERO);
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
        if self.in_flight() >= self.means.settings.in_flight_max {
            Err(Refusal::Overloaded)
        } else if self.circuit() != Circuit::Closed {
            Err(Refusal::GatewayUnavailable)
        } else {
            Ok(())
        }
    }

    /// Whether calls are sent to the gateway.
    pub fn circuit(&self) -> Circuit {
        self.means.calls.circuit()
    }

    /// Number of payments being driven or waiting for a retry.
    pub fn open(&self) -> usize {
        self.registry.open()
    }

    pub fn gateway(&self) -> &dyn Gateway {
        self.means.calls.gateway()
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
            let (view, durable_at) = self.means.read(purchase);
            gate.wait(durable_at).await?;
            return Ok(settled(None, view));
        };
        self.drive(driving, purchase, gate).await
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
