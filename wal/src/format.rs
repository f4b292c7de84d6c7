//! The bytes on disk: segment header, frame header, record header; below it the marks beside the segments
//! and the names of files.
//! `docs/log-format.md` draws them; everything is little-endian.
//!
//! Invariants: 1. every byte that means something is under a checksum, lengths included; 2. a
//! frame's checksum is seeded with its segment's header checksum, which covers the log's identity,
//! and covers the frame's own offset, so that a frame verifies in its own place only; 3. lengths
//! are held against what can be before anything is allocated for them.
//!
//! Pure functions over slices: no I/O, no judgement. What a bad frame means is decided in `recovery`.

mod marks;
pub(crate) mod names;

pub(crate) use marks::{CLEAN_STOP_BYTES, CleanStop, WitnessSlot};

use crc32c::{crc32c, crc32c_append};

use crate::Lsn;
use crate::generation::Generation;

/// Every record starts at a multiple of this many bytes, so that payloads can be handed out
/// 16-byte aligned without a copy.
pub const RECORD_ALIGN: usize = 16;
/// Bytes in front of every payload.
pub const RECORD_HEADER: usize = 16;
/// Bytes in front of every frame's records.
pub const FRAME_HEADER: usize = 48;
/// Bytes in front of every segment's frames.
pub const SEGMENT_HEADER: usize = 80;
/// Where a segment header's checksum stands in it, and in the segment.
pub(crate) const SEGMENT_CHECKSUM_AT: u64 = 76;
/// The same as an index.
const SEGMENT_CHECKED: usize = SEGMENT_HEADER - 4;
/// Where a frame's checksum stands in it.
pub(crate) const FRAME_CHECKSUM_AT: u64 = 4;
/// The version of the format that this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;
/// The largest frame any log may hold, in bytes with its header: what a reader is ready to allocate.
pub const FRAME_BYTES_LIMIT: usize = 64 << 20;
/// Bytes between the witness's two slots, so that no sector and no page holds both.
pub const WITNESS_SLOT_BYTES: usize = 4096;

const SEGMENT_MAGIC: [u8; 8] = *b"\x89WALSEG\n";
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"\xf7WFR");

/// Set in a record's length word: the next record belongs to the same append.
const MORE: u32 = 1 << 31;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    let mut word = [0; 16];
    word.copy_from_slice(&bytes[at..at + 16]);
    u128::from_le_bytes(word)
}

/// Bytes that a record with `payload` bytes takes in the stream.
pub const fn record_bytes(payload: usize) -> usize {
    (RECORD_HEADER + payload).next_multiple_of(RECORD_ALIGN)
}

/// What stands in front of a payload.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct RecordHeader {
    /// Payload bytes.
    pub payload: usize,
    pub more: bool,
    pub kind: u16,
    pub version: u16,
    pub lsn: u64,
}

impl RecordHeader {
    /// The first word, which is never zero: in the ring it is the marker of an append.
    pub(crate) fn first_word(&self) -> u64 {
        debug_assert!(
            self.payload <= FRAME_BYTES_LIMIT,
            "payloads are capped at append"
        );
        #[allow(
            clippy::cast_possible_truncation,
            reason = "capped far below 2^31 at append"
        )]
        let length = (RECORD_HEADER + self.payload) as u32;
        let length = if self.more { length | MORE } else { length };
        u64::from(length) | u64::from(self.kind) << 32 | u64::from(self.version) << 48
    }

    /// From the two words in front of a payload; `None` if the length cannot be.
    pub(crate) fn decode(first: u64, lsn: u64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let length = first as u32;
        let payload = ((length & !MORE) as usize).checked_sub(RECORD_HEADER)?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the halves of the high half are meant"
        )]
        Some(Self {
            payload,
            more: length & MORE != 0,
            kind: (first >> 32) as u16,
            version: (first >> 48) as u16,
            lsn,
        })
    }

    /// Bytes of the whole record, padding included.
    pub(crate) fn bytes(&self) -> usize {
        record_bytes(self.payload)
    }
}

/// One record, as it stands in a buffer of the reader's.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Record<'a> {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where the next one starts: durable when the log is durable up to here.
    pub end: Lsn,
    /// What the payload is, as given to `append`.
    pub kind: u16,
    /// In which version of that kind, as given to `append`.
    pub version: u16,
    /// Whether the next record belongs to the same append.
    pub more: bool,
    /// The bytes, starting at an address that is a multiple of [`RECORD_ALIGN`].
    pub payload: &'a [u8],
}

/// Reads the record at `at` in a frame's body; `None` if the body does not hold it whole.
pub(crate) fn record_at(body: &[u8], at: usize) -> Option<Record<'_>> {
    let header = body.get(at..at + RECORD_HEADER)?;
    let header = RecordHeader::decode(u64_at(header, 0), u64_at(header, 8))?;
    body.get(at..at.checked_add(header.bytes())?)?;
    Some(Record {
        lsn: Lsn::new(header.lsn),
        end: Lsn::new(header.lsn.checked_add(header.bytes() as u64)?),
        kind: header.kind,
        version: header.version,
        more: header.more,
        payload: &body[at + RECORD_HEADER..at + RECORD_HEADER + header.payload],
    })
}

