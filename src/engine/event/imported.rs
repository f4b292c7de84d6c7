//! Owns the facts that were taken over from the system that sold before: baselines, keys, nonces.
//!
//! Invariants: a baseline says how much there is, not how much more, so that the same import again
//! changes nothing. Deliberately absent: where they were read (`cli`), and purchases: of what was
//! sold elsewhere only the sums are known here.

use crate::ids::{Digest16, ProductId, PromotionCode, UserId};
use rkyv::{Archive, Deserialize, Serialize};

/// Units of a product were sold before this core sold it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StockImported {
    pub product: ProductId,
    /// Units sold elsewhere, in all.
    pub sold: u32,
}

/// A promotion was used before this core knew it.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PromotionUsesImported {
    pub code: PromotionCode,
    /// Uses made elsewhere, in all.
    pub uses: u32,
}

/// A buyer has units of a product that were bought elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct HoldingsImported {
    pub user: UserId,
    pub product: ProductId,
    /// Units bought elsewhere, in all.
    pub units: u32,
}

/// An idempotency key was used elsewhere: its outcome is known there, and none may come here.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct KeyImported {
    pub user: UserId,
    /// Digest of the API key's owner, the user and the key.
    pub scope: Digest16,
}

/// Webhook nonces were used elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct NoncesImported {
    /// What stands for each.
    pub nonces: Vec<u64>,
}
