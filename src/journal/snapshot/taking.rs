//! Owns taking a snapshot: the state as of an LSN, copied shard by shard without a pause.
//!
//! Invariants: 1. each shard is copied within its own turn and written outside of it, together with the
//! LSN from which events must be applied to it again; 2. the file is named by the smallest of these LSNs;
//! 3. it is finished only once everything that it reveals is durable in the log; 4. it is written in slices and
//! rests between them and before each turn, so that commands and the log's syncs wait for one slice at most.

use super::image::{archived, catalogue_image, distinct_image, velocity_image};
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::core::pace::WorkPace;
use crate::journal::format::fault::JournalError;
use crate::journal::format::sections::{self, Tag};
use crate::journal::format::store;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Rests for each unit of work: a snapshot takes a quarter of a core at most.
const RESTS_PER_WORK: u32 = 3;

/// The figures of a snapshot that was taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Recovery reads the log from this LSN on.
    pub lsn: Lsn,
    /// Size of the file.
    pub bytes: u64,
    pub purchases: u64,
    /// The time it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Takes a snapshot, and removes the log that the older of the two kept snapshots does not need.
/// Blocks this thread, and a command for no longer than copying one shard takes.
pub(in crate::journal) fn take(core: &JournalCore) -> Result<SnapshotReport, JournalError> {
    let taken = take_in_turn(core);
    *core.snapshots.failure.lock() = taken.as_ref().err().map(ToString::to_string);
    taken
}

/// Whether a snapshot is due, if one is wanted for every `every_bytes` of log.
///
/// If the newest snapshot is larger than that, the next one waits until the log after it has the same
/// size. So snapshots never write more than the log does, and recovery reads at most about as much
/// log as snapshot.
pub(in crate::journal) fn is_due(core: &JournalCore, every_bytes: u64) -> bool {
    let newest = core.newest_snapshot().unwrap_or_default();
    let behind = core.appended().0.saturating_sub(newest.0);
    behind >= every_bytes.max(core.snapshots.newest_bytes.load(Ordering::Relaxed))
}

fn take_in_turn(core: &JournalCore) -> Result<SnapshotReport, JournalError> {
    let began = Instant::now();
    if core.log.disk_free_low() {
        return Err(JournalError::DiskFull);
    }
    let _one_at_a_time = core.snapshots.taking.lock();
    let storage = &*core.snapshots.storage;
    let pace = WorkPace::begin(&core.background, RESTS_PER_WORK);
    let mut writing = Writing::begin(storage, core.log_id, pace)?;

    // 1. The counters, as of `velocity_lsn`. Recovery counts every event from the smallest LSN of
    // all sections on; counting one again changes nothing, but one that is missing stays missing.
    // A turn appends and counts under its shard's lock, so taking each lock once guarantees that
    // everything appended before `velocity_lsn` has been counted.
    let (in_force, velocity, distinct, velocity_lsn) = {
        // Rules do not change meanwhile: how much is kept is as of this LSN.
        let rules = core.rules_turn.lock();
        let velocity_lsn = core.appended();
        ShardId::all().for_each(|id| drop(core.shard(id)));
        let velocity = velocity_image(&core.velocity);
        let distinct = distinct_image(&core.velocity);
        (rules.clone(), velocity, distinct, velocity_lsn)
    };
    // 2. Nonces and event ids, in the turn of webhooks; remembering one again changes nothing.
    let (seen, seen_lsn) = {
        let _turn = core.webhook_turn.lock();
        let moment = core.clock.moment();
        (core.seen.image(moment), core.appended())
    };
    write_shards(core, &mut writing)?;
    // 3. The catalogue after the shards, so that it has every product and promotion that their
    // images name by its place.
    let (catalogue, lsn) = {
        let _turn = core.catalogue_turn.lock();
        let catalogue = core.catalogue.load();
        let accepted = core.history.accepted();
        let image = catalogue_image(&catalogue, core.limits(), accepted);
        (image, core.appended())
    };
    writing.section(Tag::Catalogue, lsn, &archived(&catalogue))?;
    writing.section(Tag::Velocity, velocity_lsn, &archived(&velocity))?;
    writing.section(Tag::Distinct, velocity_lsn, &archived(&distinct))?;
    writing.section(Tag::Rules, velocity_lsn, &archived(&in_force))?;
    writing.section(Tag::Webhooks, seen_lsn, &archived(&seen))?;

    // 4. The images may hold events that are not durable yet. A snapshot ahead of the log would
    // bring back what a crash took away, so it gets its name only once the log has them all.
    core.wait_durable(writing.last)?;
    let (lsn, purchases) = (writing.first, writing.purchases);
    let bytes = writing.finish()?;
    core.snapshots.took(lsn, bytes, core.clock.now());
    remove_unneeded(core)?;
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(SnapshotReport {
        lsn,
        bytes,
        purchases,
        elapsed_ms,
    })
}

