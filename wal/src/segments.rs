//! The index of segments, the pins on them, and the removal of segments that no pin needs.
//!
//! Invariants: 1. segments are contiguous and in order; the last one is being written; 2. a segment
//! is removed only if it ends at or before every pin and the requested LSN; 3. the oldest is
//! removed first, each removal durable before the next, so a crash leaves no gap; 4. a pin only
//! moves forward.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::Lsn;
use crate::error::{At, IoError, Operation};
use crate::frames::{SegmentInfo, infos};
use crate::generation::{Begun, Generation, begun};
use crate::storage::Storage;
use crate::survey::Segment;
use crate::sync::lock;

/// How many pins (readers included) a log may have at once; more is a leak.
pub const PINS_MAX: usize = 1024;

struct PinPoint {
    name: String,
    lsn: AtomicU64,
}

struct Inner {
    segments: Vec<Segment>,
    pins: Vec<Arc<PinPoint>>,
}

/// The segments of a running log.
pub(crate) struct Segments {
    inner: Mutex<Inner>,
    /// One removal at a time: files go in order.
    removing: Mutex<()>,
}

/// What a removal did.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct Removed {
    /// How many segments are gone.
    pub segments: usize,
    /// The freed bytes.
    pub bytes: u64,
    /// Where the log begins now.
    pub first: Lsn,
}

/// A pin on everything from an LSN on: removal stops before it. Dropping it releases the pin.
pub struct Pin {
    point: Arc<PinPoint>,
    segments: Arc<Segments>,
}

impl Pin {
    /// Moves the pin forward; a smaller LSN changes nothing.
    pub fn advance(&self, lsn: Lsn) {
        self.point.lsn.fetch_max(lsn.get(), Ordering::AcqRel);
    }

    /// Everything from here on is kept.
    pub fn lsn(&self) -> Lsn {
        Lsn::new(self.point.lsn.load(Ordering::Acquire))
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.point.name
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        lock(&self.segments.inner)
            .pins
            .retain(|point| !Arc::ptr_eq(point, &self.point));
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pin")
            .field("name", &self.name())
            .field("lsn", &self.lsn())
            .finish()
    }
}

impl Segments {
    pub(crate) fn new(segments: Vec<Segment>) -> Self {
        assert!(!segments.is_empty(), "a log has a segment");
        Self {
            inner: Mutex::new(Inner {
                segments,
                pins: Vec::new(),
            }),
            removing: Mutex::new(()),
        }
    }

    /// Where the log begins.
    pub(crate) fn first(&self) -> Lsn {
        Lsn::new(lock(&self.inner).segments[0].header.first)
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.inner).segments.len()
    }

    /// All segments, each with where it ends.
    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        infos(&lock(&self.inner).segments)
    }

    /// Adds the segment that is written from now on, or replaces the last one if that has no frame.
    pub(crate) fn push(&self, segment: Segment) {
        let mut inner = lock(&self.inner);
        let last = inner.segments.last().expect("a log has a segment").header;
        if segment.header.sequence == last.sequence {
            assert_eq!(segment.header.first, last.first, "it had no frame");
            inner.segments.pop();
        } else {
            assert_eq!(
                segment.header.sequence,
                last.sequence + 1,
                "segments are contiguous"
            );
        }
        inner.segments.push(segment);
    }

    /// The generation that is written.
    pub(crate) fn generation(&self) -> Generation {
        let inner = lock(&self.inner);
        let last = inner.segments.last().expect("a log has a segment");
        last.header.generation
    }

    /// The generations that are still there, oldest first.
    pub(crate) fn generations(&self) -> Vec<Begun> {
        begun(&lock(&self.inner).segments)
    }

    /// The segment that holds `lsn`, and a pin on it taken in the same step; `None` if it is gone.
    pub(crate) fn find_and_pin(self: &Arc<Self>, name: &str, lsn: Lsn) -> Option<(Segment, Pin)> {
        let mut inner = lock(&self.inner);
        let after = inner
            .segments
            .partition_point(|s| s.header.first <= lsn.get());
        let segment = inner.segments[..after].last()?.clone();
        let pin = self.add_pin(&mut inner, name, lsn);
        Some((segment, pin))
    }

    /// The segment after the one numbered `sequence` whose header's checksum is `seed`, if it has
    /// been begun; the one in its place if it was replaced.
    pub(crate) fn after(&self, sequence: u64, seed: u32) -> Option<Segment> {
        let inner = lock(&self.inner);
        let at = inner
            .segments
            .partition_point(|s| s.header.sequence < sequence);
        let mut from = inner.segments[at..].iter();
        let differs = |s: &&Segment| s.header.sequence != sequence || s.seed != seed;
        from.find(differs).cloned()
    }

    pub(crate) fn pin(self: &Arc<Self>, name: &str, lsn: Lsn) -> Pin {
        let mut inner = lock(&self.inner);
        self.add_pin(&mut inner, name, lsn)
    }

    fn add_pin(self: &Arc<Self>, inner: &mut Inner, name: &str, lsn: Lsn) -> Pin {
        assert!(
            inner.pins.len() < PINS_MAX,
            "fewer than {PINS_MAX} pins at once; somebody leaks"
        );
        let point = Arc::new(PinPoint {
            name: name.to_owned(),
            lsn: AtomicU64::new(lsn.get()),
        });
        inner.pins.push(Arc::clone(&point));
        Pin {
            point,
            segments: Arc::clone(self),
        }
    }

    /// Every pin's name and LSN.
    pub(crate) fn pins(&self) -> Vec<(String, Lsn)> {
        let inner = lock(&self.inner);
        let pin = |p: &Arc<PinPoint>| (p.name.clone(), Lsn::new(p.lsn.load(Ordering::Acquire)));
        inner.pins.iter().map(pin).collect()
    }

    /// Removes whole sealed segments that end at or before `lsn` and every pin.
    pub(crate) fn remove_before(
        &self,
        storage: &dyn Storage,
        lsn: Lsn,
    ) -> Result<Removed, IoError> {
        let _one_at_a_time = lock(&self.removing);
        let mut removed = Removed::default();
        while let Some(segment) = self.take_oldest(lsn) {
            storage
                .remove(&segment.name)
                .at(Operation::Remove, &segment.name, 0)?;
            storage.sync_dir().at(Operation::SyncDirectory, ".", 0)?;
            removed.segments += 1;
            removed.bytes += segment.header.segment_bytes;
        }
        removed.first = self.first();
        Ok(removed)
    }

    /// Removes the oldest segment from the index, if no pin needs it, before its file is removed: a
    /// new reader finds it missing rather than half removed.
    fn take_oldest(&self, lsn: Lsn) -> Option<Segment> {
        let mut inner = lock(&self.inner);
        let end = inner.segments.get(1)?.header.first;
        let needed = inner
            .pins
            .iter()
            .map(|p| p.lsn.load(Ordering::Acquire))
            .min();
        (end <= lsn.get() && needed.is_none_or(|needed| end <= needed))
            .then(|| inner.segments.remove(0))
    }
}
