//! Owns a histogram of durations that many threads may add to and one may read.
//!
//! Invariants: adding is two relaxed atomic adds and no search; the bounds are fixed, 1, 1.5, 2,
//! 3, 4, 6 … times 8 µs, so that a quantile read from them is right to within 50 %; what is read
//! while others add may miss the latest, never what was there before.
//! Deliberately absent: labels and text, which `metrics` has.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets with an upper bound; one more has none.
pub const BOUNDS: usize = 42;

/// 2¹³ ns, the least bound.
const FIRST_POWER: u32 = 13;

/// How many durations fell under each bound.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(ns)].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    /// Adds what this one holds to `total`.
    pub fn add_to(&self, total: &mut HistogramCounts) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.load(Relaxed));
    }
}

/// What one or more histograms hold together.
#[derive(Debug)]
pub struct HistogramCounts {
    /// Durations at most the bound of their place and above the one before; the last: above all.
    pub buckets: [u64; BOUNDS + 1],
    /// All durations together, in nanoseconds.
    pub sum_ns: u64,
}

impl Default for HistogramCounts {
    fn default() -> Self {
        Self {
            buckets: [0; BOUNDS + 1],
            sum_ns: 0,
        }
    }
}

/// The upper bound of the bucket at `place`, in nanoseconds.
pub fn bound_ns(place: usize) -> u64 {
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
