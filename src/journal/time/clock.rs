//! Owns the core's time: a monotonic clock that is anchored to the wall clock at start.
//!
//! Invariants:
//! 1. The core's time never goes back and never jumps, whatever the wall clock does. The one exception is
//!    a correction, which is an event in the log ([`Timekeeper::correct`]).
//! 2. A difference of at most `step_max` is followed slowly: by [`SLEW_DIVISOR`] at most, so that an hour
//!    of core time lasts between 59 and 61 minutes.
//! 3. A larger difference is a step. It is reported once and not followed. It becomes due for a
//!    correction only after it has lasted for `settle` without changing by more than `step_max`.
//! 4. Until the two clocks have agreed for `settle` after a start, the first reading may be wrong: events
//!    written until then say so ([`Settled::No`]), and nothing is forgotten because of their time.
//!
//! Only the journal uses it. Deliberately absent: what a correction changes (`correction`), logging.

use crate::engine::stamp::{Settled, Stamp};
use crate::ids::Lsn;
use crate::time::UnixMs;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Small differences are made up for by 1 part in so many: 10 ms in each second.
const SLEW_DIVISOR: u64 = 100;

/// Two readings of the monotonic clock around one of the wall clock are at most this far apart;
/// otherwise the thread was interrupted in between and reads again.
const READING_TAKES_MAX: Duration = Duration::from_millis(5);
/// How often it reads again. The last reading is taken as it is: it is off by what it took.
const READINGS_MAX: usize = 5;

/// Where readings come from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// Clocks that stand still until they are moved, for tests and replays.
    Manual(ManualClock),
}

/// A monotonic and a wall clock that stand still until they are moved. Clones share both.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    steady_ms: AtomicU64,
    wall_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that says `at`.
    pub fn new(at: UnixMs) -> Self {
        Self(Arc::new(Hands {
            steady_ms: AtomicU64::new(0),
            wall_ms: AtomicU64::new(at.get()),
        }))
    }

    /// Time passes: both clocks go on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) {
        self.0.steady_ms.fetch_add(ms, Ordering::SeqCst);
        self.0.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock forward, or back where `ms` is negative; no time passes.
    pub fn step_ms(&self, ms: i64) {
        self.0
            .wall_ms
            .fetch_add(ms.cast_unsigned(), Ordering::SeqCst);
    }

    /// What the wall clock says.
    pub fn wall(&self) -> UnixMs {
        UnixMs::new(self.0.wall_ms.load(Ordering::SeqCst))
    }
}

impl Clock {
    /// What the wall clock says: right or wrong, and able to jump.
    pub fn wall(&self) -> UnixMs {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                UnixMs::new(ms_of(since.unwrap_or_default()))
            }
            Self::Manual(clock) => clock.wall(),
        }
    }
}

/// How differences of the wall clock are judged.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ClockSettings {
    /// The largest difference that is no step.
    pub step_max_ms: u64,
    /// How long a step has to last before it is followed, and how long after a start nothing is
    /// forgotten.
    pub settle_ms: u64,
    /// What happens at a start whose clock lies before the last event.
    pub behind: ClockBehind,
}

/// What happens at a start whose clock lies before the last event.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ClockBehind {
    /// It is refused.
    Refuse,
    /// The operator ordered it: the clock is right and the log's time is corrected.
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

/// How far the wall clock lies from the core's time.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ClockDifference {
    /// The core's time.
    pub core: UnixMs,
    /// What the wall clock said at that moment.
    pub wall: UnixMs,
}

impl ClockDifference {
    /// Milliseconds by which the wall clock lies ahead; negative: behind.
    pub fn offset_ms(self) -> i64 {
        self.wall.get().cast_signed() - self.core.get().cast_signed()
    }
}

/// Something about the clock that the operator should hear of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ClockNotice {
    /// The wall clock was set by more than is followed.
    Stepped(ClockDifference),
    /// The core's time was corrected from `core` to `wall`.
    Corrected(ClockDifference),
}

/// When something is written, and whether that instant may be gone by to forget something.
#[derive(Copy, Clone, Debug)]
pub(in crate::journal) struct Moment {
    pub(in crate::journal) at: UnixMs,
    pub(in crate::journal) settled: Settled,
}

impl Moment {
    /// That of a record at `lsn`.
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

/// What comparing the clocks found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Observed {
    /// They agree, or differ by little.
    Agreement,
    /// They differ by more than that since this look.
    Stepped(ClockDifference),
    /// They have for some time, but not for long enough.
    Waiting,
    /// They have for so long that the wall clock is believed.
    Lasting(ClockDifference),
}

/// The core's time. Shared by all threads.
#[derive(Debug)]
pub(in crate::journal) struct Timekeeper {
    clock: Clock,
    origin: Instant,
    settings: ClockSettings,
    anchor: ArcSwap<Anchor>,
    watch: Mutex<Watch>,
    /// What the last comparison found, for the metric.
    offset_ms: AtomicI64,
    /// Set once after a start.
    settled: AtomicBool,
}

/// A moment of which the core's time is known, and how it goes on from there. In microseconds.
#[derive(Copy, Clone, Debug)]
struct Anchor {
    steady: u64,
    core: u64,
    /// What is still to be made up for.
    slew: i64,
}

/// What is known of the wall clock. In microseconds.
#[derive(Copy, Clone, Debug)]
struct Watch {
    /// Since when the clocks agree, or since the start.
    agreed_since_us: u64,
    step: Option<Step>,
}

#[derive(Copy, Clone, Debug)]
struct Step {
    since_us: u64,
    offset_us: i64,
}

