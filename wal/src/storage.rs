//! The interface to the disk: everything the log needs of a file system, in two small traits.
//!
//! Invariants of an implementation: 1. after `sync_data` has returned, the data survives a crash,
//! with the file's length; 2. the same for `sync_dir` and creations, renames and removals; 3.
//! nothing else is promised, in any order; 4. a rename is atomic. Names are plain file names in one
//! directory that belongs to the log.
//!
//! [`DiskStorage`] is the real one; tests use [`crate::sim`].

mod directory;
mod disk;

use std::fs::File;
use std::io;

pub use directory::{Directory, Displaced, Identity};
pub use disk::{DiskStorage, FileLock};

/// How to open a file.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    ReadWrite,
    /// A new file, to read and write; an existing one is emptied.
    Create,
}

/// A directory that belongs to one log.
pub trait Storage: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>>;
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file, replacing another of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Bytes that can still be written to this disk.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Fails, with [`Displaced`] if possible, unless this is still the directory under the path at
    /// which it was opened. A storage without a path has nothing to check.
    fn check_place(&self) -> io::Result<()> {
        Ok(())
    }
    /// Fails in the same way unless `name` is still `file`.
    fn check_file(&self, _name: &str, _file: &dyn StorageFile) -> io::Result<()> {
        Ok(())
    }
}

/// An open file. Reads and writes name their place, so a file has no cursor.
pub trait StorageFile: Send + Sync {
    /// Reads at `offset`; returns how many bytes, 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`; returns how many bytes. The log takes fewer than asked for as a failure.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes everything written durable, with the length it needs.
    fn sync_data(&self) -> io::Result<()>;
    /// The system's file, if it is one.
    fn as_file(&self) -> Option<&File> {
        None
    }
}

/// How many bytes of zeroes are written at once.
const ZERO_CHUNK: usize = 256 << 10;
static ZEROES: [u8; ZERO_CHUNK] = [0; ZERO_CHUNK];

/// Writes all bytes or fails. A short write is a failure: on a file it means that the disk is full
/// or worse, and continuing would hide that.
pub(crate) fn write_all(file: &dyn StorageFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let written = file.write_at(bytes, offset)?;
    if written == bytes.len() {
        return Ok(());
    }
    let short = format!("short write: {written} of {} bytes", bytes.len());
    Err(io::Error::new(io::ErrorKind::WriteZero, short))
}

/// Reads until `buffer` is full or the file ends; returns how many bytes.
pub(crate) fn read_full(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// Writes zeroes from `start` to `end`.
pub(crate) fn write_zeroes(file: &dyn StorageFile, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let chunk = usize::try_from(end - at)
            .unwrap_or(ZERO_CHUNK)
            .min(ZERO_CHUNK);
        write_all(file, &ZEROES[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}
