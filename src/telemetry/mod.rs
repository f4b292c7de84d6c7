//! Owns what the program says about itself: log lines, metrics, and spans of traced requests.
//!
//! Deliberately absent: any report of business facts, which are events in the log. Nothing here
//! takes a secret, a card, a user or free text from outside as a value.

mod exemplar;
pub mod exposition;
pub mod families;
pub mod histogram;
mod log_rate;
mod log_writer;
pub mod logging;
pub mod metrics;
pub mod otlp;
pub mod process;
pub mod requests;
pub mod tracer;
