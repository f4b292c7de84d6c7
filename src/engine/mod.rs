//! The engine: decides commands and applies events, in memory.
//!
//! What belongs to one buyer is ordered: it lives in one shard and changes one event at a time.
//! What buyers share commutes: stock, promotion uses and velocity are lock-free cells.
//!
//! Its folders only look down, in this order: `words`, `event`, `cells`, `state`, `shared`, `risk`,
//! `decide`, `apply`, `query`, `image`. Other rooms use the names that stand here; files of the
//! engine name each other by their whole path.
//! Deliberately absent: I/O, async, the clock, logging, serde. Instants and LSNs come in from the
//! journal with each call; `tests/project/architecture.rs` keeps it so.

pub mod apply;
pub mod cells;
pub mod decide;
pub mod event;
pub mod image;
pub mod query;
pub mod risk;
pub mod shared;
pub mod state;
pub mod words;

pub use decide::command;
pub use query::{footprint, view};
pub use shared::velocity;
pub use state::{catalogue, correction, profile, purchase, scrutiny, segments, shard, spending};
pub use words::{dispute, lifecycle, metadata, payable, refusal, rejection, settings};
