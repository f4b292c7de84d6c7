//! Owns what a drive works with: the journal, the way to the gateway, the settings, the keys of
//! receipts, the meter.
//!
//! Invariant: a drive gets these and nothing else, so it cannot start or schedule another one.

use crate::engine::command::PaymentStep;
use crate::engine::view::PurchaseView;
use crate::ids::{Lsn, PurchaseId};
use crate::journal::{Audit, CommitGate, Journal, Recorded, StorageFault, WriteError};
use crate::money::Currency;
use crate::payments::calls::Calls;
use crate::payments::gateway::{CapturedMoney, GatewayCall, LookupResult, Trouble};
use crate::payments::meter::Meter;
use crate::payments::naming::inquiry_of;
use crate::payments::settings::PaymentSettings;
use crate::receipts::CaptureKeys;
use std::sync::Arc;
use std::time::Duration;

/// How often a payment checks for room in a full ring of the log.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a drive works with.
pub(super) struct Means {
    pub(super) journal: Arc<Journal>,
    pub(super) calls: Calls,
    pub(super) settings: PaymentSettings,
    pub(super) keys: CaptureKeys,
    pub(super) meter: Arc<dyn Meter>,
}

impl Means {
    /// The purchase, and the LSN that must be durable before the response.
    pub(super) fn read(&self, purchase: PurchaseId) -> (PurchaseView, Lsn) {
        let read = self.journal.reads().purchase(purchase);
        read.expect("a payment is driven only for a purchase that the journal has")
    }

    /// Waits until the log's ring has room, or for its fault: an append into a full ring would
    /// block the thread and with it all other requests.
    pub(super) async fn log_room(&self) {
        while !self.journal.figures().log_has_room() && self.journal.fault().is_none() {
            tokio::time::sleep(ROOM_LOOK_EVERY).await;
        }
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

    /// Records a step; `None` if the purchase's state refuses it.
    pub(super) fn record_if_allowed(
        &self,
        purchase: PurchaseId,
        step: PaymentStep,
    ) -> Result<Option<Recorded>, StorageFault> {
        match self.journal.record(purchase, step, Audit::Nothing) {
            Ok(recorded) => Ok(Some(recorded)),
            Err(WriteError::Refused(_)) => Ok(None),
            Err(WriteError::Fault(fault)) => Err(fault),
        }
    }

    /// The state of a payment at the gateway.
    pub(super) async fn look_up(&self, view: &PurchaseView) -> Result<LookupResult, Trouble> {
        let inquiry = inquiry_of(&self.journal, view);
        self.calls
            .ask(GatewayCall::LookUp, |gateway| gateway.look_up(inquiry))
            .await
    }

    /// Waits until the log is durable up to `lsn`.
    pub(super) async fn durable(&self, lsn: Lsn, gate: &CommitGate) -> Result<(), StorageFault> {
        let began = std::time::Instant::now();
        let waited = gate.wait(lsn).await;
        self.meter.log_waited(began.elapsed());
        waited
    }
}
