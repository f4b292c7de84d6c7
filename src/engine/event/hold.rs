//! Owns the facts about units set aside, given up and run out.

use super::{Flow, HeldQuote, Origin, Quote, RuleHit};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::score::Appraisal;
use crate::ids::{CardToken, DeviceId, ProductId, PromotionCode, PurchaseId, UserId};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};
use std::net::IpAddr;

/// Units were reserved for a buyer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// The new purchase.
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    pub quantity: u32,
    /// What it costs, in the currency that is shown.
    pub quote: Quote,
    /// What it costs in each other currency: a hold fixes the terms in all of them. Of a buy's own
    /// hold there are none, as it is paid at once.
    pub other_quotes: Vec<HeldQuote>,
    /// Reward tokens that each unit brings once it is paid.
    pub reward_tokens: u32,
    /// The promotion used.
    pub promotion: Option<PromotionCode>,
    /// When the hold runs out, unless a payment pins it.
    pub expires_at: UnixMs,
    pub metadata: Metadata,
    pub flow: Flow,
    pub origin: Origin,
    /// The risk rules that matched.
    pub hits: Vec<RuleHit>,
    /// What it was scored by; of a buy's hold, its payment says it.
    pub appraisal: Appraisal,
}

/// A hold was released.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldReleased {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub origin: Origin,
}

/// A hold expired unpaid.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldExpired {
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    pub quantity: u32,
    /// The card that it was last tried with, if any was.
    pub card: Option<CardToken>,
    /// The address that it was placed from, where the shop said it.
    pub ip: Option<IpAddr>,
    /// The device, likewise.
    pub device: Option<DeviceId>,
}
