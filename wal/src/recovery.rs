//! Opening a log: survey it, repair what may be repaired, begin one where there is none.
//!
//! Invariants: 1. nothing is changed before the survey has found no damage; 2. a torn tail is copied
//! aside, durably, before it is overwritten; 3. what is left is durable before anything is appended
//! behind it; 4. a crash during repair leaves a log that the next opening judges the same.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::SystemTime;

use crate::config::{LogConfig, Witness};
use crate::error::{At, IoError, OpenError, Operation};
use crate::format::{SegmentHeader, names};
use crate::generation::{self, Begun, Generation};
use crate::storage::{Access, Storage, StorageFile, read_full, write_all, write_zeroes};
use crate::survey::{Options, Segment, Survey, Tail, TornTail};
use crate::witness::WitnessWriter;
use crate::{Lsn, clean_stop, maker};

/// How many copies of torn tails are kept; the oldest go first.
pub const TORN_COPIES_MAX: usize = 16;
/// Bytes of a torn tail copied at once.
const COPY_CHUNK: usize = 256 << 10;

/// What opening a log found and did.
#[derive(Clone, Debug)]
pub struct RecoveryReport {
    /// The log's identity, drawn when it was created.
    pub log_id: u128,
    /// Its generations that are still there, oldest first; the last one is written.
    pub generations: Vec<Begun>,
    /// Whether this opening created it.
    pub created: bool,
    /// Where the log begins: earlier records were removed.
    pub first: Lsn,
    /// Where it ends; all of it is durable.
    pub end: Lsn,
    /// How many segments it has.
    pub segments: usize,
    /// How many frames were verified.
    pub frames: u64,
    /// How many records they held.
    pub records: u64,
    /// The torn tail that was cut, and the file in the log's directory that keeps a copy of it.
    pub torn: Option<(TornTail, String)>,
}

/// The segment that is being written.
pub(crate) struct ActiveSegment {
    pub file: Box<dyn StorageFile>,
    pub segment: Segment,
    pub tail: Tail,
}

pub(crate) struct RecoveredLog {
    pub report: RecoveryReport,
    pub segments: Vec<Segment>,
    pub active: ActiveSegment,
    pub witness: Option<WitnessWriter>,
}

/// Opens what is there, or begins a log.
pub(crate) fn recover(
    storage: &dyn Storage,
    config: &LogConfig,
) -> Result<RecoveredLog, OpenError> {
    let mut survey = Survey::default();
    let options = Options {
        sync: true,
        verify_from: config.verify_from.get(),
    };
    survey.run(storage, options, &mut |_| ())?;
    let torn = repair(storage, &mut survey)?;
    let created = survey.segments.is_empty();
    if created {
        begin(storage, config, &mut survey)?;
    }
    let segment = survey
        .segments
        .last()
        .expect("a log has a segment, `begin` made one")
        .clone();
    let tail = survey
        .tail
        .expect("the last segment has been walked or begun");
    let file =
        storage
            .open(&segment.name, Access::ReadWrite)
            .at(Operation::Open, &segment.name, 0)?;
    let log_id = segment.header.log_id;
    let mut witness = match config.witness {
        Witness::On if survey.witness.log_id == Some(log_id) => Some(WitnessWriter::resume(
            storage,
            log_id,
            survey.witness.counter,
        )?),
        Witness::On => Some(WitnessWriter::create(storage, log_id)?),
        Witness::Off => None,
    };
    if let Some(witness) = &mut witness {
        witness.write(tail.lsn)?;
    }
    let report = RecoveryReport {
        log_id,
        generations: generation::begun(&survey.segments),
        created,
        first: Lsn::new(survey.segments[0].header.first),
        end: Lsn::new(tail.lsn),
        segments: survey.segments.len(),
        frames: survey.frames,
        records: survey.records,
        torn,
    };
    let active = ActiveSegment {
        file,
        segment,
        tail,
    };
    Ok(RecoveredLog {
        report,
        segments: survey.segments,
        active,
        witness,
    })
}

