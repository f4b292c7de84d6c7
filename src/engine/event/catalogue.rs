//! Owns the facts about products and promotions as the operator set them.

use super::AdminAct;
use crate::ids::{ProductId, PromotionCode, Segment};
use crate::money::{Amount, Currency, Price};
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// A product as the operator set it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ProductSet {
    pub product: ProductId,
    /// What it is called, at most 200 characters.
    pub name: String,
    /// A price for each currency it is sold in, in the order of the codes.
    pub prices: Vec<(Currency, Price)>,
    /// All units ever for sale, 0 to 2,097,151.
    pub stock: u32,
    /// Units that one buyer may hold and own at once; `None`: no limit.
    pub per_user_limit: Option<u32>,
    /// When the sale opens; `None`: it has always been open.
    pub starts_at: Option<UnixMs>,
    /// When the sale closes; `None`: never.
    pub ends_at: Option<UnixMs>,
    /// Whether it is for sale at all.
    pub active: Active,
    /// How long its holds last; `None`: as the configuration says.
    pub hold_ttl_ms: Option<u64>,
    /// Tokens that a purchase of one unit grants.
    pub reward_tokens: u32,
    /// Who set it.
    pub by: AdminAct,
}

/// Whether something is switched on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Active {
    /// Switched on.
    Yes = 0,
    /// Switched off.
    No = 1,
}

/// What a promotion takes off.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub enum Discount {
    /// Percent of the whole, 1 to 100, rounded down to the minor unit.
    Percent(u8),
    /// A fixed sum off the whole for each currency, at most the whole.
    Fixed(Vec<(Currency, Amount)>),
}

/// A promotion as the operator set it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PromotionSet {
    pub code: PromotionCode,
    pub discount: Discount,
    /// Uses by all buyers together.
    pub uses_max: u32,
    /// Uses by one buyer; `None`: no limit.
    pub uses_per_user_max: Option<u32>,
    /// The products it applies to; empty: all.
    pub products: Vec<ProductId>,
    /// The segments of buyers it applies to; empty: all buyers.
    pub segments: Vec<Segment>,
    /// When it begins; `None`: it always has.
    pub starts_at: Option<UnixMs>,
    /// When it ends; `None`: never.
    pub ends_at: Option<UnixMs>,
    /// Whether it applies at all.
    pub active: Active,
    /// Who set it.
    pub by: AdminAct,
}
