//! One generating thread: lets buyers arrive when they are due, and keeps as many at work as a closed loop wants.
//!
//! 1. An arrival depends on the schedule alone. If all connections are busy the buyer waits, and its clock runs.
//! 2. At most `BUYERS_MAX` buyers of a thread are at work; those beyond are shed and counted.
//! 3. When the time is over, buyers at work are let finish for `GRACE`; then they are dropped and their requests counted as
//!    unanswered.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

use super::buyer::Buyer;
use super::draw::draw;
use super::pool::Pool;
use super::tally::{Tally, Window};
use super::{FromWorker, Setup};
use crate::error::{During as _, Fault};
use crate::generator::{GRACE, SLICE};
use crate::scenario::file::Pick;
use crate::scenario::pace::{Arrivals, Pace};
use crate::schedule::BEAT_MIN;
use crate::workload::SplitMix;

/// Buyers at work in one thread.
const BUYERS_MAX: usize = 100_000;
/// How often a closed loop looks how many buyers there should be.
const RAMP_EVERY: Duration = Duration::from_millis(10);
/// A buyer without an answer makes room for others, so that a dead server is not asked in a tight loop.
const AFTER_NO_ANSWER: Duration = Duration::from_millis(50);

/// What the buyers of one thread share.
pub(crate) struct Worker {
    pub(crate) setup: Arc<Setup>,
    pub(crate) pool: Pool,
    pub(crate) tally: Tally,
    window: Window,
    index: usize,
    random: RefCell<SplitMix>,
    turns: Cell<u64>,
    keys: Cell<u64>,
    at_work: Cell<usize>,
    /// In a closed loop: which places have a buyer.
    places: RefCell<Vec<bool>>,
}

impl Worker {
    pub(crate) fn new(setup: &Arc<Setup>, pool: Pool, window: Window, index: usize) -> Self {
        let seed = u64::from(setup.run) << 16 | index as u64;
        Self {
            setup: Arc::clone(setup),
            pool,
            tally: Tally::new(window, setup.products.len()),
            window,
            index,
            random: RefCell::new(SplitMix(seed)),
            turns: Cell::new(0),
            keys: Cell::new(0),
            at_work: Cell::new(0),
            places: RefCell::default(),
        }
    }

