//! Reading a log that no process has open: verify everything, show the records, report what is
//! wrong.
//!
//! It changes nothing, locks nothing and repairs nothing. On a log that is being written it may see
//! an incomplete frame and report a torn tail.

use crate::Lsn;
use crate::error::{At, Damage, IoError, OpenError, Operation};
use crate::format::{Record, names};
use crate::generation::{Begun, begun};
use crate::storage::Storage;
use crate::survey::{Options, Survey, TornTail};

/// What state a log is in.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Verdict {
    /// Everything verifies.
    Clean,
    /// All acknowledged data is valid; unacknowledged data follows. Opening cuts it.
    TornTail(TornTail),
    /// Acknowledged data is not what was written. Opening refuses.
    Damaged(Box<Damage>),
}

/// What a scan found.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The state.
    pub verdict: Verdict,
    /// The log's identity; none if it has no readable segment.
    pub log_id: Option<u128>,
    /// Its generations that are still there, oldest first; the last one is written.
    pub generations: Vec<Begun>,
    /// Where it begins.
    pub first: Lsn,
    /// Up to here it is good.
    pub end: Lsn,
    /// Segments with a good header.
    pub segments: usize,
    /// Frames verified.
    pub frames: u64,
    pub records: u64,
}

/// How far a log goes, without reading its frames.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Extent {
    /// Where it begins.
    pub first: Lsn,
    /// The known durable LSN: there may be more, never less.
    pub durable: Lsn,
    /// Whether it is from a witness; without one it is the start of the last segment, whose content
    /// is then left out.
    pub is_witnessed: bool,
}

/// Reads the extent of a log. A log that is being written has at least this extent when this
/// returns.
pub fn extent(storage: &dyn Storage) -> Result<Extent, OpenError> {
    let mut survey = Survey::default();
    survey.look_over(storage, false)?;
    let first = survey.segments.first().map_or(0, |it| it.header.first);
    // A segment is only begun when the one before is durable.
    let last = survey.segments.last().map_or(0, |it| it.header.first);
    Ok(Extent {
        first: Lsn::new(first),
        durable: Lsn::new(survey.witness.durable.max(last)),
        is_witnessed: survey.has_witness,
    })
}

/// Whether a log exists: it has a segment, valid or not. Opening a storage without one begins a
/// log.
pub fn is_begun(storage: &dyn Storage) -> Result<bool, IoError> {
    let names = storage.list().at(Operation::List, ".", 0)?;
    Ok(names
        .iter()
        .any(|name| names::parse_segment(name).is_some()))
}

/// Reads a whole log and shows every record that lies in a verified frame, in order.
///
/// Frames of segments that end at or before `from` are skipped; [`Lsn::ZERO`] verifies everything.
/// Damage is a verdict here; the errors are a failed read and a log of another format.
pub fn scan(
    storage: &dyn Storage,
    from: Lsn,
    mut visit: impl FnMut(&Record<'_>),
) -> Result<Scan, OpenError> {
    let mut survey = Survey::default();
    let options = Options {
        sync: false,
        verify_from: from.get(),
    };
    let verdict = match survey.run(storage, options, &mut visit) {
        Ok(()) => survey.torn.take().map_or(Verdict::Clean, Verdict::TornTail),
        Err(OpenError::Damaged(damage)) => Verdict::Damaged(damage),
        Err(other) => return Err(other),
    };
    let first = survey.segments.first().map(|s| s.header);
    Ok(Scan {
        verdict,
        log_id: first.map(|header| header.log_id),
        generations: begun(&survey.segments),
        first: Lsn::new(first.map_or(0, |header| header.first)),
        end: Lsn::new(survey.end),
        segments: survey.segments.len(),
        frames: survey.frames,
        records: survey.records,
    })
}
