//! Owns the facts of the audit trail: administrative acts, and those that were refused.
//!
//! Invariants: bounded in size whatever was done ([`Shown::BYTES_MAX`], [`Target::BYTES_MAX`]); a
//! target never holds what looks like a card number. What is shown was made by whoever did the act,
//! who leaves out secrets and card numbers. Applying any of these changes nothing.
//! Deliberately absent: what was done itself, which is the event beside it in the same append.

use super::{AdminAct, Event, Group, TrailEvent};
use crate::ids::{KeyOwner, RequestId, holds_card_number};
use rkyv::{Archive, Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What somebody does as an administrator. The words stand in the log: they are never given to
/// another act.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A product is set.
    ProductSet,
    /// A product's units are changed by a number.
    StockChanged,
    /// A promotion is set.
    PromotionSet,
    /// A snapshot is taken.
    Snapshot,
    /// Captured money is given back.
    Refund,
    /// An authorization is given back.
    Void,
    /// A capture of another sum than was asked for is settled.
    Settle,
    /// A webhook secret is added.
    WebhookSecretAdded,
    /// A webhook secret is retired.
    WebhookSecretRetired,
    /// The gateway's charges are compared with ours.
    Reconcile,
    /// A purchase under review is approved.
    ReviewApproved,
    /// A purchase under review is rejected.
    ReviewRejected,
    /// A sink is paused.
    SinkPaused,
    /// A sink goes on.
    SinkResumed,
    /// An endpoint of webhooks is sent a ping.
    WebhookTested,
    /// A sink's dead letters are delivered again.
    DeadLettersRedriven,
    /// The configuration is read again.
    ConfigurationReloaded,
    /// Risk rules are put in force.
    RiskRulesSet,
    /// A buyer is paused.
    BuyerPaused,
    /// A buyer's pause is lifted.
    BuyerUnpaused,
    /// A buyer is rated.
    BuyerRated,
    /// Segments are computed again.
    SegmentsRefreshed,
    /// The operator orders to go on with a restored or copied history of the log.
    HistoryAccepted,
    /// What another system kept is taken over.
    Imported,
    /// A shop's call by a key that is not a shop's; in the trail only because it was refused.
    ShopCall,
    /// Something is read; in the trail only where that was refused.
    Read,
    /// Something that there is not; in the trail only because it was refused.
    Unknown,
}

impl Act {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProductSet => "product_set",
            Self::StockChanged => "stock_changed",
            Self::PromotionSet => "promotion_set",
            Self::Snapshot => "snapshot",
            Self::Refund => "refund",
            Self::Void => "void",
            Self::Settle => "settle",
            Self::WebhookSecretAdded => "webhook_secret_added",
            Self::WebhookSecretRetired => "webhook_secret_retired",
            Self::Reconcile => "reconcile",
            Self::ReviewApproved => "review_approved",
            Self::ReviewRejected => "review_rejected",
            Self::SinkPaused => "sink_paused",
            Self::SinkResumed => "sink_resumed",
            Self::WebhookTested => "webhook_tested",
            Self::DeadLettersRedriven => "dead_letters_redriven",
            Self::ConfigurationReloaded => "configuration_reloaded",
            Self::RiskRulesSet => "risk_rules_set",
            Self::BuyerPaused => "buyer_paused",
            Self::BuyerUnpaused => "buyer_unpaused",
            Self::BuyerRated => "buyer_rated",
            Self::SegmentsRefreshed => "segments_refreshed",
            Self::HistoryAccepted => "history_accepted",
            // The word that stood in logs before acts had targets.
            Self::Imported => "import",
            Self::ShopCall => "shop_call",
            Self::Read => "read",
            Self::Unknown => "unknown",
        }
    }
}

/// In what role somebody acted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum ActorRole {
    /// With a shop's key.
    Shop = 0,
    /// With an administrator's key.
    Admin = 1,
    /// With an auditor's key.
    Auditor = 2,
    /// With a key for metrics.
    Metrics = 3,
    /// With no key, from the machine itself: a signal, a command.
    Process = 4,
}

