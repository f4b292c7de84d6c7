//! The engine's state: a shard with its buyers, purchases and keys, and the catalogue.

mod buyers;
pub mod catalogue;
pub mod correction;
pub mod profile;
pub mod purchase;
pub(in crate::engine) mod purchases;
pub mod scrutiny;
pub mod segments;
pub mod shard;
pub mod spending;
pub(in crate::engine) mod tries;
