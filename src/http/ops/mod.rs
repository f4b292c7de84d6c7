//! Requests of monitoring systems: probes and metrics.

pub(super) mod capacity;
pub(super) mod jobs;
pub(super) mod metrics;
pub(super) mod probes;
pub(super) mod readiness;
pub mod recovering;
pub(super) mod reports;
