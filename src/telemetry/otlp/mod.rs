//! Owns where spans and metrics are sent: an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Deliberately absent: which requests are traced (`tracer`), and the figures (`exposition`). A build without the feature `otlp` has
//! the settings and refuses them (`config`).

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod messages;
#[cfg(feature = "otlp")]
mod metrics;

use super::tracer::Tracer;
use std::sync::Arc;
use std::time::Duration;

/// Where spans and metrics are sent, how many and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// `http://` or `https://`, without a slash at the end; `/v1/traces` and `/v1/metrics` are put
    /// behind it.
    pub endpoint: String,
    /// Of a million requests whose caller did not decide, so many are traced.
    pub ratio_millionths: u32,
    /// `None`: metrics are not sent.
    pub metrics_every: Option<Duration>,
}

/// Traces requests and sends their spans and the metrics, on a thread of its own; without settings,
/// nothing.
pub fn start(settings: Option<&OtlpSettings>) -> Result<Arc<Tracer>, OtlpError> {
    match settings {
        None => Ok(Arc::default()),
        #[cfg(feature = "otlp")]
        Some(settings) => export::start(settings),
        #[cfg(not(feature = "otlp"))]
        Some(_) => unreachable!("the configuration refuses what is not built in"),
    }
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("cannot start the thread that exports telemetry: {0}; check the limit of threads")]
    Thread(#[from] std::io::Error),
    #[error("TLS cannot be set up for telemetry.otlp_endpoint: {0}")]
    Tls(#[from] rustls::Error),
}
