//! The figures of a run, and how threads pass them on.
//!
//! 1. `scheduled = sent + shed` and `sent = done + errors`, once a run is over.
//! 2. A request that was given up (shed or unanswered) is in the histogram with the time it had
//!    waited, so a server that falls behind cannot look fast by not answering.
//! 3. Threads share nothing while they send: each sends a `Slice` a few times per second.
//!
//! Latencies are nanoseconds, three significant digits, 1 µs to 100 s.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

const LATENCY_NS_MIN: u64 = 1_000;
const LATENCY_NS_MAX: u64 = 100_000_000_000;
/// Slices of which the histograms are kept; of older ones the percentiles remain, so that a long run needs little memory.
const OPEN_SLICES_MAX: usize = 64;
/// Different outcomes kept apart; the contract has about fifty. Later ones are counted as `other`.
const OUTCOMES_MAX: usize = 64;

/// An empty latency histogram.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 3)
        .expect("constant bounds: low >= 1, high >= 2 * low, digits <= 5")
}

/// Nanoseconds of `d`, saturating.
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds of `ns`, for people.
#[expect(clippy::cast_precision_loss, reason = "shown with three decimals")]
pub(crate) fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// A count per second, for people.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// Answers and errors by what they said. A linear list: a run sees few kinds, and the common one moves to the front.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes(Vec<(u16, String, u64)>);

impl Outcomes {
    /// Counts one; `status` 0 stands for no answer at all.
    pub(crate) fn count(&mut self, status: u16, reason: &str) {
        self.add(status, reason, 1);
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (status, reason, count) in &other.0 {
            self.add(*status, reason, *count);
        }
    }

    /// Kinds and counts, the largest first, as `409 sold_out`.
    pub(crate) fn sorted(&self) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(s, r, n)| (label(*s, r), *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    /// Answers that did what was asked.
    pub(crate) fn accepted(&self) -> u64 {
        self.sum(|status| (200..300).contains(&status))
    }

    /// Answers that refused: 4xx, and 503.
    pub(crate) fn refused(&self) -> u64 {
        self.sum(|status| (400..500).contains(&status) || status == 503)
    }

    /// Answers with this reason.
    pub(crate) fn with_reason(&self, reason: &str) -> u64 {
        let of_it = self.0.iter().filter(|(s, r, _)| *s > 0 && r == reason);
        of_it.map(|(_, _, n)| n).sum()
    }

    /// The most frequent refusal and its count.
    pub(crate) fn chief_refusal(&self) -> Option<(String, u64)> {
        let refusals = self.0.iter().filter(|(s, _, _)| *s >= 400);
        let chief = refusals.max_by_key(|(_, _, n)| *n)?;
        Some((label(chief.0, &chief.1), chief.2))
    }

    fn sum(&self, counts: impl Fn(u16) -> bool) -> u64 {
        let of_it = self.0.iter().filter(|(status, _, _)| counts(*status));
        of_it.map(|(_, _, n)| n).sum()
    }

    fn add(&mut self, status: u16, reason: &str, count: u64) {
        let known = self
            .0
            .iter()
            .position(|(s, r, _)| *s == status && r == reason);
        match known {
            Some(at) => {
                self.0[at].2 += count;
                if at > 0 && self.0[at].2 > self.0[0].2 {
                    self.0.swap(0, at);
                }
            }
            None if self.0.len() < OUTCOMES_MAX => self.0.push((status, reason.to_owned(), count)),
            None => self.0[OUTCOMES_MAX - 1].2 += count,
        }
    }
}

fn label(status: u16, reason: &str) -> String {
    match (status, reason) {
        (0, reason) => reason.to_owned(),
        (status, "") => status.to_string(),
        (status, reason) => format!("{status} {reason}"),
    }
}

/// What one thread saw in one slice of time.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Number of the slice since the start.
    pub(crate) index: u32,
    /// Latencies of what was answered or given up on in the slice.
    pub(crate) latencies: Histogram<u64>,
    /// Requests whose intended time has come.
    pub(crate) scheduled: u64,
    /// Requests written to a connection.
    pub(crate) sent: u64,
    /// Whole answers.
    pub(crate) done: u64,
    /// Whole answers within the measured time, whenever they were due: what the throughput is computed from.
    pub(crate) in_time: u64,
    /// Requests that got no answer.
    pub(crate) errors: u64,
    /// Requests never sent, because the server fell too far behind.
    pub(crate) shed: u64,
    /// Answers marked as replays.
    pub(crate) replayed: u64,
    /// Requests under way at the end of the slice.
    pub(crate) waiting: u64,
    /// Answers and errors by kind.
    pub(crate) outcomes: Outcomes,
}

