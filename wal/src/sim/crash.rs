//! What a crash can leave of a history: every disk that is possible after each operation, in the
//! ways disks are known to fail.
//!
//! After an operation, some writes and some names are not yet durable. The model: each of those
//! writes may be lost, whole or in part, at sector boundaries; so may each name; so may a file's
//! growth. Sectors are written whole or not at all. All is made by replaying the history, so an
//! image never depends on the machine the test runs on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Files, Op, overwrite};

/// Bytes that a disk writes in one step.
pub const SECTOR: u64 = 512;

/// Which non-durable writes are lost.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Loss {
    /// Nothing: the process died, the machine did not.
    Nothing,
    /// Everything: no write and no name.
    Everything,
    /// All writes but the first so many; all names are there.
    WritesAfter(usize),
    Write(usize),
    /// One write from a byte of its file on, a sector boundary.
    TornAfter(usize, u64),
    /// One write up to a byte of its file, a sector boundary.
    TornBefore(usize, u64),
    /// One change of a name.
    Name(usize),
    /// One rename, half: the old name is gone, the new one did not come.
    HalfRename(usize),
    /// All changes of names.
    Names,
    /// One file's growth: it is as long as when it was last durable.
    Size(usize),
}

/// When a crash happened and what it took.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Crash {
    /// How many operations had happened.
    pub after: usize,
    /// What was lost.
    pub loss: Loss,
}

/// A disk after a crash.
#[derive(Clone, Debug)]
pub struct CrashImage {
    /// How it came about.
    pub crash: Crash,
    /// What the disk holds; everything on it is durable.
    pub files: Files,
    /// Everything below had been acknowledged.
    pub acknowledged: u64,
}

/// A run on a simulated disk.
#[derive(Clone, Debug)]
pub struct SimulatedRun {
    base: Arc<Files>,
    ops: Vec<Op>,
}

#[derive(Clone)]
struct PendingWrite {
    file: usize,
    offset: u64,
    bytes: Vec<u8>,
    /// A sync of it has failed; none will ever make it durable.
    limbo: bool,
}

impl PendingWrite {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn covers(&self, other: &Self) -> bool {
        self.file == other.file && self.offset <= other.offset && other.end() <= self.end()
    }
}

/// The disk at one moment: what is durable, and what is not yet.
#[derive(Clone, Default)]
struct DiskState {
    contents: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    writes: Vec<PendingWrite>,
    renames: Vec<Op>,
    acknowledged: u64,
}

