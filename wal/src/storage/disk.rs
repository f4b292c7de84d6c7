//! A directory of a real file system.
//!
//! Invariants: 1. one process at a time writes: the directory is locked from open to drop; 2. the
//! directory's own entry is synced before anything is put into it; 3. a call that a signal interrupted
//! before it did anything is made again, every other failure is handed on as it came.
//!
//! Buffered writes and `fdatasync`: with a log thread, direct synced writes were measured to bring
//! nothing more.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Access, Storage, StorageFile};

const LOCK_FILE: &str = "lock";

/// A log's directory on a real disk.
#[derive(Debug)]
pub struct DiskStorage {
    path: PathBuf,
    directory: File,
    /// Held for its lock; none when opened to read only.
    _lock: Option<File>,
}

impl DiskStorage {
    /// Opens a directory, making it if need be, and locks it against other processes.
    ///
    /// Fails with `WouldBlock` if another process has it.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let lock = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => {
                let what = format!("{} is in use by another process", path.display());
                io::Error::new(io::ErrorKind::WouldBlock, what)
            }
            fs::TryLockError::Error(e) => e,
        })?;
        Ok(Self {
            path: path.into(),
            directory: File::open(path)?,
            _lock: Some(lock),
        })
    }

    /// Opens an existing directory to read it, as [`crate::scan()`] does, without locking it.
    pub fn open_read_only(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        Ok(Self {
            path: path.into(),
            directory: File::open(path)?,
            _lock: None,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for DiskStorage {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::ReadWrite => options.read(true).write(true),
            Access::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Box::new(DiskFile(options.open(self.path.join(name))?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is not one of the log's.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.directory)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
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
}
