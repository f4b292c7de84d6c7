//! Owns bringing our books and the gateway's together: settling a capture of a different amount than
//! requested, and recording refunds that were made at the gateway's own site or came back.
//!
//! Invariants:
//! 1. The booked amount comes from a look-up made just before, never from a caller.
//! 2. A refund of ours in progress is never mistaken for one made at the gateway's site: its own outcome
//!    is recorded first.
//! 3. Every comparison is one look-up; a failed one is repeated with the waits of payments.
//!
//! Deliberately absent: who asks for it (webhooks, reconciliation, the operator's calls).

use super::Payments;
use crate::engine::command::PaymentStep;
use crate::engine::event::{AdminAct, AdminActed, VoidCause};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::view::{PurchaseView, RefundStatus, RefundView};
use crate::ids::PurchaseId;
use crate::journal::{Audit, CommitGate, Recorded, StorageFault, WriteError};
use crate::money::Amount;
use crate::payments::books::{has_books, refunded_of};
use crate::payments::gateway::{CapturedMoney, FoundRefund, GatewayCall, LookupResult};
use crate::payments::handover::PaymentFuture;
use crate::payments::refund::{DriveEnd, order_of};
use std::sync::Arc;

/// How a different capture is settled.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SettleAs {
    /// The gateway's amount is booked and its receipt sealed.
    Captured,
    /// What is left at the gateway is refunded.
    Voided,
}

impl Payments {
    /// Settles a capture of a different amount than requested, or a void that the gateway refuses,
    /// as the operator orders. Resolves and continues like [`Payments::pay`], with the purchase as
    /// it is then; [`Refusal::WrongState`] if there is nothing to settle in this way. `acted` turns
    /// the purchase before it, and the booked amount, into the audit record, which is appended with
    /// the step.
    pub fn settle_capture(
        self: &Arc<Self>,
        purchase: PurchaseId,
        wanted: SettleAs,
        by: AdminAct,
        acted: impl Fn(&PurchaseView, Option<Amount>) -> AdminActed + Send + 'static,
        gate: &Arc<CommitGate>,
    ) -> PaymentFuture<Result<PurchaseView, WriteError>> {
        let (payments, gate) = (Arc::clone(self), Arc::clone(gate));
        PaymentFuture::new(async move {
            match wanted {
                SettleAs::Voided => payments.settle_voided(purchase, by, acted, &gate).await,
                SettleAs::Captured => payments.settle_captured(purchase, acted, &gate).await,
            }
        })
    }

    async fn settle_voided(
        &self,
        purchase: PurchaseId,
        by: AdminAct,
        acted: impl Fn(&PurchaseView, Option<Amount>) -> AdminActed,
        gate: &CommitGate,
    ) -> Result<PurchaseView, WriteError> {
        let step = PaymentStep::StartVoid {
            cause: VoidCause::Settled,
            code: None,
            within_ms: self.means.settings.void_deadline_ms,
            by: Some(by),
        };
        let recorded = {
            let acted = |view: &PurchaseView| acted(view, None);
            self.means
                .journal
                .record(purchase, step, Audit::Act(&acted))
        };
        if let Err(error) = recorded {
            return Err(self.refused(purchase, error, gate).await);
        }
        let settled = self.settle(purchase, gate).await?;
        Ok(settled.view().clone())
    }

    async fn settle_captured(
        &self,
        purchase: PurchaseId,
        acted: impl Fn(&PurchaseView, Option<Amount>) -> AdminActed,
        gate: &CommitGate,
    ) -> Result<PurchaseView, WriteError> {
        // 1. Only what is stuck is settled, and no other task returns money while it is booked.
        if !settles(&self.means.read(purchase).0) {
            let error = WriteError::Refused(Refusal::WrongState);
            return Err(self.refused(purchase, error, gate).await);
        }
        let Some(driving) = self.registry.enter(purchase) else {
            return Err(WriteError::Refused(Refusal::Overloaded));
        };
        let (view, _) = self.means.read(purchase);
        let settles = settles(&view);
        // 2. Look up the gateway's current state.
        let found = if settles {
            self.means.look_up(&view).await
        } else {
            Ok(LookupResult::Nothing)
        };
        let money = match found {
            Ok(LookupResult::Captured(money)) if money.currency == Some(view.quote.currency) => {
                Ok(money)
            }
            // Nothing is left to book, or it is in a currency in which the product has no price.
            Ok(_) => Err(Refusal::WrongState),
            Err(_) => Err(Refusal::GatewayUnavailable),
        };
        // 3. Book the capture, and its refunds.
        let booked = match money {
            Ok(money) => self.book(&view, money, acted),
            Err(refusal) => Err(WriteError::Refused(refusal)),
        };
        if let Err(WriteError::Fault(fault)) = booked {
            return Err(fault.into());
        }
        driving.end();
        if self.means.journal.reads().is_open(purchase) {
            self.look_again(purchase);
        }
        match booked {
            Ok(recorded) => {
                self.means.durable(recorded.durable_at, gate).await?;
                Ok(recorded.view)
            }
            Err(error) => Err(self.refused(purchase, error, gate).await),
        }
    }

