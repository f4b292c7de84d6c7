//! The witness: a small file with two alternating slots that records the durable LSN, so that
//! damage to the last frame is distinguished from a torn tail.
//!
//! Invariants: 1. it never claims more than was synced; 2. while one slot is written the other
//! stays intact, and they share no sector. It is not synced after each write: the kernel keeps it
//! when the process is killed; a power failure may lose this evidence, never data.

use crate::error::{At, Damage, IoError, OpenError, Operation, Vouched};
use crate::format::{Bad, Mismatch, WITNESS_SLOT_BYTES, WitnessSlot, names};
use crate::storage::{Access, Storage, StorageFile, read_full, write_all, write_zeroes};

/// The second slot needs no more than its sector.
const BYTES: usize = WITNESS_SLOT_BYTES + 512;

/// What the witness says.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Testimony {
    pub durable: u64,
    /// The next write's counter.
    pub counter: u64,
    pub log_id: Option<u128>,
}

/// Reads the witness; silence if there is none.
pub(crate) fn read(storage: &dyn Storage, names: &[String]) -> Result<Testimony, OpenError> {
    if !names.iter().any(|name| name == names::WITNESS) {
        return Ok(Testimony::default());
    }
    let file = storage
        .open(names::WITNESS, Access::Read)
        .at(Operation::Open, names::WITNESS, 0)?;
    let damaged = |bad| Damage::new(names::WITNESS, 0, 0, bad, Vouched::ByName).into();
    let length = file.len().at(Operation::Read, names::WITNESS, 0)?;
    if length != BYTES as u64 {
        // The slot that is cut off may have known more than the one that is left.
        return Err(damaged(Bad::new(
            Mismatch::WitnessLength,
            BYTES as u64,
            length,
        )));
    }
    let mut bytes = [0; BYTES];
    read_full(&*file, &mut bytes, 0).at(Operation::Read, names::WITNESS, 0)?;
    let (one, other) = bytes.split_at(WITNESS_SLOT_BYTES);
    let slots = [one, other].map(WitnessSlot::decode);
    let Some(latest) = slots.iter().flatten().max_by_key(|slot| slot.counter) else {
        // A slot still blank: at most the first write was begun, and nothing was acknowledged since.
        if [one, other].iter().any(|slot| slot.iter().all(|b| *b == 0)) {
            return Ok(Testimony::default());
        }
        return Err(damaged(WitnessSlot::mismatch(one)));
    };
    Ok(Testimony {
        durable: latest.durable,
        counter: latest.counter + 1,
        log_id: Some(latest.log_id),
    })
}

/// The witness of a running log.
pub(crate) struct WitnessWriter {
    file: Box<dyn StorageFile>,
    log_id: u128,
    counter: u64,
}

impl WitnessWriter {
    /// Makes the file anew, durably, replacing one of that name.
    pub(crate) fn create(storage: &dyn Storage, log_id: u128) -> Result<Self, IoError> {
        let unfinished = names::unfinished(names::WITNESS);
        let file = storage
            .open(&unfinished, Access::Create)
            .at(Operation::Open, &unfinished, 0)?;
        write_zeroes(&*file, 0, BYTES as u64).at(Operation::Write, &unfinished, 0)?;
        file.sync_data().at(Operation::Sync, &unfinished, 0)?;
        storage
            .rename(&unfinished, names::WITNESS)
            .at(Operation::Rename, &unfinished, 0)?;
        storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
        Ok(Self {
            file,
            log_id,
            counter: 0,
        })
    }

    /// Goes on with the file there is.
    pub(crate) fn resume(
        storage: &dyn Storage,
        log_id: u128,
        counter: u64,
    ) -> Result<Self, IoError> {
        let file = storage.open(names::WITNESS, Access::ReadWrite).at(
            Operation::Open,
            names::WITNESS,
            0,
        )?;
        Ok(Self {
            file,
            log_id,
            counter,
        })
    }

    /// Testifies that everything below `durable` is durable.
    pub(crate) fn write(&mut self, durable: u64) -> Result<(), IoError> {
        let slot = WitnessSlot {
            log_id: self.log_id,
            durable,
            counter: self.counter,
        };
        let offset = (self.counter % 2) * WITNESS_SLOT_BYTES as u64;
        write_all(&*self.file, &slot.encode(), offset).at(
            Operation::Write,
            names::WITNESS,
            offset,
        )?;
        self.counter += 1;
        Ok(())
    }

    /// Makes the testimony outlive the machine.
    pub(crate) fn sync(&self) -> Result<(), IoError> {
        self.file.sync_data().at(Operation::Sync, names::WITNESS, 0)
    }
}
