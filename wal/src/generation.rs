//! The generation of a log: which of its histories this is, after a copy of it was continued.
//!
//! Invariants: 1. every segment has its generation, and numbers never decrease from one segment to
//! the next; 2. a generation begins with a new segment, so no frame belongs to two; 3. a crash
//! leaves the old generation or the new one, complete.
//!
//! The headers cannot distinguish a copy that continues without a new generation from its original;
//! [`Reader::chain`](crate::Reader::chain) can. The caller decides when to begin a generation.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;

use crate::Lsn;
use crate::clean_stop;
use crate::config::{LogConfig, Witness};
use crate::error::{IoError, OpenError};
use crate::format::{CleanStop, SEGMENT_CHECKSUM_AT, SEGMENT_HEADER, SegmentHeader};
use crate::maker;
use crate::recovery::{activate, draw, repair};
use crate::storage::{Storage, StorageFile};
use crate::survey::{Options, Segment, Survey, Tail};
use crate::sync::lock;

/// Identifies a history of a log. The number orders generations; the random tag distinguishes two
/// that began from the same copy.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Generation {
    number: u32,
    tag: u64,
}

impl Generation {
    /// From its stored parts.
    pub const fn new(number: u32, tag: u64) -> Self {
        Self { number, tag }
    }

    /// That of a new log.
    pub(crate) fn first() -> Self {
        Self::new(1, draw())
    }

    /// The next generation, with a number that is also above `above`.
    pub(crate) fn next_above(self, above: u32) -> Self {
        Self::new(self.number.max(above).saturating_add(1), draw())
    }

    /// 1 for a new log, one more for each generation that was begun since.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// Random, chosen when the generation began.
    pub const fn tag(self) -> u64 {
        self.tag
    }

    /// Whether a segment of this generation may directly follow one of `before`.
    pub(crate) fn may_follow(self, before: Self) -> bool {
        self == before || self.number > before.number
    }
}

/// The largest number that is read from text: far above what restores and accepted copies lead to,
/// and below it there is always a next one.
const NUMBER_READ_MAX: u32 = 1 << 31;

/// Reads what its `Display` writes.
impl FromStr for Generation {
    type Err = NoGeneration;

    fn from_str(text: &str) -> Result<Self, NoGeneration> {
        let (number, tag) = text.split_once('-').ok_or(NoGeneration)?;
        let read = number.parse().ok().zip(u64::from_str_radix(tag, 16).ok());
        let (number, tag) = read.ok_or(NoGeneration)?;
        let generation = Self::new(number, tag);
        if number > NUMBER_READ_MAX || generation.to_string() != text {
            return Err(NoGeneration);
        }
        Ok(generation)
    }
}

/// A text that is not a generation.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("it is not written as a generation, such as 2-00c0ffee00c0ffee")]
pub struct NoGeneration;

/// As `2-00c0ffee00c0ffee`: the number, then the tag.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.tag)
    }
}

/// Where a generation begins.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Begun {
    pub generation: Generation,
    /// Its first LSN; for the oldest one, the beginning of the log.
    pub first: Lsn,
}

/// The generations of these segments, oldest first.
pub(crate) fn begun(segments: &[Segment]) -> Vec<Begun> {
    let mut begun: Vec<Begun> = Vec::new();
    for header in segments.iter().map(|it| it.header) {
        if begun.last().map(|it| it.generation) != Some(header.generation) {
            begun.push(Begun {
                generation: header.generation,
                first: Lsn::new(header.first),
            });
        }
    }
    begun
}

