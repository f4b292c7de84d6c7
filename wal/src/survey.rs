//! Reads a whole log and judges it without changing it: clean, torn tail, or damaged.
//!
//! The rule for the first invalid frame, at LSN N: if it is in a sealed segment, or if the witness,
//! the mark of a clean stop or any later valid frame has a durable LSN above N, then bytes at N
//! were acknowledged: damage. Otherwise they were not: a torn tail. If only zeroes follow, the log
//! ends there.
//!
//! After a clean stop nothing may be missing: the log ends where the mark says, nothing follows,
//! and the witness exists if there was one.
//!
//! A missing or repeated segment, a wrong length and a failed read are never an end. Repair is in
//! `recovery`; the public read-only interface in `scan`.

use crate::Lsn;
use crate::clean_stop;
use crate::config::Witness;
use crate::error::{At, Damage, OpenError, Operation, Vouched};
use crate::format::{
    Bad, CleanStop, FORMAT_VERSION, FRAME_CHECKSUM_AT, FRAME_HEADER, FrameHeader, HeaderError,
    Mismatch, RECORD_ALIGN, Record, SEGMENT_CHECKSUM_AT, SEGMENT_HEADER, SegmentHeader, names,
    record_at, record_bytes, starts_frame,
};
use crate::generation::Generation;
use crate::storage::{Access, Storage, read_full};
use crate::walker::Walker;
use crate::witness::{self, Testimony};

/// Bytes searched at a time after an invalid frame.
const LOOK_CHUNK: usize = 256 << 10;

/// A tail that was written but never acknowledged.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct TornTail {
    /// The segment's file.
    pub segment: String,
    /// Where the tail begins, in bytes.
    pub offset: u64,
    /// The LSN there: the log ends here.
    pub lsn: Lsn,
    /// How many bytes it has.
    pub bytes: u64,
    /// Why its first frame is invalid.
    pub reason: Mismatch,
}

/// A segment with a good header.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub name: String,
    pub header: SegmentHeader,
    /// The header's checksum, which seeds that of its frames.
    pub seed: u32,
}

/// Where the log ends and continues.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Tail {
    pub offset: u64,
    pub lsn: u64,
    pub chain: u32,
    /// Offset of `chain` in the segment: in the last frame, or in the header if there is no frame.
    pub chain_at: u64,
}

/// How to read.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Options {
    /// Sync every file before reading it, so that no decision depends on data that is only in the
    /// cache.
    pub sync: bool,
    /// Skip the frames of segments that end at or before this LSN.
    pub verify_from: u64,
}

/// What has been found so far; complete after a [`Survey::run`] that returned `Ok`.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub segments: Vec<Segment>,
    pub left_overs: Vec<String>,
    pub torn_copies: Vec<String>,
    pub has_witness: bool,
    pub witness: Testimony,
    pub clean_stop: Option<CleanStop>,
    pub tail: Option<Tail>,
    pub torn: Option<TornTail>,
    pub end: u64,
    pub frames: u64,
    pub records: u64,
}

impl Survey {
    /// Reads everything, showing every record from `verify_from` on that lies in a verified frame.
    pub(crate) fn run(
        &mut self,
        storage: &dyn Storage,
        options: Options,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), OpenError> {
        self.look_over(storage, options.sync)?;
        for i in 0..self.segments.len() {
            let sealed_end = self.segments.get(i + 1).map(|next| next.header.first);
            if sealed_end.is_some_and(|end| end <= options.verify_from) {
                continue;
            }
            let mut walker = self.walker(storage, i)?;
            match sealed_end {
                Some(_) => self.walk_sealed(&mut walker, i + 1, visit)?,
                None => self.walk_last(&mut walker, visit)?,
            }
        }
        Ok(())
    }

