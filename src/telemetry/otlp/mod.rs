//! Owns where spans are sent: an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Deliberately absent: which requests are traced (`tracer`). A build without the feature `otlp` has
//! the settings and refuses them (`config`).

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod messages;

use super::tracer::Tracer;
use std::sync::Arc;

/// Where spans are sent, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    /// `http://` or `https://`, without a slash at the end; `/v1/traces` is put behind it.
    pub endpoint: String,
    /// Of a million requests whose caller did not decide, so many are traced.
    pub ratio_millionths: u32,
}

/// Traces requests and sends their spans, on a thread of its own; without settings, nothing.
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
    #[error("cannot start the thread that exports spans: {0}; check the limit of threads")]
    Thread(#[from] std::io::Error),
    #[error("TLS cannot be set up for telemetry.otlp_endpoint: {0}")]
    Tls(#[from] rustls::Error),
}
