//! Owns what is kept of one dispute: what it takes, where it is, and which word of it counts.
//!
//! Deliberately absent: what a word makes of a purchase (`state::disputes`).

use crate::ids::DisputeId;
use crate::money::{Amount, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Where a dispute is, in the order in which words of one instant outrank each other.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum DisputeStatus {
    /// The cardholder opened it.
    Opened = 0,
    /// It was decided for the cardholder: the money is gone.
    Lost = 1,
    /// It was decided for the shop: the money stays, or came back.
    Won = 2,
}

impl DisputeStatus {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Lost => "lost",
            Self::Won => "won",
        }
    }
}

/// Where a dispute's amount comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum AmountFrom {
    /// The gateway said it.
    Gateway = 0,
    /// It did not: all that was left of the purchase.
    Assumed = 1,
}

/// One dispute of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dispute {
    /// What the gateway calls it, where it has a name.
    pub id: Option<DisputeId>,
    /// When it was opened, as far as is known.
    pub opened_at: UnixMs,
    /// How much of the purchase it is about.
    pub amount: Amount,
    /// Where the amount comes from.
    pub amount_from: AmountFrom,
    /// Where it is.
    pub status: DisputeStatus,
    /// When the word that counts happened.
    pub reported_at: UnixMs,
    /// Reward tokens that were asked back with it.
    pub asked_back: Tokens,
}