    /// Reads names, headers and the witness, and compares them with each other; no frames.
    pub(crate) fn look_over(&mut self, storage: &dyn Storage, sync: bool) -> Result<(), OpenError> {
        let mut names = storage.list().at(Operation::List, ".", 0)?;
        names.sort_unstable();
        self.has_witness = names.iter().any(|name| name == names::WITNESS);
        self.left_overs = names
            .iter()
            .filter(|n| names::is_left_over(n))
            .cloned()
            .collect();
        self.torn_copies = names
            .iter()
            .filter(|n| names::is_torn(n))
            .cloned()
            .collect();
        self.read_headers(storage, &names, sync)?;
        self.witness = witness::read(storage, &names)?;
        self.clean_stop = clean_stop::read(storage, &names)?;
        self.check_witness()?;
        self.check_clean_stop()
    }

    /// Reads the headers of all segments and compares them with each other.
    fn read_headers(
        &mut self,
        storage: &dyn Storage,
        names: &[String],
        sync: bool,
    ) -> Result<(), OpenError> {
        let names: Vec<_> = names
            .iter()
            .filter_map(|name| Some((names::parse_segment(name)?, name)))
            .collect();
        for (i, &(first, name)) in names.iter().enumerate() {
            let sealed = i + 1 < names.len();
            let vouched = if sealed {
                Vouched::BySealedSegment
            } else {
                Vouched::ByName
            };
            let access = if sync {
                Access::ReadWrite
            } else {
                Access::Read
            };
            let file = storage.open(name, access).at(Operation::Open, name, 0)?;
            if sync {
                file.sync_data().at(Operation::Sync, name, 0)?;
            }
            let damaged = |bad| OpenError::from(Damage::new(name, 0, self.end, bad, vouched));
            let mut bytes = [0; SEGMENT_HEADER];
            read_full(&*file, &mut bytes, 0).at(Operation::Read, name, 0)?;
            let (header, seed) = SegmentHeader::decode(&bytes).map_err(|e| match e {
                HeaderError::Bad(bad) => damaged(bad),
                HeaderError::Version(found) => OpenError::Format {
                    segment: name.clone(),
                    expected: FORMAT_VERSION,
                    found,
                },
            })?;
            let len = file.len().at(Operation::Read, name, 0)?;
            self.check_header(&header, first, len).map_err(damaged)?;
            self.end = header.first;
            self.segments.push(Segment {
                name: name.clone(),
                header,
                seed,
            });
        }
        Ok(())
    }

    fn check_header(&self, header: &SegmentHeader, first: u64, len: u64) -> Result<(), Bad> {
        if header.first != first {
            return Err(Bad::new(Mismatch::SegmentFirstLsn, first, header.first));
        }
        if header.segment_bytes != len {
            return Err(Bad::new(Mismatch::SegmentLength, header.segment_bytes, len));
        }
        if let Some(before) = self.segments.last() {
            if before.header.log_id != header.log_id {
                let [expected, found] = [before.header.log_id, header.log_id].map(low_half);
                return Err(Bad::new(Mismatch::LogId, expected, found));
            }
            let expected = before.header.sequence + 1;
            if header.sequence != expected {
                return Err(Bad::new(Mismatch::Sequence, expected, header.sequence));
            }
            let (expected, found) = (before.header.generation, header.generation);
            if !found.may_follow(expected) {
                let [expected, found] = if expected.number() == found.number() {
                    [expected, found].map(Generation::tag)
                } else {
                    [expected, found].map(|it| u64::from(it.number()))
                };
                return Err(Bad::new(Mismatch::Generation, expected, found));
            }
        }
        Ok(())
    }

    /// The witness must belong to this log, and there must be a log if the witness has a durable
    /// LSN.
    fn check_witness(&self) -> Result<(), OpenError> {
        if self.witness.durable == 0 {
            return Ok(());
        }
        let bad = match self.segments.first() {
            None => Bad::new(Mismatch::NoSegments, self.witness.durable, 0_u64),
            Some(first) if self.witness.log_id != Some(first.header.log_id) => {
                let witness = self.witness.log_id.map_or(0, low_half);
                Bad::new(Mismatch::LogId, witness, low_half(first.header.log_id))
            }
            Some(_) => return Ok(()),
        };
        Err(Damage::new(names::WITNESS, 0, 0, bad, Vouched::ByWitness).into())
    }

