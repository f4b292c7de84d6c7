//! The feed: carries every durable event from the log to each sink.
//!
//! Invariants: a sink sees events in the order of the log and none that is not durable; its cursor
//! is saved only after what it has passed is delivered or lies among the dead letters; the log is
//! kept from every cursor on. No sink is ever waited for by a buyer.
//!
//! `sink` says what a sink is.

pub mod sink;
