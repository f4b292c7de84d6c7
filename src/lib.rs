//! The purchase core for limited drops.
pub mod engine;
