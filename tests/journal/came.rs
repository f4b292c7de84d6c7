//! What came of a command of any kind, for tests that submit several kinds alike.

use holdfast::engine::view::{DeclineView, HoldView, PurchaseView, RefundView};
use holdfast::ids::PurchaseId;
use holdfast::journal::{BuyOutcome, RefundOutcome, Spent, Submitted};

#[derive(Clone, Debug)]
pub(crate) enum Came {
    /// Placed, or released.
    Hold(HoldView),
    PaymentStarted(PurchaseId),
    Paid(Box<PurchaseView>),
    Declined(Box<DeclineView>),
    Refund(Box<RefundView>),
    Spent,
}

impl From<HoldView> for Came {
    fn from(view: HoldView) -> Self {
        Self::Hold(view)
    }
}

impl From<BuyOutcome> for Came {
    fn from(outcome: BuyOutcome) -> Self {
        match outcome {
            BuyOutcome::PaymentStarted(purchase) => Self::PaymentStarted(purchase),
            BuyOutcome::Paid(view) => Self::Paid(view),
            BuyOutcome::Declined(view) => Self::Declined(view),
        }
    }
}

impl From<RefundOutcome> for Came {
    fn from(outcome: RefundOutcome) -> Self {
        match outcome {
            RefundOutcome::Started(view) | RefundOutcome::Ended(view) => Self::Refund(view),
        }
    }
}

impl From<Spent> for Came {
    fn from(_: Spent) -> Self {
        Self::Spent
    }
}

/// The same, with what came of it as one of all kinds.
pub(crate) fn of_any_kind<Outcome: Into<Came>>(submitted: Submitted<Outcome>) -> Submitted<Came> {
    Submitted {
        outcome: submitted.outcome.map(Into::into),
        replay: submitted.replay,
        durable_at: submitted.durable_at,
    }
}