/// Both clocks at one moment, in microseconds.
#[derive(Copy, Clone, Debug)]
struct Reading {
    steady_us: u64,
    wall_us: u64,
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
    /// Begins at what the wall clock says, and never before `last`, the last event of the log.
    pub(in crate::journal) fn start(clock: Clock, settings: ClockSettings, last: UnixMs) -> Self {
        let origin = Instant::now();
        let reading = read(&clock, origin);
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
            watch: Mutex::new(Watch {
                agreed_since_us: reading.steady_us,
                step: None,
            }),
            offset_ms: AtomicI64::new(0),
            settled: AtomicBool::new(false),
        }
    }

    /// Whether nothing reads the clocks by itself: tests move them by hand.
    pub(in crate::journal) fn is_manual(&self) -> bool {
        matches!(self.clock, Clock::Manual(_))
    }

    /// The core's time.
    pub(in crate::journal) fn now(&self) -> UnixMs {
        let anchor = self.anchor.load();
        UnixMs::new(anchor.at(steady_us(&self.clock, self.origin)) / 1_000)
    }

    /// The core's time, and whether it may be gone by to forget something.
    pub(in crate::journal) fn moment(&self) -> Moment {
        self.moment_after(UnixMs::default())
    }

    /// The same, and no earlier than `last`.
    pub(in crate::journal) fn moment_after(&self, last: UnixMs) -> Moment {
        Moment {
            at: self.now().max(last),
            settled: self.settled(),
        }
    }

    /// What the wall clock says.
    pub(in crate::journal) fn wall(&self) -> UnixMs {
        self.clock.wall()
    }

    /// By how much the wall clock lay ahead when the clocks were last compared.
    pub(in crate::journal) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Whether the clocks have agreed for long enough since the start.
    pub(in crate::journal) fn settled(&self) -> Settled {
        if self.settled.load(Ordering::Acquire) {
            return Settled::Yes;
        }
        // Only in the first minute of a process.
        self.compare(Look::Quiet);
        if self.settled.load(Ordering::Acquire) {
            Settled::Yes
        } else {
            Settled::No
        }
    }

    /// How far the wall clock lies from the core's time at this moment.
    pub(in crate::journal) fn difference(&self) -> ClockDifference {
        let reading = read(&self.clock, self.origin);
        difference(reading, self.anchor.load().at(reading.steady_us))
    }

    /// Compares the clocks, follows small differences, and says what is to be done about others.
    pub(in crate::journal) fn observe(&self) -> Observed {
        self.compare(Look::Reporting)
    }

    /// The core's time is what the wall clock says from now on; what it was, and what it is. Only
    /// with every shard's turn taken.
    pub(in crate::journal) fn correct(&self) -> ClockDifference {
        let mut watch = self.watch.lock();
        let reading = read(&self.clock, self.origin);
        let steady_us = reading.steady_us;
        let before = difference(reading, self.anchor.load().at(steady_us));
        self.anchor.store(Arc::new(Anchor {
            steady: steady_us,
            core: reading.wall_us,
            slew: 0,
        }));
        *watch = Watch {
            agreed_since_us: steady_us,
            step: None,
        };
        self.offset_ms.store(0, Ordering::Relaxed);
        // It has been what it is for long enough, or the operator vouches for it.
        self.settled.store(true, Ordering::Release);
        before
    }

    fn compare(&self, look: Look) -> Observed {
        let mut watch = self.watch.lock();
        let reading = read(&self.clock, self.origin);
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
        let same = |step: &Step| offset_us.abs_diff(step.offset_us) <= step_max_us;
        match watch.step.filter(same) {
            Some(step) if reading.steady_us - step.since_us >= settle_us => {
                Observed::Lasting(difference(reading, core_us))
            }
            Some(_) => Observed::Waiting,
            // Left for the look that reports it.
            None if look == Look::Quiet => {
                watch.agreed_since_us = reading.steady_us;
                Observed::Waiting
            }
            None => {
                watch.step = Some(Step {
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

fn difference(reading: Reading, core_us: u64) -> ClockDifference {
    ClockDifference {
        core: UnixMs::new(core_us / 1_000),
        wall: UnixMs::new(reading.wall_us / 1_000),
    }
}

fn steady_us(clock: &Clock, origin: Instant) -> u64 {
    match clock {
        Clock::System => us_of(origin.elapsed()),
        Clock::Manual(ManualClock(hands)) => hands.steady_ms.load(Ordering::SeqCst) * 1_000,
    }
}

fn read(clock: &Clock, origin: Instant) -> Reading {
    if let Clock::Manual(manual) = clock {
        return Reading {
            steady_us: steady_us(clock, origin),
            wall_us: manual.wall().get() * 1_000,
        };
    }
    let mut tries = 0;
    loop {
        let before = origin.elapsed();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let took = origin.elapsed().saturating_sub(before);
        tries += 1;
        if took <= READING_TAKES_MAX || tries == READINGS_MAX {
            // No instant is later than what RFC 3339 can write.
            let latest_us = UnixMs::MAX.get() * 1_000;
            return Reading {
                steady_us: us_of(before + took / 2),
                wall_us: us_of(wall.unwrap_or_default()).min(latest_us),
            };
        }
    }
}

fn us_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn ms_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // What differs later does not unsettle it: it is not followed.
        clock.step_ms(-8 * DAY_MS);
        assert!(matches!(keeper.observe(), Observed::Stepped(_)));
        assert_eq!(keeper.settled(), Settled::Yes);
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
