//! The requests of a shop: holds, purchases, receipts, reward tokens, and reads.

pub(super) mod buying;
pub(super) mod events;
pub mod orders;
pub(super) mod products;
pub(super) mod purchases;
pub(super) mod reads;
pub(super) mod receipts;
mod render;
pub(super) mod rewards;
