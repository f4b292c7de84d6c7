//! Owns the purchases of a shard: found by sequence number, stored in slots that are reused.
//!
//! Invariants: sequence numbers only grow and none is given twice, whatever was forgotten; a slot
//! belongs to one purchase until it is forgotten. The slot is visible nowhere: not in an image, not
//! in a digest, not in the order in which purchases are listed. Deliberately absent: when a
//! purchase is forgotten (`forget`).

use crate::engine::state::purchase::Purchase;
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// Sequence numbers stay below this, because an id has 56 bits for them.
pub(in crate::engine) const SEQUENCES_MAX: u64 = 1 << 56;

/// The slot of a purchase, until it is forgotten.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct PurchaseIndex(u32);

#[derive(Debug, Default)]
pub(in crate::engine) struct Purchases {
    /// Boxed, so that growing copies little and a forgotten purchase frees its memory.
    kept: Vec<Option<Box<Stored>>>,
    /// Free slots.
    free: Vec<u32>,
    /// The slot of each sequence number.
    places: BTreeMap<u64, u32>,
    next: u64,
}

#[derive(Debug)]
struct Stored {
    sequence: u64,
    /// Number of idempotency keys whose outcome names it: derived from the keys.
    named: u32,
    purchase: Purchase,
}

/// The size of one purchase by itself.
pub(in crate::engine) const STORED_BYTES: usize = size_of::<Stored>();

impl Purchases {
    pub(in crate::engine) fn len(&self) -> usize {
        self.places.len()
    }

    /// The sequence number of the next purchase.
    pub(in crate::engine) fn next(&self) -> u64 {
        self.next
    }

    /// Ensures that no new purchase gets a sequence number below `next`.
    pub(in crate::engine::state) fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Stores `purchase` under a sequence number that was never given before.
    pub(in crate::engine::state) fn insert(
        &mut self,
        sequence: u64,
        purchase: Purchase,
    ) -> PurchaseIndex {
        assert!(sequence >= self.next, "a sequence number is given once");
        self.next = sequence + 1;
        let stored = Some(Box::new(Stored {
            sequence,
            named: 0,
            purchase,
        }));
        let place = if let Some(place) = self.free.pop() {
            self.kept[place as usize] = stored;
            place
        } else {
            let place = u32::try_from(self.kept.len());
            self.kept.push(stored);
            place.expect("purchases are bounded below 2^32")
        };
        self.places.insert(sequence, place);
        PurchaseIndex(place)
    }

    /// Forgets the purchase at `place`.
    pub(in crate::engine::state) fn remove(&mut self, place: PurchaseIndex) -> Purchase {
        let stored = self.kept[place.0 as usize].take();
        let stored = stored.expect("a place is somebody's until it is forgotten");
        self.places.remove(&stored.sequence);
        self.free.push(place.0);
        stored.purchase
    }

    /// The slot of the purchase with this sequence number, if it is stored.
    pub(in crate::engine) fn place(&self, sequence: u64) -> Option<PurchaseIndex> {
        self.places.get(&sequence).copied().map(PurchaseIndex)
    }

    /// The purchase with this sequence number, if it is stored.
    pub(in crate::engine) fn get(&self, sequence: u64) -> Option<&Purchase> {
        self.place(sequence).map(|place| &self[place])
    }

    /// The sequence number of the purchase at `place`.
    pub(in crate::engine) fn sequence(&self, place: PurchaseIndex) -> u64 {
        self.stored(place).sequence
    }

    /// Number of keys that name the purchase at `place`.
    pub(in crate::engine) fn named(&self, place: PurchaseIndex) -> u32 {
        self.stored(place).named
    }

    pub(in crate::engine::state) fn named_mut(&mut self, place: PurchaseIndex) -> &mut u32 {
        &mut self.stored_mut(place).named
    }

    /// All purchases from sequence number `from` on, in order.
    pub(in crate::engine) fn from(&self, from: u64) -> impl Iterator<Item = (u64, &Purchase)> {
        let places = self.places.range(from..);
        places.map(|(sequence, place)| (*sequence, &self[PurchaseIndex(*place)]))
    }

    /// All purchases, in an unspecified order.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Purchase> {
        self.kept.iter().flatten().map(|stored| &stored.purchase)
    }

    pub(in crate::engine::state) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Purchase> {
        let kept = self.kept.iter_mut().flatten();
        kept.map(|stored| &mut stored.purchase)
    }

    fn stored(&self, place: PurchaseIndex) -> &Stored {
        let stored = self.kept[place.0 as usize].as_deref();
        stored.expect("a place is somebody's until it is forgotten")
    }

    fn stored_mut(&mut self, place: PurchaseIndex) -> &mut Stored {
        let stored = self.kept[place.0 as usize].as_deref_mut();
        stored.expect("a place is somebody's until it is forgotten")
    }
}

impl Index<PurchaseIndex> for Purchases {
    type Output = Purchase;

    fn index(&self, place: PurchaseIndex) -> &Purchase {
        &self.stored(place).purchase
    }
}

impl IndexMut<PurchaseIndex> for Purchases {
    fn index_mut(&mut self, place: PurchaseIndex) -> &mut Purchase {
        &mut self.stored_mut(place).purchase
    }
}
