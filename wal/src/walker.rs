//! Walks the frames of one segment in order, and verifies each before showing it.
//!
//! Invariants: 1. a frame is shown only if its place, checksum, chain, LSN and records are all
//! valid;
//! 2. after an invalid frame the walker does not move: nothing is skipped; 3. a failed read is an
//!    error, never an end.
//!
//! The caller decides what an invalid frame means: damage to a reader, perhaps a torn tail to
//! recovery.

use crate::error::{At, IoError, Operation};
use crate::format::{
    Bad, FRAME_HEADER, FrameHeader, Mismatch, RECORD_ALIGN, SEGMENT_HEADER, SegmentHeader,
};
use crate::storage::{StorageFile, read_full};

/// Bytes read ahead at once.
const READ_CHUNK: usize = 256 << 10;

/// A buffer whose first byte stands at a multiple of [`RECORD_ALIGN`].
#[derive(Default)]
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Room for `len` bytes, their content unspecified.
    fn reset(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + RECORD_ALIGN {
            self.bytes = vec![0; len + RECORD_ALIGN];
            self.start = self.bytes.as_ptr().align_offset(RECORD_ALIGN);
            assert!(self.start < RECORD_ALIGN, "a byte pointer can be aligned");
        }
        self.len = len;
        &mut self.bytes[self.start..self.start + len]
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

/// A verified frame; its records are in [`Walker::body`] until the next step.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Frame {
    pub header: FrameHeader,
    body_at: usize,
}

impl Frame {
    /// LSN after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.header.first + self.header.body as u64
    }
}

pub(crate) struct Walker {
    file: Box<dyn StorageFile>,
    name: String,
    segment: SegmentHeader,
    seed: u32,
    /// Checksum of the last good frame, or of the segment's header.
    chain: u32,
    /// Where the next frame starts.
    offset: u64,
    /// Its first LSN.
    lsn: u64,
    buffer: Aligned,
    buffer_at: u64,
}

impl Walker {
    /// Stands before the first frame of a segment whose header checksum is `seed`.
    pub(crate) fn new(
        file: Box<dyn StorageFile>,
        name: &str,
        segment: SegmentHeader,
        seed: u32,
    ) -> Self {
        Self {
            file,
            name: name.to_owned(),
            segment,
            seed,
            chain: seed,
            offset: SEGMENT_HEADER as u64,
            lsn: segment.first,
            buffer: Aligned::default(),
            buffer_at: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file(&self) -> &dyn StorageFile {
        &*self.file
    }

    pub(crate) fn segment(&self) -> &SegmentHeader {
        &self.segment
    }

    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    pub(crate) fn chain(&self) -> u32 {
        self.chain
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn lsn(&self) -> u64 {
        self.lsn
    }

    /// Drops what was read ahead: the file has grown since.
    pub(crate) fn forget(&mut self) {
        self.buffer.len = 0;
    }

    /// The records of the frame that the last step returned.
    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        &self.buffer.get()[frame.body_at..frame.body_at + frame.header.body]
    }

    /// The whole of the frame that the last step returned, as it stands in the file.
    pub(crate) fn raw(&self, frame: &Frame) -> &[u8] {
        &self.buffer.get()[frame.body_at - FRAME_HEADER..frame.body_at + frame.header.body]
    }

    /// Takes the next frame, if it is good.
    pub(crate) fn step(&mut self) -> Result<Result<Frame, Bad>, IoError> {
        let room = self.segment.segment_bytes.saturating_sub(self.offset);
        if room < FRAME_HEADER as u64 {
            return Ok(Err(Bad::new(Mismatch::NoRoom, FRAME_HEADER as u64, room)));
        }
        if let Err(bad) = self.fetch(FRAME_HEADER)? {
            return Ok(Err(bad));
        }
        let head = &self.buffer.get()[self.at()..];
        let header = match FrameHeader::decode(head, self.offset, self.segment.segment_bytes) {
            Ok(header) => header,
            Err(bad) => return Ok(Err(bad)),
        };
        let bytes = FRAME_HEADER + header.body;
        if let Err(bad) = self.fetch(bytes)? {
            return Ok(Err(bad));
        }
        let at = self.at();
        let frame = &self.buffer.get()[at..at + bytes];
        Ok(self.check(&header, frame).map(|checksum| {
            self.chain = checksum;
            self.offset += bytes as u64;
            self.lsn += header.body as u64;
            Frame {
                header,
                body_at: at + FRAME_HEADER,
            }
        }))
    }

    fn check(&self, header: &FrameHeader, frame: &[u8]) -> Result<u32, Bad> {
        let checksum = FrameHeader::verify(frame, self.seed)?;
        if header.first != self.lsn {
            return Err(Bad::new(Mismatch::FirstLsn, self.lsn, header.first));
        }
        if header.previous != self.chain {
            return Err(Bad::new(Mismatch::Chain, self.chain, header.previous));
        }
        if header.durable > header.first {
            return Err(Bad::new(Mismatch::Durable, header.first, header.durable));
        }
        header.check_records(&frame[FRAME_HEADER..])?;
        Ok(checksum)
    }

    /// Index in the buffer of the next frame.
    fn at(&self) -> usize {
        usize::try_from(self.offset - self.buffer_at).expect("the buffer holds what was fetched")
    }

    /// Has the buffer hold `len` bytes from the next frame's start.
    fn fetch(&mut self, len: usize) -> Result<Result<(), Bad>, IoError> {
        let end = self.offset + len as u64;
        if self.buffer_at <= self.offset && end <= self.buffer_at + self.buffer.len as u64 {
            return Ok(Ok(()));
        }
        let left = self.segment.segment_bytes - self.offset;
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(READ_CHUNK.max(len));
        self.buffer_at = self.offset;
        let buffer = self.buffer.reset(want);
        let read = read_full(&*self.file, buffer, self.offset).at(
            Operation::Read,
            &self.name,
            self.offset,
        );
        self.buffer.len = *read.as_ref().unwrap_or(&0);
        let read = read?;
        if read < len {
            let expected = self.segment.segment_bytes;
            return Ok(Err(Bad::new(
                Mismatch::SegmentLength,
                expected,
                self.offset + read as u64,
            )));
        }
        Ok(Ok(()))
    }
}
