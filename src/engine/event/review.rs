//! Owns the facts about reviews: opened, and decided by a person or at the deadline.

use super::{AdminAct, VoidCause};
use crate::engine::words::lifecycle::Step;
use crate::ids::{KeyOwner, PurchaseId, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// A purchase waits for a person, its money set aside and not taken.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReviewOpened {
    pub purchase: PurchaseId,
    pub user: UserId,
    /// Why, each reason a word or the name of a rule.
    pub reasons: Vec<String>,
    /// When the configuration decides where nobody has.
    pub deadline: UnixMs,
}

/// A purchase under review was decided about: the intent to capture, or to give back.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReviewDecided {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub verdict: ReviewVerdict,
    /// By whom.
    pub decider: Decider,
}

/// How a review was decided.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum ReviewVerdict {
    /// The money is to be taken.
    Approved,
    /// The authorization is to be given back, by this instant; after it, it is stuck and the
    /// operator is called.
    Rejected(UnixMs),
}

/// Who decided a review.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Decider {
    /// A person.
    Person(Judgement),
    /// The configuration, at the deadline.
    Deadline,
}

/// What a person decided by.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Judgement {
    pub by: AdminAct,
    /// Why, in their words; at most 500 characters.
    pub note: String,
}

impl ReviewDecided {
    /// The name of the API key of the person who decided.
    pub const fn owner(&self) -> Option<&KeyOwner> {
        match &self.decider {
            Decider::Person(judgement) => Some(&judgement.by.owner),
            Decider::Deadline => None,
        }
    }

    pub const fn step(&self) -> Step {
        match self.verdict {
            ReviewVerdict::Approved => Step::ReviewApproved,
            ReviewVerdict::Rejected(_) => Step::ReviewRejected,
        }
    }

    /// Why the authorization is given back, where it is.
    pub const fn void_cause(&self) -> VoidCause {
        match self.decider {
            Decider::Person(_) => VoidCause::ReviewRejected,
            Decider::Deadline => VoidCause::ReviewTimedOut,
        }
    }
}
