//! Owns where spans and metrics are sent, how often, and which requests are traced.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use crate::telemetry::otlp::OtlpSettings;
use std::time::Duration;

const ENDPOINT: &str = "telemetry.otlp_endpoint";

pub(super) fn otlp(reader: &mut ConfigReader<'_>) -> Result<Option<OtlpSettings>, ConfigError> {
    let endpoint = reader.text_if_given(ENDPOINT)?;
    let ratio_millionths = reader.small("telemetry.trace_sample_per_million")?;
    let metrics_every_s = reader.small("telemetry.metrics_every_s")?;
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    if !cfg!(feature = "otlp") {
        return Err(invalid(
            ENDPOINT,
            "is set up, but this program was built without it; build it with the cargo feature `otlp`, or remove it",
        ));
    }
    let rest = endpoint.strip_prefix("http://");
    let rest = rest.or_else(|| endpoint.strip_prefix("https://"));
    let is_plain = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default();
        let visible = rest.bytes().all(|byte| byte.is_ascii_graphic());
        !host.is_empty() && visible && !rest.contains(['@', '?', '#'])
    };
    let parsed = endpoint.parse::<hyper::Uri>();
    if !rest.is_some_and(is_plain) || parsed.is_err() {
        return Err(invalid(
            ENDPOINT,
            "must be http://HOST[:PORT] or https://HOST[:PORT], with a path if the collector has one; /v1/traces and /v1/metrics are added",
        ));
    }
    Ok(Some(OtlpSettings {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        ratio_millionths,
        metrics_every: (metrics_every_s > 0).then(|| Duration::from_secs(metrics_every_s.into())),
    }))
}