/// Removes files that are not part of the log, and cuts a torn tail; returns the tail and the name
/// of its copy.
pub(crate) fn repair(
    storage: &dyn Storage,
    survey: &mut Survey,
) -> Result<Option<(TornTail, String)>, OpenError> {
    remove_left_overs(storage, survey)?;
    if survey.clean_stop.is_some() {
        clean_stop::take_away(storage)?;
    }
    let Some(torn) = survey.torn.take() else {
        return Ok(None);
    };
    let name = &torn.segment;
    let file = storage
        .open(name, Access::ReadWrite)
        .at(Operation::Open, name, 0)?;
    let copy = cut(storage, &*file, &torn, survey)?;
    Ok(Some((torn, copy)))
}

fn remove_left_overs(storage: &dyn Storage, survey: &Survey) -> Result<(), IoError> {
    for name in &survey.left_overs {
        storage.remove(name).at(Operation::Remove, name, 0)?;
    }
    if !survey.left_overs.is_empty() {
        storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    }
    Ok(())
}

/// Begins a log: its first segment.
fn begin(storage: &dyn Storage, config: &LogConfig, survey: &mut Survey) -> Result<(), OpenError> {
    let (name, file) = maker::make_spare(storage, 0, config.segment_bytes, || true)?
        .expect("it is never called off");
    let header = SegmentHeader {
        log_id: u128::from(draw()) << 64 | u128::from(draw()),
        generation: Generation::first(),
        sequence: 0,
        first: 0,
        segment_bytes: config.segment_bytes,
        previous: 0,
    };
    let (segment, tail) = generation::begin_segment(storage, &name, &*file, header)?;
    survey.tail = Some(tail);
    survey.segments.push(segment);
    Ok(())
}

/// Turns a spare into a segment: header, sync, name, directory. It gets its name only when its
/// header is durable, so a segment with an invalid header is damage, never the result of a crash.
pub(crate) fn activate(
    storage: &dyn Storage,
    spare: &str,
    file: &dyn StorageFile,
    header: SegmentHeader,
) -> Result<Segment, IoError> {
    let (bytes, seed) = header.encode();
    write_all(file, &bytes, 0).at(Operation::Write, spare, 0)?;
    file.sync_data().at(Operation::Sync, spare, 0)?;
    let name = names::segment(header.first);
    storage
        .rename(spare, &name)
        .at(Operation::Rename, &name, 0)?;
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    Ok(Segment { name, header, seed })
}

/// Keeps a copy of the torn tail aside and overwrites it with zeroes; returns the copy's name.
fn cut(
    storage: &dyn Storage,
    file: &dyn StorageFile,
    torn: &TornTail,
    survey: &Survey,
) -> Result<String, OpenError> {
    let copy = (0..=u32::MAX)
        .map(|n| names::torn(torn.lsn.get(), n))
        .find(|name| !survey.torn_copies.contains(name))
        .expect("fewer copies are kept than there are numbers");
    let unfinished = names::unfinished(&copy);
    let end = torn.offset + torn.bytes;
    let aside = storage
        .open(&unfinished, Access::Create)
        .at(Operation::Open, &unfinished, 0)?;
    let mut buffer = vec![0; COPY_CHUNK];
    let mut at = torn.offset;
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(COPY_CHUNK)
            .min(COPY_CHUNK);
        let read =
            read_full(file, &mut buffer[..want], at).at(Operation::Read, &torn.segment, at)?;
        write_all(&*aside, &buffer[..read], at - torn.offset).at(
            Operation::Write,
            &unfinished,
            at,
        )?;
        at += want as u64;
    }
    aside.sync_data().at(Operation::Sync, &unfinished, 0)?;
    storage
        .rename(&unfinished, &copy)
        .at(Operation::Rename, &copy, 0)?;
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    write_zeroes(file, torn.offset, end).at(Operation::Write, &torn.segment, torn.offset)?;
    file.sync_data().at(Operation::Sync, &torn.segment, 0)?;
    let surplus = (survey.torn_copies.len() + 1).saturating_sub(TORN_COPIES_MAX);
    for name in &survey.torn_copies[..surplus] {
        storage.remove(name).at(Operation::Remove, name, 0)?;
    }
    Ok(copy)
}

/// A unique number, from the standard library's random keys and the time.
pub(crate) fn draw() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    hasher.write_u128(since.as_nanos());
    hasher.finish()
}
