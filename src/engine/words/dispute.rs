//! Owns one dispute: its amount, its status, and which report about it counts.
//!
//! Deliberately absent: what a report changes in a purchase (`state::disputes`).

use crate::ids::DisputeId;
use crate::money::{Amount, Tokens};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// The status of a dispute. If two reports have the same instant, the later variant wins.
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
    /// The gateway named it.
    Gateway = 0,
    /// The gateway named none: all that was left of the purchase.
    Assumed = 1,
}

/// One dispute of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dispute {
    /// The gateway's id, if it has one.
    pub id: Option<DisputeId>,
    /// When it was opened, as far as known.
    pub opened_at: UnixMs,
    /// The disputed amount.
    pub amount: Amount,
    pub amount_from: AmountFrom,
    pub status: DisputeStatus,
    /// When the report that counts happened.
    pub reported_at: UnixMs,
    /// Reward tokens that were clawed back for it.
    pub asked_back: Tokens,
}
