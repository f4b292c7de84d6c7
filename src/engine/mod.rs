//! The engine: decides commands and applies events, in memory.
//!
//! What belongs to one buyer is ordered: it lives in one shard and changes one event at a time.
//! What buyers share commutes: stock, promotion uses and velocity are lock-free cells.
//!
//! Its folders only look down, in this order: `cells`, `words`, `event`, `state`, `shared`, `risk`,
//! `decide`, `query`. Other rooms use the names that stand here; files of the engine name each other
//! by their whole path.
//! Deliberately absent: I/O, async, the clock, logging, serde. Instants and LSNs come in from the
//! journal with each call; `tests/project/architecture.rs` keeps all of it so.

pub mod cells;
pub mod decide;
pub mod event;
pub mod query;
pub mod risk;
pub mod shared;
pub mod state;
pub mod words;

pub use decide::command;
pub use query::{disputed, footprint, keys, view};
pub use shared::velocity;
pub use state::{apply, catalogue, image, profile, segments, shard};
pub use words::{
    counter, dispute, features, lifecycle, metadata, payable, refusal, rejection, score, settings,
    stamp,
};
