//! Owns driving payments: for a caller who waits, after a crash, and again and again while a
//! payment stays open.
//!
//! Invariants:
//! 1. The gateway is asked only once the intent is durable; an outcome is told only once it is.
//! 2. One drive at a time has a payment. A payment that was driven before and did not end is in
//!    doubt, whoever drives it next: it is looked up before anything is sent.
//! 3. Every wait and every number at once is bounded by [`PaymentSettings`].
//!
//! The front end calls [`Payments::pay`], the start-up calls [`Payments::resume`]; nobody else
//! calls a gateway. Deliberately absent: deadlines after which an operator is called, circuit
//! breaking (a [`Gateway`] around another), webhooks.

use crate::engine::view::PurchaseView;
use crate::ids::{Lsn, PurchaseId};
use crate::journal::{CommitGate, Journal, StorageFault};
use crate::payments::drive::{Drive, Ended};
use crate::payments::gateway::{Call, Class, Gateway};
use crate::payments::handover::Paying;
use crate::payments::registry::{Before, Registry};
use crate::payments::saga::{Known, Rest};
use crate::payments::settings::{PaymentSettings, SettingsError};
use crate::receipts::CaptureKeys;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Drives payments. Shared by all threads.
pub struct Payments {
    journal: Arc<Journal>,
    gateway: Arc<dyn Gateway>,
    settings: PaymentSettings,
    receipt_keys: CaptureKeys,
    meter: Arc<dyn Meter>,
    registry: Registry,
    permits: Semaphore,
    later: Mutex<BinaryHeap<Reverse<Again>>>,
    later_changed: Notify,
}

/// A payment to try again.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Again {
    at: Instant,
    purchase: PurchaseId,
    /// Drives that left it open.
    rounds: u32,
}

/// What is measured of payments. Calls come from the hot path: count and return.
pub trait Meter: Send + Sync + 'static {
    /// A call to the gateway ended, or was given up on, after this time.
    fn gateway_call(&self, call: Call, class: Class, took: Duration);

    /// What has to be durable before the payment goes on, or its end is told, became so.
    fn log_waited(&self, took: Duration);

    /// A drive left a payment open; it is tried again later.
    fn left_open(&self);
}

/// Measures nothing.
impl Meter for () {
    fn gateway_call(&self, _: Call, _: Class, _: Duration) {}

    fn log_waited(&self, _: Duration) {}

    fn left_open(&self) {}
}

/// How a payment stands when its caller is told. What it reveals is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The money is taken and the goods are the buyer's.
    Captured(PurchaseView),
    /// Nothing was charged; the units are back.
    Declined(PurchaseView),
    /// What was set aside is given back, and the units are.
    Voided(PurchaseView),
    /// Not known yet: a person decides, or the gateway has not answered and is asked again later.
    Open(PurchaseView),
}

impl Settled {
    /// The purchase as it stood.
    pub const fn view(&self) -> &PurchaseView {
        match self {
            Self::Captured(view) | Self::Declined(view) | Self::Voided(view) | Self::Open(view) => {
                view
            }
        }
    }
}

