//! The last distinct values of one key: for each value the latest instant at which it was seen.
//!
//! 1. Of all values ever recorded the cell holds the `depth` with the latest instants, each with that
//!    instant. Order, threads and repetitions make no difference.
//! 2. Most keys have one value: the cell itself holds it, and its instant only grows. The second
//!    value creates a list of both, which replaces the cell's own value.
//! 3. An instant recorded for the single value during the creation of the list is not lost: of the
//!    two threads, the later one copies it into the list.
//! 4. A reader sees a list as it was at one moment: a record replaces the list and never changes it.
//!
//! "More than N distinct values in W" is exactly "of the (N+1)th latest value the latest instant is
//! younger than W". Values are digests of 64 bits under a seed of the log's: two of the few that
//! one key keeps are never the same.

use smallvec::SmallVec;

use super::cell::{AttemptInstant, Cell, check_depth};
use super::sync::{AtomicU64, OnceBox, Ordering, Shared, fence};

/// A value, and the latest instant at which it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueSeen {
    pub instant: AttemptInstant,
    /// Stands for the value.
    pub value: u64,
}

type Seen = SmallVec<[ValueSeen; 4]>;

/// The latest distinct values under one key.
pub struct DistinctCell {
    /// The first value, until there is a list.
    only: u64,
    /// When it was last seen, packed.
    only_at: AtomicU64,
    list: OnceBox<Shared<Seen>>,
}

impl Cell for DistinctCell {
    type Item = ValueSeen;

    fn of(item: ValueSeen) -> Self {
        Self {
            only: item.value,
            only_at: AtomicU64::new(item.instant.to_bits()),
            list: OnceBox::new(),
        }
    }

    fn record(&self, item: ValueSeen, depth: usize) {
        check_depth(depth);
        if let Some(list) = self.list.get() {
            return put(list, item, depth);
        }
        if item.value == self.only {
            self.only_at
                .fetch_max(item.instant.to_bits(), Ordering::Relaxed);
            // Pairs with the fence in `make_list`: it sees the instant, or this sees the list.
            fence(Ordering::SeqCst);
            if let Some(list) = self.list.get() {
                put(list, item, depth);
            }
            return;
        }
        if let Some(list) = self.make_list(item, depth) {
            put(list, item, depth);
        }
    }

    fn newest(&self) -> Option<AttemptInstant> {
        match self.list.get() {
            Some(list) => list.load().iter().map(|it| it.instant).max(),
            None => Some(self.only().instant),
        }
    }

    fn instant_of(item: ValueSeen) -> AttemptInstant {
        item.instant
    }

    fn items(&self, all: &mut Vec<ValueSeen>) {
        match self.list.get() {
            Some(list) => all.extend_from_slice(&list.load()),
            None => all.push(self.only()),
        }
    }
}

impl DistinctCell {
    /// How many values were seen at `since_ms` or later. Exact below the depth; at the depth it means "at least".
    pub fn distinct_since(&self, since_ms: u64) -> u32 {
        let young = |it: &&ValueSeen| it.instant.at_ms() >= since_ms;
        let younger = match self.list.get() {
            Some(list) => list.load().iter().filter(young).count(),
            None => usize::from(young(&&self.only())),
        };
        u32::try_from(younger).expect("a cell has at most DEPTH_MAX values")
    }

    fn only(&self) -> ValueSeen {
        let at = AttemptInstant::from_bits(self.only_at.load(Ordering::Relaxed));
        ValueSeen {
            instant: at.expect("it was an instant when the cell was made, and only grows"),
            value: self.only,
        }
    }

    /// Makes the list, of the one value and `item`, or finds that another thread has; `None` where `item` changes
    /// nothing.
    fn make_list(&self, item: ValueSeen, depth: usize) -> Option<&Shared<Seen>> {
        let before = self.only();
        let both = with(&Seen::from_slice(&[before]), item, depth)?;
        let made = self.list.set(Box::new(Shared::new(both))).is_ok();
        let list = self.list.get()?;
        if made {
            // Pairs with the fence in `record`.
            fence(Ordering::SeqCst);
            let now = self.only();
            if now.instant > before.instant {
                put(list, now, depth);
            }
        }
        Some(list)
    }
}

/// Adds `item` to a list.
fn put(list: &Shared<Seen>, item: ValueSeen, depth: usize) {
    // Lock-free: a round fails only if another thread's record succeeded.
    loop {
        let seen = list.load();
        let Some(next) = with(&seen, item, depth) else {
            return;
        };
        if list.replace(&seen, next) {
            return;
        }
    }
}

/// The list with `item` in it; `None` where that changes nothing.
fn with(seen: &Seen, item: ValueSeen, depth: usize) -> Option<Seen> {
    let place = match seen.iter().position(|it| it.value == item.value) {
        Some(place) => place,
        None if seen.len() < depth => {
            let mut next = Seen::with_capacity(seen.len() + 1);
            next.extend_from_slice(seen);
            next.push(item);
            return Some(next);
        }
        // The one seen longest ago, which goes unless it is newer.
        None => (0..seen.len()).min_by_key(|place| seen[*place])?,
    };
    (seen[place] < item).then(|| {
        let mut next = seen.clone();
        next[place] = item;
        next
    })
}
