//! A directory held open: every file in it is reached through the handle, never by path.
//!
//! Invariants: 1. after opening, no call but [`Directory::check_place`] follows the path, so a
//! directory that was moved is still the one that is written, and one put in its place is never
//! touched; 2. files are made for their owner only (0600), directories too (0700); 3. only
//! regular files are opened, and opening never waits.
//!
//! It locks nothing and knows no log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::Access;

/// Identifies a file or directory, whatever its name.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "inode {} of device {}", self.inode, self.device)
    }
}

/// An open file or directory is no longer the one under its path.
#[derive(Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error(
    "{} was opened as {opened}, and the path now leads to {}; it was moved, replaced or deleted \
     while this process used it{}; put the right directory at the path, run `holdfast check` on it, \
     then start again",
    path.display(),
    found_text(*found),
    whereabouts_text(whereabouts.as_deref())
)]
pub struct Displaced {
    /// The path that was opened.
    pub path: PathBuf,
    /// What stood there then.
    pub opened: Identity,
    /// What stands there now.
    pub found: Option<Identity>,
    /// The current path, if the system knows it.
    pub whereabouts: Option<PathBuf>,
}

fn found_text(found: Option<Identity>) -> String {
    found.map_or_else(|| "nothing".to_owned(), |it| it.to_string())
}

fn whereabouts_text(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| {
        format!(
            " (the system says that what was opened is now {})",
            path.display()
        )
    })
}

/// A directory, held by its handle.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
    identity: Identity,
}

impl Directory {
    /// Opens the directory at `path`.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(path)?;
        Self::held(path.to_owned(), handle)
    }

    /// Opens the directory at `path`, making it durably if need be.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path)?;
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Self::open(path)
    }

    /// Opens the directory `name` in this one.
    pub fn open_below(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
        Self::held(self.path.join(name), handle.into())
    }

    /// Opens the directory `name` in this one, making it durably if need be.
    pub fn create_below(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.sync()?;
        self.open_below(name)
    }

    fn held(path: PathBuf, handle: File) -> io::Result<Self> {
        let identity = identity_of(&handle.metadata()?);
        Ok(Self {
            path,
            handle,
            identity,
        })
    }

    /// The path at which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn open_file(&self, name: &str, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
            Access::Create => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
        };
        self.open_with(name, flags)
    }

    /// Opens a file to append to it, making it if need be.
    pub fn append_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::APPEND)
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        // Opening a FIFO would wait for somebody at its other end.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&self.handle, name, flags, mode)?);
        if !file.metadata()?.is_file() {
            let what = format!("{} is no regular file", self.path.join(name).display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(file)
    }

    /// The names in it, in any order.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            // A name that is not UTF-8 is foreign.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Renames a file in it, replacing another of the new name.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    /// Removes a file in it.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(rustix::fs::unlinkat(&self.handle, name, flags)?)
    }

    /// Makes creations, renames and removals durable.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Bytes that can still be written to its disk.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.handle)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Fails with [`Displaced`] unless its path still leads to it.
    pub fn check_place(&self) -> io::Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(metadata) => Some(identity_of(&metadata)),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error),
        };
        if found == Some(self.identity) {
            return Ok(());
        }
        Err(io::Error::other(Displaced {
            path: self.path.clone(),
            opened: self.identity,
            found,
            whereabouts: whereabouts(&self.handle),
        }))
    }

    /// Fails with [`Displaced`] unless `name` in it still is `file`.
    pub fn check_file(&self, name: &str, file: &File) -> io::Result<()> {
        let opened = identity_of(&file.metadata()?);
        let found = match rustix::fs::statat(&self.handle, name, AtFlags::empty()) {
            // The same directory, so the same device; the field's type differs between systems.
            Ok(stat) => Some(Identity {
                device: opened.device,
                inode: stat.st_ino,
            }),
            Err(error) if is_absent(&error.into()) => None,
            Err(error) => return Err(error.into()),
        };
        if found == Some(opened) {
            return Ok(());
        }
        Err(io::Error::other(Displaced {
            path: self.path.join(name),
            opened,
            found,
            whereabouts: whereabouts(file),
        }))
    }
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// The current path of an open file; `None` if the system does not know it.
fn whereabouts(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}
