//! Owns risk profiles: for each buyer a few counts, and the latest decisions about risk.
//!
//! Invariant: a profile is bounded: [`DECISIONS_KEPT`] decisions with [`RULES_NAMED`] names each. A
//! buyer who has only bought has counts alone. Deliberately absent: what events record in it
//! (`apply::profile`), exact windows (`shared::velocity`), what the operator says about buyers
//! (`buyer`).

use crate::engine::event::{Clawback, RuleName};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::score::Score;
use crate::money::Tokens;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Maximum number of decisions stored per buyer; the oldest are dropped.
pub const DECISIONS_KEPT: usize = 8;
/// Maximum number of rules that a decision names, the strictest first.
pub const RULES_NAMED: usize = 8;

/// A buyer's counts and decisions, for judging the next attempt.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Profile {
    /// The first attempt.
    pub first_seen: UnixMs,
    /// The latest.
    pub last_seen: UnixMs,
    /// Holds and buys, refused ones included.
    pub attempts: u32,
    /// Refused attempts, for any reason.
    pub refused: u32,
    /// Captured payments.
    pub purchases: u32,
    /// The latest score that a model gave.
    pub score: Option<Score>,
    /// What only some buyers have.
    pub(in crate::engine) marks: Option<Box<RiskMarks>>,
}

/// Every buyer who ever tried has one, so it must stay small.
const _: () = assert!(size_of::<Profile>() <= 40);

/// Signs of risk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RiskMarks {
    pub declines: u32,
    /// Attempts that a rule or a pause blocked.
    pub blocked: u32,
    /// Purchases that a review approved.
    pub reviews_approved: u32,
    /// Purchases that a review rejected.
    pub reviews_rejected: u32,
    /// Disputes that cardholders opened.
    pub disputes: u32,
    /// Lost disputes that the shop did not win afterwards.
    pub chargebacks: u32,
    /// How often the balance did not have the tokens that were clawed back.
    pub shortfalls: u32,
    /// How many they were.
    pub shortfall_tokens: Tokens,
    /// Oldest first.
    pub decisions: Vec<Judged>,
}

/// A decision about risk.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Judged {
    pub at: UnixMs,
    pub outcome: JudgedAs,
    /// The score that a model gave.
    pub score: Option<Score>,
    /// The rules that were met, the strictest first, at most [`RULES_NAMED`].
    pub rules: Vec<RuleName>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum JudgedAs {
    /// The attempt passed, although rules matched.
    Passed,
    /// It passed, and is reviewed before the capture.
    ToReview,
    Refused(Refusal),
    /// The review approved the purchase.
    Approved(JudgedBy),
    /// The review rejected it.
    Rejected(JudgedBy),
}

/// Who decided a review.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum JudgedBy {
    Person,
    /// The configuration, at the deadline.
    Deadline,
}

impl JudgedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Deadline => "deadline",
        }
    }
}

impl JudgedAs {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::ToReview => "to_review",
            Self::Refused(_) => "refused",
            Self::Approved(_) => "approved",
            Self::Rejected(_) => "rejected",
        }
    }
}

impl Profile {
    pub(in crate::engine::state) fn begun(at: UnixMs) -> Self {
        Self {
            first_seen: at,
            last_seen: at,
            attempts: 0,
            refused: 0,
            purchases: 0,
            score: None,
            marks: None,
        }
    }

    /// The signs of risk; `None` if there are none.
    pub fn marks(&self) -> Option<&RiskMarks> {
        self.marks.as_deref()
    }

    pub(in crate::engine::state) fn marks_mut(&mut self) -> &mut RiskMarks {
        self.marks.get_or_insert_default()
    }

    pub(in crate::engine::state) fn judged(&mut self, judged: Judged) {
        let decisions = &mut self.marks_mut().decisions;
        if decisions.len() == DECISIONS_KEPT {
            decisions.remove(0);
        }
        // Most buyers never have more than one or two.
        decisions.reserve_exact(1);
        decisions.push(judged);
    }

    pub(in crate::engine::state) fn shortfall(&mut self, clawback: Clawback) {
        if clawback.shortfall > Tokens::NONE {
            let marks = self.marks_mut();
            marks.shortfalls += 1;
            marks.shortfall_tokens = marks.shortfall_tokens.plus(clawback.shortfall);
        }
    }
}