    /// The mark of a clean stop must belong to this log, and the witness must exist if it existed
    /// then.
    fn check_clean_stop(&self) -> Result<(), OpenError> {
        let Some(mark) = self.clean_stop else {
            return Ok(());
        };
        let (file, bad) = match self.segments.last() {
            None => (
                names::CLEAN_STOP,
                Bad::new(Mismatch::NoSegments, mark.end, 0_u64),
            ),
            Some(last) if last.header.log_id != mark.log_id => {
                let [expected, found] = [mark.log_id, last.header.log_id].map(low_half);
                (
                    names::CLEAN_STOP,
                    Bad::new(Mismatch::LogId, expected, found),
                )
            }
            Some(_) if mark.witness == Witness::On && self.witness.log_id.is_none() => {
                (names::WITNESS, Bad::new(Mismatch::NoWitness, 1_u64, 0_u64))
            }
            Some(_) => return Ok(()),
        };
        Err(Damage::new(file, 0, 0, bad, Vouched::ByCleanStop).into())
    }

    fn walker(&self, storage: &dyn Storage, i: usize) -> Result<Walker, OpenError> {
        let segment = &self.segments[i];
        let file =
            storage
                .open(&segment.name, Access::Read)
                .at(Operation::Open, &segment.name, 0)?;
        Ok(Walker::new(
            file,
            &segment.name,
            segment.header,
            segment.seed,
        ))
    }

    fn count(&mut self, walker: &Walker, records: u32) {
        self.frames += 1;
        self.records += u64::from(records);
        self.end = walker.lsn();
    }

    /// A sealed segment holds exactly what lies between its first LSN and the next one's.
    fn walk_sealed(
        &mut self,
        walker: &mut Walker,
        next: usize,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), OpenError> {
        let next = self.segments[next].clone();
        let damaged = |segment: &str, offset, lsn, bad| {
            Err(Damage::new(segment, offset, lsn, bad, Vouched::BySealedSegment).into())
        };
        while walker.lsn() < next.header.first {
            match walker.step()? {
                Ok(frame) => {
                    show(walker.body(&frame), visit);
                    self.count(walker, frame.header.records);
                }
                Err(bad) => return damaged(walker.name(), walker.offset(), walker.lsn(), bad),
            }
        }
        if walker.lsn() != next.header.first {
            let bad = Bad::new(Mismatch::SegmentFirstLsn, walker.lsn(), next.header.first);
            return damaged(&next.name, 0, walker.lsn(), bad);
        }
        if walker.chain() != next.header.previous {
            let bad = Bad::new(Mismatch::SegmentChain, walker.chain(), next.header.previous);
            return damaged(&next.name, 0, walker.lsn(), bad);
        }
        Ok(())
    }

    /// The last segment ends somewhere; where it does, judge how.
    fn walk_last(
        &mut self,
        walker: &mut Walker,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), OpenError> {
        let mut chain_at = SEGMENT_CHECKSUM_AT;
        let bad = loop {
            let at = walker.offset();
            match walker.step()? {
                Ok(frame) => {
                    chain_at = at + FRAME_CHECKSUM_AT;
                    show(walker.body(&frame), visit);
                    self.count(walker, frame.header.records);
                }
                Err(bad) => break bad,
            }
        };
        let lsn = walker.lsn();
        self.end = lsn;
        let damaged = |bad, vouched| {
            Err(Damage::new(walker.name(), walker.offset(), lsn, bad, vouched).into())
        };
        if self.witness.durable > lsn {
            let blank = matches!(bad.what, Mismatch::Blank | Mismatch::NoRoom);
            let end = Bad::new(Mismatch::End, self.witness.durable, lsn);
            return damaged(if blank { end } else { bad }, Vouched::ByWitness);
        }
        if let Some(mark) = self.clean_stop {
            if mark.end != lsn {
                let bad = Bad::new(Mismatch::End, mark.end, lsn);
                return damaged(bad, Vouched::ByCleanStop);
            }
            if mark.chain != walker.chain() {
                let bad = Bad::new(Mismatch::Chain, mark.chain, walker.chain());
                return damaged(bad, Vouched::ByCleanStop);
            }
        }
        let rest = look_behind(walker)?;
        if let Some(offset) = rest.vouching_frame {
            return damaged(bad, Vouched::ByLaterFrame(offset));
        }
        if self.clean_stop.is_some() && rest.written_to > walker.offset() {
            let bad = Bad::new(Mismatch::Behind, walker.offset(), rest.written_to);
            return damaged(bad, Vouched::ByCleanStop);
        }
        self.tail = Some(Tail {
            offset: walker.offset(),
            lsn,
            chain: walker.chain(),
            chain_at,
        });
        if rest.written_to > walker.offset() {
            self.torn = Some(TornTail {
                segment: walker.name().to_owned(),
                offset: walker.offset(),
                lsn: Lsn::new(lsn),
                bytes: rest.written_to - walker.offset(),
                reason: bad.what,
            });
        }
        Ok(())
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "enough of an id to tell two apart in a message"
)]
fn low_half(id: u128) -> u64 {
    id as u64
}