/// What stands in front of a frame's records, the checksum aside.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct FrameHeader {
    /// Bytes of records.
    pub body: usize,
    /// How many records.
    pub records: u32,
    /// LSN of the first record.
    pub first: u64,
    /// The synced LSN known when the frame was written.
    pub durable: u64,
    /// Where in the segment the frame stands.
    pub offset: u64,
    /// Checksum of the frame before, or of the segment's header.
    pub previous: u32,
}

/// Why bytes are not the frame that belongs there.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Zeroes where a frame should begin.
    #[error("zeroes where a frame should begin")]
    Blank,
    /// No room for a frame header before the segment's end.
    #[error("the segment ends where a frame should begin")]
    NoRoom,
    /// Neither zeroes nor a frame.
    #[error("no frame magic")]
    Magic,
    /// The length cannot be.
    #[error("frame length out of range")]
    Length,
    /// The frame says it stands elsewhere.
    #[error("frame offset")]
    Offset,
    /// The checksum differs.
    #[error("frame checksum")]
    Checksum,
    /// A gap or a repetition: the frame starts at another LSN.
    #[error("first LSN of the frame")]
    FirstLsn,
    /// The frame does not follow the one before it.
    #[error("checksum of the frame before")]
    Chain,
    /// The records in the frame do not add up.
    #[error("records in the frame")]
    Records,
    /// The frame claims more durable than there was.
    #[error("durable LSN in the frame")]
    Durable,
    /// Segment header: no magic.
    #[error("segment magic")]
    SegmentMagic,
    /// Segment header: checksum.
    #[error("segment header checksum")]
    SegmentChecksum,
    /// The segment belongs to another log.
    #[error("log id")]
    LogId,
    /// The segment's number does not follow the one before: one is missing or doubled.
    #[error("segment sequence")]
    Sequence,
    /// The segment is of a generation that cannot follow that of the one before: an older one, or
    /// another of the same number.
    #[error("generation of the segment")]
    Generation,
    /// The segment does not start where the one before ends, or where its name says.
    #[error("first LSN of the segment")]
    SegmentFirstLsn,
    /// The file has another length than when it was made.
    #[error("segment length in bytes")]
    SegmentLength,
    /// The segment does not follow the checksum of the one before.
    #[error("checksum of the segment before")]
    SegmentChain,
    /// The log has no segment at all although it had acknowledged data.
    #[error("segments in the directory")]
    NoSegments,
    /// The witness has another length than when it was made.
    #[error("length of the witness in bytes")]
    WitnessLength,
    /// Both slots of the witness are unreadable; the first one has no magic.
    #[error("witness magic")]
    WitnessMagic,
    /// Both slots of the witness are unreadable; the first one has another checksum.
    #[error("witness checksum")]
    WitnessChecksum,
    /// The frames end before what was acknowledged, or behind where the log was closed.
    #[error("end of the log")]
    End,
    /// The mark of a clean stop is unreadable.
    #[error("mark of a clean stop")]
    CleanStop,
    /// The log was closed with a witness, and there is none.
    #[error("no witness")]
    NoWitness,
    /// Bytes behind the end of a log that was closed in good order.
    #[error("bytes behind the end")]
    Behind,
}

/// A mismatch with what was expected and what was found.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Bad {
    pub what: Mismatch,
    pub expected: u64,
    pub found: u64,
}

impl Bad {
    pub(crate) fn new(what: Mismatch, expected: impl Into<u64>, found: impl Into<u64>) -> Self {
        Self {
            what,
            expected: expected.into(),
            found: found.into(),
        }
    }
}

/// Whether a frame could start here: a cheap look before a real one.
pub(crate) fn starts_frame(bytes: &[u8]) -> bool {
    bytes.starts_with(&FRAME_MAGIC.to_le_bytes())
}

/// The largest body of a frame at `offset` in a segment of `segment_bytes`.
pub(crate) fn body_max(segment_bytes: u64, offset: u64) -> usize {
    let room = segment_bytes
        .saturating_sub(offset)
        .saturating_sub(FRAME_HEADER as u64);
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .min(FRAME_BYTES_LIMIT - FRAME_HEADER)
}

