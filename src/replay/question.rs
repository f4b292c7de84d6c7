//! Owns what a replay is asked, and how it reports one attempt: the rules to try, and which result they change.
//!
//! Deliberately absent: the figures over all attempts (`report`).

use super::attempt::Pays;
use crate::engine::event::{RuleHit, RuleOutcome};
use crate::engine::refusal::Refusal;
use crate::engine::risk::model::Model;
use crate::engine::risk::program::RuleSet;
use crate::ids::{Lsn, ProductId, PurchaseId, UserId};
use crate::risk::RulesError;
use crate::time::UnixMs;
use std::sync::Arc;

/// The request for a replay.
#[derive(Debug)]
pub struct Plan {
    /// The rules.
    pub trial: Trial,
    /// A model for `risk_score`; `None`: the score in the log, otherwise the operator's.
    pub model: Option<Arc<Model>>,
    /// What later attempts see of blocked ones.
    pub history: History,
    /// Maximum number of counted keys, and of keys with distinct values.
    pub keys_max: usize,
}

/// The rules to evaluate.
#[derive(Debug)]
pub enum Trial {
    /// These rules, from the first event on.
    Rules(RuleSet),
    /// The rules that were in force at each time.
    AsInForce,
}

/// What later attempts see of an attempt that had passed and that the tried rules block.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// The attempt, without its later effects.
    WithoutBlocked,
    /// Everything, as recorded.
    AsRecorded,
}

/// The result of the rules for an attempt, strictest last.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// No rule blocked it or sent it to review.
    Passed = 0,
    /// A person decides about the payment.
    Reviewed = 1,
    /// It was refused.
    Blocked = 2,
}

impl Side {
    /// All results, strictest last.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Reviewed, Self::Blocked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Reviewed => "reviewed",
            Self::Blocked => "blocked",
        }
    }

    pub(super) fn of(strictest: Option<RuleOutcome>, pays: Pays) -> Self {
        match (strictest, pays) {
            (Some(RuleOutcome::Block), _) => Self::Blocked,
            (Some(RuleOutcome::Review), Pays::Now) => Self::Reviewed,
            (Some(RuleOutcome::Review), Pays::Later) | (Some(RuleOutcome::Observe) | None, _) => {
                Self::Passed
            }
        }
    }
}

/// An attempt whose result differs with the tried rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: UnixMs,
    pub lsn: Lsn,
    pub user: UserId,
    pub product: Option<ProductId>,
    /// The purchase, if it was not refused.
    pub purchase: Option<PurchaseId>,
    /// Why it was refused, if it was.
    pub refused: Option<Refusal>,
    /// The recorded result.
    pub from: Side,
    /// The new result.
    pub to: Side,
    /// The rules that caused the new result; if it passes now, the rules that had stopped it.
    pub rules: Vec<RuleHit>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Rules in the log were written by another version.
    #[error("this version cannot read the risk rules at LSN {lsn} ({error}); name rules to try")]
    Logged {
        /// The LSN of the rules.
        lsn: Lsn,
        error: RulesError,
    },
}
