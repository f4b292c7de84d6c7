//! Cutting a log that nobody has open: what a restore to an earlier place ends with.
//!
//! Invariants: 1. the log then ends behind an append that was whole, at or before the place asked for;
//! 2. everything before stays as it was, but for the frame that is cut, which is sealed again over what
//! is left of it. A crash in between leaves a log that ends later; cutting again ends it.
//!
//! It is for copies: a log that is cut forgets what was acknowledged.

use crate::Lsn;
use crate::error::{At, Damage, IoError, OpenError, Operation, Vouched};
use crate::format::{FRAME_HEADER, FrameHeader, names, record_at, record_bytes};
use crate::storage::{Access, Storage, StorageFile, write_all, write_zeroes};
use crate::survey::{Segment, Survey};
use crate::walker::{Frame, Walker};

/// Where the log in `storage` ends once it is cut: behind the last append that ends at or before
/// `at`. `None`, and nothing is changed, where it begins later than that.
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
    // What they say is of the log before.
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
    // From the newest on: a crash leaves no gap.
    for later in survey.segments[kept..].iter().rev() {
        let name = &later.name;
        storage.remove(name).at(Operation::Remove, name, 0)?;
        storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
    }
    let ends_at = survey.segments.get(kept).map(|it| it.header.first);
    let last = &survey.segments[kept - 1];
    cut_segment(storage, last, at.get(), ends_at).map(Some)
}

/// Cuts the last segment, which is known to go on to `sealed_at` if it was sealed.
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

/// What is left of a frame whose appends end at or before `at`, sealed again, and its bytes of records.
/// Nothing is left where its first append ends behind.
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

/// Has nothing but zeroes stand from `offset` on.
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
