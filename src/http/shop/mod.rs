//! The calls of a shop: holds, purchases, receipts, reward tokens, and what it reads.

pub mod buying;
pub mod orders;
pub mod reads;
pub mod render;
pub mod rewards;
