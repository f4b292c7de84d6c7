//! A directory of a real file system.
//!
//! Invariants: 1. one process at a time writes: the directory is locked from open to drop; 2. the
//! directory's own entry is synced before anything is put into it; 3. every file is reached through
//! the directory's handle; 4. a call that a signal interrupted before it did anything is made again,
//! every other failure is handed on as it came.
//!
//! Buffered writes and `fdatasync`: with a log thread, direct synced writes were measured to bring
//! nothing more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::directory::Directory;
use super::{Access, Storage, StorageFile};

const LOCK_FILE: &str = "lock";

/// A log's directory on a real disk.
#[derive(Debug)]
pub struct DiskStorage {
    directory: Directory,
    /// Held for its lock; none when opened to read only.
    lock: Option<FileLock>,
    /// Other directories that must stay in their places.
    beside: Vec<Directory>,
}

impl DiskStorage {
    /// Opens a directory, making it if need be, and locks it against other processes.
    ///
    /// Fails with `WouldBlock` if another process has it.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::locked(Directory::create(path)?)
    }

    /// Locks a directory that is open already against other processes.
    ///
    /// Fails with `WouldBlock` if another process has it.
    pub fn locked(directory: Directory) -> io::Result<Self> {
        let lock = directory.append_file(LOCK_FILE)?;
        let lock = FileLock::try_take(lock).map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                let path = directory.path().display();
                let what = format!("{path} is in use by another process");
                io::Error::new(io::ErrorKind::WouldBlock, what)
            }
            fs::TryLockError::Error(e) => e,
        })?;
        Ok(Self {
            directory,
            lock: Some(lock),
            beside: Vec::new(),
        })
    }

    /// Makes [`Storage::check_place`] check `directory`, too.
    #[must_use]
    pub fn beside(mut self, directory: Directory) -> Self {
        self.beside.push(directory);
        self
    }

    /// Opens an existing directory to read it, as [`crate::scan()`] does, without locking it.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            directory: Directory::open(path)?,
            lock: None,
            beside: Vec::new(),
        })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A file that is locked against other processes.
///
/// Unlocked when it is dropped, which closing alone would not do: a child that another thread is
/// starting shares every open file until it executes its program, and a shared file stays locked.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks `file`, if no other process has.
    pub fn try_take(file: File) -> Result<Self, fs::TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // If this fails, closing the file still unlocks it, once no child shares it.
        let _ = self.0.unlock();
    }
}

impl Storage for DiskStorage {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(DiskFile(self.directory.open_file(name, access)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.directory.free_bytes()
    }

    fn check_place(&self) -> io::Result<()> {
        self.directory.check_place()?;
        for directory in &self.beside {
            directory.check_place()?;
        }
        // Without its name, the lock excludes no other process.
        match &self.lock {
            Some(FileLock(file)) => self.directory.check_file(LOCK_FILE, file),
            None => Ok(()),
        }
    }

    fn check_file(&self, name: &str, file: &dyn StorageFile) -> io::Result<()> {
        match file.as_file() {
            Some(file) => self.directory.check_file(name, file),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct DiskFile(File);

impl StorageFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.write_at(bytes, offset) {
                // A signal before anything was written: nothing has failed.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}