/// Each shard in its own turn. The LSN is read under the lock: events of this shard before it are in the
/// image, and later ones are not, so recovery applies exactly those. The bytes are written after the lock is
/// released, because a write may take long.
fn write_shards(core: &JournalCore, writing: &mut Writing<'_>) -> Result<(), JournalError> {
    for id in ShardId::all() {
        writing.pace.give_way();
        let (image, lsn) = {
            let shard = core.shard(id);
            (shard.image(), core.appended())
        };
        writing.purchases += image.purchases() as u64;
        writing.section(Tag::Shard(number_of(id)), lsn, &archived(&image))?;
    }
    Ok(())
}

/// Removes older snapshots, and then the log that the oldest kept one does not need. In this order,
/// and only after the new snapshot is complete, so that a crash at any point leaves a snapshot with
/// all of the log after it.
fn remove_unneeded(core: &JournalCore) -> Result<(), JournalError> {
    let storage = &*core.snapshots.storage;
    store::remove_old(storage)?;
    if let Some((oldest, _)) = store::list(storage)?.last() {
        let oldest = wal::Lsn::new(oldest.0);
        core.snapshots.pin.lock().advance(oldest);
        core.log.remove_before(oldest).map_err(JournalError::from)?;
    }
    Ok(())
}

fn number_of(id: ShardId) -> u8 {
    u8::try_from(id.index()).expect("there are 256 shards")
}

struct Writing<'a> {
    aside: store::Aside<'a>,
    pace: WorkPace<'a>,
    sections: u32,
    chain: u32,
    first: Lsn,
    last: Lsn,
    purchases: u64,
}

impl<'a> Writing<'a> {
    fn begin(
        storage: &'a dyn wal::Storage,
        log_id: u64,
        pace: WorkPace<'a>,
    ) -> Result<Self, JournalError> {
        let mut writing = Self {
            aside: store::Aside::create(storage)?,
            pace,
            sections: 0,
            chain: 0,
            first: Lsn(u64::MAX),
            last: Lsn(0),
            purchases: 0,
        };
        writing.bytes(&sections::header(log_id))?;
        Ok(writing)
    }

    fn section(&mut self, tag: Tag, lsn: Lsn, bytes: &[u8]) -> Result<(), JournalError> {
        let header = sections::section_header(tag, lsn, bytes);
        self.bytes(&header)?;
        self.bytes(bytes)?;
        self.sections += 1;
        self.chain = sections::chain(self.chain, &header);
        self.first = self.first.min(lsn);
        self.last = self.last.max(lsn);
        Ok(())
    }

    /// Writes slice by slice.
    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), JournalError> {
        while !bytes.is_empty() {
            bytes = self.aside.write(bytes)?;
            self.pace.give_way();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u64, JournalError> {
        let trailer = sections::trailer(self.sections, self.chain);
        self.bytes(&trailer)?;
        self.aside.finish(self.first)
    }
}
