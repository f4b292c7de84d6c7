//! The guard for units taken from a shared counter whose event is not in the log yet.
//!
//! 1. A [`Claim`] that is dropped gives back exactly what it took; one that is kept gives back nothing.
//! 2. Keeping is explicit and consumes the guard: an early return in `decide` can only ever give back.
//!
//! The guard is generic over the way to the cell (a reference, an `Arc`, an `Arc` to the cell's owner), so that a
//! decision can carry it without borrowing. Left out: which counter it is, and what a unit means.

use std::ops::Deref;
use std::sync::Arc;

/// A counter with an upper bound which units can be taken from and given back to, from many threads.
pub trait BoundedCounter {
    /// Takes `units` if they fit under the bound; says whether it did. Taking none always succeeds.
    fn take(&self, units: u32) -> bool;

    /// Gives back units that were taken before.
    fn give_back(&self, units: u32);
}

impl<T: BoundedCounter + ?Sized> BoundedCounter for &T {
    fn take(&self, units: u32) -> bool {
        (**self).take(units)
    }

    fn give_back(&self, units: u32) {
        (**self).give_back(units);
    }
}

impl<T: BoundedCounter + ?Sized> BoundedCounter for Arc<T> {
    fn take(&self, units: u32) -> bool {
        self.deref().take(units)
    }

    fn give_back(&self, units: u32) {
        self.deref().give_back(units);
    }
}

/// Units taken from a counter, given back on drop unless an event takes them over ([`keep`](Self::keep)).
#[must_use = "a claim that is dropped gives its units back at once"]
#[derive(Debug)]
pub struct Claim<C: BoundedCounter> {
    counter: C,
    units: u32,
}

impl<C: BoundedCounter> Claim<C> {
    /// Takes `units` from `counter`; `None` when they do not fit.
    pub fn take(counter: C, units: u32) -> Option<Self> {
        // The claim must not exist before the units are taken: its drop would give back what it never had.
        if counter.take(units) {
            Some(Self { counter, units })
        } else {
            None
        }
    }

    /// The units taken.
    pub fn units(&self) -> u32 {
        self.units
    }

    /// Leaves the units taken: an event owns them from here on. Returns how many.
    // The event records the count; a caller that has recorded it already may ignore it.
    #[allow(clippy::must_use_candidate)]
    pub fn keep(mut self) -> u32 {
        std::mem::take(&mut self.units)
    }
}

impl<C: BoundedCounter> Drop for Claim<C> {
    fn drop(&mut self) {
        if self.units > 0 {
            self.counter.give_back(self.units);
        }
    }
}
