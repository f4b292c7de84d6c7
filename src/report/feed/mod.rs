//! The feed: carries every durable event from the log to each sink.
//!
//! Invariants: a sink sees events in the order of the log and none that is not durable; its cursor
//! is saved only after what it has passed is delivered or lies among the dead letters; the log is
//! kept from every cursor on. No sink is ever waited for by a buyer.
//!
//! `sink` says what a sink is, `sinks` runs them all, `runner` runs one (`redrive` its dead letters,
//! `returning` takes back what is of another history), `reader` gathers its
//! batches, `cursor` and `dead_letters` keep what has to outlive the process, `control` is what
//! the outside sees.

mod control;
pub mod cursor;
mod dead_letters;
pub mod files;
mod reader;
mod redrive;
mod returning;
mod runner;
pub mod sink;
mod sinks;
mod wait;

pub use control::{Redriven, SinkStatus};
pub use cursor::{CursorError, Gap, Lost, Mode};
pub use dead_letters::{Letter, LetterError, letter_json};
pub use sinks::{FeedError, FeedSettings, OnDiskFull, SinkRefusal, Sinks, retentions};
pub use wait::Backoff;
