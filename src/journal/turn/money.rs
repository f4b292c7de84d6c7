//! Owns recording the money of a purchase: steps of its payment, and refunds, each alone or with an
//! administrative act.
//!
//! Invariant: an act and its effect are one append, the act first, with the purchase as it was
//! before.
//! Deliberately absent: calling the gateway, and waiting for the disk.

use super::attempt::{Attempt, submit};
use super::audit::Audit;
use super::shard_turn::Turn;
use super::trail::Trail;
use crate::engine::catalogue::Catalogue;
use crate::engine::command::{PaymentStep, StartRefund};
use crate::engine::decide::{Context, Decision, RejectedAttempt, decide_payment, decide_refund};
use crate::engine::event::{AttemptRefused, Event, Flow, Origin, RefundStarted};
use crate::engine::refusal::Refusal;
use crate::engine::score::Appraisal;
use crate::engine::shard::Shard;
use crate::engine::stamp::LATEST;
use crate::engine::view::PurchaseView;
use crate::ids::{Lsn, PurchaseId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::{StorageFault, WriteError};
use crate::journal::turn::outcome::{Command, RefundOutcome, Submitted};

/// A step that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The purchase after it.
    pub view: PurchaseView,
    /// The LSN that must be durable before it is answered.
    pub durable_at: Lsn,
}

/// A refund and its purchase before it.
pub struct RefundChange {
    pub before: PurchaseView,
    pub started: RefundStarted,
}

/// A refund with the act that asked for it.
struct AuditedRefund<'a> {
    command: &'a StartRefund,
    audit: Audit<'a, RefundChange>,
}

impl Command for AuditedRefund<'_> {
    type Made = u32;
    type Outcome = RefundOutcome;

    fn decide(&self, context: Context<'_>) -> Result<Decision<u32>, RejectedAttempt> {
        let before = view_before(context, self.command.purchase);
        let mut decision = decide_refund(context, self.command)?;
        if let Some(Event::RefundStarted(started)) = decision.events.first() {
            let act = self.audit.act_of(|| RefundChange {
                before: before.expect("deciding found the purchase"),
                started: started.clone(),
            });
            decision.events.insert_many(0, act);
        }
        Ok(decision)
    }

    fn outcome(&self, number: u32, shard: &Shard, _: &Catalogue) -> Option<RefundOutcome> {
        let view = shard.refund_view(self.command.purchase, number)?;
        Some(view.into())
    }
}

/// Records a step of a payment: an intent or an outcome. `audit` makes the administrative act that
/// asked for it, from the purchase before the step. [`Refusal::WrongState`] if the purchase's state
/// does not allow the step: another task recorded one first, so read the purchase again.
pub(in crate::journal) fn record(
    core: &JournalCore,
    purchase: PurchaseId,
    step: PaymentStep,
    audit: Audit<'_, PurchaseView>,
) -> Result<Recorded, WriteError> {
    let mut turn = Turn::take(core, purchase.shard())?;
    let context = turn.context();
    let mut decision = decide_payment(context, purchase, step).map_err(WriteError::Refused)?;
    let act = audit.act_of(|| {
        let before = view_before(context, purchase);
        before.expect("deciding found the purchase")
    });
    decision.events.insert_many(0, act);
    let durable_at = turn.commit(decision)?;
    let view = turn.shard.purchase_view(purchase, &turn.catalogue, LATEST);
    let view = view.expect("deciding found the purchase");
    Ok(Recorded { view, durable_at })
}

/// Records the intent to refund captured money, with the act that asked for it.
pub(in crate::journal) fn start_refund(
    core: &JournalCore,
    command: &StartRefund,
    audit: Audit<'_, RefundChange>,
) -> Result<Submitted<RefundOutcome>, StorageFault> {
    let found = core.shard(command.purchase.shard());
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
        Trail::of(core).refuse(refused)?;
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
    submit(core, &attempt, &AuditedRefund { command, audit })
}

/// The purchase before the change that is being decided.
fn view_before(context: Context<'_>, purchase: PurchaseId) -> Option<PurchaseView> {
    let shard = context.shard;
    shard.purchase_view(purchase, context.catalogue, LATEST)
}
