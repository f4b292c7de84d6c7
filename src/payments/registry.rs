//! Owns who drives which payment, and which payments were left open by whoever drove them.
//!
//! Invariants: one drive at a time has a payment; a payment that anybody has begun to drive and
//! not ended stays marked, so that whoever drives it next knows that it is in doubt.
//! Bounded by the engine's bound on purchases: each is in here at most once.
//! Deliberately absent: when to try again (`driver`).

use crate::ids::PurchaseId;
use crossbeam_utils::CachePadded;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Parts that payments are spread over.
const SHARDS: usize = 64;

/// Payments that are driven or left open.
#[derive(Debug)]
pub(super) struct Registry {
    shards: Box<[CachePadded<Marks>]>,
    driven: AtomicUsize,
    idle: Notify,
}

type Marks = Mutex<HashMap<PurchaseId, Mark>>;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Mark {
    Driven,
    LeftOpen,
}

/// Whether anybody has driven a payment before, in this process or one that crashed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nobody.
    Nobody,
    /// Somebody, who did not end it.
    Somebody,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            driven: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// Takes the payment; `None` while somebody else drives it.
    pub(super) fn enter(&self, purchase: PurchaseId) -> Option<Driving<'_>> {
        let before = match self.shard(purchase).lock().entry(purchase) {
            Entry::Occupied(mut entry) => match entry.insert(Mark::Driven) {
                Mark::Driven => return None,
                Mark::LeftOpen => Before::Somebody,
            },
            Entry::Vacant(entry) => {
                entry.insert(Mark::Driven);
                Before::Nobody
            }
        };
        self.driven.fetch_add(1, Ordering::Relaxed);
        Some(Driving {
            registry: self,
            purchase,
            before,
            ended: false,
        })
    }

    /// Marks a payment that another process may have begun to drive.
    pub(super) fn left_open(&self, purchase: PurchaseId) {
        let mut shard = self.shard(purchase).lock();
        shard.entry(purchase).or_insert(Mark::LeftOpen);
    }

    /// How many are driven.
    pub(super) fn driven(&self) -> usize {
        self.driven.load(Ordering::Acquire)
    }

    /// How many are driven or left open.
    pub(super) fn open(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Resolves once none is driven.
    pub(super) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.driven() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn shard(&self, purchase: PurchaseId) -> &Marks {
        // Purchases are numbered shard by shard of the engine: mixed, so that few spread too.
        let mixed = purchase.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.shards[usize::from(mixed.to_be_bytes()[0]) % SHARDS]
    }
}

/// Nobody else drives the payment while this lives. Dropped before [`Driving::end`], it leaves the
/// payment marked as open.
#[derive(Debug)]
pub(super) struct Driving<'a> {
    registry: &'a Registry,
    purchase: PurchaseId,
    before: Before,
    ended: bool,
}

impl Driving<'_> {
    /// Whether somebody had it before.
    pub(super) fn before(&self) -> Before {
        self.before
    }

    /// The payment has ended: nothing is to be kept of it.
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(self.purchase).lock();
        if self.ended {
            shard.remove(&self.purchase);
        } else {
            shard.insert(self.purchase, Mark::LeftOpen);
        }
        drop(shard);
        if self.registry.driven.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.registry.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    #[test]
    fn one_at_a_time_and_whoever_comes_after_an_open_end_knows() {
        let registry = Registry::new();
        let id = PurchaseId::new(ShardId::new(1), 1);
        let first = registry.enter(id).expect("nobody has it");
        assert_eq!(first.before(), Before::Nobody);
        assert!(registry.enter(id).is_none());
        drop(first);
        assert_eq!((registry.driven(), registry.open()), (0, 1));
        let second = registry.enter(id).expect("left open");
        assert_eq!(second.before(), Before::Somebody);
        registry.left_open(id);
        assert!(registry.enter(id).is_none());
        second.end();
        assert_eq!((registry.driven(), registry.open()), (0, 0));
        assert_eq!(registry.enter(id).map(|d| d.before()), Some(Before::Nobody));
    }
}