impl ActorRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Metrics => "metrics",
            Self::Process => "process",
        }
    }
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Actor {
    /// The request; 0: there was none.
    pub request: RequestId,
    /// The name of the API key it came with.
    pub owner: KeyOwner,
    /// What that key may do.
    pub role: ActorRole,
}

impl Actor {
    /// The one of `act`, in this role.
    pub fn of(act: AdminAct, role: ActorRole) -> Self {
        Self {
            request: act.request,
            owner: act.owner,
            role,
        }
    }
}

/// What an act is about: an id, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Target(String);

impl Target {
    /// The longest one.
    pub const BYTES_MAX: usize = 128;

    /// The one named `text`; `None` where that is too long, not of visible ASCII, or looks like a
    /// card number.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && plain && !holds_card_number(text)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an act's target was or is, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Shown(String);

impl Shown {
    /// The longest one. Products and promotions stay below it.
    pub const BYTES_MAX: usize = 16_384;

    /// This JSON; where it is longer than the trail keeps, its length and SHA-256 in its place, so
    /// that two can still be told apart.
    pub fn new(json: String) -> Self {
        if json.len() <= Self::BYTES_MAX {
            return Self(json);
        }
        let digest = hex::encode(Sha256::digest(json.as_bytes()));
        Self(format!(
            "{{\"omitted_bytes\":{},\"sha256\":\"{digest}\"}}",
            json.len()
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An administrative act. What it changed is another event in the same append.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AdminActed {
    /// What was done: [`Act::as_str`].
    pub act: String,
    /// What it was done to.
    pub target: Option<Target>,
    /// How that was before, where there is something to show.
    pub before: Option<Shown>,
    /// How it is after, likewise.
    pub after: Option<Shown>,
    /// Who did it.
    pub by: Actor,
}

/// An administrative act, or a look at what is the administrators', that was refused to a known key.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct AdminRefused {
    /// What was wanted: [`Act::as_str`].
    pub act: String,
    /// What it was wanted of, where that could be told.
    pub target: Option<Target>,
    /// Why not: the `reason` of the answer.
    pub reason: String,
    /// Refusals to the same key just before this one that were not written down, because there were
    /// more than are kept.
    pub left_out: u64,
    /// Who wanted it.
    pub by: Actor,
}

impl Event {
    /// The word for the administrative act that this event is, done or refused.
    pub fn act(&self) -> Option<&str> {
        match self.group() {
            Group::Trail(TrailEvent::AdminActed(e)) => Some(&e.act),
            Group::Trail(TrailEvent::AdminRefused(e)) => Some(&e.act),
            Group::Hold(_)
            | Group::Payment(_)
            | Group::Review(_)
            | Group::Refund(_)
            | Group::Dispute(_)
            | Group::Attempt(_)
            | Group::Buyer(_)
            | Group::Catalogue(_)
            | Group::Risk(_)
            | Group::Webhook(_)
            | Group::Core(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_targets_are_still_distinguishable() {
        let longest = "a".repeat(Shown::BYTES_MAX);
        assert_eq!(Shown::new(longest.clone()).as_str(), longest);
        let (one, other) = (format!("{longest}b"), format!("{longest}c"));
        let (one, other) = (Shown::new(one), Shown::new(other));
        assert!(one.as_str().starts_with("{\"omitted_bytes\":16385,"));
        assert!(one.as_str().len() < 128 && one != other);
    }

    #[test]
    fn a_target_is_an_id_or_a_path_and_no_card_number() {
        for text in [
            "drop-1",
            "/admin/audit",
            "p_00000000000001075a17c0de5a17c0de",
            "a:b",
        ] {
            assert_eq!(Target::parse(text).unwrap().as_str(), text);
        }
        let long = "a".repeat(129);
        for text in ["", "a b", "ü", "a\n", "4111111111111111", long.as_str()] {
            assert_eq!(Target::parse(text), None, "{text}");
        }
    }
}
