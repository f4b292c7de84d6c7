//! Owns the settings of a backup: where it goes and how long it is kept.
//!
//! Invariants: a target is parsed once and is valid from then on; no credential is shown.
//! Deliberately absent: opening the store, which `store` does.

use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of a running core's backup.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    pub target: StoreTarget,
    /// Time between two uploads of the tail.
    pub every: Duration,
    /// How long every time stays restorable.
    pub keep: Duration,
    /// Maximum bytes of log that are kept while the store is unavailable.
    pub log_kept_bytes_max: u64,
}

/// A store, with the prefix of one log.
#[derive(Clone, Debug)]
pub enum StoreTarget {
    /// A bucket of an S3-compatible store.
    S3(S3Target),
    Directory(PathBuf),
}

/// A bucket with its access.
#[derive(Clone, Debug)]
pub struct S3Target {
    pub bucket: String,
    /// The prefix of all object names; may be empty.
    pub prefix: String,
    pub access: StoreAccess,
}

/// The access to a store.
#[derive(Clone, Debug, Default)]
pub struct StoreAccess {
    /// The address of the store; `None`: AWS in the region.
    pub endpoint: Option<String>,
    /// The region used to sign requests.
    pub region: String,
    /// A file with certificate authorities to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// The access key and its secret.
    pub keys: Option<(SecretString, SecretString)>,
}

/// Why a text is not a valid target.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It has a wrong form.
    #[error("must be s3://BUCKET/PREFIX or file:///DIRECTORY")]
    Form,
    /// An unencrypted endpoint that is not loopback, or one with more than a host.
    #[error(
        "must be https://HOST[:PORT], or http:// on a loopback address, with no name, password or path"
    )]
    Endpoint,
    /// The keys are missing.
    #[error("an s3:// target needs both access_key and secret_key")]
    Keys,
}

impl StoreTarget {
    /// Parses `url` as a target with this access.
    pub fn parse(url: &str, access: StoreAccess) -> Result<Self, BadTarget> {
        if let Some(path) = url.strip_prefix("file://") {
            let is_whole = path.starts_with('/') && !path.trim_matches('/').is_empty();
            return is_whole
                .then(|| Self::Directory(PathBuf::from(path)))
                .ok_or(BadTarget::Form);
        }
        let place = url.strip_prefix("s3://").ok_or(BadTarget::Form)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.trim_matches('/');
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bucket_fits = !bucket.is_empty() && bucket.chars().all(fits);
        let part_fits = |part: &str| !part.is_empty() && part.chars().all(fits);
        if !bucket_fits || !(prefix.is_empty() || prefix.split('/').all(part_fits)) {
            return Err(BadTarget::Form);
        }
        if !access.endpoint.as_deref().is_none_or(is_private_on_the_way) {
            return Err(BadTarget::Endpoint);
        }
        if access.keys.is_none() {
            return Err(BadTarget::Keys);
        }
        Ok(Self::S3(S3Target {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            access,
        }))
    }
}

impl StoreTarget {
    /// Whether it is a directory inside `data_dir`, with which the backup would be lost.
    pub fn lies_in(&self, data_dir: &Path) -> bool {
        match self {
            Self::S3(_) => false,
            Self::Directory(path) => resolved(path).starts_with(resolved(data_dir)),
        }
    }
}

/// The path with links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find_map(|it| {
        let real = it.canonicalize().ok()?;
        let rest = absolute.strip_prefix(it).ok()?;
        Some(real.join(rest))
    });
    there.unwrap_or(absolute)
}

/// Without credentials.
impl std::fmt::Display for StoreTarget {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3(target) => write!(out, "s3://{}/{}", target.bucket, target.prefix),
            Self::Directory(path) => write!(out, "file://{}", path.display()),
        }
    }
}

fn is_private_on_the_way(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<hyper::Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let has_more = uri.path_and_query().is_some_and(|it| it.as_str() != "/");
    if has_more || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return false;
    }
    let is_loopback = || {
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
    };
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<String, BadTarget> {
        let access = StoreAccess {
            keys: Some(("id".into(), "secret".into())),
            ..StoreAccess::default()
        };
        StoreTarget::parse(url, access).map(|it| it.to_string())
    }

    #[test]
    fn a_target_is_a_bucket_or_a_directory() {
        for (url, read) in [
            ("s3://drops/prod/eu", Ok("s3://drops/prod/eu")),
            ("s3://drops/prod/", Ok("s3://drops/prod")),
            ("s3://drops", Ok("s3://drops/")),
            ("file:///var/backup", Ok("file:///var/backup")),
            ("file:///", Err(BadTarget::Form)),
            ("file://var", Err(BadTarget::Form)),
            ("s3://", Err(BadTarget::Form)),
            ("s3://drops//a", Ok("s3://drops/a")),
            ("s3://drops/a//b", Err(BadTarget::Form)),
            ("s3://drops/a b", Err(BadTarget::Form)),
            ("https://drops/a", Err(BadTarget::Form)),
        ] {
            assert_eq!(parsed(url), read.map(str::to_owned), "{url}");
        }
    }

    #[test]
    fn a_store_is_reached_over_tls_or_on_this_machine() {
        for (endpoint, fits) in [
            ("https://minio.example:9000", true),
            ("http://127.0.0.1:5000", true),
            ("http://[::1]:5000", true),
            ("http://minio.example:9000", false),
            ("ftp://127.0.0.1", false),
            ("nonsense", false),
            ("https://id:secret@minio.example", false),
            ("https://minio.example/bucket", false),
            ("https://minio.example?region=a", false),
            ("https://minio.example/", true),
        ] {
            assert_eq!(is_private_on_the_way(endpoint), fits, "{endpoint}");
        }
    }

    #[test]
    fn a_bucket_needs_keys() {
        let target = StoreTarget::parse("s3://drops/a", StoreAccess::default());
        assert_eq!(target.unwrap_err(), BadTarget::Keys);
    }
}
