//! holdfast: the purchase core for limited drops.
//!
//! The folder tree is the architecture, lowest first: [`money`], [`ids`] and [`time`] are words;
//! [`engine`] decides and applies, without I/O, clock or async; [`journal`] gives it a clock, a
//! durable log and snapshots. `docs/architecture.md` has the picture and the rules of who may use
//! whom; `tests/project/architecture.rs` enforces them.
#![forbid(unsafe_code)]
// They panic where a pipe was closed; `cli` writes without them.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod backup;
pub mod calling;
pub mod causes;
pub mod cli;
pub mod config;
pub mod engine;
pub mod files;
pub mod http;
pub mod ids;
pub mod job;
pub mod journal;
pub mod json;
pub mod money;
pub mod payments;
pub mod random;
pub mod receipts;
pub mod reconcile;
pub mod replay;
pub mod report;
pub mod risk;
pub mod telemetry;
pub mod time;
pub mod trace;
pub mod trust;
pub mod webhooks;
