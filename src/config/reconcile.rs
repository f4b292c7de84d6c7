//! Owns the section `reconcile`: when and how far back the gateway's list is compared.

use super::ConfigError;
use super::read::ConfigReader;
use std::time::Duration;

/// The comparison with the gateway.
#[derive(Debug)]
pub struct ReconcileConfig {
    /// Time between two runs; `None`: on request only.
    pub every: Option<Duration>,
    /// Maximum age of compared payments; `None`: all are compared.
    pub window: Option<Duration>,
    /// Pause between two pages of the gateway's list.
    pub pause: Duration,
    /// Maximum number of differences in a report.
    pub differences_max: usize,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<ReconcileConfig, ConfigError> {
    let every_s = reader.integer("reconcile.every_s")?;
    let window_s = reader.integer("reconcile.window_s")?;
    Ok(ReconcileConfig {
        every: (every_s > 0).then(|| Duration::from_secs(every_s)),
        window: (window_s > 0).then(|| Duration::from_secs(window_s)),
        pause: reader.milliseconds("reconcile.pause_ms")?,
        differences_max: reader.size("reconcile.differences_max")?,
    })
}
