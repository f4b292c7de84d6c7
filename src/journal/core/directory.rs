//! Owns the data directory as a whole.
//!
//! Invariants: one process has it open; its log and its snapshots belong together.

use crate::journal::format::fault::{JournalError, io};
use crate::journal::format::store;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wal::Directory;

/// The file that a process keeps locked while it has the data directory open.
const LOCK_FILE: &str = "lock";

/// A data directory that no other process can open until this is dropped.
#[derive(Debug)]
pub struct TakenDirectory {
    pub(in crate::journal) directory: Directory,
    pub(in crate::journal) lock: wal::FileLock,
}

impl TakenDirectory {
    /// Locks the data directory for this process, and creates it if it is missing. From now on no other
    /// process changes files that opening reads, such as cursors.
    pub fn take(data_dir: &Path) -> Result<Self, JournalError> {
        let directory = Directory::create(data_dir).map_err(io("creating", data_dir))?;
        let lock = lock(&directory)?;
        Ok(Self { directory, lock })
    }
}

/// Locks the directory for this process.
fn lock(data_dir: &Directory) -> Result<wal::FileLock, JournalError> {
    let path = data_dir.path().join(LOCK_FILE);
    let file = data_dir
        .append_file(LOCK_FILE)
        .map_err(io("opening", &path))?;
    match wal::FileLock::try_take(file) {
        Ok(lock) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: data_dir.path().to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io("locking", path)(source)),
    }
}

/// Refuses a directory in use: its files would change during the check.
pub(in crate::journal) fn refuse_running(data_dir: &Path) -> Result<(), JournalError> {
    let path = data_dir.join(LOCK_FILE);
    let Ok(file) = crate::files::open(&path) else {
        return Ok(());
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: data_dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io("locking", path)(source)),
    }
}

/// Refuses a directory without a log if it has a snapshot, or if one of the files `beside` is not
/// empty: only a log leads to those.
pub fn refuse_emptied(data_dir: &Path, beside: &[PathBuf]) -> Result<(), JournalError> {
    let log = data_dir.join("log");
    let is_begun = match wal::DiskStorage::open_read_only(&log) {
        Ok(storage) => wal::is_begun(&storage)?,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(source) => return Err(io("opening", log)(source)),
    };
    if is_begun {
        return Ok(());
    }
    let has_bytes = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|it| it.len() > 0);
    let snapshots = data_dir.join("snapshots");
    let newest = match wal::DiskStorage::open_read_only(&snapshots) {
        Ok(storage) => store::list(&storage)?.pop(),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(io("opening", snapshots)(source)),
    };
    let snapshot = newest.map(|(_, name)| snapshots.join(name));
    match beside.iter().find(has_bytes).or(snapshot.as_ref()) {
        Some(path) => Err(JournalError::NoLog {
            beside: path.display().to_string(),
        }),
        None => Ok(()),
    }
}
