//! Owns what is decided about a purchase's money once there is one: steps of its payment, and refunds;
//! each by itself, or as an administrative act.
//!
//! Invariant: an act and what it changes are one append, the act first, with the purchase as it was.
//! Deliberately absent: asking the gateway, and waiting for the disk.

use super::Journal;
use super::fault::StorageFault;
use super::turn::{Attempt, Submitted};
use crate::engine::command::{PaymentStep, StartRefund};
use crate::engine::decide::{Context, Decision, Turned, decide_payment, decide_refund};
use crate::engine::event::{AdminActed, AttemptRefused, Event, Flow, Origin, RefundStarted};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::Rejection;
use crate::engine::score::Appraisal;
use crate::engine::stamp::LATEST;
use crate::engine::view::PurchaseView;
use crate::ids::{Lsn, PurchaseId};

/// A step that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The purchase after it.
    pub view: PurchaseView,
    /// The LSN that must be durable before it is answered.
    pub durable_at: Lsn,
}

impl Journal {
    /// Records what the saga learned or intends; [`Refusal::WrongState`] where that does not go
    /// with the purchase's state (somebody else recorded first: read it again).
    pub fn record(
        &self,
        purchase: PurchaseId,
        step: PaymentStep,
    ) -> Result<Result<Recorded, Refusal>, StorageFault> {
        self.record_decided(purchase, |context| decide_payment(context, purchase, step))
    }

    /// The same as an administrative act: what `acted` makes of the purchase before the step stands
    /// in the same append.
    pub fn record_acted(
        &self,
        purchase: PurchaseId,
        step: PaymentStep,
        acted: impl FnOnce(&PurchaseView) -> AdminActed,
    ) -> Result<Result<Recorded, Refusal>, StorageFault> {
        self.record_decided(purchase, |context| {
            let before = view_before(context, purchase);
            let mut decision = decide_payment(context, purchase, step)?;
            let acted = acted(&before.expect("deciding found the purchase"));
            decision.events.insert(0, Event::AdminActed(acted));
            Ok(decision)
        })
    }

    fn record_decided(
        &self,
        purchase: PurchaseId,
        decide: impl FnOnce(Context<'_>) -> Result<Decision, Refusal>,
    ) -> Result<Result<Recorded, Refusal>, StorageFault> {
        let mut turn = self.turn(purchase.shard())?;
        let decision = match decide(turn.context()) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let durable_at = turn.commit(decision)?;
        let view = turn.shard.purchase_view(purchase, &turn.catalogue, LATEST);
        let view = view.expect("deciding found the purchase");
        Ok(Ok(Recorded { view, durable_at }))
    }

    /// Writes down the intent to give captured money back.
    pub fn start_refund(&self, command: &StartRefund) -> Result<Submitted, StorageFault> {
        self.refund_decided(command, |context| decide_refund(context, command))
    }

    /// The same as an administrative act: what `acted` makes of the purchase before it and of the
    /// refund stands in the same append.
    pub fn start_refund_acted(
        &self,
        command: &StartRefund,
        acted: impl FnOnce(&PurchaseView, &RefundStarted) -> AdminActed,
    ) -> Result<Submitted, StorageFault> {
        self.refund_decided(command, |context| {
            let before = view_before(context, command.purchase);
            let mut decision = decide_refund(context, command)?;
            if let Some(Event::RefundStarted(started)) = decision.events.first() {
                let before = before.expect("deciding found the purchase");
                let acted = acted(&before, started);
                decision.events.insert(0, Event::AdminActed(acted));
            }
            Ok(decision)
        })
    }

    fn refund_decided(
        &self,
        command: &StartRefund,
        decide: impl FnOnce(Context<'_>) -> Result<Decision, Rejection>,
    ) -> Result<Submitted, StorageFault> {
        let found = self.shard(command.purchase.shard());
        let user = found.owner_of(command.purchase).cloned();
        drop(found);
        let origin = Origin {
            request: command.by.request,
            owner: command.by.owner.clone(),
            key: Some(command.key),
            ip: None,
            device: None,
        };
        let Some(user) = user else {
            let refused = AttemptRefused {
                flow: Flow::Refund,
                reason: Refusal::PurchaseNotFound,
                facts: None,
                user: None,
                product: None,
                quantity: 0,
                card: None,
                origin,
                hits: Vec::new(),
                appraisal: Appraisal::Plain,
                left_out: 0,
            };
            self.refuse(refused)?;
            let reason = Refusal::PurchaseNotFound;
            return Ok(Submitted::refused(reason, command.by.request, None));
        };
        let attempt = Attempt {
            flow: Flow::Refund,
            origin: &origin,
            user: &user,
            product: None,
            quantity: 0,
            card: None,
        };
        self.attempt(&attempt, |context| decide(context).map_err(Turned::from))
    }
}

/// A purchase as it is before what is being decided.
fn view_before(context: Context<'_>, purchase: PurchaseId) -> Option<PurchaseView> {
    let shard = context.shard;
    shard.purchase_view(purchase, context.catalogue, LATEST)
}
