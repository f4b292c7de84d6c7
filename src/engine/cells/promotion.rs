//! The uses of one promotion: how many there were and how many there may be.
//!
//! 1. `uses <= max` in every state any thread can see (I2).
//! 2. Both stand in one atomic word, so that a claim and a lowering of the maximum cannot slip past each other.
//! 3. A thread that takes a use sees everything done before it was given back (as with stock, for the same reason).
//!
//! Limits for each user, the window and the products of a promotion are not here: they belong to the shard and to the
//! catalogue.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::claim::{BoundedCounter, Claim};
use super::sync::{AtomicU64, Ordering};

/// A claim on a promotion that borrows its cell.
pub type PromotionClaim<'a> = Claim<&'a PromotionCell>;

/// A claim on a promotion that keeps its cell alive.
pub type OwnedPromotionClaim = Claim<Arc<PromotionCell>>;

/// The new maximum lies below the uses already made; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBelowUses;

/// One consistent look at a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromotionLevels {
    /// Uses made and not given back.
    pub uses: u32,
    /// The most uses there may be; `u32::MAX` serves as "without limit".
    pub max: u32,
}

impl PromotionLevels {
    /// Uses that can still be claimed.
    pub fn available(self) -> u32 {
        self.max - self.uses
    }

    // The two halves of the word, cut off on purpose.
    #[allow(clippy::cast_possible_truncation)]
    const fn unpack(word: u64) -> Self {
        Self {
            uses: (word >> 32) as u32,
            max: word as u32,
        }
    }

    const fn pack(self) -> u64 {
        ((self.uses as u64) << 32) | self.max as u64
    }
}

/// The uses of one promotion in one padded atomic word.
#[derive(Debug)]
pub struct PromotionCell {
    word: CachePadded<AtomicU64>,
}

impl PromotionCell {
    /// A promotion that may be used `max` times and has not been used yet.
    pub fn new(max: u32) -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(PromotionLevels { uses: 0, max }.pack())),
        }
    }

    /// Takes `uses`; `None` when fewer are left. Dropping the claim gives them back.
    pub fn claim(&self, uses: u32) -> Option<PromotionClaim<'_>> {
        Claim::take(self, uses)
    }

    /// As [`claim`](Self::claim), with a claim that keeps the cell alive.
    pub fn claim_owned(self: &Arc<Self>, uses: u32) -> Option<OwnedPromotionClaim> {
        Claim::take(Arc::clone(self), uses)
    }

    /// Gives uses back.
    pub fn give_back(&self, uses: u32) {
        let given = self.change(|levels| {
            Some(PromotionLevels {
                uses: levels.uses.checked_sub(uses)?,
                ..levels
            })
        });
        if let Err(levels) = given {
            panic!("I2: more uses given back than were made ({uses}, {levels:?})");
        }
    }

    /// Counts the uses of the recovered state. Call it once the whole state is recovered, as with
    /// stock.
    pub fn add_uses(&self, uses: u32) {
        assert!(
            self.take(uses),
            "I2: more uses than the promotion allows ({uses}, {:?})",
            self.read()
        );
    }

    /// Raises or lowers the maximum, at the lowest to the uses already made.
    pub fn set_max(&self, max: u32) -> Result<(), MaxBelowUses> {
        self.change(|levels| (max >= levels.uses).then_some(PromotionLevels { max, ..levels }))
            .map_err(|_| MaxBelowUses)
    }

    /// Both counters as they stood at one moment.
    pub fn read(&self) -> PromotionLevels {
        PromotionLevels::unpack(self.word.load(Ordering::Acquire))
    }

    /// The only write: repeats `step` until it succeeds, or returns the levels that it refuses.
    fn change(
        &self,
        step: impl Fn(PromotionLevels) -> Option<PromotionLevels>,
    ) -> Result<(), PromotionLevels> {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                step(PromotionLevels::unpack(word)).map(PromotionLevels::pack)
            })
            .map(drop)
            .map_err(PromotionLevels::unpack)
    }
}

impl BoundedCounter for PromotionCell {
    fn take(&self, units: u32) -> bool {
        self.change(|levels| {
            (units <= levels.available()).then(|| PromotionLevels {
                uses: levels.uses + units,
                ..levels
            })
        })
        .is_ok()
    }

    fn give_back(&self, units: u32) {
        PromotionCell::give_back(self, units);
    }
}
