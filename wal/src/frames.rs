//! Frames as they stand on disk, each verified before it is shown: what a copy of the log is made
//! of.
//!
//! Invariants: 1. a frame is shown only if its place, checksum, chain, LSN and records all hold;
//! 2. of a running log no frame is shown that is not durable; 3. nothing here writes.
//!
//! What a copy is for, and where it goes, is for the caller. Records are read by [`crate::Reader`].

use crate::Lsn;
use crate::error::{At, Damage, IoError, OpenError, Operation, ReadError, Vouched};
use crate::format::{
    FORMAT_VERSION, FRAME_HEADER, HeaderError, Record, SEGMENT_HEADER, SegmentHeader, names,
    record_at, record_bytes,
};
use crate::generation::Generation;
use crate::storage::{Access, Storage, read_full};
use crate::survey::{Segment, Survey};
use crate::walker::Walker;

/// A segment of a log: its header's figures and where it ends, once it is sealed.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    pub(crate) segment: Segment,
    pub(crate) sealed_at: Option<Lsn>,
}

impl SegmentInfo {
    /// The LSN of its first record, which names it.
    pub fn first(&self) -> Lsn {
        Lsn::new(self.segment.header.first)
    }

    /// Where the next segment begins; `None` while this is the last one.
    pub fn sealed_at(&self) -> Option<Lsn> {
        self.sealed_at
    }

    pub fn log_id(&self) -> u128 {
        self.segment.header.log_id
    }

    /// The generation that wrote it.
    pub fn generation(&self) -> Generation {
        self.segment.header.generation
    }

    /// Its place in the log: 0, 1, 2, …
    pub fn sequence(&self) -> u64 {
        self.segment.header.sequence
    }

    /// How large its file is.
    pub fn bytes(&self) -> u64 {
        self.segment.header.segment_bytes
    }

    /// Checksum of the last frame before it; 0 for the first segment of all.
    pub fn previous(&self) -> u32 {
        self.segment.header.previous
    }

    /// Its header as it stands in the file.
    pub fn header(&self) -> [u8; SEGMENT_HEADER] {
        self.segment.header.encode().0
    }

    /// Its frames, from the first one on.
    pub fn frames(&self, storage: &dyn Storage) -> Result<Frames, IoError> {
        let name = &self.segment.name;
        let file = storage.open(name, Access::Read);
        let file = file.at(Operation::Open, name, 0)?;
        let Segment { name, header, seed } = &self.segment;
        Ok(Frames {
            walker: Walker::new(file, name, *header, *seed),
            known: 0,
            sealed_at: self.sealed_at.map_or(u64::MAX, Lsn::get),
        })
    }
}

/// The segments of a list, each with where it ends.
pub(crate) fn infos(segments: &[Segment]) -> Vec<SegmentInfo> {
    let mut infos: Vec<_> = segments
        .iter()
        .map(|segment| SegmentInfo {
            segment: segment.clone(),
            sealed_at: None,
        })
        .collect();
    for (info, next) in infos.iter_mut().zip(segments.iter().skip(1)) {
        info.sealed_at = Some(Lsn::new(next.header.first));
    }
    infos
}

/// The segments of a log, with headers compared with each other; also of a log that is being
/// written.
pub fn segments(storage: &dyn Storage) -> Result<Vec<SegmentInfo>, OpenError> {
    let mut survey = Survey::default();
    survey.look_over(storage, false)?;
    Ok(infos(&survey.segments))
}

/// The segment in the file of this name: only its header is verified. The file may end where the
/// frames do.
pub fn lone_segment(storage: &dyn Storage, first: Lsn) -> Result<SegmentInfo, OpenError> {
    let name = names::segment(first.get());
    let file = storage.open(&name, Access::Read);
    let file = file.at(Operation::Open, &name, 0)?;
    let mut bytes = [0; SEGMENT_HEADER];
    read_full(&*file, &mut bytes, 0).at(Operation::Read, &name, 0)?;
    let damaged = |bad| Damage::new(&name, 0, first.get(), bad, Vouched::ByName);
    let (header, seed) = SegmentHeader::decode(&bytes).map_err(|error| match error {
        HeaderError::Bad(bad) => OpenError::from(damaged(bad)),
        HeaderError::Version(found) => OpenError::Format {
            segment: name.clone(),
            expected: FORMAT_VERSION,
            found,
        },
    })?;
    if header.first != first.get() {
        use crate::format::{Bad, Mismatch};
        let bad = Bad::new(Mismatch::SegmentFirstLsn, first.get(), header.first);
        return Err(damaged(bad).into());
    }
    let segment = Segment { name, header, seed };
    Ok(SegmentInfo {
        segment,
        sealed_at: None,
    })
}

/// The file name of the segment that begins at `first`.
pub fn segment_name(first: Lsn) -> String {
    names::segment(first.get())
}

/// A verified frame.
#[derive(Copy, Clone, Debug)]
pub struct RawFrame<'a> {
    /// Its first record.
    pub first: Lsn,
    /// Behind its last record.
    pub end: Lsn,
    /// Where it stands in the segment.
    pub offset: u64,
    /// Its checksum, to which the next frame is chained.
    pub checksum: u32,
    /// Everything below was synced when it was written.
    pub durable: Lsn,
    /// Header and records.
    pub bytes: &'a [u8],
}

impl<'a> RawFrame<'a> {
    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> {
        let body = &self.bytes[FRAME_HEADER..];
        let mut at = 0;
        std::iter::from_fn(move || {
            let record = record_at(body, at)?;
            at += record_bytes(record.payload.len());
            Some(record)
        })
    }
}

/// Reads the frames of one segment in order.
pub struct Frames {
    walker: Walker,
    /// The last requested end: data read ahead is current up to it.
    known: u64,
    /// Where its frames end, once that is known.
    sealed_at: u64,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl Frames {
    /// The next frame that begins before `end`, which must be durable. An invalid frame there is
    /// damage.
    pub fn next(&mut self, end: Lsn) -> Result<Option<RawFrame<'_>>, ReadError> {
        let end = end.get().min(self.sealed_at);
        if self.walker.lsn() >= end {
            return Ok(None);
        }
        if end > self.known {
            // Data read ahead may be older than the frames that are durable now.
            self.walker.forget();
            self.known = end;
        }
        let (offset, lsn) = (self.walker.offset(), self.walker.lsn());
        match self.walker.step()? {
            Ok(frame) => Ok(Some(RawFrame {
                first: Lsn::new(frame.header.first),
                end: Lsn::new(frame.end()),
                offset,
                checksum: self.walker.chain(),
                durable: Lsn::new(frame.header.durable),
                bytes: self.walker.raw(&frame),
            })),
            Err(bad) => {
                let name = self.walker.name();
                Err(Damage::new(name, offset, lsn, bad, Vouched::ByWitness).into())
            }
        }
    }

    /// Where the next frame begins.
    pub fn position(&self) -> Lsn {
        Lsn::new(self.walker.lsn())
    }

    /// Where it stands in the segment.
    pub fn offset(&self) -> u64 {
        self.walker.offset()
    }

    /// Checksum of the frame shown last; before the first one, of the segment's header.
    pub fn chain(&self) -> u32 {
        self.walker.chain()
    }
}
