//! The mark of a clean stop: a small file with the end of the log at a clean close. With it, a tail
//! or a witness that is missing later is distinguished from one that a crash never wrote.
//!
//! Invariants: 1. it exists only while no process has the log open: opening removes it, durably,
//! before anything is appended; 2. it gets its name only once it is complete, so an invalid one is
//! damage; 3. it is written after everything that it describes is synced.

use crate::error::{At, Damage, IoError, OpenError, Operation, Vouched};
use crate::format::{Bad, CLEAN_STOP_BYTES, CleanStop, Mismatch, names};
use crate::storage::{Access, Storage, read_full, write_all};

/// Reads the mark; `None` if there is none.
pub(crate) fn read(
    storage: &dyn Storage,
    names: &[String],
) -> Result<Option<CleanStop>, OpenError> {
    const NAME: &str = names::CLEAN_STOP;
    if !names.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let file = storage
        .open(NAME, Access::Read)
        .at(Operation::Open, NAME, 0)?;
    let mut bytes = [0; CLEAN_STOP_BYTES];
    let read = read_full(&*file, &mut bytes, 0).at(Operation::Read, NAME, 0)?;
    if let Some(mark) = CleanStop::decode(&bytes[..read]) {
        return Ok(Some(mark));
    }
    let bad = Bad::new(Mismatch::CleanStop, bytes.len() as u64, read as u64);
    Err(Damage::new(NAME, 0, 0, bad, Vouched::ByName).into())
}

/// Leaves the mark, durably.
pub(crate) fn leave(storage: &dyn Storage, mark: CleanStop) -> Result<(), IoError> {
    const NAME: &str = names::CLEAN_STOP;
    let unfinished = names::unfinished(NAME);
    let file = storage
        .open(&unfinished, Access::Create)
        .at(Operation::Open, &unfinished, 0)?;
    write_all(&*file, &mark.encode(), 0).at(Operation::Write, &unfinished, 0)?;
    file.sync_data().at(Operation::Sync, &unfinished, 0)?;
    storage
        .rename(&unfinished, NAME)
        .at(Operation::Rename, NAME, 0)?;
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)
}

/// Removes the mark durably.
pub(crate) fn take_away(storage: &dyn Storage) -> Result<(), IoError> {
    const NAME: &str = names::CLEAN_STOP;
    storage.remove(NAME).at(Operation::Remove, NAME, 0)?;
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)
}
