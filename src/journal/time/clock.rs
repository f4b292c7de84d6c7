//! Owns the core's time: a monotonic clock that is anchored to the wall clock at start.
//!
//! Invariants:
//! 1. The core's time never goes back and never jumps, whatever the wall clock does. The one
//!    exception is a correction, which is an event in the log ([`Timekeeper::correct`]).
//! 2. A difference of at most `step_max` is followed slowly: by [`SLEW_DIVISOR`] at most, so that
//!    an hour of core time lasts between 59 and 61 minutes.
//! 3. A larger difference is a step. It is reported once and not followed. It becomes due for a
//!    correction only after it has lasted for `settle` without changing by more than `step_max`.
//! 4. Until the two clocks have agreed for `settle` after a start, the first reading may be wrong:
//!    events written until then say so ([`Settled::No`]), and nothing is forgotten because of their
//!    time.
//!
//! Only the journal uses it. Deliberately absent: what a correction changes (`correction`),
//! logging.

use crate::engine::stamp::{Settled, Stamp};
use crate::ids::Lsn;
use crate::journal::time::source::{Clock, ClockReading};
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// Small differences are corrected by 1 part in this many: 10 ms per second.
const SLEW_DIVISOR: u64 = 100;

/// Which differences of the wall clock are followed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ClockSettings {
    /// The largest difference that is not a step.
    pub step_max_ms: u64,
    /// How long a step must last before it is followed, and how long after a start nothing is
    /// forgotten.
    pub settle_ms: u64,
    /// What a start does if the clock is before the last event.
    pub behind: ClockBehind,
}

/// What a start does if the clock is before the last event.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ClockBehind {
    /// The start fails.
    Refuse,
    /// The operator ordered it: the clock is right, and the log's time is corrected.
    Accept,
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            step_max_ms: 2_000,
            settle_ms: 60_000,
            behind: ClockBehind::Refuse,
        }
    }
}

/// The wall clock and the core's time at one moment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// The core's time.
    pub core: UnixMs,
    pub wall: UnixMs,
}

impl ClockDifference {
    /// Milliseconds by which the wall clock is ahead; negative: behind.
    pub fn offset_ms(self) -> i64 {
        self.wall.get().cast_signed() - self.core.get().cast_signed()
    }
}

/// A change of the clock that is logged for the operator.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ClockNotice {
    /// The wall clock stepped by more than `step_max`.
    Stepped(ClockDifference),
    /// The core's time was corrected from `core` to `wall`.
    Corrected(ClockDifference),
}

/// The time of an event, and whether it may be used to forget something.
#[derive(Copy, Clone, Debug)]
pub(in crate::journal) struct Moment {
    pub(in crate::journal) at: UnixMs,
    pub(in crate::journal) settled: Settled,
}

impl Moment {
    /// The stamp of a record at `lsn`.
    pub(in crate::journal) fn stamp(self, lsn: Lsn) -> Stamp {
        Stamp {
            at: self.at,
            lsn,
            settled: self.settled,
        }
    }
}

impl From<Stamp> for Moment {
    fn from(stamp: Stamp) -> Self {
        Self {
            at: stamp.at,
            settled: stamp.settled,
        }
    }
}

/// Result of a comparison of the clocks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Observed {
    /// They agree, or differ by at most `step_max`.
    Agreement,
    /// They began to differ by more than that.
    Stepped(ClockDifference),
    /// They have differed, but not for `settle` yet.
    Waiting,
    /// They have differed for `settle`, so the wall clock is followed.
    Lasting(ClockDifference),
}

/// The core's time. Shared by all threads.
#[derive(Debug)]
pub(in crate::journal) struct Timekeeper {
    clock: Clock,
    origin: Instant,
    settings: ClockSettings,
    anchor: ArcSwap<Anchor>,
    watch: Mutex<ClockWatch>,
    /// The last difference, for the metric.
    offset_ms: AtomicI64,
    /// Set once after a start.
    settled: AtomicBool,
    /// When the clocks were last compared, in microseconds.
    compared_us: AtomicU64,
}

