//! Owns access to the store: a bucket or a directory, its objects by name, and the one object that
//! is replaced only by a process that knows its current content.
//!
//! Invariants: every call has a timeout; a store that cannot be reached is an error, never an empty
//! one; a replacement that another process overtook reports it. Deliberately absent: the content of
//! objects.

mod object;

pub(super) use object::ObjectUpload;

use super::settings::{S3Target, StoreAccess, StoreTarget};
use super::wire::Connector;
use crate::causes::with_causes;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use secrecy::ExposeSecret;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Timeout of one call, or of one part of an object.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Timeout of reading or replacing the lease.
const LEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two attempts to get a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of objects in a backup.
const OBJECTS_MAX: usize = 1_000_000;

/// Maximum size of an object that is read as a whole.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// A store with the prefix of a backup.
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: String,
    /// The directory, if the store is one; the lease is then replaced under a lock.
    directory: Option<PathBuf>,
}

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object} at {store}: {why}")]
pub struct StoreError {
    operation: &'static str,
    object: String,
    store: String,
    why: String,
    is_absent: bool,
}

impl StoreError {
    /// Whether there is no such object.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }
}

/// The content of an object when it was read.
#[derive(Clone, Debug)]
pub(super) struct Version {
    remote: UpdateVersion,
    bytes: Bytes,
}

#[derive(Debug)]
pub(super) enum Replaced {
    Done(Version),
    /// Another process had replaced it.
    Overtaken,
}

/// An object of a list.
#[derive(Clone, Debug)]
pub(super) struct ObjectInfo {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Store {
    /// Checks that [`Store::open`] would succeed; creates no directory.
    pub(super) fn check(target: &StoreTarget) -> Result<(), StoreError> {
        match target {
            StoreTarget::S3(_) => Self::open(target).map(drop),
            StoreTarget::Directory(_) => Ok(()),
        }
    }

    /// Opens the store at `target` for writing. A missing directory is created and made private.
    /// Sends nothing to a bucket yet.
    pub(super) fn open(target: &StoreTarget) -> Result<Self, StoreError> {
        Self::open_with(target, |path| crate::files::make_private(path).map(drop))
    }

    /// Opens the store at `target` for reading; creates and changes nothing.
    pub(super) fn open_to_read(target: &StoreTarget) -> Result<Self, StoreError> {
        Self::open_with(target, |path| {
            if path.is_dir() {
                return Ok(());
            }
            let what = "there is no such directory; name one that holds a backup";
            Err(io::Error::new(io::ErrorKind::NotFound, what))
        })
    }

    fn open_with(
        target: &StoreTarget,
        prepare: impl FnOnce(&std::path::Path) -> io::Result<()>,
    ) -> Result<Self, StoreError> {
        let shown = target.to_string();
        let failed = |why: String| StoreError {
            operation: "opening",
            object: "the store".to_owned(),
            store: shown.clone(),
            why,
            is_absent: false,
        };
        let (objects, prefix, directory): (Arc<dyn ObjectStore>, _, _) = match target {
            StoreTarget::S3(target) => {
                let objects = bucket(target).map_err(failed)?;
                (Arc::new(objects), target.prefix.as_str(), None)
            }
            StoreTarget::Directory(path) => {
                prepare(path).map_err(|why| failed(why.to_string()))?;
                let objects = LocalFileSystem::new_with_prefix(path);
                let objects = objects.map_err(|why| failed(why.to_string()))?;
                (Arc::new(objects.with_fsync(true)), "", Some(path.clone()))
            }
        };
        let prefix = Path::parse(prefix).map_err(|why| failed(why.to_string()))?;
        Ok(Self {
            objects,
            prefix,
            shown,
            directory,
        })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    fn failed(
        &self,
        operation: &'static str,
        object: &str,
        why: &object_store::Error,
    ) -> StoreError {
        let is_absent = matches!(why, object_store::Error::NotFound { .. });
        StoreError {
            operation,
            object: object.to_owned(),
            store: self.shown.clone(),
            why: with_causes(why),
            is_absent,
        }
    }

    /// Waits for `call` with a timeout.
    async fn bounded<T>(
        &self,
        operation: &'static str,
        object: &str,
        timeout: Duration,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(why)) => Err(self.failed(operation, object, &why)),
            Err(_) => Err(StoreError {
                operation,
                object: object.to_owned(),
                store: self.shown.clone(),
                why: format!("no answer within {} s", timeout.as_secs()),
                is_absent: false,
            }),
        }
    }

