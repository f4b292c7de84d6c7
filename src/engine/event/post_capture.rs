//! Owns the facts about what becomes of a captured purchase: refunds, disputes, reward tokens.

use super::{AdminAct, IdempotencyKey, Origin};
use crate::engine::words::dispute::{Dispute, DisputeStatus};
use crate::engine::words::lifecycle::{PaidState, Step};
use crate::ids::{GatewayCode, ProductId, PurchaseId, UserId};
use crate::money::{Amount, Currency, Tokens};
use rkyv::{Archive, Deserialize, Serialize};

/// Reward tokens taken back because money went back.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Clawback {
    /// What the money that went back stands for.
    pub requested: Tokens,
    /// What was taken from the balance.
    pub recovered: Tokens,
    /// What was not there any more; the buyer owes it.
    pub shortfall: Tokens,
}

/// The intent to give captured money back; the gateway is asked once this is durable.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundStarted {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase it is, from 1.
    pub number: u32,
    /// How much.
    pub amount: Amount,
    /// What had gone back before, as the operator knew it.
    pub previously_refunded: Amount,
    /// Why, in the operator's words; at most 500 characters.
    pub note: String,
    /// Whether the units are to go back into stock once the money went back.
    pub restock: Restock,
    /// The idempotency key that it came with.
    pub key: IdempotencyKey,
    /// Who wanted it.
    pub by: AdminAct,
}

/// The gateway gave money back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundSucceeded {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase.
    pub number: u32,
    /// Of what.
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    /// How much.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// Whether money is left that could go back.
    pub extent: RefundExtent,
    /// Where the purchase is then.
    pub leaves: PaidState,
    /// The reward tokens that went with it.
    pub clawback: Clawback,
    /// Whether the units went back into stock.
    pub restock: Restock,
}

impl RefundSucceeded {
    /// The step in the purchase's life.
    pub const fn step(&self) -> Step {
        Step::Refunded(self.leaves)
    }
}

/// The gateway's books show that money went back which no refund of ours gave: one that was made
/// at the gateway's own site.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundFound {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Of what.
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    /// How much.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// Whether money is left that could go back.
    pub extent: RefundExtent,
    /// Where the purchase is then.
    pub leaves: PaidState,
    /// The reward tokens that went with it.
    pub clawback: Clawback,
}

impl RefundFound {
    /// The step in the purchase's life.
    pub const fn step(&self) -> Step {
        Step::RefundFound(self.leaves)
    }
}

/// Money that had gone back is with the shop again: the gateway says that a refund failed after it
/// had reported success.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundReturned {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase; `None`: one that was made at the gateway's own site.
    pub number: Option<u32>,
    /// Of what.
    pub product: ProductId,
    /// How many units were bought.
    pub quantity: u32,
    /// How much came back.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// Where the purchase is then.
    pub leaves: PaidState,
    /// The reward tokens that came back with it.
    pub given_back: GivenBack,
}

impl RefundReturned {
    /// The step in the purchase's life.
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
    /// As JSON has it.
    pub const fn as_bool(self) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
        }
    }
}

/// How much of the captured money has gone back.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RefundExtent {
    /// Some of it.
    Part = 0,
    /// All of it.
    Full = 1,
}

/// The gateway refused to give the money back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RefundFailed {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which refund of this purchase.
    pub number: u32,
    /// The gateway's word for why, where it gave one.
    pub code: Option<GatewayCode>,
    /// What its caller is told.
    pub failure: RefundFailure,
}

/// Why a refund failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum RefundFailure {
    /// The gateway refused it.
    Refused,
    /// The gateway had given money back that our books did not know of, so that less was left than
    /// the caller believed.
    LessWasLeft {
        /// What it had given back in all.
        refunded: Amount,
    },
}

/// Reward tokens that a buyer gets back because money came back that a lost dispute took or a refund
/// gave.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct GivenBack {
    /// What the money that came back stands for.
    pub tokens: Tokens,
    /// How many of them paid what the buyer owed.
    pub debt_paid: Tokens,
}

/// The cardholder disputes the payment, or some of it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeOpened {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which dispute of this purchase, from 1.
    pub number: u32,
    /// What it is now.
    pub dispute: Dispute,
    /// What it was before, where it was heard of.
    pub before: Option<DisputeStatus>,
    /// In which currency.
    pub currency: Currency,
    /// The gateway's word for why, where it gave one.
    pub code: Option<GatewayCode>,
    /// What lost disputes took of the purchase, in all.
    pub charged_back: Amount,
}

/// A dispute was decided; or what is known of the decided one was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct DisputeClosed {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Which dispute of this purchase, from 1.
    pub number: u32,
    /// What it is now.
    pub dispute: Dispute,
    /// What it was before, where it was heard of.
    pub before: Option<DisputeStatus>,
    /// In which currency.
    pub currency: Currency,
    /// What lost disputes had taken of the purchase, in all.
    pub charged_back_before: Amount,
    /// What they take now, in all.
    pub charged_back: Amount,
    /// Where the purchase is then.
    pub leaves: PaidState,
    /// The reward tokens that went with the money.
    pub clawback: Clawback,
    /// The reward tokens that came back with it.
    pub given_back: GivenBack,
}

impl DisputeClosed {
    /// The step in the purchase's life.
    pub const fn step(&self) -> Step {
        match self.dispute.status {
            DisputeStatus::Lost => Step::DisputeLost(self.leaves),
            DisputeStatus::Opened | DisputeStatus::Won => Step::DisputeWon(self.leaves),
        }
    }

    /// How many more disputes are lost with it: 1, -1 where one that was lost is won, or 0.
    pub fn more_lost(&self) -> i8 {
        let lost = |status| i8::from(status == Some(DisputeStatus::Lost));
        lost(Some(self.dispute.status)) - lost(self.before)
    }

    /// What it takes from the shop; below 0 where money comes back.
    pub const fn taken(&self) -> i64 {
        self.charged_back.get() - self.charged_back_before.get()
    }
}

/// A buyer spent reward tokens in the shop.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct TokensSpent {
    /// Who.
    pub user: UserId,
    /// How many.
    pub tokens: Tokens,
    /// Where it came from.
    pub origin: Origin,
}
