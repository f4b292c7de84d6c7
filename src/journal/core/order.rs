//! Owns the order in which the journal's locks are taken: see the head of [`super`].
//!
//! Invariant: a thread takes a lock only while every lock that it holds comes before it, so that no
//! two threads can wait for each other. Debug builds keep what each thread holds and panic at the
//! first lock out of order, whether or not another thread happens to wait; release builds keep nothing.
//! Deliberately absent: locks that are innermost and stay within one type (the clock's, the gate's,
//! those of refusals and of a snapshot's figures).

use crate::ids::ShardId;
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};

/// The place of a lock in the order, the first one first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::journal) enum LockRank {
    /// A snapshot is being taken.
    Snapshot,
    /// The catalogue's turn.
    Catalogue,
    /// The turn of risk rules and scoring.
    Rules,
    /// The turn of webhooks.
    Webhooks,
    /// A shard's turn; of several, the one with the lower number first.
    Shard(ShardId),
    /// Which history of the log may sell.
    History,
    /// The time by which webhooks are remembered.
    Axis,
    /// Notices about the clock.
    Notices,
    /// The retentions of the log's readers.
    Retentions,
}

/// A value behind a lock with a rank in the order.
pub(in crate::journal) struct Ordered<T> {
    value: Mutex<T>,
    #[cfg(debug_assertions)]
    rank: LockRank,
}

/// A held lock of an [`Ordered`].
pub(in crate::journal) struct Held<'a, T> {
    guard: MutexGuard<'a, T>,
    /// Dropped after the guard.
    _place: HeldRank,
}

impl<T> Ordered<T> {
    /// Behind a lock at `rank`.
    #[cfg_attr(not(debug_assertions), allow(unused_variables))]
    pub(in crate::journal) const fn new(rank: LockRank, value: T) -> Self {
        Self {
            value: Mutex::new(value),
            #[cfg(debug_assertions)]
            rank,
        }
    }

    /// Waits for the lock.
    pub(in crate::journal) fn lock(&self) -> Held<'_, T> {
        // Check before waiting: a lock out of order could wait for ever.
        let place = self.enter();
        Held {
            guard: self.value.lock(),
            _place: place,
        }
    }

    /// Takes the lock if it is free.
    pub(in crate::journal) fn try_lock(&self) -> Option<Held<'_, T>> {
        let place = self.enter();
        let guard = self.value.try_lock()?;
        Some(Held {
            guard,
            _place: place,
        })
    }

    #[cfg(debug_assertions)]
    fn enter(&self) -> HeldRank {
        HeldRank::enter(self.rank)
    }

    #[cfg(not(debug_assertions))]
    #[allow(clippy::unused_self, reason = "only debug builds know the rank")]
    const fn enter(&self) -> HeldRank {
        HeldRank
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(not(debug_assertions))]
struct HeldRank;

#[cfg(debug_assertions)]
use checked::HeldRank;

#[cfg(debug_assertions)]
mod checked {
    use super::LockRank;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        /// The locks that this thread holds. A set, because all shards' turns can be among them.
        static HELD: RefCell<BTreeSet<LockRank>> = const { RefCell::new(BTreeSet::new()) };
    }

    /// The mark that this thread holds the lock of a rank.
    pub(super) struct HeldRank(LockRank);

    impl HeldRank {
        pub(super) fn enter(rank: LockRank) -> Self {
            HELD.with_borrow_mut(|held| {
                if let Some(last) = held.last() {
                    assert!(
                        *last < rank,
                        "lock order: {rank:?} is taken while {last:?} is held"
                    );
                }
                held.insert(rank);
            });
            Self(rank)
        }
    }

    impl Drop for HeldRank {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| held.remove(&self.0));
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn shard(number: usize) -> Ordered<()> {
        let id = ShardId::all().nth(number).expect("there are 256");
        Ordered::new(LockRank::Shard(id), ())
    }

    #[test]
    fn locks_in_order_are_taken_and_given_back_in_any_order() {
        let (rules, first, second) = (Ordered::new(LockRank::Rules, 1), shard(3), shard(200));
        let (rules_held, first_held) = (rules.lock(), first.lock());
        let second_held = second.lock();
        drop(first_held);
        drop(second_held);
        drop(rules_held);
        // A released lock may be taken again.
        drop(second.lock());
        drop(first.try_lock());
        drop(rules.lock());
    }

    #[test]
    #[should_panic(expected = "lock order: Rules is taken while Shard")]
    fn a_lock_before_one_that_is_held_panics() {
        let (rules, shard) = (Ordered::new(LockRank::Rules, ()), shard(0));
        let _shard = shard.lock();
        let _rules = rules.lock();
    }

    #[test]
    #[should_panic(expected = "lock order: Shard")]
    fn shards_in_descending_order_panic() {
        let (low, high) = (shard(7), shard(8));
        let _high = high.lock();
        let _low = low.try_lock();
    }
}
