//! What the engine shows of itself: owned copies of its state, and what its bounds cost in memory.
//!
//! Invariant: it reads alone.

mod buyer;
mod catalogue;
mod declines;
pub mod footprint;
pub mod keys;
mod open;
mod page;
mod payments;
mod purchase;
mod sizes;
pub mod view;
