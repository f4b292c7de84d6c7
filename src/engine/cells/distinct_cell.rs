//! The last distinct values of one key: for each value the latest instant at which it was seen.
//!
//! 1. Of all values ever recorded the cell holds the `depth` whose latest instants are the largest, each with that
//!    instant, whatever the order, the threads, and however often each was recorded.
//! 2. What readers see was whole at one moment: a record replaces the list, it never changes one.
//!
//! "More than N distinct values in W" is exactly "of the (N+1)th latest value the latest instant is younger than W".
//! Values are digests of 64 bits under a seed of the log's: two of the few that one key keeps are never the same.

use smallvec::SmallVec;

use super::sync::Shared;
use super::velocity::Cell;
use super::velocity_cell::{AttemptInstant, check_depth};

/// A value, and the latest instant at which it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueSeen {
    /// When.
    pub instant: AttemptInstant,
    /// Stands for the value.
    pub value: u64,
}

type Seen = SmallVec<[ValueSeen; 4]>;

/// The latest distinct values under one key.
pub struct DistinctCell {
    seen: Shared<Seen>,
}

impl Default for DistinctCell {
    fn default() -> Self {
        Self {
            seen: Shared::new(Seen::new()),
        }
    }
}

impl Cell for DistinctCell {
    type Item = ValueSeen;

    fn record(&self, item: ValueSeen, depth: usize) {
        check_depth(depth);
        // Lock-free: a round that fails has seen another thread's record go through.
        loop {
            let seen = self.seen.load();
            let Some(next) = with(&seen, item, depth) else {
                return;
            };
            if self.seen.replace(&seen, next) {
                return;
            }
        }
    }

    fn newest(&self) -> Option<AttemptInstant> {
        self.seen.load().iter().map(|it| it.instant).max()
    }

    fn instant_of(item: ValueSeen) -> AttemptInstant {
        item.instant
    }

    fn items(&self) -> Vec<ValueSeen> {
        self.seen.load().to_vec()
    }
}

impl DistinctCell {
    /// How many values were seen at `since_ms` or later. Exact below the depth; at the depth it means "at least".
    pub fn distinct_since(&self, since_ms: u64) -> u32 {
        let seen = self.seen.load();
        let younger = seen
            .iter()
            .filter(|it| it.instant.at_ms() >= since_ms)
            .count();
        u32::try_from(younger).expect("a cell has at most DEPTH_MAX values")
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
