//! Owns a histogram of durations that many threads may add to and one may read.
//!
//! Invariants: adding is two relaxed atomic adds and no search, and an exemplar if the request is traced;
//! the bounds are fixed, 1, 1.5, 2, 3, 4, 6 … times 8 µs, so that a quantile read from them is right to
//! within 50 %; what is read while others add may miss the latest, never what was there before.
//! Deliberately absent: labels and text, which `metrics` has.

use super::exemplar::Exemplars;
use super::exposition::{Bucket, Distribution};
use crate::trace::TraceContext;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets with an upper bound; one more has none.
const BOUNDS: usize = 42;

/// 2¹³ ns, the least bound.
const FIRST_POWER: u32 = 13;

/// How many durations fell into each of `N` buckets, of which the last one has no bound.
#[derive(Debug)]
pub(super) struct Buckets<const N: usize> {
    counts: [AtomicU64; N],
    sum_ns: AtomicU64,
    exemplars: Exemplars<N>,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
            exemplars: Exemplars::default(),
        }
    }
}

impl<const N: usize> Buckets<N> {
    /// Adds one duration to the bucket at `place`; `traced` if its span is recorded.
    pub(super) fn add(&self, place: usize, ns: u64, traced: Option<TraceContext>) {
        self.counts[place].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
        if let Some(context) = traced {
            self.exemplars.put(place, ns, context);
        }
    }

    /// Adds what this one has to `total`, whose buckets are the same.
    pub(super) fn add_to(&self, total: &mut Distribution) {
        for (place, bucket) in total.buckets.iter_mut().enumerate() {
            bucket.count += self.counts[place].load(Relaxed);
            let latest = [bucket.exemplar, self.exemplars.get(place)];
            bucket.exemplar = latest.into_iter().flatten().max_by_key(|it| it.at_ns);
        }
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.load(Relaxed));
    }
}

/// A distribution without any duration, with these bounds.
pub(super) fn empty(bounds_ns: impl Iterator<Item = u64>) -> Distribution {
    let bounds = bounds_ns.map(Some).chain([None]);
    let buckets = bounds.map(|bound_ns| Bucket {
        bound_ns,
        count: 0,
        exemplar: None,
    });
    Distribution {
        buckets: buckets.collect(),
        sum_ns: 0,
    }
}

pub(super) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// How many durations fell under each bound.
#[derive(Debug, Default)]
pub struct Histogram(Buckets<{ BOUNDS + 1 }>);

impl Histogram {
    /// Adds one duration; `traced` if its span is recorded.
    pub fn record(&self, took: Duration, traced: Option<TraceContext>) {
        let ns = nanos(took);
        self.0.add(bucket_of(ns), ns, traced);
    }

    /// What `all` have together.
    pub fn together<'a>(all: impl Iterator<Item = &'a Self>) -> Distribution {
        let mut total = empty((0..BOUNDS).map(bound_ns));
        all.for_each(|it| it.0.add_to(&mut total));
        total
    }
}

/// The upper bound of the bucket at `place`, in nanoseconds.
fn bound_ns(place: usize) -> u64 {
    let power = FIRST_POWER + u32::try_from(place / 2).expect("places are below 43");
    if place.is_multiple_of(2) {
        1 << power
    } else {
        3 << (power - 1)
    }
}

/// The place of the least bound that is not below `ns`.
fn bucket_of(ns: u64) -> usize {
    let below = ns.saturating_sub(1);
    if below < 1 << FIRST_POWER {
        return 0;
    }
    let power = below.ilog2();
    let upper_half = below >> (power - 1) & 1;
    let place = (power - FIRST_POWER) as usize * 2 + 1 + usize::from(upper_half == 1);
    place.min(BOUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_under_the_least_bound_that_holds_it() {
        for place in 0..BOUNDS {
            let bound = bound_ns(place);
            assert_eq!(bucket_of(bound), place, "{bound}");
            assert_eq!(bucket_of(bound + 1), place + 1, "{bound}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BOUNDS));
    }
}