    /// Every object of the backup.
    pub(super) async fn list(&self) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut found = Vec::new();
        let mut listing = self.objects.list(Some(&self.prefix));
        while let Some(meta) = self
            .bounded("listing", "the objects", CALL_TIMEOUT, listing.try_next())
            .await?
        {
            if found.len() == OBJECTS_MAX {
                return Err(StoreError {
                    operation: "listing",
                    object: "the objects".to_owned(),
                    store: self.shown.clone(),
                    why: format!("there are more than {OBJECTS_MAX} objects"),
                    is_absent: false,
                });
            }
            let Some(parts) = meta.location.prefix_match(&self.prefix) else {
                continue;
            };
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            found.push(ObjectInfo {
                name: parts.join("/"),
                bytes: meta.size,
            });
        }
        Ok(found)
    }

    /// Writes a whole object, and replaces one with the same name.
    pub(super) async fn put(&self, name: &str, content: Bytes) -> Result<(), StoreError> {
        let path = self.path(name);
        let putting = self.objects.put(&path, PutPayload::from(content));
        self.bounded("writing", name, CALL_TIMEOUT, putting).await?;
        Ok(())
    }

    /// Begins an object that may be large. It exists only once it is finished.
    pub(super) fn write(&self, name: &str) -> ObjectUpload<'_> {
        ObjectUpload::new(self, name)
    }

    /// The bytes of an object as a stream.
    pub(super) async fn read(
        &self,
        name: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let path = self.path(name);
        let getting = self.objects.get(&path);
        let got = self.bounded("reading", name, CALL_TIMEOUT, getting).await?;
        let (shown, object) = (self.shown.clone(), name.to_owned());
        let timed = tokio_stream_timeout(got.into_stream(), CALL_TIMEOUT);
        Ok(timed
            .map(move |part| {
                part.map_err(|why| StoreError {
                    operation: "reading",
                    object: object.clone(),
                    store: shown.clone(),
                    why,
                    is_absent: false,
                })
            })
            .boxed())
    }

    /// Deletes an object; a missing object is not an error.
    pub(super) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        let deleting = self.objects.delete(&path);
        match self.bounded("removing", name, CALL_TIMEOUT, deleting).await {
            Err(error) if error.is_absent() => Ok(()),
            other => other,
        }
    }

    /// The content of the object and its version; `None` if it does not exist.
    pub(super) async fn look(&self, name: &str) -> Result<Option<(Bytes, Version)>, StoreError> {
        let path = self.path(name);
        let getting = async {
            let got = self.objects.get(&path).await?;
            let remote = UpdateVersion {
                e_tag: got.meta.e_tag.clone(),
                version: got.meta.version.clone(),
            };
            let is_small = got.meta.size <= SMALL_BYTES_MAX;
            let bytes = if is_small {
                got.bytes().await?
            } else {
                Bytes::new()
            };
            Ok((bytes, remote))
        };
        match self.bounded("reading", name, LEASE_TIMEOUT, getting).await {
            Ok((bytes, remote)) => {
                let version = Version {
                    remote,
                    bytes: bytes.clone(),
                };
                Ok(Some((bytes, version)))
            }
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the object if it is still the version `before`; `None`: if it still does not exist.
    pub(super) async fn replace(
        &self,
        name: &str,
        before: Option<&Version>,
        content: Bytes,
    ) -> Result<Replaced, StoreError> {
        if let Some(directory) = &self.directory {
            return self.replace_locked(directory, name, before, content).await;
        }
        let mode = match before {
            Some(version) => PutMode::Update(version.remote.clone()),
            None => PutMode::Create,
        };
        let path = self.path(name);
        let options = PutOptions::from(mode);
        let payload = PutPayload::from(content.clone());
        let putting = async {
            use object_store::Error::{AlreadyExists, NotFound, Precondition};
            match self.objects.put_opts(&path, payload, options).await {
                Ok(put) => Ok(Some(UpdateVersion::from(put))),
                Err(Precondition { .. } | AlreadyExists { .. }) => Ok(None),
                // It was removed. If there was none before, the bucket itself is missing.
                Err(NotFound { .. }) if before.is_some() => Ok(None),
                Err(why) => Err(why),
            }
        };
        let put = self
            .bounded("replacing", name, LEASE_TIMEOUT, putting)
            .await?;
        Ok(put.map_or(Replaced::Overtaken, |remote| {
            Replaced::Done(Version {
                remote,
                bytes: content,
            })
        }))
    }

    /// A directory has no conditional replacement, so a lock is held meanwhile.
    async fn replace_locked(
        &self,
        directory: &std::path::Path,
        name: &str,
        before: Option<&Version>,
        content: Bytes,
    ) -> Result<Replaced, StoreError> {
        let failed = |why: io::Error| StoreError {
            operation: "locking",
            object: name.to_owned(),
            store: self.shown.clone(),
            why: why.to_string(),
            is_absent: false,
        };
        let _lock = locked(directory).await.map_err(failed)?;
        let now = self.look(name).await?;
        let same = match (&now, before) {
            (None, None) => true,
            (Some((bytes, _)), Some(before)) => *bytes == before.bytes,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            return Ok(Replaced::Overtaken);
        }
        self.put(name, content.clone()).await?;
        Ok(Replaced::Done(Version {
            remote: UpdateVersion {
                e_tag: None,
                version: None,
            },
            bytes: content,
        }))
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.shown)
    }
}

/// The parts of a stream, each with a timeout.
fn tokio_stream_timeout(
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    timeout: Duration,
) -> BoxStream<'static, Result<Bytes, String>> {
    futures_util::stream::try_unfold(stream, move |mut stream| async move {
        match tokio::time::timeout(timeout, stream.next()).await {
            Ok(Some(Ok(bytes))) => Ok(Some((bytes, stream))),
            Ok(Some(Err(why))) => Err(with_causes(&why)),
            Ok(None) => Ok(None),
            Err(_) => Err(format!("no data for {} s", timeout.as_secs())),
        }
    })
    .boxed()
}

/// Waits for the lock of a directory, with a timeout and without blocking the thread. The lock is
/// held for one replacement at a time.
async fn locked(directory: &std::path::Path) -> io::Result<File> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let file = options.open(&path)?;
    let until = tokio::time::Instant::now() + LEASE_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(why)) => return Err(why),
            Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                let why = format!(
                    "another process has held {} for {} s",
                    path.display(),
                    LEASE_TIMEOUT.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
    }
}

fn bucket(target: &S3Target) -> Result<object_store::aws::AmazonS3, String> {
    let StoreAccess {
        endpoint,
        region,
        ca_file,
        keys,
    } = &target.access;
    let connector = Connector::new(ca_file.as_deref())?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&target.bucket)
        .with_region(region)
        .with_http_connector(connector)
        .with_retry(RetryConfig {
            max_retries: 2,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        });
    if let Some(endpoint) = endpoint {
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
    }
    if let Some((id, secret)) = keys {
        builder = builder
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret());
    }
    builder.build().map_err(|why| with_causes(&why))
}