/// For how long a comparison is good enough for turns. They need one in the first minute of a process
/// only; if each made its own, all threads would wait for one lock.
const COMPARISON_KEPT_US: u64 = 10_000;

/// A reference point of the core's time, in microseconds.
#[derive(Copy, Clone, Debug)]
struct Anchor {
    steady: u64,
    core: u64,
    /// The part of the difference that is still to be corrected.
    slew: i64,
}

/// The state of the comparison with the wall clock, in microseconds.
#[derive(Copy, Clone, Debug)]
struct ClockWatch {
    /// Since when the clocks agree, or since the start.
    agreed_since_us: u64,
    step: Option<ClockStep>,
}

#[derive(Copy, Clone, Debug)]
struct ClockStep {
    since_us: u64,
    offset_us: i64,
}

impl Anchor {
    fn at(&self, steady_us: u64) -> u64 {
        let elapsed = steady_us.saturating_sub(self.steady);
        let most = (elapsed / SLEW_DIVISOR).cast_signed();
        let slew = self.slew.clamp(-most, most);
        (self.core + elapsed).saturating_add_signed(slew)
    }
}

impl Timekeeper {
    /// Starts at the time of the wall clock, but never before `last`, the time of the log's last
    /// event.
    pub(in crate::journal) fn start(clock: Clock, settings: ClockSettings, last: UnixMs) -> Self {
        let origin = Instant::now();
        let reading = clock.read(origin);
        let anchor = Anchor {
            steady: reading.steady_us,
            core: reading.wall_us.max(last.get() * 1_000),
            slew: 0,
        };
        Self {
            clock,
            origin,
            settings,
            anchor: ArcSwap::from_pointee(anchor),
            watch: Mutex::new(ClockWatch {
                agreed_since_us: reading.steady_us,
                step: None,
            }),
            offset_ms: AtomicI64::new(0),
            settled: AtomicBool::new(false),
            compared_us: AtomicU64::new(reading.steady_us),
        }
    }

    /// Whether the clock only moves when told (tests).
    pub(in crate::journal) fn is_manual(&self) -> bool {
        matches!(self.clock, Clock::Manual(_))
    }

    /// The core's time.
    pub(in crate::journal) fn now(&self) -> UnixMs {
        self.at(self.clock.steady_us(self.origin))
    }

    fn at(&self, steady_us: u64) -> UnixMs {
        UnixMs::new(self.anchor.load().at(steady_us) / 1_000)
    }

    /// The core's time, and whether it may be used to forget something.
    pub(in crate::journal) fn moment(&self) -> Moment {
        self.moment_after(UnixMs::default())
    }

    /// The same, but not before `last`.
    pub(in crate::journal) fn moment_after(&self, last: UnixMs) -> Moment {
        let steady_us = self.clock.steady_us(self.origin);
        Moment {
            at: self.at(steady_us).max(last),
            settled: self.settled_at(steady_us),
        }
    }

    /// The time of the wall clock.
    pub(in crate::journal) fn wall(&self) -> UnixMs {
        self.clock.wall()
    }

    /// By how much the wall clock was ahead at the last comparison.
    pub(in crate::journal) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Whether the clocks have agreed for long enough since the start.
    pub(in crate::journal) fn settled(&self) -> Settled {
        self.settled_at(self.clock.steady_us(self.origin))
    }

    fn settled_at(&self, steady_us: u64) -> Settled {
        if self.settled.load(Ordering::Acquire) {
            return Settled::Yes;
        }
        let age_us = steady_us.saturating_sub(self.compared_us.load(Ordering::Relaxed));
        if age_us >= COMPARISON_KEPT_US {
            self.compare(Look::Quiet);
        }
        if self.settled.load(Ordering::Acquire) {
            Settled::Yes
        } else {
            Settled::No
        }
    }

    /// The difference at this moment.
    pub(in crate::journal) fn difference(&self) -> ClockDifference {
        let reading = self.clock.read(self.origin);
        difference(reading, self.anchor.load().at(reading.steady_us))
    }

