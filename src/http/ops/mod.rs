//! What machines ask of the process: probes and metrics.

pub mod probes;
pub mod recovering;