    fn book(
        &self,
        view: &PurchaseView,
        money: CapturedMoney,
        acted: impl Fn(&PurchaseView, Option<Amount>) -> AdminActed,
    ) -> Result<Recorded, WriteError> {
        let (purchase, journal) = (view.purchase, &self.means.journal);
        let (captured, refunded) = (money.captured, money.refunded);
        let step = self.means.captured_step(money, view.quote.currency);
        let acted = |view: &PurchaseView| acted(view, Some(captured));
        let recorded = journal.record(purchase, step, Audit::Act(&acted))?;
        if refunded == Amount::ZERO {
            return Ok(recorded);
        }
        let step = PaymentStep::RefundedAtGateway(refunded);
        // Refused if our books show as much.
        let found = self.means.record_if_allowed(purchase, step)?;
        Ok(found.unwrap_or(recorded))
    }

    /// Another task recorded the reason for this refusal, perhaps just now: wait until it is durable.
    pub(super) async fn refused(
        &self,
        purchase: PurchaseId,
        error: WriteError,
        gate: &CommitGate,
    ) -> WriteError {
        let (_, durable_at) = self.means.read(purchase);
        match gate.wait(durable_at).await {
            Ok(()) => error,
            Err(fault) => fault.into(),
        }
    }

    /// Compares a paid purchase with the gateway's books, which was requested, and records
    /// refunds that were made there without us.
    pub(super) async fn compare_books(
        &self,
        view: &PurchaseView,
    ) -> Result<DriveEnd, StorageFault> {
        if !has_books(view) {
            return Ok(DriveEnd::Reached);
        }
        let Ok(found) = self.means.look_up(view).await else {
            self.suspects.put(view.purchase);
            return Ok(DriveEnd::Open);
        };
        let Some(total) = refunded_of(view, &found) else {
            return Ok(DriveEnd::Reached);
        };
        if total < view.refunded {
            return self.refunds_came_back(view, total).await;
        }
        let step = PaymentStep::RefundedAtGateway(total);
        // Refused if our books show as much.
        self.means.record_if_allowed(view.purchase, step)?;
        Ok(DriveEnd::Reached)
    }

    /// The gateway has refunded `total`, which is less than our books show: refunds failed after
    /// they had succeeded. Each of ours is looked up; what is still missing was refunded at the
    /// gateway's own site.
    async fn refunds_came_back(
        &self,
        view: &PurchaseView,
        total: Amount,
    ) -> Result<DriveEnd, StorageFault> {
        let (journal, purchase) = (&self.means.journal, view.purchase);
        let refunds = journal.reads().purchase_with_post_capture(purchase);
        let refunds = refunds.map_or_else(Vec::new, |(_, post_capture, _)| post_capture.refunds);
        let done = |it: &&RefundView| matches!(it.status, RefundStatus::Succeeded { .. });
        let mut left = view.refunded;
        for refund in refunds.iter().filter(done) {
            let order = order_of(journal, view, refund);
            let asked = self.means.calls.ask(GatewayCall::LookUpRefund, |gateway| {
                gateway.look_up_refund(order)
            });
            match asked.await {
                Ok(FoundRefund::Failed) => {
                    let step = PaymentStep::RefundReturned(refund.number);
                    if self.means.record_if_allowed(purchase, step)?.is_some() {
                        left = left.saturating_minus(refund.amount);
                    }
                }
                Ok(FoundRefund::Nothing | FoundRefund::Pending | FoundRefund::Succeeded) => {}
                Err(_) => {
                    self.suspects.put(purchase);
                    return Ok(DriveEnd::Open);
                }
            }
        }
        if total < left {
            return self.less_refunded(view, total, left).await;
        }
        Ok(DriveEnd::Reached)
    }

    /// The gateway has refunded `total`, which is less than the `left` of our books that no failed
    /// refund of ours explains. Its books may lag behind a refund just made: only what a second look-up
    /// says, too, is believed.
    async fn less_refunded(
        &self,
        view: &PurchaseView,
        total: Amount,
        left: Amount,
    ) -> Result<DriveEnd, StorageFault> {
        let purchase = view.purchase;
        let again = match self.means.look_up(view).await {
            Ok(found) => refunded_of(view, &found),
            Err(_) => None,
        };
        match again {
            Some(again) if again == total => {
                let step = PaymentStep::LessRefundedAtGateway(total);
                // Refused if all of it were refunds of ours, which the gateway says it has made.
                self.means.record_if_allowed(purchase, step)?;
                Ok(DriveEnd::Reached)
            }
            Some(again) if again >= left => Ok(DriveEnd::Reached),
            // It is changing, or the gateway could not tell: compare again later.
            Some(_) | None => {
                self.suspects.put(purchase);
                Ok(DriveEnd::Open)
            }
        }
    }
}

/// Whether it waits for a person to settle it.
fn settles(view: &PurchaseView) -> bool {
    matches!(
        view.state,
        PurchaseState::CaptureDiffers | PurchaseState::Stuck
    )
}