    /// Compares the clocks, follows a small difference, and reports a large one.
    pub(in crate::journal) fn observe(&self) -> Observed {
        self.compare(Look::Reporting)
    }

    /// Sets the core's time to the wall clock, and returns both. Call it only while holding the
    /// turns of all shards.
    pub(in crate::journal) fn correct(&self) -> ClockDifference {
        let mut watch = self.watch.lock();
        let reading = self.clock.read(self.origin);
        let steady_us = reading.steady_us;
        let before = difference(reading, self.anchor.load().at(steady_us));
        self.anchor.store(Arc::new(Anchor {
            steady: steady_us,
            core: reading.wall_us,
            slew: 0,
        }));
        *watch = ClockWatch {
            agreed_since_us: steady_us,
            step: None,
        };
        self.offset_ms.store(0, Ordering::Relaxed);
        // The clock has been stable for `settle`, or the operator confirmed it.
        self.settled.store(true, Ordering::Release);
        before
    }

    fn compare(&self, look: Look) -> Observed {
        let mut watch = self.watch.lock();
        let reading = self.clock.read(self.origin);
        self.compared_us.store(reading.steady_us, Ordering::Relaxed);
        let anchor = **self.anchor.load();
        let core_us = anchor.at(reading.steady_us);
        let offset_us = reading.wall_us.cast_signed() - core_us.cast_signed();
        self.offset_ms.store(offset_us / 1_000, Ordering::Relaxed);
        let step_max_us = self.settings.step_max_ms * 1_000;
        let settle_us = self.settings.settle_ms * 1_000;
        if offset_us.unsigned_abs() <= step_max_us {
            if watch.step.take().is_some() {
                watch.agreed_since_us = reading.steady_us;
            }
            self.anchor.store(Arc::new(Anchor {
                steady: reading.steady_us,
                core: core_us,
                slew: offset_us,
            }));
            if reading.steady_us - watch.agreed_since_us >= settle_us {
                self.settled.store(true, Ordering::Release);
            }
            return Observed::Agreement;
        }
        let same = |step: &ClockStep| offset_us.abs_diff(step.offset_us) <= step_max_us;
        match watch.step.filter(same) {
            Some(step) if reading.steady_us - step.since_us >= settle_us => {
                Observed::Lasting(difference(reading, core_us))
            }
            Some(_) => Observed::Waiting,
            // The next observing look reports it.
            None if look == Look::Quiet => {
                watch.agreed_since_us = reading.steady_us;
                Observed::Waiting
            }
            None => {
                watch.step = Some(ClockStep {
                    since_us: reading.steady_us,
                    offset_us,
                });
                Observed::Stepped(difference(reading, core_us))
            }
        }
    }
}

/// Whether a comparison may find a step.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Look {
    Reporting,
    Quiet,
}

