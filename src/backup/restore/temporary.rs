//! Owns the directory in which a restore is built, before it takes its place.
//!
//! Invariant: it becomes the data directory in one rename, after everything in it was synced; else it is
//! removed.

use super::{RestoreError, failed, make};
use crate::files;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A temporary directory beside the requested one, removed unless it is renamed to it.
pub(super) struct TemporaryDirectory {
    pub(super) path: PathBuf,
}

impl TemporaryDirectory {
    pub(super) fn make(data_dir: &Path) -> Result<Self, RestoreError> {
        let mut name = data_dir.file_name().unwrap_or_default().to_owned();
        name.push(".restoring");
        let path = data_dir.with_file_name(name);
        // Left over from an interrupted restore.
        match fs::remove_dir_all(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("removing", &path)(error)),
        }
        make(&path)?;
        Ok(Self { path })
    }

    pub(super) fn take_place(self, data_dir: &Path) -> Result<(), RestoreError> {
        for part in ["log", "snapshots", "."] {
            let path = self.path.join(part);
            let synced = File::open(&path).and_then(|it| it.sync_all());
            synced.map_err(failed("syncing", &path))?;
        }
        // This also replaces an empty directory.
        fs::rename(&self.path, data_dir).map_err(failed("renaming to", data_dir))?;
        let parent = files::folder_of(data_dir);
        let synced = File::open(parent).and_then(|it| it.sync_all());
        synced.map_err(failed("syncing", parent))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // After the rename it no longer exists.
        let _ = fs::remove_dir_all(&self.path);
    }
}
