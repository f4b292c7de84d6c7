//! Owns random numbers: from the kernel's generator, a few at a time.
//!
//! Invariant: a number that was given out is erased from the buffer, and none is given twice.
//! Deliberately absent: what the numbers are for. The engine draws none; its callers pass them in.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that one call to the kernel fetches: few, so that hardly any lie about, and enough that
/// a call costs nothing beside a purchase.
const AT_ONCE: usize = 32;

/// Where random numbers come from.
#[derive(Clone, Debug, Default)]
pub enum Random {
    /// The kernel's generator.
    #[default]
    System,
    /// One after the other, for tests that need the same bytes each time.
    Counted(Arc<AtomicU64>),
}

impl Random {
    /// The next number.
    pub fn draw(&self) -> u64 {
        match self {
            Self::System => from_kernel(),
            Self::Counted(next) => next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

fn from_kernel() -> u64 {
    thread_local! {
        static LEFT: Cell<([u64; AT_ONCE], usize)> = const { Cell::new(([0; AT_ONCE], 0)) };
    }
    LEFT.with(|left| {
        let (mut numbers, mut count) = left.get();
        if count == 0 {
            let mut bytes = [0; AT_ONCE * 8];
            getrandom::fill(&mut bytes).expect("the kernel's generator never fails once seeded");
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                *number = u64::from_le_bytes(*bytes);
            }
            count = AT_ONCE;
        }
        count -= 1;
        let drawn = std::mem::take(&mut numbers[count]);
        left.set((numbers, count));
        drawn
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_differ_and_have_all_their_bits() {
        let drawn: BTreeSet<u64> = (0..10_000).map(|_| Random::System.draw()).collect();
        assert_eq!(drawn.len(), 10_000);
        let (any, all) = drawn
            .iter()
            .fold((0, u64::MAX), |(any, all), it| (any | it, all & it));
        assert_eq!((any, all), (u64::MAX, 0));
    }
}
