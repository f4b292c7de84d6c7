//! What one thread counts.
//!
//! 1. Every request that is begun ends in exactly one of: answer, error, shed. One that is dropped unanswered, because the run
//!    is over, counts as the error `unanswered` (`Open`).
//! 2. Requests due in the warm-up are sent and not counted; bought units are counted always.
//!
//! Single-threaded: shared by the buyers of one thread through a `RefCell` that is never held across an `await`.

use std::cell::RefCell;
use std::time::Instant;

use super::pool::{Answer, NoAnswer};
use crate::http::response;
use crate::scenario::threshold::StepName;
use crate::stats::{Slice, nanos};

/// Where counting begins and where the run ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) count_from: Instant,
    pub(crate) end: Instant,
}

/// The counts of one thread.
pub(crate) struct Tally {
    window: Window,
    counts: RefCell<Counts>,
}

struct Counts {
    slice: Slice,
    steps: Vec<Slice>,
    bought: Vec<u64>,
    /// Requests under way that count.
    open: u64,
}

impl Tally {
    pub(crate) fn new(window: Window, products: usize) -> Self {
        Self {
            window,
            counts: RefCell::new(Counts {
                slice: Slice::new(0),
                steps: StepName::ALL.iter().map(|_| Slice::new(0)).collect(),
                bought: vec![0; products],
                open: 0,
            }),
        }
    }

    /// A request that was due at `due` and is sent now.
    pub(crate) fn begin(&self, step: StepName, due: Instant) -> Open<'_> {
        self.both(step, due, |counts| {
            counts.scheduled += 1;
            counts.sent += 1;
        });
        self.counts.borrow_mut().open += u64::from(due >= self.window.count_from);
        Open {
            tally: self,
            step,
            due,
            pending: true,
        }
    }

    /// A buyer who is turned away because too many are at work.
    pub(crate) fn shed(&self, step: StepName, due: Instant) {
        let waited = nanos(due.elapsed());
        self.both(step, due, |counts| {
            counts.scheduled += 1;
            counts.shed += 1;
            counts.latencies.saturating_record(waited);
        });
    }

    pub(crate) fn bought(&self, product: usize, units: u64) {
        self.counts.borrow_mut().bought[product] += units;
    }

    /// What was counted since the last call; the next slice is number `next`.
    pub(crate) fn hand_over(&self, next: u32) -> Slice {
        let mut counts = self.counts.borrow_mut();
        counts.slice.waiting = counts.open;
        std::mem::replace(&mut counts.slice, Slice::new(next))
    }

    /// The totals by step, and the units bought by product.
    pub(crate) fn into_totals(self) -> (Vec<Slice>, Vec<u64>) {
        let counts = self.counts.into_inner();
        (counts.steps, counts.bought)
    }

    fn both(&self, step: StepName, due: Instant, count: impl Fn(&mut Slice)) {
        if due < self.window.count_from {
            return;
        }
        let mut counts = self.counts.borrow_mut();
        count(&mut counts.slice);
        count(&mut counts.steps[step as usize]);
    }
}

/// A request under way.
pub(crate) struct Open<'a> {
    tally: &'a Tally,
    step: StepName,
    due: Instant,
    pending: bool,
}

impl Open<'_> {
    /// It was answered. A 5xx other than 503 is no answer that the contract knows: an error.
    pub(crate) fn answered(mut self, answer: &Answer) {
        let now = Instant::now();
        let window = self.tally.window;
        let in_time = u64::from(now >= window.count_from && now < window.end);
        let latency = nanos(now.saturating_duration_since(self.due));
        let is_error = answer.status >= 500 && answer.status != 503;
        let reason = match answer.status {
            0..400 => "",
            _ => response::reason(&answer.body).unwrap_or(""),
        };
        self.close(|counts| {
            counts.latencies.saturating_record(latency);
            counts.in_time += in_time;
            counts.done += u64::from(!is_error);
            counts.errors += u64::from(is_error);
            counts.replayed += u64::from(answer.replayed);
            counts.outcomes.count(answer.status, reason);
        });
    }

    /// It was not.
    pub(crate) fn failed(mut self, why: NoAnswer) {
        self.fail(why);
    }

    fn fail(&mut self, why: NoAnswer) {
        let waited = nanos(self.due.elapsed());
        self.close(|counts| {
            counts.latencies.saturating_record(waited);
            counts.errors += 1;
            counts.outcomes.count(0, why.0);
        });
    }

    fn close(&mut self, count: impl Fn(&mut Slice)) {
        self.pending = false;
        self.tally.both(self.step, self.due, count);
        let tally = self.tally;
        tally.counts.borrow_mut().open -= u64::from(self.due >= tally.window.count_from);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.pending {
            self.fail(NoAnswer("unanswered"));
        }
    }
}
