//! The engine: decides commands and applies events, in memory.
//!
//! What belongs to one buyer is ordered: it lives in one shard and changes one event at a time.
//! What buyers share commutes: stock, promotion uses and velocity are lock-free cells.
//! Deliberately absent: I/O, async, the clock, logging, serde. Instants and LSNs come in from the
//! journal with each call; `tests/project/architecture.rs` keeps it so.

mod aftermath_view;
pub mod apply;
mod apply_aftermath;
mod apply_imported;
mod buyers;
pub mod catalogue;
pub mod cells;
pub mod command;
pub mod correction;
pub mod decide;
pub mod dispute;
pub mod event;
pub mod footprint;
mod forget;
pub mod image;
pub mod lifecycle;
pub mod metadata;
pub mod payable;
pub mod profile;
pub mod purchase;
mod purchases;
pub mod quota;
pub mod refusal;
pub mod rejection;
pub mod risk;
pub mod scrutiny;
pub mod segments;
pub mod settings;
pub mod shard;
pub mod shared;
pub mod spending;
mod tries;
pub mod velocity;
pub mod view;