fn difference(reading: ClockReading, core_us: u64) -> ClockDifference {
    ClockDifference {
        core: UnixMs::new(core_us / 1_000),
        wall: UnixMs::new(reading.wall_us / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::time::source::ManualClock;

    const START: UnixMs = UnixMs::new(1_800_000_000_000);
    const DAY_MS: i64 = 86_400_000;

    fn keeper() -> (ManualClock, Timekeeper) {
        let clock = ManualClock::new(START);
        let source = Clock::Manual(clock.clone());
        let keeper = Timekeeper::start(source, ClockSettings::default(), UnixMs::default());
        (clock, keeper)
    }

    #[test]
    fn a_step_is_reported_once_and_followed_only_once_it_has_lasted() {
        for step_ms in [8 * DAY_MS, -3_600_000, 2_001, -2_001] {
            let (clock, keeper) = keeper();
            assert_eq!(keeper.observe(), Observed::Agreement);
            clock.step_ms(step_ms);
            let Observed::Stepped(step) = keeper.observe() else {
                panic!("a step of {step_ms} ms is not seen");
            };
            assert_eq!((step.core, step.offset_ms()), (START, step_ms));
            for _ in 0..59 {
                clock.advance_ms(1_000);
                assert_eq!(keeper.observe(), Observed::Waiting);
            }
            assert_eq!(keeper.now(), START.plus_ms(59_000));
            clock.advance_ms(1_000);
            let Observed::Lasting(step) = keeper.observe() else {
                panic!("a step of {step_ms} ms that lasts is not seen");
            };
            assert_eq!(keeper.correct(), step);
            assert_eq!(keeper.now(), clock.wall());
            assert_eq!(keeper.observe(), Observed::Agreement);
        }
    }

    #[test]
    fn a_clock_that_comes_back_in_time_or_steps_again_is_not_followed() {
        let (clock, keeper) = keeper();
        for _ in 0..3 {
            clock.step_ms(400 * DAY_MS);
            assert!(matches!(keeper.observe(), Observed::Stepped(_)));
            clock.advance_ms(59_999);
            assert_eq!(keeper.observe(), Observed::Waiting);
            clock.step_ms(-400 * DAY_MS);
            assert_eq!(keeper.observe(), Observed::Agreement);
        }
        for _ in 0..10 {
            clock.step_ms(2_001);
            assert!(matches!(keeper.observe(), Observed::Stepped(_)));
            clock.advance_ms(30_000);
        }
        assert_eq!(keeper.now(), START.plus_ms(3 * 59_999 + 300_000));
    }

    #[test]
    fn small_differences_are_followed_slowly_and_never_backwards() {
        for step_ms in [1_900, -1_900, 3, -3] {
            let (clock, keeper) = keeper();
            clock.step_ms(step_ms);
            let mut last = keeper.now();
            for _ in 0..4_000 {
                assert_eq!(keeper.observe(), Observed::Agreement);
                clock.advance_ms(50);
                let moved = keeper.now().since_ms(last);
                assert!((49..=51).contains(&moved), "{step_ms}: {moved} ms in 50");
                last = keeper.now();
            }
            assert_eq!(keeper.now(), clock.wall(), "{step_ms}");
        }
    }

    #[test]
    fn nothing_is_settled_before_the_clocks_have_agreed_for_long_enough() {
        let (clock, keeper) = keeper();
        clock.advance_ms(59_999);
        assert_eq!(keeper.settled(), Settled::No);
        clock.step_ms(-8 * DAY_MS);
        clock.advance_ms(1);
        assert_eq!(keeper.settled(), Settled::No);
        assert!(matches!(keeper.observe(), Observed::Stepped(_)));
        clock.advance_ms(30_000);
        clock.step_ms(8 * DAY_MS);
        assert_eq!(keeper.settled(), Settled::No);
        clock.advance_ms(60_000);
        assert_eq!(keeper.settled(), Settled::Yes);
        // A later difference does not make it unsettled: it is not followed.
        clock.step_ms(-8 * DAY_MS);
        assert!(matches!(keeper.observe(), Observed::Stepped(_)));
        assert_eq!(keeper.settled(), Settled::Yes);
    }

    #[test]
    fn turns_share_a_comparison_for_ten_milliseconds() {
        let (clock, keeper) = keeper();
        clock.step_ms(-8 * DAY_MS);
        clock.advance_ms(9);
        assert_eq!(keeper.moment().settled, Settled::No);
        assert_eq!(keeper.offset_ms(), 0, "the comparison of the start");
        clock.advance_ms(1);
        assert_eq!(keeper.moment().settled, Settled::No);
        assert!(keeper.offset_ms() < 0, "a new one");
    }

    #[test]
    fn it_begins_no_earlier_than_the_last_event() {
        let clock = Clock::Manual(ManualClock::new(START));
        let last = START.plus_ms(1_500);
        let keeper = Timekeeper::start(clock, ClockSettings::default(), last);
        assert_eq!(keeper.now(), last);
        assert_eq!(keeper.difference().offset_ms(), -1_500);
    }
}
