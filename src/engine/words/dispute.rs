//! Owns one dispute: its amount, its status, and which report about it counts.
//!
//! Invariant: its status follows from its latest beginning and its latest end, so the order in which
//! the two were reported makes no difference.
//! Deliberately absent: the effect of a report on the purchase (`state::disputes`).

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
    /// The gateway named it, in the latest report that had an amount.
    Gateway {
        /// The instant of that report.
        at: UnixMs,
        /// The status in that report.
        status: DisputeStatus,
    },
    /// The gateway did not name it: the whole rest of the purchase is assumed.
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

impl DisputeOutcome {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => DisputeStatus::Lost.as_str(),
            Self::Won => DisputeStatus::Won.as_str(),
        }
    }
}

/// An end of a dispute. The later one outranks the earlier one; at the same instant a win outranks a
/// loss.
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
    /// When it was opened: its earliest reported beginning, or else its earliest end.
    pub opened_at: UnixMs,
    /// Its latest reported beginning; `None` if none was reported.
    pub opened_last: Option<UnixMs>,
    /// Its latest end; `None` while it is open.
    pub ended: Option<DisputeEnd>,
    /// The disputed amount.
    pub amount: Amount,
    pub amount_from: AmountFrom,
    /// Reward tokens reclaimed with it.
    pub asked_back: Tokens,
}

impl Dispute {
    /// Its status. After a win it may be opened again; after a loss only a win is possible.
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

    /// The instant of the report that counts.
    pub fn reported_at(&self) -> UnixMs {
        match (self.status(), self.ended) {
            (DisputeStatus::Lost | DisputeStatus::Won, Some(end)) => end.at,
            _ => self.opened_last.unwrap_or(self.opened_at),
        }
    }
}
