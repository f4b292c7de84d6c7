//! A shard's turn and the work within one: commands of buyers, steps of payments, acts. Changes that
//! every shard must follow at one LSN take all turns at once.

pub(in crate::journal) mod attempt;
pub(in crate::journal) mod audit;
pub(in crate::journal) mod commands;
pub(in crate::journal) mod correction;
pub(in crate::journal) mod limits;
pub(in crate::journal) mod money;
pub(in crate::journal) mod outcome;
pub(in crate::journal) mod shard_turn;
pub(in crate::journal) mod trail;