fn show(body: &[u8], visit: &mut dyn FnMut(&Record<'_>)) {
    let mut at = 0;
    while let Some(record) = record_at(body, at) {
        visit(&record);
        at += record_bytes(record.payload.len());
    }
}

/// What follows the last valid frame.
struct TailSurvey {
    /// A valid frame with a durable LSN above the walker's.
    vouching_frame: Option<u64>,
    /// One past the last byte that is not zero; 0 if there is none.
    written_to: u64,
}

/// Looks at every place behind the last good frame where another could stand.
fn look_behind(walker: &Walker) -> Result<TailSurvey, OpenError> {
    let end = walker.segment().segment_bytes;
    let mut rest = TailSurvey {
        vouching_frame: None,
        written_to: 0,
    };
    let mut buffer = vec![0; LOOK_CHUNK];
    let mut at = walker.offset();
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(LOOK_CHUNK)
            .min(LOOK_CHUNK);
        let read = read_full(walker.file(), &mut buffer[..want], at).at(
            Operation::Read,
            walker.name(),
            at,
        )?;
        if let Some(last) = last_written(&buffer[..read]) {
            rest.written_to = at + last as u64 + 1;
            // Frames stand at multiples of the record alignment, as does the walker.
            for i in (0..read).step_by(RECORD_ALIGN) {
                if rest.vouching_frame.is_none() && starts_frame(&buffer[i..read]) {
                    rest.vouching_frame = vouching_frame(walker, at + i as u64)?;
                }
            }
        }
        if read < want {
            break;
        }
        at += read as u64;
    }
    Ok(rest)
}

/// Where the last byte that is not zero stands. Nearly always there is none, and a start looks through
/// a whole segment of them: a run of bytes at a time, which the compiler compares in wide registers.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const RUN: usize = 256;
    let blank = |run: &[u8]| run.iter().fold(0, |seen, byte| seen | byte) == 0;
    if bytes.chunks(RUN).all(blank) {
        return None;
    }
    bytes.iter().rposition(|byte| *byte != 0)
}

/// Whether a frame that verifies stands at `offset` and knew a durable LSN above the walker's.
fn vouching_frame(walker: &Walker, offset: u64) -> Result<Option<u64>, OpenError> {
    let read = |bytes: &mut [u8]| {
        read_full(walker.file(), bytes, offset).at(Operation::Read, walker.name(), offset)
    };
    let mut head = [0; FRAME_HEADER];
    if read(&mut head)? < FRAME_HEADER {
        return Ok(None);
    }
    let Ok(header) = FrameHeader::decode(&head, offset, walker.segment().segment_bytes) else {
        return Ok(None);
    };
    if header.durable <= walker.lsn() {
        return Ok(None);
    }
    let mut frame = vec![0; FRAME_HEADER + header.body];
    let whole = read(&mut frame)? == frame.len();
    Ok((whole && FrameHeader::verify(&frame, walker.seed()).is_ok()).then_some(offset))
}
