//! Owns finding the newest valid snapshot, from which recovery continues.

use crate::engine::settings::EngineSettings;
use crate::journal::format::fault::{BadSnapshot, JournalError, io};
use crate::journal::format::store;
use crate::journal::snapshot::restoring::{Restored, restore};

pub(in crate::journal) struct FoundSnapshots {
    pub(in crate::journal) restored: Option<Restored>,
    pub(in crate::journal) bad: Vec<BadSnapshot>,
}

/// The newest valid snapshot, and what is wrong with the newer ones.
pub(in crate::journal) fn newest_good(
    storage: &dyn wal::Storage,
    engine: &EngineSettings,
) -> Result<FoundSnapshots, JournalError> {
    let mut bad = Vec::new();
    for (_, name) in store::list(storage)? {
        let reading = store::SnapshotFile::open(storage, &name).map_err(io("opening", &name))?;
        match restore(reading, engine) {
            Ok(restored) => {
                return Ok(FoundSnapshots {
                    restored: Some(restored),
                    bad,
                });
            }
            Err(problem) => bad.push(BadSnapshot { name, problem }),
        }
    }
    Ok(FoundSnapshots {
        restored: None,
        bad,
    })
}
