//! Owns the facts about units set aside, given up and run out.

use super::{Flow, Origin, Quote, RuleHit};
use crate::engine::risk::score::Appraisal;
use crate::ids::{ProductId, PromotionCode, PurchaseId, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Units were set aside for a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// The new purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Of what.
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
    /// What it costs.
    pub quote: Quote,
    /// The promotion used.
    pub promotion: Option<PromotionCode>,
    /// When the hold runs out, unless a payment pins it.
    pub expires_at: UnixMs,
    /// By which call.
    pub flow: Flow,
    /// Where it came from.
    pub origin: Origin,
    /// The risk rules that it met.
    pub hits: Vec<RuleHit>,
    /// What it was scored by; of a buy's hold, its payment says it.
    pub appraisal: Appraisal,
}

/// A hold was given up.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
    /// Where it came from.
    pub origin: Origin,
}

/// A hold ran out.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldExpired {
    /// Which purchase.
    pub purchase: PurchaseId,
    /// Whose it is.
    pub user: UserId,
}
