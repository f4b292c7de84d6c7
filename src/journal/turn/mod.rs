//! A shard's turn, and what happens in one: commands of buyers, steps of payments, acts; and what takes
//! all turns at once, because every shard follows it at one place of the log.

pub(in crate::journal) mod attempt;
pub(in crate::journal) mod audit;
pub(in crate::journal) mod commands;
pub(in crate::journal) mod correction;
pub(in crate::journal) mod limits;
pub(in crate::journal) mod money;
pub(in crate::journal) mod outcome;
pub(in crate::journal) mod shard_turn;
pub(in crate::journal) mod trail;
