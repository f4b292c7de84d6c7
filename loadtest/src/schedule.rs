//! The open-loop schedule: when each request is meant to be sent, whatever the server does.
//!
//! 1. The intended time of request *n* depends on the rate and on *n* alone: no answer, however late, moves it.
//! 2. Latency is counted from the intended time, so time spent waiting behind a stalled server is in the figure
//!    (no coordinated omission).
//! 3. Requests leave on beats (`BEAT_MIN` apart at least): a beat is what the timer can keep; a request's intended time is
//!    the first beat at or after its exact time, so the generator's own timer adds nothing but its wake-up.
//!
//! It does not send, sleep or read a clock.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Shortest time between two wake-ups of the timer.
pub(crate) const BEAT_MIN: Duration = Duration::from_micros(50);
const NANOS_PER_S: u128 = 1_000_000_000;

/// Which requests of a rate one thread sends: every `of`th, from `index`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// This thread's number.
    pub(crate) index: u64,
    /// Number of threads, at least one.
    pub(crate) of: u64,
}

/// Intended send times at a constant rate.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start: Instant,
    rate: NonZeroU32,
    beat: Duration,
    step: u64,
    next: u64,
}

impl Schedule {
    /// A schedule of `rate` requests a second in all, of which this one yields `share`.
    pub(crate) fn new(start: Instant, rate: NonZeroU32, share: Share) -> Self {
        let interval = Duration::from_secs(1) / rate.get();
        Self {
            start,
            rate,
            beat: interval.max(BEAT_MIN),
            step: share.of.max(1),
            next: share.index,
        }
    }

    /// Time between wake-ups that the timer has to keep.
    pub(crate) fn beat(&self) -> Duration {
        self.beat
    }

    /// The intended time of the next request, if it is due at `now`; the schedule moves on.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Instant> {
        let intended = self.start + self.offset(self.next);
        if intended > now {
            return None;
        }
        self.next += self.step;
        Some(intended)
    }

    fn offset(&self, n: u64) -> Duration {
        let exact = u128::from(n) * NANOS_PER_S / u128::from(self.rate.get());
        let beat = self.beat.as_nanos();
        let nanos = exact.div_ceil(beat) * beat;
        // 2^64 ns are 584 years.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: u32, index: u64, of: u64) -> (Instant, Schedule) {
        let start = Instant::now();
        let rate = NonZeroU32::new(rate).unwrap();
        (start, Schedule::new(start, rate, Share { index, of }))
    }

    #[test]
    fn intended_times_do_not_move_when_the_sender_is_late() {
        let (start, mut s) = schedule(1_000, 0, 1);
        assert_eq!(s.due(start), Some(start));
        assert_eq!(s.due(start + Duration::from_micros(999)), None);
        // The sender was away for 10 ms: ten requests are due, each with the time it was meant for.
        let late = start + Duration::from_millis(10);
        let intended: Vec<_> = std::iter::from_fn(|| s.due(late)).collect();
        let expect: Vec<_> = (1..=10)
            .map(|ms| start + Duration::from_millis(ms))
            .collect();
        assert_eq!(intended, expect);
        // So the one meant for 1 ms has waited 9 ms already, although it was sent only now.
        assert_eq!(late - intended[0], Duration::from_millis(9));
    }

    #[test]
    fn the_rate_holds_over_a_second_for_any_rate_and_share() {
        for rate in [1, 7, 999, 7_000, 20_000, 50_000, 333_333] {
            let mut sum = 0_usize;
            for index in 0..3 {
                let (start, mut s) = schedule(rate, index, 3);
                let end = start + Duration::from_secs(2);
                sum += std::iter::from_fn(|| s.due(end)).count();
            }
            let expect = 2 * rate as usize;
            let beat = (rate as usize / 20_000).max(1) * 3;
            assert!(sum.abs_diff(expect) <= beat + 1, "rate {rate}: {sum}");
        }
    }

    #[test]
    fn requests_above_the_beat_leave_in_small_groups_never_early() {
        let (start, mut s) = schedule(50_000, 0, 1);
        let end = start + Duration::from_millis(5);
        for n in 0..250_u32 {
            let intended = s.due(end).unwrap() - start;
            let exact = Duration::from_micros(20) * n;
            assert!(
                intended >= exact && intended < exact + BEAT_MIN,
                "request {n}"
            );
        }
    }
}