impl Slice {
    /// An empty slice.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            index,
            latencies: latencies(),
            scheduled: 0,
            sent: 0,
            done: 0,
            in_time: 0,
            errors: 0,
            shed: 0,
            replayed: 0,
            waiting: 0,
            outcomes: Outcomes::default(),
        }
    }

    /// Takes over all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latencies
            .add(&other.latencies)
            .expect("all histograms here have the same bounds");
        self.scheduled += other.scheduled;
        self.sent += other.sent;
        self.done += other.done;
        self.in_time += other.in_time;
        self.errors += other.errors;
        self.shed += other.shed;
        self.replayed += other.replayed;
        self.waiting += other.waiting;
        self.outcomes.merge(&other.outcomes);
    }
}

/// One slice of time, over all threads.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    index: u32,
    /// Seconds since the start, at the end of the slice.
    pub(crate) at_s: f64,
    /// Answers in the slice.
    pub(crate) done: u64,
    /// Requests without an answer, and those never sent.
    pub(crate) errors: u64,
    /// Answers and errors by kind.
    pub(crate) outcomes: Outcomes,
    /// Median, ns.
    pub(crate) p50: u64,
    /// 99th percentile, ns.
    pub(crate) p99: u64,
    /// Largest, ns.
    pub(crate) max: u64,
    /// Requests were due or under way.
    busy: bool,
}

impl Point {
    fn of(slice: &Slice, slice_len: Duration) -> Self {
        Self {
            index: slice.index,
            at_s: slice_len.as_secs_f64() * f64::from(slice.index + 1),
            done: slice.done,
            errors: slice.errors + slice.shed,
            outcomes: slice.outcomes.clone(),
            p50: slice.latencies.value_at_percentile(50.0),
            p99: slice.latencies.value_at_percentile(99.0),
            max: slice.latencies.max(),
            busy: slice.scheduled + slice.errors + slice.waiting > 0,
        }
    }

    /// Takes over a slice that came too late for its histogram; percentiles only grow.
    fn merge(&mut self, late: &Self) {
        self.done += late.done;
        self.errors += late.errors;
        self.outcomes.merge(&late.outcomes);
        self.p99 = self.p99.max(late.p99);
        self.max = self.max.max(late.max);
        self.busy |= late.busy;
    }
}

/// All that a run counted.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Sums over the run.
    pub(crate) total: Slice,
    /// The latest slices.
    open: BTreeMap<u32, Slice>,
    /// The older ones, in order.
    settled: Vec<Point>,
    slice_len: Duration,
    /// Measured time, without warm-up.
    pub(crate) measured: Duration,
}

impl Summary {
    /// An empty summary of a run that measures for `measured`.
    pub(crate) fn new(measured: Duration, slice_len: Duration) -> Self {
        Self {
            total: Slice::new(0),
            open: BTreeMap::new(),
            settled: Vec::new(),
            slice_len,
            measured,
        }
    }