impl Payments {
    /// Drives payments of `journal` at `gateway`; captures name `receipt_keys`.
    pub fn new(
        journal: Arc<Journal>,
        gateway: Arc<dyn Gateway>,
        settings: PaymentSettings,
        receipt_keys: impl Into<CaptureKeys>,
        meter: Arc<dyn Meter>,
    ) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        Ok(Arc::new(Self {
            journal,
            gateway,
            permits: Semaphore::new(settings.in_flight_max.min(Semaphore::MAX_PERMITS)),
            settings,
            receipt_keys: receipt_keys.into(),
            meter,
            registry: Registry::new(),
            later: Mutex::default(),
            later_changed: Notify::new(),
        }))
    }

    /// Pays for `purchase`, whose payment was just started and whose `gate` belongs to this
    /// runtime. Resolves once the outcome is durable, or once it is known not to come soon; goes
    /// on by itself where it is dropped. To be called on a tokio runtime.
    pub fn pay(
        self: &Arc<Self>,
        purchase: PurchaseId,
        gate: &Arc<CommitGate>,
    ) -> Paying<Result<Settled, StorageFault>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        Paying::new(async move { payments.settle(purchase, 0, &gate).await })
    }

    /// Drives on, at a bounded number at once, every payment that the log says is open, and from
    /// then on whatever is left open, until it ends or the log stops. To be called before the
    /// first [`Payments::pay`] and run on the runtime of `gate`; what is open is noted at once.
    pub fn resume(
        self: &Arc<Self>,
        gate: &Arc<CommitGate>,
    ) -> impl Future<Output = ()> + Send + use<> {
        for (purchase, _) in self.journal.open_payments() {
            self.registry.left_open(purchase);
            self.try_again(purchase, 0, Duration::ZERO);
        }
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        async move { payments.keep_trying(gate).await }
    }

    /// Resolves once no payment is being driven; those left open are not waited for.
    pub async fn idle(&self) {
        self.registry.idle().await;
    }

    /// Payments that are being driven.
    pub fn in_flight(&self) -> usize {
        self.registry.driven()
    }

    /// Whether another payment would be driven at once. The front end asks before it takes a buy
    /// and answers `overloaded` otherwise; a buy that slips through waits for its turn.
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.settings.in_flight_max
    }

    /// Payments that are being driven or were left open to be tried again.
    pub fn open(&self) -> usize {
        self.registry.open()
    }

    /// The gateway that payments go to.
    pub fn gateway(&self) -> &dyn Gateway {
        &*self.gateway
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn settings(&self) -> &PaymentSettings {
        &self.settings
    }

    pub(super) fn receipt_keys(&self) -> &CaptureKeys {
        &self.receipt_keys
    }

    pub(super) fn meter(&self) -> &dyn Meter {
        &*self.meter
    }

    /// The purchase, and the LSN that must be durable before it is told.
    pub(super) fn read(&self, purchase: PurchaseId) -> (PurchaseView, Lsn) {
        let read = self.journal.purchase(purchase);
        read.expect("a payment is driven only for a purchase that the journal has")
    }

    async fn settle(
        &self,
        purchase: PurchaseId,
        rounds: u32,
        gate: &CommitGate,
    ) -> Result<Settled, StorageFault> {
        let Some(driving) = self.registry.enter(purchase) else {
            // Somebody else drives it, and tries again if need be.
            let (view, durable_at) = self.read(purchase);
            gate.wait(durable_at).await?;
            return Ok(settled(None, view));
        };
        let permit = self
            .permits
            .acquire()
            .await
            .expect("this semaphore is never closed");
        let known = match driving.before() {
            Before::Nobody => Known::Unasked,
            Before::Somebody => Known::InDoubt,
        };
        let (view, _) = self.read(purchase);
        let intent = after_last_step(&view);
        self.durable(intent, gate).await?;
        let ended = Drive::new(self, gate, (view, intent), known).run().await?;
        drop(permit);
        let Ended {
            rest,
            view,
            durable_at,
        } = ended;
        if rest.is_some() {
            driving.end();
        } else {
            // First given free, then put down for later: whoever takes it up again finds it free.
            drop(driving);
            self.meter.left_open();
            self.try_again(purchase, rounds + 1, self.settings.backoff(rounds + 1));
        }
        self.durable(durable_at, gate).await?;
        Ok(settled(rest, view))
    }

    pub(super) async fn durable(&self, lsn: Lsn, gate: &CommitGate) -> Result<(), StorageFault> {
        let began = std::time::Instant::now();
        let waited = gate.wait(lsn).await;
        self.meter.log_waited(began.elapsed());
        waited
    }

    fn try_again(&self, purchase: PurchaseId, rounds: u32, wait: Duration) {
        let at = Instant::now() + wait;
        self.later.lock().push(Reverse(Again {
            at,
            purchase,
            rounds,
        }));
        self.later_changed.notify_one();
    }

    async fn keep_trying(self: Arc<Self>, gate: Arc<CommitGate>) {
        let parallel = Arc::new(Semaphore::new(self.settings.resume_parallel_max));
        while self.journal.fault().is_none() {
            let again = self.next_due().await;
            let permit = Arc::clone(&parallel).acquire_owned().await;
            let permit = permit.expect("this semaphore is never closed");
            let (payments, gate) = (Arc::clone(&self), Arc::clone(&gate));
            tokio::spawn(async move {
                // A fault of the log ends the loop above; its payments are open in the log.
                let _ = payments.settle(again.purchase, again.rounds, &gate).await;
                drop(permit);
            });
        }
    }

    /// Waits for the next payment that is due.
    async fn next_due(&self) -> Again {
        loop {
            let changed = self.later_changed.notified();
            let first = self.later.lock().peek().map(|Reverse(first)| *first);
            match first {
                None => changed.await,
                Some(first) if first.at > Instant::now() => {
                    // Either it is due, or an earlier one may have come.
                    let _ = tokio::time::timeout_at(first.at, changed).await;
                }
                Some(_) => {
                    if let Some(Reverse(due)) = self.later.lock().pop() {
                        return due;
                    }
                }
            }
        }
    }
}

/// Just behind the beginning of the last step's record. What is durable ends where a record ends,
/// so that once this is, the whole record is; the end of the log, which others move on all the
/// time, need not be.
fn after_last_step(view: &PurchaseView) -> Lsn {
    let last = view
        .history
        .last()
        .expect("a purchase has at least its first step");
    Lsn(last.lsn.0 + 1)
}

fn settled(rest: Option<Rest>, view: PurchaseView) -> Settled {
    match rest {
        Some(Rest::Captured) => Settled::Captured(view),
        Some(Rest::Declined) => Settled::Declined(view),
        Some(Rest::Voided) => Settled::Voided(view),
        Some(Rest::Waiting | Rest::NoPayment) | None => Settled::Open(view),
    }
}
