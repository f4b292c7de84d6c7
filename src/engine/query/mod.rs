//! What the engine shows of itself: owned copies of its state, and the memory that its bounds
//! allow.
//!
//! Invariant: it only reads.

mod buyer;
mod catalogue;
mod declines;
pub mod disputed;
pub mod footprint;
pub mod keys;
mod open;
mod page;
mod payments;
mod purchase;
mod sizes;
pub mod view;
