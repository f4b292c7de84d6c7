//! Owns the pace of requests to Stripe: a token bucket in front of two queues.
//!
//! Invariants:
//! 1. No more requests are begun than `requests_per_s` in the long run, with a burst of a tenth of
//!    a second. Requests that a call makes beyond what its turn paid for are taken off what comes.
//! 2. Each queue is first come, first served and bounded. What asks, captures, voids and refunds
//!    goes before what authorizes, three turns for one, so that neither starves.
//! 3. Until Stripe's `Retry-After` has passed (bounded), nothing takes its turn; where Stripe says
//!    of more than one in ten that they were too many, the pace slows down, and comes back slowly.
//!    A limit that is lower than the configured pace would otherwise let through parts of calls,
//!    and few whole ones.
//!
//! What waits here was not sent. Deliberately absent: time limits of a call, and retries.

use crate::payments::gateway::{GatewayCall, Trouble, WaitingCalls};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum calls in one queue; further ones get `Busy` and are retried.
const WAITING_MAX: usize = 10_000;

/// Turns of one queue before the other gets one, while both wait.
const URGENT_IN_A_ROW: u32 = 3;

/// How much earlier than its time a request may begin if none began before it.
const BURST: Duration = Duration::from_millis(100);

/// The longest pause that Stripe is allowed to impose.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The pace from which to slow down if none is configured: a request per millisecond.
const UNPACED: Duration = Duration::from_millis(1);

/// How often the pace is adjusted, and from how many of ten rejected requests on it slows down: a
/// few now and then are no sign of a lower limit.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(250);
const TOO_MANY_OF_TEN: u32 = 1;

/// The factor of slowing down, its maximum, and the factor of recovering.
const SLOWER: f64 = 1.5;
const SLOWEST: f64 = 50.0;
const FASTER: f64 = 0.97;

/// Maximum number of requests that were paid for and not sent.
const PREPAID_MAX: u32 = 64;

#[derive(Debug)]
pub(super) struct Pacer {
    /// Time between two requests; `None`: no limit.
    interval: Option<Duration>,
    queues: [PacerQueue; 2],
    state: parking_lot::Mutex<PacerState>,
}

#[derive(Debug, Default)]
struct PacerQueue {
    /// The call that holds it is the first in the queue; tokio's lock is fair.
    first: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct PacerState {
    /// When the next request is due if all were evenly spaced.
    next: Instant,
    paused_until: Instant,
    prepaid: u32,
    urgent_in_a_row: u32,
    /// The factor by which it is slower than configured.
    slowness: f64,
    /// The start of the counting: requests sent, and those rejected as too many.
    since: Instant,
    sent: u32,
    too_many: u32,
}

/// The queue of a call.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Lane {
    /// It finishes something.
    Urgent,
    /// It begins something.
    New,
}

impl Pacer {
    /// At most this many requests per second; `None`: no limit.
    pub(super) fn new(requests_per_s: Option<NonZeroU32>) -> Self {
        let now = Instant::now();
        Self {
            interval: requests_per_s.map(|rate| Duration::from_secs(1) / rate.get()),
            queues: <[PacerQueue; 2]>::default(),
            state: parking_lot::Mutex::new(PacerState {
                next: now,
                paused_until: now,
                prepaid: 0,
                urgent_in_a_row: 0,
                slowness: 1.0,
                since: now,
                sent: 0,
                too_many: 0,
            }),
        }
    }

