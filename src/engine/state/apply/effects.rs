//! Owns what an event changes in shared cells, besides the claims that it took over.
//!
//! Deliberately absent: changing them, which waits until the event is in the log
//! (`shared::effects`).

use crate::engine::state::catalogue::{ProductIndex, PromotionIndex};
use crate::engine::state::spending::SharedCount;

/// The changes of shared cells that follow from an event, besides the claims that it took over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units of a product.
    pub stock: Option<StockMove>,
    /// A use of a promotion to give back.
    pub promotion: Option<PromotionIndex>,
    /// What of a payment counts no more.
    pub uncounted: Option<Box<SharedCount>>,
    /// What of a payment counts beyond what was claimed for it.
    pub counted: Option<Box<SharedCount>>,
}

/// A movement of units.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StockMove {
    /// Held units become available.
    GiveBack(ProductIndex, u32),
    /// Held units become sold.
    Sell(ProductIndex, u32),
    /// Sold units become available: the goods are back.
    Restock(ProductIndex, u32),
}
