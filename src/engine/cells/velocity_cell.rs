//! The last instants of one key: a small set of numbers that keeps the largest.
//!
//! 1. Of all instants ever recorded the cell holds the `depth` largest distinct ones, whatever the order, the threads,
//!    and however often each was recorded. The depth comes with each record; where it falls, what is held beyond it
//!    stays; where it grows, more is kept from then on.
//! 2. A slot only ever grows, and the smallest slot (the first of equals) is the only one that is replaced. So two
//!    threads with the same instant meet at the same slot, and an instant that once fell out finds every slot larger.
//!
//! "More than N in W" is exactly "the (N+1)th latest is younger than W", so a depth of N+1 answers it for every W.

use smallvec::SmallVec;

use super::sync::{AtomicU64, OnceBox, Ordering};
use super::velocity::Cell;

/// The most instants one key can keep.
pub const DEPTH_MAX: usize = 1_024;

/// The last millisecond of the Unix epoch that an instant can name, less one so that zero stays free (year 2527).
pub const AT_MS_MAX: u64 = (1 << 44) - 2;

const TIEBREAK_BITS: u32 = 20;
const TIEBREAK_MASK: u64 = (1 << TIEBREAK_BITS) - 1;

/// An empty slot; no instant packs to it.
const EMPTY: u64 = 0;

/// A millisecond, and 20 bits that tell apart what happened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptInstant(u64);

impl AttemptInstant {
    /// `at_ms` (milliseconds of the Unix epoch; later ones than [`AT_MS_MAX`] become it) and the low 20 bits of
    /// `tiebreak`, which must be the same whenever the same attempt is applied again.
    pub fn new(at_ms: u64, tiebreak: u64) -> Self {
        let at_ms = at_ms.min(AT_MS_MAX);
        Self(((at_ms + 1) << TIEBREAK_BITS) | (tiebreak & TIEBREAK_MASK))
    }

    /// With the place in the log to break ties. Records are aligned to 8 bytes, so this tells apart all that stands
    /// within 8 MiB of log; more than that is not written in a millisecond.
    pub fn at_lsn(at_ms: u64, lsn: u64) -> Self {
        Self::new(at_ms, lsn >> 3)
    }

    /// The millisecond.
    pub fn at_ms(self) -> u64 {
        (self.0 >> TIEBREAK_BITS) - 1
    }

    /// The packed form, for snapshots.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From the packed form; `None` for what [`to_bits`](Self::to_bits) never gives.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits >> TIEBREAK_BITS != 0).then_some(Self(bits))
    }
}

/// Slots that a cell has from the start.
const SLOTS_FIRST: usize = 6;

/// The largest instants recorded under one key.
///
/// A cell has few slots and gets more, up to the depth, when it needs them: most keys are tried a few times only.
#[derive(Debug)]
pub struct VelocityCell {
    first: [AtomicU64; SLOTS_FIRST],
    more: OnceBox<Chunk>,
}

/// Further slots.
#[derive(Debug)]
struct Chunk {
    slots: Box<[AtomicU64]>,
    more: OnceBox<Chunk>,
}

impl Default for VelocityCell {
    fn default() -> Self {
        Self {
            first: std::array::from_fn(|_| AtomicU64::new(EMPTY)),
            more: OnceBox::new(),
        }
    }
}

impl Cell for VelocityCell {
    type Item = AttemptInstant;

    fn of(instant: AttemptInstant) -> Self {
        let cell = Self::default();
        cell.first[0].store(instant.0, Ordering::Relaxed);
        cell
    }