impl FrameHeader {
    /// Writes the header in front of the body in `frame` and returns the frame's checksum.
    pub(crate) fn seal(&self, seed: u32, frame: &mut [u8]) -> u32 {
        assert_eq!(
            frame.len(),
            FRAME_HEADER + self.body,
            "the frame holds its body"
        );
        assert!(
            self.body <= FRAME_BYTES_LIMIT - FRAME_HEADER,
            "bodies are capped by the config"
        );
        #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
        let body = self.body as u32;
        frame[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        frame[8..12].copy_from_slice(&body.to_le_bytes());
        frame[12..16].copy_from_slice(&self.records.to_le_bytes());
        frame[16..24].copy_from_slice(&self.first.to_le_bytes());
        frame[24..32].copy_from_slice(&self.durable.to_le_bytes());
        frame[32..40].copy_from_slice(&self.offset.to_le_bytes());
        frame[40..44].copy_from_slice(&self.previous.to_le_bytes());
        frame[44..48].fill(0);
        let checksum = crc32c_append(seed, &frame[8..]);
        frame[4..8].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// Reads a header that should stand at `offset` of a segment of `segment_bytes`: shape only,
    /// the checksum needs the body.
    pub(crate) fn decode(bytes: &[u8], offset: u64, segment_bytes: u64) -> Result<Self, Bad> {
        let magic = u32_at(bytes, 0);
        if magic != FRAME_MAGIC {
            let blank = bytes[..FRAME_HEADER].iter().all(|b| *b == 0);
            let what = if blank {
                Mismatch::Blank
            } else {
                Mismatch::Magic
            };
            return Err(Bad::new(what, FRAME_MAGIC, magic));
        }
        let header = Self {
            body: u32_at(bytes, 8) as usize,
            records: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
            offset: u64_at(bytes, 32),
            previous: u32_at(bytes, 40),
        };
        if header.offset != offset {
            return Err(Bad::new(Mismatch::Offset, offset, header.offset));
        }
        let max = body_max(segment_bytes, offset);
        if header.body == 0 || header.body > max || !header.body.is_multiple_of(RECORD_ALIGN) {
            return Err(Bad::new(Mismatch::Length, max as u64, header.body as u64));
        }
        Ok(header)
    }

    /// Checks the checksum of a whole frame; returns it.
    pub(crate) fn verify(frame: &[u8], seed: u32) -> Result<u32, Bad> {
        let expected = u32_at(frame, 4);
        let found = crc32c_append(seed, &frame[8..]);
        if expected == found {
            Ok(found)
        } else {
            Err(Bad::new(Mismatch::Checksum, expected, found))
        }
    }

    /// Checks that the records in a verified body are those that the header announces.
    pub(crate) fn check_records(&self, body: &[u8]) -> Result<(), Bad> {
        let (mut at, mut records, mut more) = (0, 0_u32, false);
        while at < body.len() {
            let lsn = self.first + at as u64;
            let Some(record) = record_at(body, at) else {
                return Err(Bad::new(Mismatch::Records, self.records, records));
            };
            if record.lsn.get() != lsn {
                return Err(Bad::new(Mismatch::Records, lsn, record.lsn));
            }
            at += record_bytes(record.payload.len());
            records += 1;
            more = record.more;
        }
        if more || records != self.records {
            return Err(Bad::new(Mismatch::Records, self.records, records));
        }
        Ok(())
    }
}

/// What stands at the start of a segment.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct SegmentHeader {
    pub log_id: u128,
    pub generation: Generation,
    pub sequence: u64,
    pub first: u64,
    pub segment_bytes: u64,
    /// Checksum of the last frame before, or of the header of the segment before if it has none.
    pub previous: u32,
}

impl SegmentHeader {
    /// The header's bytes and its checksum, which seeds that of every frame in the segment.
    pub(crate) fn encode(&self) -> ([u8; SEGMENT_HEADER], u32) {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.generation.number().to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.generation.tag().to_le_bytes());
        bytes[72..76].copy_from_slice(&self.previous.to_le_bytes());
        let checksum = crc32c(&bytes[..SEGMENT_CHECKED]);
        bytes[SEGMENT_CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Reads a header and its checksum.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<(Self, u32), HeaderError> {
        if bytes[0..8] != SEGMENT_MAGIC {
            let expected = u64::from_le_bytes(SEGMENT_MAGIC);
            let bad = Bad::new(Mismatch::SegmentMagic, expected, u64_at(bytes, 0));
            return Err(HeaderError::Bad(bad));
        }
        let expected = u32_at(bytes, SEGMENT_CHECKED);
        let found = crc32c(&bytes[..SEGMENT_CHECKED]);
        if expected != found {
            return Err(HeaderError::Bad(Bad::new(
                Mismatch::SegmentChecksum,
                expected,
                found,
            )));
        }
        // After the checksum: a flipped bit must read as damage, not as a version to upgrade to.
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let header = Self {
            log_id: u128_at(bytes, 16),
            generation: Generation::new(u32_at(bytes, 12), u64_at(bytes, 56)),
            sequence: u64_at(bytes, 32),
            first: u64_at(bytes, 40),
            segment_bytes: u64_at(bytes, 48),
            previous: u32_at(bytes, 72),
        };
        Ok((header, expected))
    }
}

/// Why a segment header cannot be used.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum HeaderError {
    Bad(Bad),
    Version(u32),
}