    /// Waits until `call` may be sent.
    pub(super) async fn turn(&self, call: GatewayCall) -> Result<(), Trouble> {
        let (lane, requests) = cost(call);
        let queue = &self.queues[lane as usize];
        let _waits = QueuePlace::enter(queue).ok_or(Trouble::Busy)?;
        let _first = queue.first.lock().await;
        loop {
            let others = &self.queues[lane.other() as usize].waiting;
            let others = others.load(Ordering::Relaxed) > 0;
            let now = Instant::now();
            let taken = self
                .state
                .lock()
                .take((lane, requests), others, now, self.interval);
            match taken {
                Ok(()) => return Ok(()),
                Err(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    /// Number of calls in each queue.
    pub(super) fn waiting(&self) -> WaitingCalls {
        let of = |lane: Lane| self.queues[lane as usize].waiting.load(Ordering::Relaxed);
        WaitingCalls {
            urgent: of(Lane::Urgent),
            new: of(Lane::New),
        }
    }

    /// Counts a request that is sent.
    pub(super) fn sent(&self) {
        let mut state = self.state.lock();
        state.sent = state.sent.saturating_add(1);
        let Some(interval) = state.interval(self.interval) else {
            return;
        };
        match state.prepaid.checked_sub(1) {
            Some(left) => state.prepaid = left,
            None => state.next = state.next.max(Instant::now()) + interval,
        }
    }

    /// Stripe rejected a request as too many: pauses for this long.
    pub(super) fn too_many(&self, pause: Duration) {
        let mut state = self.state.lock();
        state.too_many = state.too_many.saturating_add(1);
        drop(state);
        self.pause(pause);
    }

    /// Stripe wants no requests for this long.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause.min(PAUSE_MAX);
        let mut state = self.state.lock();
        state.paused_until = state.paused_until.max(until);
    }
}

impl PacerState {
    /// The current time between two requests.
    fn interval(&self, configured: Option<Duration>) -> Option<Duration> {
        if self.slowness > 1.0 {
            Some(configured.unwrap_or(UNPACED).mul_f64(self.slowness))
        } else {
            configured
        }
    }

    /// Slows down or recovers, by what was counted since the last adjustment.
    fn look(&mut self, now: Instant) {
        if now < self.since + LOOKED_AT_EVERY {
            return;
        }
        let slower = self.too_many.saturating_mul(10) > self.sent.saturating_mul(TOO_MANY_OF_TEN);
        self.slowness = if slower {
            (self.slowness * SLOWER).min(SLOWEST)
        } else {
            (self.slowness * FASTER).max(1.0)
        };
        (self.since, self.sent, self.too_many) = (now, 0, 0);
    }

    /// `Err`: the earliest time.
    fn take(
        &mut self,
        (lane, requests): (Lane, u32),
        others_wait: bool,
        now: Instant,
        interval: Option<Duration>,
    ) -> Result<(), Instant> {
        if now < self.paused_until {
            return Err(self.paused_until);
        }
        self.look(now);
        let Some(interval) = self.interval(interval) else {
            return Ok(());
        };
        if let Some(early) = self.next.checked_duration_since(now + BURST)
            && !early.is_zero()
        {
            return Err(now + early);
        }
        let gives_way = match lane {
            Lane::New => self.urgent_in_a_row < URGENT_IN_A_ROW,
            Lane::Urgent => self.urgent_in_a_row >= URGENT_IN_A_ROW,
        };
        // The call that goes first is awake now, too; if it gave up, this one continues.
        if others_wait && gives_way {
            return Err(now + interval);
        }
        self.next = self.next.max(now) + interval * requests;
        self.prepaid = (self.prepaid + requests).min(PREPAID_MAX);
        self.urgent_in_a_row = match lane {
            Lane::Urgent => (self.urgent_in_a_row + 1).min(URGENT_IN_A_ROW),
            Lane::New => 0,
        };
        Ok(())
    }
}

impl Lane {
    const fn other(self) -> Self {
        match self {
            Self::Urgent => Self::New,
            Self::New => Self::Urgent,
        }
    }
}

/// The queue of a call, and the usual number of its requests.
const fn cost(call: GatewayCall) -> (Lane, u32) {
    match call {
        // An intent is created, then confirmed.
        GatewayCall::Authorize => (Lane::New, 2),
        // The intent is found by its key, then read or canceled.
        GatewayCall::LookUp | GatewayCall::Void => (Lane::Urgent, 2),
        GatewayCall::Capture
        | GatewayCall::Refund
        | GatewayCall::LookUpRefund
        | GatewayCall::List => (Lane::Urgent, 1),
    }
}

/// Counts a waiting call.
struct QueuePlace<'a>(&'a PacerQueue);

impl<'a> QueuePlace<'a> {
    fn enter(queue: &'a PacerQueue) -> Option<Self> {
        let entered = Self(queue);
        let before = queue.waiting.fetch_add(1, Ordering::Relaxed);
        (before < WAITING_MAX).then_some(entered)
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);

    fn state(now: Instant) -> PacerState {
        PacerState {
            next: now,
            paused_until: now,
            prepaid: 0,
            urgent_in_a_row: 0,
            slowness: 1.0,
            since: now,
            sent: 0,
            too_many: 0,
        }
    }

    /// How many of `lane` begin in `seconds`, checked each millisecond while `others` wait.
    fn begun(state: &mut PacerState, from: Instant, seconds: u64, lane: Lane) -> u32 {
        let taken = (0..seconds * 1_000).filter(|ms| {
            let now = from + Duration::from_millis(*ms);
            state.take((lane, 1), false, now, Some(INTERVAL)).is_ok()
        });
        u32::try_from(taken.count()).expect("few")
    }

    #[test]
    fn as_many_begin_as_the_pace_allows_and_a_short_burst() {
        let now = Instant::now();
        let taken = begun(&mut state(now), now, 10, Lane::New);
        assert!((1_000..=1_011).contains(&taken), "{taken}");
        // A quiet period is not saved up beyond the burst.
        let mut state = state(now);
        let later = now + Duration::from_mins(10);
        let taken = begun(&mut state, later, 1, Lane::New);
        assert!((100..=111).contains(&taken), "{taken}");
    }

    #[test]
    fn a_pause_is_waited_for_by_all() {
        let now = Instant::now();
        let mut state = state(now);
        state.paused_until = now + Duration::from_secs(2);
        for lane in [Lane::Urgent, Lane::New] {
            for interval in [None, Some(INTERVAL)] {
                let taken = state.take((lane, 1), false, now, interval);
                assert_eq!(taken, Err(now + Duration::from_secs(2)));
            }
        }
        let then = now + Duration::from_secs(2);
        assert_eq!(state.take((Lane::New, 1), false, then, None), Ok(()));
    }

    #[test]
    fn three_urgent_calls_go_before_each_authorization() {
        let now = Instant::now();
        let mut state = state(now);
        let mut order = String::new();
        for ms in 0..400_u32 {
            let now = now + Duration::from_millis(u64::from(ms));
            for (lane, word) in [(Lane::New, 'n'), (Lane::Urgent, 'u')] {
                if state.take((lane, 1), true, now, Some(INTERVAL)).is_ok() {
                    order.push(word);
                }
            }
        }
        assert!(order.starts_with("uuunuuunuuun"), "{order}");
        assert!(order.len() >= 40, "{order}");
    }

    #[test]
    fn a_limit_below_the_pace_slows_it_down_and_it_comes_back_slowly() {
        let began = Instant::now();
        let mut state = state(began);
        let mut look = |times: std::ops::Range<u32>, sent, too_many| {
            for time in times {
                (state.sent, state.too_many) = (sent, too_many);
                state.look(began + LOOKED_AT_EVERY * (time + 1));
            }
            (state.interval(Some(INTERVAL)), state.interval(None))
        };
        let configured = (Some(INTERVAL), None);
        assert_eq!(look(0..10, 20, 1), configured, "now and then one");
        let slower = (Some(INTERVAL.mul_f64(2.25)), Some(UNPACED.mul_f64(2.25)));
        assert_eq!(look(10..12, 20, 3), slower);
        assert_ne!(look(12..30, 20, 0), configured);
        assert_eq!(look(30..60, 20, 0), configured);
        let slowest = look(60..90, 1, 1);
        assert_eq!(slowest.0, Some(INTERVAL.mul_f64(SLOWEST)));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pacer = Pacer::new(NonZeroU32::new(1));
        let full = &pacer.queues[Lane::New as usize].waiting;
        full.store(WAITING_MAX, Ordering::Relaxed);
        assert_eq!(pacer.turn(GatewayCall::Authorize).await, Err(Trouble::Busy));
        assert_eq!(pacer.turn(GatewayCall::Capture).await, Ok(()));
        assert_eq!(full.load(Ordering::Relaxed), WAITING_MAX);
    }
}