impl SimulatedRun {
    pub(super) fn new(base: Arc<Files>, ops: Vec<Op>) -> Self {
        Self { base, ops }
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operations.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Every disk that a crash after the first `after` operations can leave. Disks that cannot
    /// differ from another one of the same moment are not repeated.
    pub fn crashes_after(&self, after: usize) -> impl Iterator<Item = CrashImage> {
        self.crashes_with(after, |_| true)
    }

    /// Those of [`SimulatedRun::crashes_after`] whose loss is `wanted`; the others are not made.
    pub fn crashes_with(
        &self,
        after: usize,
        wanted: impl Fn(Loss) -> bool,
    ) -> impl Iterator<Item = CrashImage> {
        let state = self.state(after);
        let mut losses = state.losses();
        losses.retain(|loss| wanted(*loss));
        losses.into_iter().map(move |loss| CrashImage {
            crash: Crash { after, loss },
            files: state.image(loss),
            acknowledged: state.acknowledged,
        })
    }

    fn state(&self, after: usize) -> DiskState {
        let mut state = DiskState::default();
        for (name, content) in &*self.base {
            state.names.insert(name.clone(), state.contents.len());
            state.contents.push(content.clone());
        }
        for op in &self.ops[..after] {
            state.apply(op);
        }
        state
    }
}

impl DiskState {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { file, .. } => {
                assert_eq!(*file, self.contents.len(), "files are numbered in order");
                self.contents.push(Vec::new());
                self.renames.push(op.clone());
            }
            Op::Rename { .. } | Op::Remove { .. } => self.renames.push(op.clone()),
            Op::Write {
                file,
                offset,
                bytes,
            } => self.writes.push(PendingWrite {
                file: *file,
                offset: *offset,
                bytes: bytes.clone(),
                limbo: false,
            }),
            Op::Sync { file } => {
                let synced = |w: &mut PendingWrite| w.file == *file && !w.limbo;
                for write in self.writes.extract_if(.., synced) {
                    overwrite(&mut self.contents[*file], &write.bytes, write.offset);
                }
            }
            Op::SyncFailed { file } => {
                self.writes
                    .iter_mut()
                    .filter(|w| w.file == *file)
                    .for_each(|w| w.limbo = true);
            }
            Op::SyncDir => {
                for op in std::mem::take(&mut self.renames) {
                    apply_name(&mut self.names, &op);
                }
            }
            Op::Mark(position) => self.acknowledged = self.acknowledged.max(*position),
        }
    }

    /// Every loss that makes a difference.
    fn losses(&self) -> Vec<Loss> {
        let mut losses = vec![Loss::Nothing, Loss::Everything];
        losses.extend((0..self.writes.len()).map(Loss::WritesAfter));
        for (i, write) in self.writes.iter().enumerate() {
            // A loss that a later write covers has no effect.
            if self.writes[i + 1..].iter().any(|later| later.covers(write)) {
                continue;
            }
            losses.push(Loss::Write(i));
            let first = write.offset / SECTOR + 1;
            let cuts = (first..)
                .map(|sector| sector * SECTOR)
                .take_while(|cut| *cut < write.end());
            losses.extend(cuts.flat_map(|cut| [Loss::TornAfter(i, cut), Loss::TornBefore(i, cut)]));
        }
        for (i, op) in self.renames.iter().enumerate() {
            losses.push(Loss::Name(i));
            if matches!(op, Op::Rename { .. }) {
                losses.push(Loss::HalfRename(i));
            }
        }
        if self.renames.len() > 1 {
            losses.push(Loss::Names);
        }
        for (file, content) in self.contents.iter().enumerate() {
            let grows = |w: &PendingWrite| w.file == file && w.end() > content.len() as u64;
            if self.writes.iter().any(grows) {
                losses.push(Loss::Size(file));
            }
        }
        losses
    }

    fn image(&self, loss: Loss) -> Files {
        let mut contents = self.contents.clone();
        for (i, write) in self.writes.iter().enumerate() {
            let (start, end) = match loss {
                Loss::Everything => continue,
                Loss::WritesAfter(first) if i >= first => continue,
                Loss::Write(gone) if i == gone => continue,
                Loss::TornAfter(torn, cut) if i == torn => (write.offset, cut),
                Loss::TornBefore(torn, cut) if i == torn => (cut, write.end()),
                Loss::Size(file) if write.file == file => {
                    let size = self.contents[file].len() as u64;
                    (write.offset.min(size), write.end().min(size))
                }
                _ => (write.offset, write.end()),
            };
            let within = |at: u64| usize::try_from(at - write.offset).expect("inside the write");
            if start < end {
                let kept = &write.bytes[within(start)..within(end)];
                overwrite(&mut contents[write.file], kept, start);
            }
        }
        let mut names = self.names.clone();
        for (i, op) in self.renames.iter().enumerate() {
            match loss {
                Loss::Everything | Loss::Names => {}
                Loss::Name(gone) if i == gone => {}
                Loss::HalfRename(gone) if i == gone => {
                    if let Op::Rename { from, .. } = op {
                        names.remove(from);
                    }
                }
                _ => apply_name(&mut names, op),
            }
        }
        names
            .into_iter()
            .map(|(name, file)| (name, contents[file].clone()))
            .collect()
    }
}

/// Applies a change of a name, if what it changes is there: an earlier change may have been lost.
fn apply_name(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Create { file, name } => {
            names.insert(name.clone(), *file);
        }
        Op::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Op::Remove { name } => {
            names.remove(name);
        }
        Op::Write { .. } | Op::Sync { .. } | Op::SyncFailed { .. } | Op::SyncDir | Op::Mark(_) => {
            unreachable!("only changes of names are kept here")
        }
    }
}
