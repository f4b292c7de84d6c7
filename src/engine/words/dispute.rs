//! Owns one dispute: its amount, its status, and which report about it counts.
//!
//! Invariant: where it is follows from its latest beginning and its latest end, so that the order in
//! which the two were told makes no difference.
//! Deliberately absent: what a word makes of a purchase (`state::disputes`).

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
pub enum AmountFrom {
    /// The gateway said it, with the latest word that had one.
    Gateway {
        /// When that word happened.
        at: UnixMs,
        /// What it said.
        status: DisputeStatus,
    },
    /// It did not: all that was left of the purchase.
    Assumed,
}

/// How a dispute ended.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum DisputeOutcome {
    /// For the cardholder.
    Lost = 0,
    /// For the shop.
    Won = 1,
}

/// An end of a dispute; the later one outranks the earlier, and of one instant a win the loss.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct DisputeEnd {
    /// When it happened.
    pub at: UnixMs,
    /// How it ended.
    pub outcome: DisputeOutcome,
}

/// One dispute of a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Dispute {
    /// The gateway's id, if it has one.
    pub id: Option<DisputeId>,
    /// When it was opened: the earliest beginning that was told, or else the earliest end.
    pub opened_at: UnixMs,
    /// The latest beginning that was told, where one was.
    pub opened_last: Option<UnixMs>,
    /// Its latest end, where it ended.
    pub ended: Option<DisputeEnd>,
    /// How much of the purchase it is about.
    pub amount: Amount,
    pub amount_from: AmountFrom,
    /// Reward tokens that were asked back with it.
    pub asked_back: Tokens,
}

impl Dispute {
    /// Where it is. A win may be followed by another beginning; a loss is final but for a win.
    pub fn status(&self) -> DisputeStatus {
        match self.ended {
            None => DisputeStatus::Opened,
            Some(end) => match end.outcome {
                DisputeOutcome::Lost => DisputeStatus::Lost,
                DisputeOutcome::Won if self.opened_last > Some(end.at) => DisputeStatus::Opened,
                DisputeOutcome::Won => DisputeStatus::Won,
            },
        }
    }

    /// When the word that counts happened.
    pub fn reported_at(&self) -> UnixMs {
        match (self.status(), self.ended) {
            (DisputeStatus::Lost | DisputeStatus::Won, Some(end)) => end.at,
            _ => self.opened_last.unwrap_or(self.opened_at),
        }
    }
}
