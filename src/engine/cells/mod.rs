//! What buyers share: sums and sets for which the order of arrival does not matter.
//!
//! Every cell here is lock-free: a call finishes in a bounded number of its own steps or because another call got
//! through. Only [`VelocityTable`], which finds cells by key, locks the part of the map that a key is in for as long as its cell
//! is used. None of them knows events, shards, clocks or the log; instants come in as milliseconds.
//!
//! 1. A claim never passes its bound ([`StockCell`], [`PromotionCell`], [`AmountCell`]).
//! 2. A fingerprint is fresh to exactly one caller within the retention ([`ReplayGuard`]).
//! 3. Of a key's instants, or of its distinct values, the latest are kept. Neither the order nor a repetition makes a
//!    difference ([`VelocityTable`]).
//!
//! Left out on purpose: who may claim what, and when a claim becomes an event. That is the shard's `decide`.

mod amount;
mod cell;
mod claim;
mod distinct_cell;
mod promotion;
mod replay_guard;
mod stock;
mod sync;
mod velocity;
mod velocity_cell;

#[cfg(all(test, not(loom)))]
mod tests;

pub use amount::{AmountCell, Taken};
pub use cell::{AT_MS_MAX, AttemptInstant, Cell, DEPTH_MAX};
pub use claim::{BoundedCounter, Claim};
pub use distinct_cell::{DistinctCell, ValueSeen};
pub use promotion::{
    MaxBelowUses, OwnedPromotionClaim, PromotionCell, PromotionClaim, PromotionLevels,
};
pub use replay_guard::{
    Admission, CLOCK_SKEW_MS, Fingerprint, GenerationExport, GuardFull, RETENTION_MS_MAX,
    ReplayGuard,
};
pub use stock::{
    OwnedStockClaim, StockCell, StockClaim, StockLevels, TotalRefused, UNITS_MAX, UnitsOutOfRange,
};
pub use velocity::{KEYS_MIN, KeyDigest, VelocityTable};
pub use velocity_cell::VelocityCell;
