//! The engine's state: shards with their buyers, purchases and keys, and the catalogue.
//!
//! Invariant: only `apply` and `image` create a shard, and only `apply` changes it. Its fields are
//! private to this folder, and no reference that leaves it allows a change.

pub mod apply;
pub(in crate::engine) mod buyer;
pub(in crate::engine) mod buyers;
pub mod catalogue;
pub(in crate::engine) mod corrections;
pub(in crate::engine) mod disputes;
pub(in crate::engine) mod history;
pub mod image;
pub(in crate::engine) mod keys;
pub mod profile;
pub(in crate::engine) mod purchase;
pub(in crate::engine) mod purchases;
mod reads;
pub mod segments;
pub mod shard;
pub(in crate::engine) mod spending;
pub(in crate::engine) mod tries;
