//! A sum of money with an upper bound, to which many buyers add: for example the amount bought with one card.
//!
//! 1. A claim never takes the sum past its bound. Each claim brings its own bound; while the sum is above it, the
//!    claim takes nothing.
//! 2. A retired cell stays retired: nothing is taken from it or given back to it any more, so that a table of
//!    cells can remove one while other threads still read it.
//! 3. Only a cell whose sum is zero is retired, unless by force.
//! 4. A sum that reaches [`FULL`] stays there: it is over every limit, and it no longer knows how much did not fit, so
//!    giving back would make it wrong. It is exact again once it is derived from the purchases.
//!
//! Left out: the currency, the owner of the sum, and the period for which it counts.

use super::sync::{AtomicU64, Ordering};

/// The word of a retired cell.
const RETIRED: u64 = u64::MAX;

/// The largest sum that is counted: the largest amount there is. No claim reaches it.
pub const FULL: u64 = i64::MAX.unsigned_abs();

/// A sum of minor units in one atomic word.
#[derive(Debug)]
pub struct AmountCell {
    word: AtomicU64,
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The amount is added.
    Yes,
    /// It does not fit under the bound.
    NoRoom,
    /// The cell is retired: another one takes, or will take, its place.
    Retired,
}

impl Default for AmountCell {
    fn default() -> Self {
        Self::new()
    }
}

impl AmountCell {
    /// A sum of nothing.
    pub fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// Adds `amount` if the sum then is at most `bound`.
    pub fn take(&self, amount: u64, bound: u64) -> Taken {
        let taken = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |sum| {
                if sum == RETIRED {
                    return None;
                }
                let more = sum.checked_add(amount)?;
                (more <= bound && more < FULL).then_some(more)
            });
        match taken {
            Ok(_) => Taken::Yes,
            Err(RETIRED) => Taken::Retired,
            Err(_) => Taken::NoRoom,
        }
    }

    /// Gives an amount back that was taken before.
    pub fn give_back(&self, amount: u64) {
        let given = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |sum| {
                (sum < FULL).then(|| sum.checked_sub(amount)).flatten()
            });
        match given {
            Ok(_) | Err(RETIRED | FULL) => {}
            Err(sum) => panic!("more is given back than was taken ({amount} of {sum})"),
        }
    }

    /// Adds an amount that was taken already, without a bound; at most up to [`FULL`].
    pub fn count(&self, amount: u64) -> Taken {
        let counted = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |sum| {
                (sum != RETIRED).then(|| sum.saturating_add(amount).min(FULL))
            });
        match counted {
            Ok(_) => Taken::Yes,
            Err(_) => Taken::Retired,
        }
    }

    /// Retires the cell if its sum is zero; says whether this call did.
    pub fn retire_empty(&self) -> bool {
        self.word
            .compare_exchange(0, RETIRED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Retires the cell with any sum: nothing is counted in it any more.
    pub fn retire(&self) {
        self.word.store(RETIRED, Ordering::Release);
    }

    /// The sum; zero once retired.
    pub fn read(&self) -> u64 {
        let word = self.word.load(Ordering::Acquire);
        if word == RETIRED { 0 } else { word }
    }
}