    fn record(&self, instant: AttemptInstant, depth: usize) {
        check_depth(depth);
        // Lock-free: a round that fails has seen another thread put a larger instant into the slot, or add slots. The
        // bound on the rounds is the number of larger instants that arrive meanwhile, and of chunks up to the depth.
        loop {
            match self.place_for(instant, depth) {
                Place::None => return,
                Place::More => self.add_chunk(),
                Place::Slot(slot, smallest) => {
                    let replaced = slot.compare_exchange(
                        smallest,
                        instant.0,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    if replaced.is_ok() {
                        return;
                    }
                }
            }
        }
    }

    fn newest(&self) -> Option<AttemptInstant> {
        self.latest(1)
    }

    fn instant_of(instant: AttemptInstant) -> AttemptInstant {
        instant
    }

    fn items(&self, all: &mut Vec<AttemptInstant>) {
        all.extend(self.instants());
    }
}

impl VelocityCell {
    /// How many instants lie at `since_ms` or later. Exact below the depth; at the depth it means "at least".
    pub fn count_since(&self, since_ms: u64) -> u32 {
        let younger = self
            .instants()
            .filter(|instant| instant.at_ms() >= since_ms)
            .count();
        u32::try_from(younger).expect("a cell has at most DEPTH_MAX slots")
    }

    /// The `n`th latest instant, counting from 1; `None` when fewer are there.
    pub fn latest(&self, n: usize) -> Option<AttemptInstant> {
        if n == 0 {
            return None;
        }
        if n == 1 {
            return self.instants().max();
        }
        let mut all: SmallVec<[AttemptInstant; 16]> = self.instants().collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.get(n - 1).copied()
    }

    /// All instants, in no order.
    pub fn instants(&self) -> impl Iterator<Item = AttemptInstant> {
        let values = self.slots().map(|slot| slot.load(Ordering::Acquire));
        values
            .take_while(|value| *value != EMPTY)
            .map(AttemptInstant)
    }

    fn slots(&self) -> impl Iterator<Item = &AtomicU64> {
        let chunks = std::iter::successors(self.more.get(), |chunk| chunk.more.get());
        self.first
            .iter()
            .chain(chunks.flat_map(|chunk| chunk.slots.iter()))
    }

    /// The first of the smallest slots and its value, among as many slots as the depth says, and those beyond that are
    /// in use since the depth was larger. An empty slot is the smallest, and slots are filled in their order.
    fn place_for(&self, instant: AttemptInstant, depth: usize) -> Place<'_> {
        let mut smallest: Option<(&AtomicU64, u64)> = None;
        let mut seen = 0;
        for slot in self.slots() {
            let value = slot.load(Ordering::Acquire);
            if value == EMPTY && seen >= depth {
                break;
            }
            if value == instant.0 {
                return Place::None;
            }
            if smallest.is_none_or(|(_, least)| value < least) {
                smallest = Some((slot, value));
            }
            seen += 1;
        }
        match smallest {
            Some((slot, EMPTY)) => Place::Slot(slot, EMPTY),
            Some(_) if seen < depth => Place::More,
            Some((slot, least)) if least < instant.0 => Place::Slot(slot, least),
            Some(_) | None => Place::None,
        }
    }

    /// Doubles the slots, about; whoever comes second finds the other's.
    fn add_chunk(&self) {
        let slots = match self.slots().count() {
            SLOTS_FIRST => 10,
            slots => slots,
        };
        let chunk = Chunk {
            slots: (0..slots).map(|_| AtomicU64::new(EMPTY)).collect(),
            more: OnceBox::new(),
        };
        let mut last = &self.more;
        while let Some(chunk) = last.get() {
            last = &chunk.more;
        }
        let _ = last.set(Box::new(chunk));
    }
}

/// Where an instant goes.
enum Place<'a> {
    /// It is there, or too old to be.
    None,
    /// All slots are taken, and the depth allows more.
    More,
    /// There, in the place of this value.
    Slot(&'a AtomicU64, u64),
}

pub(super) fn check_depth(depth: usize) {
    assert!(
        (1..=DEPTH_MAX).contains(&depth),
        "a velocity cell keeps 1..={DEPTH_MAX} instants, not {depth}"
    );
}
