//! A simulated disk for tests: it keeps what was written apart from what is durable, remembers
//! every operation, and fails on demand.
//!
//! A run on it leaves a [`SimulatedRun`]. From that, [`SimulatedRun::crashes_after`] makes every
//! disk that a crash after a given operation could leave (see `sim::crash`). What was acknowledged
//! when is noted in the history by [`SimStorage::mark`], so that a test can say what each of those
//! disks must hold.
//!
//! Invariants: 1. reads see all writes at once, as through a page cache; 2. only a sync that
//! succeeded makes anything durable; what a failed sync was asked for may be lost for ever.

mod crash;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::storage::{Access, Storage, StorageFile};
use crate::sync::lock;
pub use crash::{Crash, CrashImage, Loss, SECTOR, SimulatedRun};

/// The content of a disk, by file name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One operation on the disk, in the order in which they happened.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Op {
    /// A new, empty file, under a name that may have belonged to another.
    Create {
        /// Number of the new file.
        file: usize,
        name: String,
    },
    /// Bytes written into a file.
    Write {
        /// Number of the file.
        file: usize,
        /// Where, in bytes.
        offset: u64,
        bytes: Vec<u8>,
    },
    /// A file's writes became durable.
    Sync {
        /// Number of the file.
        file: usize,
    },
    /// A file's writes should have become durable and did not; they never will.
    SyncFailed {
        /// Number of the file.
        file: usize,
    },
    /// Names became durable.
    SyncDir,
    /// A file's name changed.
    Rename {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// A file lost its name.
    Remove { name: String },
    /// Everything below this position had been acknowledged.
    Mark(u64),
}

/// Which calls fail, and how.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum FailureKind {
    /// Any call: input/output error.
    Eio,
    /// Calls that need room: no space left.
    Enospc,
    /// Writes: half of the bytes.
    ShortWrite,
    /// Syncs of files and of the directory: input/output error.
    FailedSync,
    /// New files: the process has no descriptor free.
    NoDescriptor,
}

/// A planned failure.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Failure {
    /// Which calls and how.
    pub kind: FailureKind,
    /// The first of the matching calls to fail, counted from 0.
    pub nth: u64,
    /// Whether all later ones fail too.
    pub for_ever: bool,
}

/// What a call does, as far as failing is concerned.
#[derive(Copy, Clone, Eq, PartialEq)]
enum SimCall {
    Other,
    Create,
    NeedsRoom,
    Write,
    Sync,
}

#[derive(Default)]
struct Disk {
    /// Content as reads see it, by file number.
    contents: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    history: Vec<Op>,
    failure: Option<Failure>,
    /// Calls so far that the planned failure matches.
    matched: u64,
    failed: u64,
    free: u64,
}

impl Disk {
    /// Whether this call is to fail.
    fn fails(&mut self, call: SimCall) -> Option<FailureKind> {
        let failure = self.failure?;
        let matches = match failure.kind {
            FailureKind::Eio => true,
            FailureKind::Enospc => {
                matches!(call, SimCall::Create | SimCall::NeedsRoom | SimCall::Write)
            }
            FailureKind::ShortWrite => call == SimCall::Write,
            FailureKind::FailedSync => call == SimCall::Sync,
            FailureKind::NoDescriptor => call == SimCall::Create,
        };
        if !matches {
            return None;
        }
        let n = self.matched;
        self.matched += 1;
        let fails = n == failure.nth || (failure.for_ever && n > failure.nth);
        self.failed += u64::from(fails);
        fails.then_some(failure.kind)
    }

