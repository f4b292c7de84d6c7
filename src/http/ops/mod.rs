//! Requests of monitoring systems and operators' browsers: probes, metrics, the console's files.

pub(super) mod capacity;
pub(super) mod console;
mod jobs;
pub(super) mod metrics;
pub(super) mod probes;
pub(super) mod readiness;
pub mod recovering;
pub(super) mod reports;
