//! The last instants of one key: a small set of numbers that keeps the largest.
//!
//! 1. Of all instants ever recorded the cell holds the `depth` largest distinct ones, whatever the
//!    order, the threads, and however often each was recorded. The depth comes with each record;
//!    where it falls, what is held beyond it stays; where it grows, more is kept from then on.
//! 2. A slot only ever grows, and the smallest slot (the first of equals) is the only one that is
//!    replaced. So two threads with the same instant meet at the same slot, and an instant that
//!    once fell out finds every slot larger.
//!
//! "More than N in W" is exactly "the (N+1)th latest is younger than W", so a depth of N+1 answers
//! it for every W.

use smallvec::SmallVec;

use super::cell::{AttemptInstant, Cell, check_depth};
use super::sync::{AtomicU64, OnceBox, Ordering};

/// An empty slot; no instant packs to it.
const EMPTY: u64 = 0;

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
                Destination::None => return,
                Destination::More => self.add_chunk(),
                Destination::Slot(slot, smallest) => {
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

    /// The first of the smallest slots and its value, among as many slots as the depth allows, and
    /// those beyond that are in use since the depth was larger. An empty slot is the smallest, and
    /// slots are filled in order.
    fn place_for(&self, instant: AttemptInstant, depth: usize) -> Destination<'_> {
        let mut smallest: Option<(&AtomicU64, u64)> = None;
        let mut seen = 0;
        for slot in self.slots() {
            let value = slot.load(Ordering::Acquire);
            if value == EMPTY && seen >= depth {
                break;
            }
            if value == instant.0 {
                return Destination::None;
            }
            if smallest.is_none_or(|(_, least)| value < least) {
                smallest = Some((slot, value));
            }
            seen += 1;
        }
        match smallest {
            Some((slot, EMPTY)) => Destination::Slot(slot, EMPTY),
            Some(_) if seen < depth => Destination::More,
            Some((slot, least)) if least < instant.0 => Destination::Slot(slot, least),
            Some(_) | None => Destination::None,
        }
    }

    /// Roughly doubles the slots; the second of two threads uses the first one's.
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

/// The destination of an instant.
enum Destination<'a> {
    /// It is there already, or too old.
    None,
    /// All slots are taken, and the depth allows more.
    More,
    /// In this slot, in place of this value.
    Slot(&'a AtomicU64, u64),
}
