//! Owns the section `backup`: the target of the backup, and its access.

use super::ConfigError;
use super::read::{ConfigReader, invalid};
use super::source::Sources;
use crate::backup::{BackupSettings, BadTarget, StoreAccess, StoreTarget};
use std::path::PathBuf;
use std::time::Duration;

/// Minimum length of the access key and its secret.
const KEY_CHARS_MIN: usize = 1;

/// The settings for the backup commands.
#[derive(Debug)]
pub struct BackupTools {
    /// `storage.data_dir`.
    pub data_dir: PathBuf,
    /// The access to the store.
    pub access: StoreAccess,
}

impl BackupTools {
    /// Reads these settings from `sources`. The other sections may be absent or wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let table = sources.merged()?;
        let mut reader = ConfigReader::new(&table, &sources.environment, sources.demo);
        Ok(Self {
            data_dir: reader.text("storage.data_dir")?.into(),
            access: access(&mut reader)?,
        })
    }

    /// Parses `url` as a target; errors name the flag `flag`.
    pub fn target(&self, flag: &str, url: &str) -> Result<StoreTarget, ConfigError> {
        StoreTarget::parse(url, self.access.clone()).map_err(|why| bad(flag, why))
    }
}

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Result<Option<BackupSettings>, ConfigError> {
    let to = reader.text_if_given("backup.to")?;
    let access = access(reader)?;
    let every = Duration::from_millis(reader.integer("backup.every_ms")?);
    let keep = Duration::from_secs(reader.integer("backup.keep_s")?);
    let log_kept_bytes_max = reader.integer("backup.log_kept_bytes_max")?;
    let Some(to) = to else { return Ok(None) };
    let target = StoreTarget::parse(&to, access).map_err(|why| bad("backup.to", why))?;
    Ok(Some(BackupSettings {
        target,
        every,
        keep,
        log_kept_bytes_max,
    }))
}

fn access(reader: &mut ConfigReader<'_>) -> Result<StoreAccess, ConfigError> {
    let access_key = reader.secret_if_given("backup.access_key", KEY_CHARS_MIN)?;
    let secret_key = reader.secret_if_given("backup.secret_key", KEY_CHARS_MIN)?;
    let keys = match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Some((access_key, secret_key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(invalid(
                "backup.secret_key",
                "must be set together with backup.access_key",
            ));
        }
        (None, Some(_)) => {
            return Err(invalid(
                "backup.access_key",
                "must be set together with backup.secret_key",
            ));
        }
    };
    Ok(StoreAccess {
        endpoint: reader.text_if_given("backup.endpoint")?,
        region: reader.text("backup.region")?,
        ca_file: reader.text_if_given("backup.ca_file")?.map(PathBuf::from),
        keys,
    })
}

fn bad(key: &str, why: BadTarget) -> ConfigError {
    match why {
        BadTarget::Form => invalid(key, why.to_string()),
        BadTarget::Endpoint => invalid("backup.endpoint", why.to_string()),
        BadTarget::Keys => invalid(
            "backup.access_key",
            "is not set, and backup.secret_key is not set: an s3:// target needs both",
        ),
    }
}