/// Begins the next generation of the log in `storage`, which no process may have open: everything
/// valid stays, and the log continues after it, at the same LSN, in a new segment. A torn tail is
/// cut first, as opening does. It is the last step of a restore.
///
/// Called again after a crash it may begin one more generation, which is harmless: numbers may be
/// skipped.
pub fn begin_generation(storage: &dyn Storage, config: &LogConfig) -> Result<Begun, OpenError> {
    config.check()?;
    let mut survey = Survey::default();
    let options = Options {
        sync: true,
        verify_from: config.verify_from.get(),
    };
    survey.run(storage, options, &mut |_| ())?;
    let Some(last) = survey.segments.last().cloned() else {
        return Err(OpenError::NotBegun);
    };
    let tail = survey.tail.expect("the last segment has been walked");
    // 1. Remove the mark of a clean stop, which describes the old last frame. 2. Cut the torn tail.
    // 3. Begin the segment. 4. Mark the new end.
    repair(storage, &mut survey)?;
    let (spare, file) = maker::make_spare(storage, 0, config.segment_bytes, || true)?
        .expect("it is never called off");
    let generation = last.header.generation.next_above(0);
    let header = following(&last, &tail, generation, config.segment_bytes);
    let (segment, tail) = begin_segment(storage, &spare, &*file, header)?;
    let mark = CleanStop {
        log_id: segment.header.log_id,
        end: tail.lsn,
        chain: tail.chain,
        witness: match survey.witness.log_id {
            Some(_) => Witness::On,
            None => Witness::Off,
        },
    };
    clean_stop::leave(storage, mark)?;
    Ok(Begun {
        generation,
        first: Lsn::new(tail.lsn),
    })
}

/// The header of the segment that continues at `tail` of `last`. It replaces a last segment without
/// frames, because two segments would have the same first LSN, and so the same name.
pub(crate) fn following(
    last: &Segment,
    tail: &Tail,
    generation: Generation,
    segment_bytes: u64,
) -> SegmentHeader {
    let before = &last.header;
    let (sequence, previous) = if tail.lsn == before.first {
        (before.sequence, before.previous)
    } else {
        (before.sequence + 1, tail.chain)
    };
    SegmentHeader {
        log_id: before.log_id,
        generation,
        sequence,
        first: tail.lsn,
        segment_bytes,
        previous,
    }
}

/// Turns a spare into the segment with this header; returns where the log continues in it.
pub(crate) fn begin_segment(
    storage: &dyn Storage,
    spare: &str,
    file: &dyn StorageFile,
    header: SegmentHeader,
) -> Result<(Segment, Tail), IoError> {
    let segment = activate(storage, spare, file, header)?;
    let tail = Tail {
        offset: SEGMENT_HEADER as u64,
        lsn: header.first,
        chain: segment.seed,
        chain_at: SEGMENT_CHECKSUM_AT,
    };
    Ok((segment, tail))
}

/// Requests to the log thread for a new generation.
#[derive(Default)]
pub(crate) struct Renewal {
    /// Checked in every round of the log thread, so it is outside of the lock.
    is_wanted: AtomicBool,
    /// The number must be greater than this.
    above: AtomicU32,
    waiting: Mutex<Vec<mpsc::Sender<Generation>>>,
}

impl Renewal {
    /// Sends a request; the log thread answers, or never if it has stopped.
    pub(crate) fn ask(&self, above: u32) -> mpsc::Receiver<Generation> {
        let (sender, answer) = mpsc::channel();
        let mut waiting = lock(&self.waiting);
        self.above.fetch_max(above, Ordering::Relaxed);
        waiting.push(sender);
        self.is_wanted.store(true, Ordering::Release);
        answer
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// The number that the requested generation must exceed. Called by the log thread.
    pub(crate) fn above(&self) -> u32 {
        let _asking = lock(&self.waiting);
        self.above.load(Ordering::Relaxed)
    }

    /// Answers every request that this generation satisfies. Called by the log thread.
    pub(crate) fn answer(&self, generation: Generation) {
        let mut waiting = lock(&self.waiting);
        if self.above.load(Ordering::Relaxed) >= generation.number() {
            // Requested meanwhile.
            return;
        }
        self.is_wanted.store(false, Ordering::Release);
        for sender in waiting.drain(..) {
            // A caller that no longer waits needs no answer.
            let _ = sender.send(generation);
        }
    }

    /// Nobody will answer any more.
    pub(crate) fn give_up(&self) {
        lock(&self.waiting).clear();
    }
}
