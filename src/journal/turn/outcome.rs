//! Owns the outcomes of commands: each command has its own type, and the outcome is the same when
//! it is replayed under its idempotency key.
//!
//! Invariant: an outcome is revealed only once `durable_at` is durable. Deliberately absent: how a
//! command reaches its outcome (`turn`).

use crate::engine::catalogue::Catalogue;
use crate::engine::command::{Buy, PlaceHold, SpendTokens};
use crate::engine::decide::{
    Context, Decision, RejectedAttempt, decide_buy, decide_hold, decide_spending,
};
use crate::engine::keys::Finished;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{RefusalFacts, Rejection};
use crate::engine::shard::Shard;
use crate::engine::view::{
    DeclineView, HoldView, PurchaseView, RefundStatus, RefundView, UnderWay,
};
use crate::ids::{Lsn, PurchaseId, RequestId};
use crate::money::Tokens;

/// The answer to a command, and when it may be revealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted<Outcome> {
    /// The outcome, or why the command was refused.
    pub outcome: Result<Outcome, Refused>,
    /// Whether this is a stored answer.
    pub replay: Answered,
    /// The LSN that must be durable before the outcome is revealed; `None`: it may be revealed at once.
    pub durable_at: Option<Lsn>,
}

/// Whether an answer is the first one or a stored one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    First,
    /// The stored outcome of the key.
    Again,
}

/// The outcome of a buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuyOutcome {
    /// The payment's intent is in the log; once it is durable, the gateway may be called.
    PaymentStarted(PurchaseId),
    /// The purchase of this key, as of its capture.
    Paid(Box<PurchaseView>),
    /// The payment of this key was declined.
    Declined(Box<DeclineView>),
}

/// The outcome of a requested refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundOutcome {
    /// Its intent is in the log; once it is durable, the gateway may be called.
    Started(Box<RefundView>),
    /// It succeeded or failed.
    Ended(Box<RefundView>),
}

/// Reward tokens were taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The tokens left to spend afterwards.
    pub balance: Tokens,
}

/// A refusal, with everything that its answer shows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: Refusal,
    /// The figures of the reason, if it has any.
    pub facts: Option<RefusalFacts>,
    /// The refused request; in a replay, the first one.
    pub request: RequestId,
    /// Wait before the next attempt, if waiting helps.
    pub retry_after_ms: Option<u64>,
    /// The request in progress under the same key, if that is the reason.
    pub under_way: Option<UnderWay>,
}

impl Refused {
    pub(in crate::journal) fn new(rejection: Rejection, request: RequestId) -> Self {
        let Rejection { reason, facts } = rejection;
        Self {
            reason,
            facts,
            request,
            retry_after_ms: None,
            under_way: None,
        }
    }
}

/// An outcome that is stored under an idempotency key.
pub(in crate::journal) trait UnderKey: Sized {
    /// The outcome in `finished`; `None` if it belongs to another kind of command.
    fn shown(finished: Finished) -> Option<Self>;
}

impl UnderKey for HoldView {
    fn shown(finished: Finished) -> Option<Self> {
        match finished {
            Finished::Held(view) => Some(view),
            Finished::Paid(_)
            | Finished::Declined(_)
            | Finished::Refunded(_)
            | Finished::Spent(_) => None,
        }
    }
}

impl UnderKey for BuyOutcome {
    fn shown(finished: Finished) -> Option<Self> {
        match finished {
            Finished::Paid(view) => Some(Self::Paid(view)),
            Finished::Declined(view) => Some(Self::Declined(view)),
            Finished::Held(_) | Finished::Refunded(_) | Finished::Spent(_) => None,
        }
    }
}

impl UnderKey for RefundOutcome {
    fn shown(finished: Finished) -> Option<Self> {
        match finished {
            Finished::Refunded(view) => Some(Self::Ended(view)),
            Finished::Held(_) | Finished::Paid(_) | Finished::Declined(_) | Finished::Spent(_) => {
                None
            }
        }
    }
}

impl UnderKey for Spent {
    fn shown(finished: Finished) -> Option<Self> {
        match finished {
            Finished::Spent(balance) => Some(Self { balance }),
            Finished::Held(_)
            | Finished::Paid(_)
            | Finished::Declined(_)
            | Finished::Refunded(_) => None,
        }
    }
}

impl From<RefundView> for RefundOutcome {
    fn from(view: RefundView) -> Self {
        let view = Box::new(view);
        match view.status {
            RefundStatus::Pending => Self::Started(view),
            RefundStatus::Succeeded { .. }
            | RefundStatus::Failed { .. }
            | RefundStatus::Returned { .. } => Self::Ended(view),
        }
    }
}

/// A command that may have an idempotency key.
pub(in crate::journal) trait Command {
    /// What its events create, such as the id of a hold.
    type Made;
    type Outcome: UnderKey;

    /// Decides the command: its events, or why it is refused.
    fn decide(&self, context: Context<'_>) -> Result<Decision<Self::Made>, RejectedAttempt>;

    /// The outcome after its events were applied; `None` if the shard does not have it.
    fn outcome(
        &self,
        made: Self::Made,
        shard: &Shard,
        catalogue: &Catalogue,
    ) -> Option<Self::Outcome>;
}

impl Command for PlaceHold {
    type Made = PurchaseId;
    type Outcome = HoldView;

    fn decide(&self, context: Context<'_>) -> Result<Decision<PurchaseId>, RejectedAttempt> {
        decide_hold(context, self)
    }

    fn outcome(&self, made: PurchaseId, shard: &Shard, catalogue: &Catalogue) -> Option<HoldView> {
        shard.hold_view(made, catalogue)
    }
}

impl Command for Buy {
    type Made = PurchaseId;
    type Outcome = BuyOutcome;

    fn decide(&self, context: Context<'_>) -> Result<Decision<PurchaseId>, RejectedAttempt> {
        decide_buy(context, self)
    }

    fn outcome(&self, made: PurchaseId, _: &Shard, _: &Catalogue) -> Option<BuyOutcome> {
        Some(BuyOutcome::PaymentStarted(made))
    }
}

impl Command for SpendTokens {
    type Made = ();
    type Outcome = Spent;

    fn decide(&self, context: Context<'_>) -> Result<Decision, RejectedAttempt> {
        decide_spending(context, self).map_err(RejectedAttempt::from)
    }

    fn outcome(&self, (): (), shard: &Shard, _: &Catalogue) -> Option<Spent> {
        let balance = shard.tokens(&self.user);
        Some(Spent { balance })
    }
}

impl<Outcome> Submitted<Outcome> {
    pub(in crate::journal) fn first(outcome: Outcome, durable_at: Lsn) -> Self {
        Self {
            outcome: Ok(outcome),
            replay: Answered::First,
            durable_at: Some(durable_at),
        }
    }

    pub(in crate::journal) fn refused(
        rejection: impl Into<Rejection>,
        request: RequestId,
        durable_at: Option<Lsn>,
    ) -> Self {
        Self {
            outcome: Err(Refused::new(rejection.into(), request)),
            replay: Answered::First,
            durable_at,
        }
    }
}