    /// Takes over what a thread saw.
    pub(crate) fn add(&mut self, slice: Slice) {
        self.total.merge(&slice);
        if self.settled.last().is_some_and(|p| slice.index <= p.index) {
            let late = Point::of(&slice, self.slice_len);
            match self.settled.binary_search_by_key(&slice.index, |p| p.index) {
                Ok(at) => self.settled[at].merge(&late),
                Err(at) => self.settled.insert(at, late),
            }
            return;
        }
        match self.open.get_mut(&slice.index) {
            Some(same) => same.merge(&slice),
            None => {
                self.open.insert(slice.index, slice);
            }
        }
        if self.open.len() > OPEN_SLICES_MAX
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.settled.push(Point::of(&oldest, self.slice_len));
        }
    }

    /// Answers a second over the measured time.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.total.in_time, self.measured)
    }

    /// Latency at `percentile` (0 to 100), milliseconds.
    pub(crate) fn ms(&self, percentile: f64) -> f64 {
        millis(self.total.latencies.value_at_percentile(percentile))
    }

    /// The run over time, one point a slice that saw an answer or an error.
    pub(crate) fn series(&self) -> Vec<Point> {
        let mut all = self.points();
        all.retain(|point| point.done + point.errors > 0);
        all
    }

    /// The longest time in which requests were due and none was answered, in whole slices.
    pub(crate) fn longest_gap(&self) -> Duration {
        let (mut longest, mut now) = (0, 0);
        for point in self.points() {
            now = match (point.done, point.busy) {
                (0, true) => now + 1,
                (0, false) => now,
                _ => 0,
            };
            longest = longest.max(now);
        }
        self.slice_len * longest
    }

    fn points(&self) -> Vec<Point> {
        let open = self.open.values().map(|s| Point::of(s, self.slice_len));
        self.settled.iter().cloned().chain(open).collect()
    }

    /// The figures, for `--json`.
    pub(crate) fn json(&self) -> Value {
        let t = &self.total;
        let outcomes: serde_json::Map<_, _> = t
            .outcomes
            .sorted()
            .into_iter()
            .map(|(k, n)| (k, json!(n)))
            .collect();
        json!({
            "measured_s": self.measured.as_secs_f64(),
            "scheduled": t.scheduled, "sent": t.sent, "done": t.done, "errors": t.errors, "shed": t.shed,
            "per_second": self.rate(), "gap_s": self.longest_gap().as_secs_f64(),
            "latency_ms": {
                "p50": self.ms(50.0), "p90": self.ms(90.0), "p99": self.ms(99.0),
                "p99_9": self.ms(99.9), "max": millis(t.latencies.max()),
            },
            "outcomes": outcomes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_two_threads_add_up() {
        let mut summary = Summary::new(Duration::from_secs(2), Duration::from_secs(1));
        for (index, ms) in [(0, 1), (0, 3), (1, 5)] {
            let mut slice = Slice::new(index);
            slice.sent = 2;
            slice.done = 1;
            slice.in_time = 1;
            slice.errors = 1;
            slice.latencies.saturating_record(ms * 1_000_000);
            slice.outcomes.count(201, "");
            slice.outcomes.count(0, "connection lost");
            summary.add(slice);
        }
        assert_eq!(
            summary.total.sent,
            summary.total.done + summary.total.errors
        );
        assert_eq!(summary.series().len(), 2);
        assert!((summary.rate() - 1.5).abs() < 1e-9);
        assert!((summary.ms(100.0) - 5.0).abs() < 0.01);
        assert_eq!(summary.total.outcomes.sorted()[0], ("201".to_owned(), 3));
    }

    fn slice(index: u32, sent: u64, done: u64) -> Slice {
        let mut slice = Slice::new(index);
        (slice.scheduled, slice.sent, slice.done) = (sent, sent, done);
        slice.errors = sent - done;
        (0..sent).for_each(|_| slice.latencies.saturating_record(1_000_000));
        slice
    }

    #[test]
    fn a_long_run_keeps_its_series_and_takes_late_slices() {
        let mut summary = Summary::new(Duration::from_secs(40), Duration::from_millis(200));
        (0..200).for_each(|index| summary.add(slice(index, 2, 2)));
        summary.add(slice(3, 5, 5));
        summary.add(slice(199, 1, 1));
        assert!(summary.open.len() <= OPEN_SLICES_MAX);
        let series = summary.series();
        assert_eq!(series.len(), 200);
        assert_eq!(
            (series[3].done, series[4].done, series[199].done),
            (7, 2, 3)
        );
        assert_eq!(
            series.iter().map(|p| p.done).sum::<u64>(),
            summary.total.done
        );
    }

    #[test]
    fn a_gap_is_where_requests_were_due_and_none_was_answered() {
        let mut summary = Summary::new(Duration::from_secs(2), Duration::from_millis(200));
        // Three slices of an outage, and a pause in which nobody came.
        for (index, sent, done) in [
            (0, 5, 5),
            (1, 5, 0),
            (2, 5, 0),
            (3, 5, 0),
            (4, 5, 5),
            (9, 5, 5),
        ] {
            summary.add(slice(index, sent, done));
        }
        (5..9).for_each(|index| summary.add(slice(index, 0, 0)));
        assert_eq!(summary.longest_gap(), Duration::from_millis(600));
    }

    #[test]
    fn kinds_of_outcomes_are_bounded_and_none_is_lost() {
        let mut outcomes = Outcomes::default();
        for n in 0..200 {
            outcomes.count(500, &n.to_string());
        }
        let all = outcomes.sorted();
        assert_eq!(all.len(), OUTCOMES_MAX);
        assert_eq!(all.iter().map(|(_, n)| n).sum::<u64>(), 200);
    }
}
