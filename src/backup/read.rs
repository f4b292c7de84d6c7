//! Owns reading objects back into a file; the content counts only after its seal is verified.
//!
//! Invariants: no more is written than the listed size of the object; after a failed verification
//! the file is removed. Deliberately absent: the meaning of the content.

use super::names::Name;
use super::seal::{SEAL_BYTES, Sealing, Unsealed};
use super::store::{Store, StoreError};
use futures_util::StreamExt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store did not return it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its content differs from what was written.
    #[error("{object} is damaged: {why}")]
    Damaged {
        /// Its name.
        object: String,
        /// How it is damaged.
        why: Unsealed,
    },
    /// The content could not be written to the file.
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// How an object is added to a file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// The file is new.
    New,
    /// Append to the file.
    Behind,
}

/// Reads objects of one log.
pub(super) struct Objects<'a> {
    pub(super) store: &'a Store,
    /// The log's id, from the first object.
    pub(super) log_id: Option<u64>,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Objects read.
    pub(super) count: u64,
}

impl<'a> Objects<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        Self {
            store,
            log_id: None,
            bytes: 0,
            count: 0,
        }
    }

    /// Appends the content of an object to the file at `path`.
    pub(super) async fn fetch(
        &mut self,
        name: Name,
        path: &Path,
        into: Into,
    ) -> Result<(), ObjectError> {
        let written = |source| ObjectError::Write {
            path: path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        options.append(true).mode(0o600);
        match into {
            Into::New => options.create_new(true),
            Into::Behind => options.create(true),
        };
        let mut file = options.open(path).map_err(written)?;
        let before = file.metadata().map_err(written)?.len();
        let fetched = self.fetch_into(name, &mut file, &written).await;
        if fetched.is_err() {
            // Restore the file as it was before.
            file.set_len(before).map_err(written)?;
        }
        fetched
    }

    async fn fetch_into(
        &mut self,
        name: Name,
        file: &mut File,
        written: &impl Fn(io::Error) -> ObjectError,
    ) -> Result<(), ObjectError> {
        let object = name.to_string();
        let mut sealing = Sealing::new(name, 0);
        let mut parts = self.store.read(&object).await?;
        // The last bytes so far: they may be the seal.
        let mut last: Vec<u8> = Vec::new();
        while let Some(part) = parts.next().await {
            last.extend_from_slice(&part?);
            let content = last.len().saturating_sub(SEAL_BYTES);
            if content > 0 {
                let content = last.drain(..content).collect::<Vec<_>>();
                sealing.update(&content);
                file.write_all(&content).map_err(written)?;
                self.bytes += content.len() as u64;
            }
        }
        let damaged = |why: Unsealed| ObjectError::Damaged {
            object: object.clone(),
            why,
        };
        let seal = <[u8; SEAL_BYTES]>::try_from(last);
        let seal = seal.map_err(|short| damaged(Unsealed::Short(short.len() as u64)))?;
        self.log_id = Some(sealing.check(&seal, self.log_id).map_err(damaged)?);
        self.count += 1;
        Ok(())
    }
}
