//! Owns where a backup goes and how it is kept, as the operator sets it.
//!
//! Invariants: a target is parsed once and then known to be one; no credential is shown. Deliberately
//! absent: opening the store, which `store` does.

use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a running core ships its backup.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    pub target: StoreTarget,
    /// Between two shipments of the tail.
    pub every: Duration,
    /// How long every instant stays restorable.
    pub keep: Duration,
    /// Bytes of log that are kept for a backup that cannot be written.
    pub log_kept_bytes_max: u64,
}

/// A store, and the place in it that belongs to one log.
#[derive(Clone, Debug)]
pub enum StoreTarget {
    /// A bucket of an S3-compatible store.
    S3(S3Target),
    Directory(PathBuf),
}

/// A bucket and how it is reached.
#[derive(Clone, Debug)]
pub struct S3Target {
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// How it is reached.
    pub access: StoreAccess,
}

/// How a store is reached.
#[derive(Clone, Debug, Default)]
pub struct StoreAccess {
    /// Where it answers; `None`: the one of AWS in the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// A file with the certificates that are trusted in place of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Who asks, and the secret that signs.
    pub keys: Option<(SecretString, SecretString)>,
}

/// Why a text is no target.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It has another form.
    #[error("must be s3://BUCKET/PREFIX or file:///DIRECTORY")]
    Form,
    /// An endpoint that anybody on the way could read, or one with more than a host.
    #[error(
        "must be https://HOST[:PORT], or http:// on a loopback address, with no name, password or path"
    )]
    Endpoint,
    /// Nobody to ask as.
    #[error("an s3:// target needs both access_key and secret_key")]
    Keys,
}

impl StoreTarget {
    /// The target that `url` names, reached as `access` says.
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
    /// Whether it is a directory in `data_dir`, which a backup must not be lost with.
    pub fn lies_in(&self, data_dir: &Path) -> bool {
        match self {
            Self::S3(_) => false,
            Self::Directory(path) => resolved(path).starts_with(resolved(data_dir)),
        }
    }
}

/// The path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = absolute.ancestors().find_map(|it| {
        let real = it.canonicalize().ok()?;
        let rest = absolute.strip_prefix(it).ok()?;
        Some(real.join(rest))
    });
    there.unwrap_or(absolute)
}

/// Without credentials, as people know it.
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
