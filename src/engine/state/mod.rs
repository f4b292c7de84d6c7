//! The engine's state: shards with their buyers, purchases and keys, and the catalogue.
//!
//! Invariant: a shard is changed by `apply`, and made by `apply` and `image`, alone. Its fields are
//! private to this folder, and nothing that leaves it gives a reference by which it could be changed;
//! everybody else reads.

pub mod apply;
pub(in crate::engine) mod buyer;
pub(in crate::engine) mod buyers;
pub mod catalogue;
pub(in crate::engine) mod corrections;
pub(in crate::engine) mod disputes;
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