    fn check(&mut self, call: SimCall) -> io::Result<()> {
        match self.fails(call) {
            None => Ok(()),
            Some(FailureKind::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(FailureKind::NoDescriptor) => Err(rustix::io::Errno::MFILE.into()),
            Some(_) => Err(io::Error::other("simulated input/output error")),
        }
    }

    fn named(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: u64) {
        overwrite(&mut self.contents[file], bytes, offset);
        self.history.push(Op::Write {
            file,
            offset,
            bytes: bytes.to_vec(),
        });
    }
}

/// Writes into a content, growing it with zeroes.
fn overwrite(content: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let start = usize::try_from(offset).expect("a simulated file fits memory");
    let end = start + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
    base: Arc<Files>,
}

impl Default for SimStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl SimStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with_files(Files::new())
    }

    /// A disk with these files, all durable.
    pub fn with_files(files: Files) -> Self {
        let mut disk = Disk {
            free: u64::MAX,
            ..Disk::default()
        };
        for (name, content) in &files {
            disk.names.insert(name.clone(), disk.contents.len());
            disk.contents.push(content.clone());
        }
        Self {
            disk: Arc::new(Mutex::new(disk)),
            base: Arc::new(files),
        }
    }

    /// The files as reads see them now.
    pub fn files(&self) -> Files {
        let disk = lock(&self.disk);
        disk.names
            .iter()
            .map(|(name, file)| (name.clone(), disk.contents[*file].clone()))
            .collect()
    }

    /// Notes in the history that everything below `position` has been acknowledged.
    pub fn mark(&self, position: u64) {
        lock(&self.disk).history.push(Op::Mark(position));
    }

    /// What has happened so far.
    pub fn history(&self) -> SimulatedRun {
        SimulatedRun::new(Arc::clone(&self.base), lock(&self.disk).history.clone())
    }

    /// Plans a failure, counted from now on; `None` heals the disk.
    pub fn fail(&self, failure: Option<Failure>) {
        let mut disk = lock(&self.disk);
        disk.failure = failure;
        disk.matched = 0;
        disk.failed = 0;
    }

    /// How many calls the planned failure has hit.
    pub fn failed(&self) -> u64 {
        lock(&self.disk).failed
    }

    /// Sets what `free_bytes` says.
    pub fn set_free_bytes(&self, free: u64) {
        lock(&self.disk).free = free;
    }
}

impl Storage for SimStorage {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = lock(&self.disk);
        let file = if access == Access::Create {
            disk.check(SimCall::Create)?;
            let file = disk.contents.len();
            disk.contents.push(Vec::new());
            disk.names.insert(name.to_owned(), file);
            disk.history.push(Op::Create {
                file,
                name: name.to_owned(),
            });
            file
        } else {
            disk.check(SimCall::Other)?;
            disk.named(name)?
        };
        Ok(Box::new(SimFile {
            disk: Arc::clone(&self.disk),
            file,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Other)?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::NeedsRoom)?;
        let file = disk.named(from)?;
        disk.names.remove(from);
        disk.names.insert(to.to_owned(), file);
        disk.history.push(Op::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Other)?;
        disk.named(name)?;
        disk.names.remove(name);
        disk.history.push(Op::Remove {
            name: name.to_owned(),
        });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Sync)?;
        disk.history.push(Op::SyncDir);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Other)?;
        Ok(disk.free)
    }
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

impl StorageFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Other)?;
        let content = &disk.contents[self.file];
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let read = buffer.len().min(content.len() - start);
        buffer[..read].copy_from_slice(&content[start..start + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        let written = match disk.fails(SimCall::Write) {
            None => bytes.len(),
            Some(FailureKind::ShortWrite) => bytes.len() / 2,
            Some(FailureKind::Enospc) => return Err(io::ErrorKind::StorageFull.into()),
            Some(_) => return Err(io::Error::other("simulated input/output error")),
        };
        disk.write(self.file, &bytes[..written], offset);
        Ok(written)
    }

    fn len(&self) -> io::Result<u64> {
        let mut disk = lock(&self.disk);
        disk.check(SimCall::Other)?;
        Ok(disk.contents[self.file].len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let result = disk.check(SimCall::Sync);
        let file = self.file;
        disk.history.push(if result.is_ok() {
            Op::Sync { file }
        } else {
            Op::SyncFailed { file }
        });
        result
    }
}