    /// Runs to the end and hands over what it counted.
    pub(crate) fn run(self, to: &Sender<FromWorker>) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .during(|| "start a runtime".to_owned())?;
        let worker = Rc::new(self);
        let local = LocalSet::new();
        runtime.block_on(local.run_until(Rc::clone(&worker).work(to)))?;
        // Drops the buyers that are left, which counts their requests.
        drop(local);
        drop(runtime);
        let last = worker.slice_now();
        // The receiver is gone only if the whole run has failed already, here and below.
        let _ = to.send(FromWorker::Slice(worker.tally.hand_over(last)));
        let worker = Rc::into_inner(worker).expect("every buyer has been dropped");
        let (steps, bought) = worker.tally.into_totals();
        let _ = to.send(FromWorker::End { steps, bought });
        Ok(())
    }

    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().next()
    }

    pub(crate) fn draw(&self, pick: Pick, of: u64, turn: u64) -> u64 {
        draw(pick, of, turn, &mut self.random.borrow_mut())
    }

    /// The number of the next buyer over all threads.
    pub(crate) fn turn(&self) -> u64 {
        let turn = self.turns.get();
        self.turns.set(turn + 1);
        turn * self.setup.threads as u64 + self.index as u64
    }

    /// An idempotency key unlike any other.
    pub(crate) fn key(&self) -> String {
        let key = self.keys.get();
        self.keys.set(key + 1);
        format!("lt-{:08x}-{:02x}-{key:x}", self.setup.run, self.index)
    }

    async fn work(self: Rc<Self>, to: &Sender<FromWorker>) -> Result<(), Fault> {
        let mut beat = Beat::new()?;
        let stages = &self.setup.stages;
        let mut arrivals = Arrivals::new(stages, self.index as u64, self.setup.threads as u64);
        let mut next = arrivals.next();
        let has_closed = stages
            .iter()
            .any(|stage| matches!(stage.pace, Pace::Connections(_)));
        let mut slice_end = self.window.start + SLICE;
        let over = self.window.end + GRACE;
        loop {
            let now = Instant::now();
            while let Some(due) = next.map(|offset| self.window.start + offset)
                && due <= now
            {
                self.arrive(due);
                next = arrivals.next();
            }
            if has_closed {
                self.fill_places(now);
            }
            if now >= slice_end {
                let number = self.slice_now();
                let _ = to.send(FromWorker::Slice(self.tally.hand_over(number)));
                slice_end = self.window.start + SLICE * (number + 1);
            }
            let is_done = now >= self.window.end && self.at_work.get() == 0;
            if is_done || now >= over {
                return Ok(());
            }
            let mut until = slice_end;
            if let Some(offset) = next {
                until = until.min(self.window.start + offset);
            }
            if has_closed || now >= self.window.end {
                until = until.min(now + RAMP_EVERY);
            }
            beat.wait_until(until.max(now + BEAT_MIN)).await?;
        }
    }

    fn arrive(self: &Rc<Self>, due: Instant) {
        if self.at_work.get() >= BUYERS_MAX {
            let step = Buyer::new(self).first_step();
            self.tally.shed(step, due);
            return;
        }
        let worker = Rc::clone(self);
        self.at_work.set(self.at_work.get() + 1);
        tokio::task::spawn_local(async move {
            Buyer::new(&worker).act(due).await;
            worker.at_work.set(worker.at_work.get() - 1);
        });
    }

    /// Puts a buyer at every place of the closed loop that has none.
    fn fill_places(self: &Rc<Self>, now: Instant) {
        let wanted = self.places_at(now);
        let mut places = self.places.borrow_mut();
        if places.len() < wanted {
            places.resize(wanted, false);
        }
        for (place, is_taken) in places.iter_mut().enumerate().take(wanted) {
            if !*is_taken {
                *is_taken = true;
                self.at_work.set(self.at_work.get() + 1);
                tokio::task::spawn_local(Rc::clone(self).keep_buying(place));
            }
        }
    }

    async fn keep_buying(self: Rc<Self>, place: usize) {
        let pause = self.setup.scenario.buyers.pause_ms;
        loop {
            let now = Instant::now();
            if place >= self.places_at(now) {
                break;
            }
            let is_answered = Buyer::new(&self).act(now).await;
            let mut pause = pause.at(self.random());
            if !is_answered {
                pause = pause.max(AFTER_NO_ANSWER);
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        self.places.borrow_mut()[place] = false;
        self.at_work.set(self.at_work.get() - 1);
    }

    /// How many buyers this thread keeps at work at `now`.
    fn places_at(&self, now: Instant) -> usize {
        let mut passed = now.saturating_duration_since(self.window.start);
        for stage in &self.setup.stages {
            if passed < stage.length {
                let all = stage.connections_at(passed);
                let threads = self.setup.threads;
                return all / threads + usize::from(self.index < all % threads);
            }
            passed -= stage.length;
        }
        0
    }

    fn slice_now(&self) -> u32 {
        let passed = self.window.start.elapsed().as_nanos() / SLICE.as_nanos();
        u32::try_from(passed).unwrap_or(u32::MAX)
    }
}

/// A timer finer than the runtime's millisecond.
struct Beat(AsyncFd<OwnedFd>);

impl Beat {
    fn new() -> Result<Self, Fault> {
        let what = || "set the beat's timer".to_owned();
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(std::io::Error::from)
            .during(what)?;
        #[expect(
            deprecated,
            reason = "an owned descriptor stays open for as long as it is registered"
        )]
        let timer = AsyncFd::new(timer).during(what)?;
        Ok(Self(timer))
    }

    async fn wait_until(&mut self, until: Instant) -> Result<(), Fault> {
        let what = || "wait for the beat".to_owned();
        let wait = until.saturating_duration_since(Instant::now());
        let wait = wait.max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        rustix::time::timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)
            .map_err(std::io::Error::from)
            .during(what)?;
        let mut ready = self.0.readable().await.during(what)?;
        let mut count = [0; 8];
        // The only error of a non-blocking timer is that there is nothing to take.
        let _ = rustix::io::read(ready.get_inner(), &mut count);
        ready.clear_ready();
        Ok(())
    }
}
