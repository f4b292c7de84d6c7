//! Cutting a log that no process has open: the last step of a restore to an earlier position.
//!
//! Invariants: 1. the log then ends after a whole append, at or before the requested position; 2.
//! everything before stays unchanged, except the frame that is cut, which gets a new checksum over
//! the rest. After a crash in between, the log ends later; cutting again completes it.
//!
//! Only for copies: a log that is cut forgets acknowledged data.

use crate::Lsn;
use crate::error::{At, Damage, IoError, OpenError, Operation, Vouched};
use crate::format::{FRAME_HEADER, FrameHeader, names, record_at, record_bytes};
use crate::storage::{Access, Storage, StorageFile, write_all, write_zeroes};
use crate::survey::{Segment, Survey};
use crate::walker::{Frame, Walker};

/// Cuts the log in `storage` after the last append that ends at or before `at`, and returns the new
/// end. `None`, with nothing changed, if the log begins later.
pub fn cut(storage: &dyn Storage, at: Lsn) -> Result<Option<Lsn>, OpenError> {
    let mut survey = Survey::default();
    survey.look_over(storage, false)?;
    let kept = survey
        .segments
        .iter()
        .take_while(|it| it.header.first < at.get() || it.header.first == 0)
        .count();
    if kept == 0 {
        return Ok(None);
    }
    // They describe the log before the cut.
    for name in [names::CLEAN_STOP, names::WITNESS] {
        if storage
            .list()
            .at(Operation::List, ".", 0)?
            .iter()
            .any(|it| it == name)
        {
            storage.remove(name).at(Operation::Remove, name, 0)?;
        }
    }
    storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    // Newest first, so a crash leaves no gap.
    for later in survey.segments[kept..].iter().rev() {
        let name = &later.name;
        storage.remove(name).at(Operation::Remove, name, 0)?;
        storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    }
    let ends_at = survey.segments.get(kept).map(|it| it.header.first);
    let last = &survey.segments[kept - 1];
    cut_segment(storage, last, at.get(), ends_at).map(Some)
}

/// Cuts the last segment, which ends at `sealed_at` if it was sealed.
fn cut_segment(
    storage: &dyn Storage,
    segment: &Segment,
    at: u64,
    sealed_at: Option<u64>,
) -> Result<Lsn, OpenError> {
    let Segment { name, header, seed } = segment;
    let file = storage.open(name, Access::Read);
    let file = file.at(Operation::Open, name, 0)?;
    let mut walker = Walker::new(file, name, *header, *seed);
    let written = storage.open(name, Access::ReadWrite);
    let written = written.at(Operation::Open, name, 0)?;
    loop {
        let (offset, lsn) = (walker.offset(), walker.lsn());
        if lsn >= at {
            return end_at(&*written, name, header.segment_bytes, offset, lsn);
        }
        match walker.step()? {
            Ok(frame) if frame.end() > at => {
                let (bytes, left) = shortened(&walker, &frame, at, *seed);
                let end = offset + bytes.len() as u64;
                write_all(&*written, &bytes, offset).at(Operation::Write, name, offset)?;
                return end_at(&*written, name, header.segment_bytes, end, lsn + left);
            }
            Ok(_) => {}
            // A log that is not sealed ends where its frames do.
            Err(_) if sealed_at.is_none() => {
                return end_at(&*written, name, header.segment_bytes, offset, lsn);
            }
            Err(bad) => {
                return Err(Damage::new(name, offset, lsn, bad, Vouched::BySealedSegment).into());
            }
        }
    }
}

/// The part of a frame with the appends that end at or before `at`, with a new checksum, and its
/// bytes of records. Nothing is left if the first append ends after `at`.
fn shortened(walker: &Walker, frame: &Frame, at: u64, seed: u32) -> (Vec<u8>, u64) {
    let body = walker.body(frame);
    let (mut next, mut left, mut records, mut kept) = (0, 0, 0, 0);
    while let Some(record) = record_at(body, next) {
        if record.end.get() > at {
            break;
        }
        next += record_bytes(record.payload.len());
        records += 1;
        if !record.more {
            (left, kept) = (next, records);
        }
    }
    if left == 0 {
        return (Vec::new(), 0);
    }
    let header = FrameHeader {
        body: left,
        records: kept,
        ..frame.header
    };
    let mut bytes = vec![0; FRAME_HEADER];
    bytes.extend_from_slice(&body[..left]);
    header.seal(seed, &mut bytes);
    (bytes, left as u64)
}

/// Writes zeroes from `offset` on.
fn end_at(
    file: &dyn StorageFile,
    name: &str,
    segment_bytes: u64,
    offset: u64,
    lsn: u64,
) -> Result<Lsn, OpenError> {
    write_zeroes(file, offset, segment_bytes).at(Operation::Write, name, offset)?;
    sync(file, name)?;
    Ok(Lsn::new(lsn))
}

fn sync(file: &dyn StorageFile, name: &str) -> Result<(), IoError> {
    file.sync_data().at(Operation::Sync, name, 0)
}
