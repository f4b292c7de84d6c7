//! The purchase core for limited drops.
