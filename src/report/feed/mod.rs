//! The feed delivers every durable event from the log to each sink.
//!
//! Invariants: a sink sees events in the order of the log, and only durable ones; its cursor is
//! saved only after everything before it is delivered or among the dead letters; the log is kept
//! from every cursor on. No buyer ever waits for a sink.
//!
//! `sink` defines a sink, `sinks` runs them all, `runner` runs one (`opening` opens it, `burying` makes dead letters,
//! `redrive` delivers them again, `returning` takes back events of another history, `putting_off` follows what a
//! sink has put off), `reader` gathers its batches, `cursor` and `dead_letters` keep what survives the process,
//! `disk_watch` gives sinks up, `control` is what operators see.

mod burying;
mod control;
pub mod cursor;
mod dead_letters;
mod disk_watch;
pub mod files;
mod opening;
mod putting_off;
mod reader;
mod redrive;
mod returning;
mod runner;
pub mod sink;
mod sinks;
mod wait;

pub use control::{Redriven, SinkStatus};
pub use cursor::{CursorError, Gap, Lost, Mode};
pub(in crate::report) use dead_letters::{DeadLetters, Durability};
pub use dead_letters::{Letter, LetterError, letter_json};
pub use sinks::{FeedError, FeedSettings, OnDiskFull, SinkRefusal, Sinks, retentions};
pub use wait::Backoff;
