//! Owns the facts about what becomes of a captured purchase: refunds, disputes, reward tokens.

use super::{AdminAct, IdempotencyKey, Origin};
use crate::engine::words::dispute::{Dispute, DisputeStatus};
use crate::engine::words::lifecycle::{PaidState, Step};
use crate::ids::{GatewayCode, ProductId, PurchaseId, UserId};
use crate::money::{Amount, Currency, Tokens};
use rkyv::{Archive, Deserialize, Serialize};

/// Reward tokens clawed back because money was refunded.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Clawback {
    /// The share of the refunded money.
    pub requested: Tokens,
    /// Tokens taken from the balance.
    pub recovered: Tokens,
    /// Tokens that the balance did not have; the buyer owes them.
    pub shortfall: Tokens,
}

/// The intent to refund; the gateway is called once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundStarted {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The refund's number within the purchase, from 1.
    pub number: u32,
    pub amount: Amount,
    /// What was refunded before, as the operator knew it.
    pub previously_refunded: Amount,
    /// The operator's reason; at most 500 characters.
    pub note: String,
    /// Whether the units return to stock after the refund.
    pub restock: Restock,
    /// The idempotency key of the request.
    pub key: IdempotencyKey,
    /// Who wanted it.
    pub by: AdminAct,
}

/// The gateway made a refund.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundSucceeded {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The refund's number within the purchase.
    pub number: u32,
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    pub amount: Amount,
    pub currency: Currency,
    /// Whether money is left to refund.
    pub extent: RefundExtent,
    /// The state of the purchase after it.
    pub leaves: PaidState,
    /// The reward tokens clawed back with it.
    pub clawback: Clawback,
    /// Whether the units returned to stock.
    pub restock: Restock,
}

impl RefundSucceeded {
    pub const fn step(&self) -> Step {
        Step::Refunded(self.leaves)
    }
}

/// The gateway's books show that money went back which no refund of ours gave: one that was made
/// at the gateway's own site.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundFound {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    pub amount: Amount,
    pub currency: Currency,
    /// Whether money is left to refund.
    pub extent: RefundExtent,
    /// The state of the purchase after it.
    pub leaves: PaidState,
    /// The reward tokens clawed back with it.
    pub clawback: Clawback,
}

impl RefundFound {
    pub const fn step(&self) -> Step {
        Step::RefundFound(self.leaves)
    }
}

/// Money that had gone back is with the shop again: the gateway says that a refund failed after it
/// had reported success.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundReturned {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The refund's number within the purchase; `None`: it was made at the gateway's own site.
    pub number: Option<u32>,
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    /// How much came back.
    pub amount: Amount,
    pub currency: Currency,
    /// The state of the purchase after it.
    pub leaves: PaidState,
    /// The reward tokens that came back with it.
    pub given_back: GivenBack,
}

impl RefundReturned {
    pub const fn step(&self) -> Step {
        Step::RefundReturned(self.leaves)
    }
}

/// Whether the units of a purchase whose money went back are sold once more.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Restock {
    /// They stay sold.
    No = 0,
    /// They go back into stock.
    Yes = 1,
}

impl Restock {
    /// As a JSON boolean.
    pub const fn as_bool(self) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
        }
    }
}

/// How much of the captured money is refunded.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RefundExtent {
    /// Some of it.
    Part = 0,
    /// All of it.
    Full = 1,
}

/// The gateway refused the refund.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundFailed {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The refund's number within the purchase.
    pub number: u32,
    /// The gateway's reason code, if it gave one.
    pub code: Option<GatewayCode>,
    /// The reason that the caller gets.
    pub failure: RefundFailure,
}

/// Why a refund failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum RefundFailure {
    /// The gateway refused it.
    Refused,
    /// The gateway had made refunds that our books did not know, so that less was left than the
    /// caller believed.
    LessWasLeft {
        /// What it had refunded in all.
        refunded: Amount,
    },
}

/// Reward tokens returned to a buyer because the money of a lost dispute or of a refund came back.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct GivenBack {
    /// The share of the returned money.
    pub tokens: Tokens,
    /// How many of them paid what the buyer owed.
    pub debt_paid: Tokens,
}

/// The cardholder disputes the payment, or some of it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeOpened {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The dispute's number within the purchase, from 1.
    pub number: u32,
    /// The dispute after this event.
    pub dispute: Dispute,
    /// Its status before, if it was known.
    pub before: Option<DisputeStatus>,
    pub currency: Currency,
    /// The gateway's reason code, if it gave one.
    pub code: Option<GatewayCode>,
    /// What all lost disputes of the purchase took.
    pub charged_back: Amount,
}

/// A dispute was decided, or a decided one was corrected.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeClosed {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// The dispute's number within the purchase, from 1.
    pub number: u32,
    /// The dispute after this event.
    pub dispute: Dispute,
    /// Its status before, if it was known.
    pub before: Option<DisputeStatus>,
    pub currency: Currency,
    /// What all lost disputes of the purchase had taken before.
    pub charged_back_before: Amount,
    /// What they take after this event.
    pub charged_back: Amount,
    /// The state of the purchase after it.
    pub leaves: PaidState,
    /// The reward tokens clawed back with the money.
    pub clawback: Clawback,
    /// The reward tokens that came back with it.
    pub given_back: GivenBack,
}

impl DisputeClosed {
    /// The step in the purchase's life.
    pub fn step(&self) -> Step {
        match self.dispute.status() {
            DisputeStatus::Lost => Step::DisputeLost(self.leaves),
            DisputeStatus::Opened | DisputeStatus::Won => Step::DisputeWon(self.leaves),
        }
    }

    /// How many more disputes are lost with it: 1, -1 where one that was lost is won, or 0.
    pub fn more_lost(&self) -> i8 {
        let lost = |status| i8::from(status == Some(DisputeStatus::Lost));
        lost(Some(self.dispute.status())) - lost(self.before)
    }

    /// What it takes from the shop; below 0 where money comes back.
    pub const fn taken(&self) -> i64 {
        self.charged_back.get() - self.charged_back_before.get()
    }
}

/// A buyer spent reward tokens in the shop.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TokensSpent {
    pub user: UserId,
    pub tokens: Tokens,
    pub origin: Origin,
}
