//! Owns snapshot files: names, writing, renaming, reading, and removing old ones.
//!
//! Invariants: a file gets its name only once all of it is synced; the newest two are kept; a
//! temporary file is removed if writing failed, and at opening, and is never read. A snapshot that
//! opening found damaged is renamed, and ignored from then on.

use crate::ids::Lsn;
use crate::journal::format::fault::JournalError;
use crate::time::UnixMs;
use std::io::{self, Read};
use std::time::UNIX_EPOCH;

/// How many snapshots are kept.
pub const SNAPSHOTS_KEPT: usize = 2;

const SUFFIX: &str = ".snapshot";
const ASIDE: &str = "writing.tmp";

/// The file name of the snapshot that recovery continues with events from `lsn` on.
pub fn name_of(lsn: Lsn) -> String {
    format!("{:020}{SUFFIX}", lsn.0)
}

/// The snapshots, newest first.
pub fn list(storage: &dyn wal::Storage) -> Result<Vec<(Lsn, String)>, JournalError> {
    let names = storage.list().map_err(failed("listing", "snapshots"))?;
    let mut found: Vec<_> = names
        .into_iter()
        .filter_map(|name| {
            let digits = name.strip_suffix(SUFFIX)?;
            let lsn = (digits.len() == 20).then(|| digits.parse().ok())??;
            Some((Lsn(lsn), name))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    Ok(found)
}

/// The size of the newest, in bytes; 0 if there is none.
pub fn newest_bytes(storage: &dyn wal::Storage) -> Result<u64, JournalError> {
    let Some((_, name)) = list(storage)?.into_iter().next() else {
        return Ok(0);
    };
    let file = storage.open(&name, wal::Access::Read);
    file.and_then(|file| file.len())
        .map_err(failed("measuring", &name))
}

/// When the newest was written, as its file system says; `None` where there is none, or no file
/// system.
pub fn newest_written_at(storage: &dyn wal::Storage) -> Result<Option<UnixMs>, JournalError> {
    let Some((_, name)) = list(storage)?.into_iter().next() else {
        return Ok(None);
    };
    let file = storage.open(&name, wal::Access::Read);
    let file = file.map_err(failed("opening", &name))?;
    let modified = file
        .as_file()
        .and_then(|it| it.metadata().ok()?.modified().ok());
    let age = modified.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    let ms = age.and_then(|it| u64::try_from(it.as_millis()).ok());
    Ok(ms.map(UnixMs::new))
}

/// A file that is being written aside.
pub struct Aside<'a> {
    storage: &'a dyn wal::Storage,
    file: Box<dyn wal::StorageFile>,
    /// Bytes in the file, all of them synced.
    length: u64,
    /// Bytes that are not written yet.
    buffer: Vec<u8>,
    finished: bool,
}

/// Bytes gathered before they are written and synced. A sync of the log waits for what the disk is writing: for
/// one slice, not for a whole snapshot.
const SLICE_BYTES: usize = 512 << 10;

impl<'a> Aside<'a> {
    /// An empty file.
    pub fn create(storage: &'a dyn wal::Storage) -> Result<Self, JournalError> {
        let file = storage
            .open(ASIDE, wal::Access::Create)
            .map_err(failed("creating", ASIDE))?;
        Ok(Self {
            storage,
            file,
            length: 0,
            buffer: Vec::with_capacity(SLICE_BYTES),
            finished: false,
        })
    }

    /// Appends what fits into one slice, and returns the rest. A full slice is written and synced.
    pub fn write<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], JournalError> {
        let room = SLICE_BYTES - self.buffer.len();
        let (fits, rest) = bytes.split_at(room.min(bytes.len()));
        self.buffer.extend_from_slice(fits);
        if self.buffer.len() == SLICE_BYTES {
            self.flush()?;
        }
        Ok(rest)
    }

    /// Writes and syncs the slice.
    fn flush(&mut self) -> Result<(), JournalError> {
        let written = self
            .file
            .write_at(&self.buffer, self.length)
            .map_err(failed("writing", ASIDE))?;
        if written != self.buffer.len() {
            let short = io::Error::new(io::ErrorKind::WriteZero, "the disk took part of it only");
            return Err(failed("writing", ASIDE)(short));
        }
        self.length += written as u64;
        self.buffer.clear();
        self.file.sync_data().map_err(failed("syncing", ASIDE))
    }

    /// Makes it durable under its name; returns its size in bytes.
    pub fn finish(mut self, lsn: Lsn) -> Result<u64, JournalError> {
        self.flush()?;
        let name = name_of(lsn);
        self.storage
            .rename(ASIDE, &name)
            .map_err(failed("renaming", &name))?;
        self.finished = true;
        self.storage
            .sync_dir()
            .map_err(failed("syncing", "snapshots"))?;
        Ok(self.length)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails as well, the next opening removes the file.
            let _ = self.storage.remove(ASIDE);
        }
    }
}

/// Removes an unfinished file of an earlier process, and renames the `bad` snapshots.
pub fn tidy(storage: &dyn wal::Storage, bad: &[String]) -> Result<(), JournalError> {
    let names = storage.list().map_err(failed("listing", "snapshots"))?;
    if names.iter().any(|name| name == ASIDE) {
        storage.remove(ASIDE).map_err(failed("removing", ASIDE))?;
    }
    for name in bad {
        let aside = format!("{name}.bad");
        storage
            .rename(name, &aside)
            .map_err(failed("renaming", name))?;
    }
    storage.sync_dir().map_err(failed("syncing", "snapshots"))
}

/// Removes all but the newest [`SNAPSHOTS_KEPT`].
pub fn remove_old(storage: &dyn wal::Storage) -> Result<(), JournalError> {
    for (_, name) in list(storage)?.into_iter().skip(SNAPSHOTS_KEPT) {
        storage.remove(&name).map_err(failed("removing", &name))?;
    }
    storage.sync_dir().map_err(failed("syncing", "snapshots"))
}

/// A snapshot file to read from its beginning.
pub struct SnapshotFile {
    file: Box<dyn wal::StorageFile>,
    offset: u64,
}

impl SnapshotFile {
    /// Opens `name`.
    pub fn open(storage: &dyn wal::Storage, name: &str) -> io::Result<Self> {
        Ok(Self {
            file: storage.open(name, wal::Access::Read)?,
            offset: 0,
        })
    }
}

impl Read for SnapshotFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn failed(operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> JournalError {
    crate::journal::format::fault::io(operation, format!("snapshots/{name}"))
}
