//! Owns the facts about risk: which rules an attempt met, rules that the operator set, buyers that
//! the operator paused or rated.

use super::AdminAct;
use crate::ids::{
    CardToken, DeviceId, Digest16, KeyOwner, ProductId, Segment, UserId, holds_card_number,
};
use crate::time::UnixMs;
use compact_str::CompactString;
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

/// The longest name of a rule, in characters.
pub const RULE_NAME_CHARS_MAX: usize = 64;

/// The name of a risk rule: 1 to [`RULE_NAME_CHARS_MAX`] characters of `[A-Za-z0-9_.:-]` and, between
/// them, single spaces, without a card number. It is a label of a metric.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
pub struct RuleName(CompactString);

impl RuleName {
    /// The name written `text`; `None` where that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
        let words = |text: &str| {
            text.split(' ')
                .all(|part| !part.is_empty() && part.bytes().all(word))
        };
        let fits = text.len() <= RULE_NAME_CHARS_MAX && words(text);
        (fits && !holds_card_number(text)).then(|| Self(CompactString::new(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RuleName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// What follows from a rule that holds, the strictest last.
#[derive(
    Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum RuleOutcome {
    /// The hit is written down, and the buyer passes.
    Observe = 0,
    /// The money is set aside, and a person decides whether to take it.
    Review = 1,
    /// The attempt is refused.
    Block = 2,
}

impl RuleOutcome {
    /// All, strictest last.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Review, Self::Block];

    /// The language's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Review => "review",
            Self::Block => "block",
        }
    }
}

/// A rule that an attempt met.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RuleHit {
    pub rule: RuleName,
    /// What follows from it.
    pub outcome: RuleOutcome,
}

/// Where a payment came from: what its outcome is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PaymentSource {
    pub card: CardToken,
    /// What it paid for.
    pub product: ProductId,
    /// The buyer's address, if the shop named it.
    pub ip: Option<IpAddr>,
    /// The buyer's device, if the shop named it.
    pub device: Option<DeviceId>,
}

/// Where a set of rules comes from.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum RulesSource {
    /// They are shipped with the program.
    Shipped = 0,
    /// The file that the configuration names.
    File = 1,
    /// `PUT /admin/risk/rules`.
    Administration = 2,
}

impl RulesSource {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::File => "file",
            Self::Administration => "administration",
        }
    }
}

/// How much of a counter is kept, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct CounterKept {
    /// The counter's index.
    pub counter: u8,
    /// How many of its instants or values are kept.
    pub depth: u16,
    /// Since when; the epoch where there was nothing to count before.
    pub since: UnixMs,
}

/// These risk rules are in force from here on.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RiskRulesSet {
    /// As TOML.
    pub text: String,
    /// The first half of the text's SHA-256.
    pub digest: Digest16,
    /// Where they come from.
    pub source: RulesSource,
    /// What is kept for them, beyond what always is.
    pub kept: Vec<CounterKept>,
    /// Who set them, where it was the operator.
    pub by: Option<AdminAct>,
}

impl RiskRulesSet {
    /// The name of the API key that ordered it, where one did.
    pub const fn owner(&self) -> Option<&KeyOwner> {
        match &self.by {
            Some(by) => Some(&by.owner),
            None => None,
        }
    }
}

/// From here on attempts are scored so.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct RiskScoringSet {
    /// The version of the list of features that are written into the events of all attempts;
    /// `None`: of those alone that a model scores.
    pub features: Option<u16>,
    /// The model in force, where there is one.
    pub model: Option<ModelInForce>,
    /// What is kept of counters for features, beyond what always is.
    pub kept: Vec<CounterKept>,
}

/// Which model scores attempts.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ModelInForce {
    /// The first half of the SHA-256 of its file.
    pub digest: Digest16,
    /// Its kind, as the file says it.
    pub kind: String,
    /// What the file calls it, where it does.
    pub name: Option<String>,
}

/// A buyer was paused, or the pause was lifted.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerPaused {
    pub user: UserId,
    /// Until when and why; `None`: the pause is lifted.
    pub pause: Option<Pause>,
    /// Who did it.
    pub by: AdminAct,
}

/// A buyer's attempts are refused for a while.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Pause {
    /// From then on they are not.
    pub until: UnixMs,
    /// The operator's reason; at most 500 characters.
    pub reason: String,
}

/// The operator rated a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct BuyerRated {
    pub user: UserId,
    /// How; what it does not say is not known any more.
    pub rating: Rating,
    /// Who did it.
    pub by: AdminAct,
}

/// What the operator knows of a buyer that rules can speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Rating {
    /// Which segment the buyer is in.
    pub segment: Option<Segment>,
    /// How risky the buyer is, 0 to 1,000.
    pub risk_score: Option<u32>,
    /// Since when the buyer's account is there.
    pub account_since: Option<UnixMs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rules_are_words_with_single_spaces() {
        for good in ["card testing", "a", "ip: 10.0-x_1", &"a".repeat(64)] {
            assert!(RuleName::parse(good).is_some(), "{good}");
        }
        for bad in ["", " a", "a ", "a  b", "ä", "a\"b", "a\nb", &"a".repeat(65)] {
            assert!(RuleName::parse(bad).is_none(), "{bad}");
        }
    }
}
