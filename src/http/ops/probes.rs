//! Owns the probes: is the process alive, is it ready.

use super::readiness::{ReadinessCheck, readiness_json};
use crate::http::wire::answer::Answer;
use hyper::http::StatusCode;
use std::sync::Arc;

/// Liveness and readiness.
pub struct ProbeCalls {
    pub readiness: Arc<ReadinessCheck>,
}

impl ProbeCalls {
    /// Whether new purchases are accepted; the status code shows it, too.
    pub fn ready(&self) -> Answer {
        let not_ready = self.readiness.not_ready();
        let status = match not_ready {
            None => StatusCode::OK,
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer::value(status, &readiness_json(not_ready))
    }
}

/// The process is alive.
pub fn live() -> Answer {
    Answer::json(StatusCode::OK, b"{\"status\":\"live\"}".to_vec())
}
