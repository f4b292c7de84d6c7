//! The stock of one product: how many units there are, how many are held, how many are sold.
//!
//! 1. `held + sold <= total` in every state any thread can see; what is left is `available` (I1).
//! 2. All three stand in one atomic word, so that a claim and a lowering of the total cannot slip past each other.
//! 3. A thread that takes a unit sees everything done before it was given back: the event that freed it is in the log
//!    before the one that takes it, and every prefix of the log satisfies I1.
//!
//! A hot product is this one word. Who holds a unit, since when and at what price is the shards' matter, not this
//! cell's; it is never stored, but derived from holds and purchases at recovery.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::claim::{BoundedCounter, Claim};
use super::sync::{AtomicU64, Ordering};

/// The most units one product can have: three counters share a 64-bit word with 21 bits each.
pub const UNITS_MAX: u32 = (1 << BITS) - 1;

const BITS: u32 = 21;

/// A claim on stock that borrows its cell.
pub type StockClaim<'a> = Claim<&'a StockCell>;

/// A claim on stock that keeps its cell alive.
pub type OwnedStockClaim = Claim<Arc<StockCell>>;

/// A total outside of `0..=UNITS_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a product has at most {UNITS_MAX} units, not {0}")]
pub struct UnitsOutOfRange(pub u32);

/// Why a new total was not taken; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TotalRefused {
    /// Above [`UNITS_MAX`].
    OutOfRange,
    /// Below what is held and sold already.
    BelowCommitted,
}

/// One consistent look at a product's stock, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockLevels {
    /// All units ever put on sale.
    pub total: u32,
    /// Units in holds and in purchases not captured yet.
    pub held: u32,
    /// Units of captured purchases.
    pub sold: u32,
}

impl StockLevels {
    /// Units that can still be claimed.
    pub fn available(self) -> u32 {
        self.total - self.committed()
    }

    fn committed(self) -> u32 {
        self.held + self.sold
    }

    const fn unpack(word: u64) -> Self {
        // The mask leaves 21 bits, so nothing is cut off.
        #[allow(clippy::cast_possible_truncation)]
        const fn field(word: u64, at: u32) -> u32 {
            ((word >> (at * BITS)) & UNITS_MAX as u64) as u32
        }
        Self {
            total: field(word, 2),
            held: field(word, 1),
            sold: field(word, 0),
        }
    }

    const fn pack(self) -> u64 {
        ((self.total as u64) << (2 * BITS)) | ((self.held as u64) << BITS) | self.sold as u64
    }

    fn hold(self, units: u32) -> Option<Self> {
        (units <= self.available()).then(|| Self {
            held: self.held + units,
            ..self
        })
    }
}

/// The stock of one product in one padded atomic word.
#[derive(Debug)]
pub struct StockCell {
    word: CachePadded<AtomicU64>,
}

impl StockCell {
    /// A product with `total` units, none of them held or sold.
    pub fn new(total: u32) -> Result<Self, UnitsOutOfRange> {
        if total > UNITS_MAX {
            return Err(UnitsOutOfRange(total));
        }
        let levels = StockLevels {
            total,
            held: 0,
            sold: 0,
        };
        Ok(Self {
            word: CachePadded::new(AtomicU64::new(levels.pack())),
        })
    }

    /// Takes `units` out of what is available; `None` when there are fewer. Dropping the claim gives them back.
    pub fn claim(&self, units: u32) -> Option<StockClaim<'_>> {
        Claim::take(self, units)
    }

    /// As [`claim`](Self::claim), with a claim that keeps the cell alive.
    pub fn claim_owned(self: &Arc<Self>, units: u32) -> Option<OwnedStockClaim> {
        Claim::take(Arc::clone(self), units)
    }

    /// Gives held units back to what is available.
    pub fn give_back(&self, units: u32) {
        self.must(
            units,
            "I1: more units given back than were held",
            |levels| {
                Some(StockLevels {
                    held: levels.held.checked_sub(units)?,
                    ..levels
                })
            },
        );
    }

    /// Turns held units into sold ones.
    pub fn sell(&self, units: u32) {
        self.must(units, "I1: more units sold than were held", |levels| {
            Some(StockLevels {
                held: levels.held.checked_sub(units)?,
                sold: levels.sold + units,
                ..levels
            })
        });
    }

    /// Gives sold units back to what is available: goods that came back.
    pub fn take_back(&self, units: u32) {
        self.must(
            units,
            "I1: more units taken back than were sold",
            |levels| {
                Some(StockLevels {
                    sold: levels.sold.checked_sub(units)?,
                    ..levels
                })
            },
        );
    }

    /// Counts units as held which the recovered state says are held. Call it once the whole state is recovered: in the
    /// midst of recovery the shards stand at different places of the log, and their sum may be too high for a while.
    pub fn add_held(&self, units: u32) {
        self.must(
            units,
            "I1: more units held and sold than there are",
            |levels| levels.hold(units),
        );
    }

    /// Counts the sold units of the recovered state; see [`add_held`](Self::add_held).
    pub fn add_sold(&self, units: u32) {
        self.must(
            units,
            "I1: more units held and sold than there are",
            |levels| {
                (units <= levels.available()).then(|| StockLevels {
                    sold: levels.sold + units,
                    ..levels
                })
            },
        );
    }

    /// Raises or lowers the total. It cannot fall below what is held and sold, also not by a race with a claim.
    pub fn set_total(&self, total: u32) -> Result<(), TotalRefused> {
        if total > UNITS_MAX {
            return Err(TotalRefused::OutOfRange);
        }
        self.change(|levels| {
            (total >= levels.committed()).then_some(StockLevels { total, ..levels })
        })
        .map_err(|_| TotalRefused::BelowCommitted)
    }

    /// All three counters as they stood at one moment.
    pub fn read(&self) -> StockLevels {
        StockLevels::unpack(self.word.load(Ordering::Acquire))
    }

    fn must(&self, units: u32, invariant: &str, step: impl Fn(StockLevels) -> Option<StockLevels>) {
        if let Err(levels) = self.change(step) {
            panic!("{invariant} ({units} units, {levels:?})");
        }
    }

    /// The only write: repeats `step` until it succeeds, or returns the levels that it refuses.
    // Acquire and release, because the order of a unit's events in the log depends on it (head of
    // the file, 3).
    fn change(&self, step: impl Fn(StockLevels) -> Option<StockLevels>) -> Result<(), StockLevels> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                step(StockLevels::unpack(word)).map(StockLevels::pack)
            })
            .map(drop)
            .map_err(StockLevels::unpack)
    }
}

impl BoundedCounter for StockCell {
    fn take(&self, units: u32) -> bool {
        self.change(|levels| levels.hold(units)).is_ok()
    }

    fn give_back(&self, units: u32) {
        StockCell::give_back(self, units);
    }
}
