//! A reader that follows the durable LSN: the feed.
//!
//! Invariants: 1. it shows every record once, in order, none that is not durable; 2. what it shows
//! has been verified again, here: a disk that rots between opening and reading is found; 3. it pins
//! what it has not read yet.
//!
//! It reads the segment files, not the ring: the kernel's page cache is the buffer.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crc32c::crc32c_append;

use crate::error::{At, Damage, Operation, ReadError, Vouched};
use crate::format::{Record, SEGMENT_HEADER, record_at, record_bytes};
use crate::log::Shared;
use crate::segments::Pin;
use crate::storage::Access;
use crate::survey::Segment;
use crate::walker::{Frame, Walker};
use crate::{Fault, Lsn};

/// Reads records in order, up to the durable LSN and on as it moves.
pub struct Reader {
    shared: Arc<Shared>,
    walker: Walker,
    /// The frame being shown, and how far.
    frame: Option<Frame>,
    at: usize,
    /// How much of the frame the last checksum asked for covers, and that checksum: a reader that asks
    /// behind each record sums each byte once.
    summed: Cell<(usize, u32)>,
    /// The durable LSN when the walker's buffer was last known to be current.
    durable: u64,
    next: Lsn,
    pin: Pin,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn open(shared: Arc<Shared>, from: Lsn) -> Result<Self, ReadError> {
        let durable = Lsn::new(shared.durable.get());
        if from > durable {
            return Err(ReadError::Ahead { from, durable });
        }
        let Some((segment, pin)) = shared.segments.find_and_pin("reader", from) else {
            return Err(ReadError::Removed {
                from,
                first: shared.segments.first(),
            });
        };
        let walker = open_walker(&shared, &segment)?;
        let next = Lsn::new(segment.header.first);
        let mut reader = Self {
            shared,
            walker,
            frame: None,
            at: 0,
            summed: Cell::new((0, 0)),
            durable: 0,
            next,
            pin,
        };
        while reader.next < from {
            // Earlier frames are skipped as a whole.
            if !reader.has_record()? {
                break;
            }
            let end = reader.frame.as_ref().map_or(0, Frame::end);
            if end <= from.get() {
                reader.frame = None;
                reader.next = Lsn::new(end);
            } else {
                reader.next()?;
            }
        }
        if reader.next != from {
            return Err(ReadError::NotARecord {
                from,
                next: reader.next,
            });
        }
        Ok(reader)
    }

    /// The next durable record; `None` if there is none yet.
    #[allow(clippy::should_implement_trait, reason = "it lends, and it can fail")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        if !self.has_record()? {
            return Ok(None);
        }
        let frame = self
            .frame
            .as_ref()
            .expect("there is a record, so there is a frame");
        let body = self.walker.body(frame);
        let record = record_at(body, self.at).expect("the walker has checked the records");
        self.at += record_bytes(record.payload.len());
        self.next = record.end;
        Ok(Some(record))
    }

    /// The next durable record, waiting for one for at most `timeout`. `None` if none came;
    /// [`ReadError::Ended`] if none will.
    pub fn wait_next(&mut self, timeout: Duration) -> Result<Option<Record<'_>>, ReadError> {
        let until = Instant::now().checked_add(timeout);
        while !self.has_record()? {
            let left = until.map_or(timeout, |t| t.saturating_duration_since(Instant::now()));
            if self.shared.durable.wait_for(self.next.get() + 1, left) {
                continue;
            }
            if self.shared.durable.is_stopped() && self.shared.durable.get() == self.next.get() {
                return Err(ReadError::Ended(self.ended()));
            }
            return Ok(None);
        }
        self.next()
    }

    /// LSN of the record that comes next.
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// The checksum of the log before [`Reader::position`]: that of the last frame if one ends
    /// there, otherwise that of the frame before, continued over the records shown since. It
    /// depends on everything before, in this and earlier generations, so diverged histories have
    /// different values. 0 at LSN 0.
    pub fn chain(&self) -> u32 {
        let segment = self.walker.segment();
        let (offset, chain) = match &self.frame {
            Some(frame) if self.at == frame.header.body => return self.walker.chain(),
            Some(frame) if self.at > 0 => {
                let (done, sum) = match self.summed.get() {
                    (0, _) => (0, frame.header.previous),
                    summed => summed,
                };
                let sum = crc32c_append(sum, &self.walker.body(frame)[done..self.at]);
                self.summed.set((self.at, sum));
                return sum;
            }
            Some(frame) => (frame.header.offset, frame.header.previous),
            None => (self.walker.offset(), self.walker.chain()),
        };
        // At the end of the segment before, the header of this segment has that segment's last
        // checksum.
        if offset == SEGMENT_HEADER as u64 {
            segment.previous
        } else {
            chain
        }
    }

    fn ended(&self) -> Arc<Fault> {
        self.shared.ended()
    }

    /// Moves to a frame with a record that is not shown yet, if one is durable.
    fn has_record(&mut self) -> Result<bool, ReadError> {
        if let Some(frame) = &self.frame {
            if self.at < frame.header.body {
                return Ok(true);
            }
            self.frame = None;
        }
        self.pin.advance(self.next);
        if self.next.get() >= self.durable {
            let durable = self.shared.durable.get();
            if self.next.get() >= durable {
                return Ok(false);
            }
            // Data read ahead may be older than the frames that are durable now.
            self.durable = durable;
            self.walker.forget();
        }
        loop {
            let bad = match self.walker.step()? {
                Ok(frame) => {
                    self.at = 0;
                    self.summed.set((0, 0));
                    self.frame = Some(frame);
                    return Ok(true);
                }
                Err(bad) => bad,
            };
            // Durable frames lie ahead: in the next segment, or this one is damaged.
            match self
                .shared
                .segments
                .after(self.walker.segment().sequence, self.walker.seed())
            {
                Some(next) if next.header.first == self.walker.lsn() => {
                    self.walker = open_walker(&self.shared, &next)?;
                }
                next => {
                    let vouched = match next {
                        Some(_) => Vouched::BySealedSegment,
                        None => Vouched::ByWitness,
                    };
                    let (name, offset) = (self.walker.name(), self.walker.offset());
                    return Err(Damage::new(name, offset, self.walker.lsn(), bad, vouched).into());
                }
            }
        }
    }
}

fn open_walker(shared: &Shared, segment: &Segment) -> Result<Walker, ReadError> {
    let file = shared.storage.open(&segment.name, Access::Read);
    let file = file.at(Operation::Open, &segment.name, 0)?;
    Ok(Walker::new(
        file,
        &segment.name,
        segment.header,
        segment.seed,
    ))
}
