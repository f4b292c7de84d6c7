//! Owns the sections `storage` and `clock`: the log on disk, and which differences of the wall clock
//! are followed.

use super::ConfigError;
use super::read::{ConfigReader, integer_in_range, invalid};
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

/// The log.
#[derive(Debug)]
pub struct StorageConfig {
    pub data_dir: PathBuf,
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Size of the ring buffer, a power of two.
    pub ring_bytes: usize,
    /// Bytes of log between two snapshots.
    pub snapshot_every_bytes: u64,
    /// `None`: every response waits for the disk.
    pub sync_interval_ms: Option<u64>,
    /// Whether the witness is kept.
    pub witness: bool,
    /// Free disk space that new purchases need.
    pub disk_free_bytes_min: u64,
}

/// Which differences of the wall clock are followed.
#[derive(Debug)]
pub struct ClockConfig {
    /// The largest difference that is not a step, in milliseconds.
    pub step_max_ms: u64,
    /// How long a step must last before it is followed.
    pub settle: Duration,
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<StorageConfig, ConfigError> {
    let ring_bytes = reader.size("storage.ring_bytes")?;
    if !ring_bytes.is_power_of_two() {
        return Err(invalid(
            "storage.ring_bytes",
            "must be a power of two, such as 8388608",
        ));
    }
    Ok(StorageConfig {
        data_dir: reader.text("storage.data_dir")?.into(),
        segment_bytes: reader.integer("storage.segment_bytes")?,
        ring_bytes,
        snapshot_every_bytes: reader.integer("storage.snapshot_every_bytes")?,
        sync_interval_ms: sync_interval(reader)?,
        witness: reader.switch("storage.witness")?,
        disk_free_bytes_min: reader.integer("storage.disk_free_bytes_min")?,
    })
}

pub(super) fn clock(reader: &mut ConfigReader<'_>) -> Result<ClockConfig, ConfigError> {
    Ok(ClockConfig {
        step_max_ms: reader.integer("clock.step_max_ms")?,
        settle: Duration::from_secs(reader.integer("clock.settle_s")?),
    })
}

fn sync_interval(reader: &mut ConfigReader<'_>) -> Result<Option<u64>, ConfigError> {
    const FORMS: &str = "must be \"always\" or { interval_ms = 50 }";
    match reader.given("storage.sync") {
        None => {}
        Some(Value::String(word)) if word == "always" => {}
        Some(Value::Table(table)) => {
            let value = table
                .get("interval_ms")
                .ok_or_else(|| invalid("storage.sync", FORMS))?;
            let path = "storage.sync.interval_ms";
            let interval_ms = integer_in_range(path, path, value)?;
            reader.show(
                "storage.sync",
                serde_json::json!({ "interval_ms": interval_ms }),
            );
            return Ok(Some(interval_ms));
        }
        Some(_) => return Err(invalid("storage.sync", FORMS)),
    }
    reader.show("storage.sync", "always".into());
    Ok(None)
}
