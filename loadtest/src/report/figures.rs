//! The figures of a run, of one step of it, and of one moment.
//!
//! `value` is what a threshold asks for: it reads the whole histogram, where a written report keeps percentiles.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::threshold::{Count, Figure};
use crate::stats::{Point, Slice, millis, per_second};

/// The percentiles of the curve in a report: a tenth of a nine a step, to 99.999.
const CURVE_STEPS: u32 = 50;

/// What was counted of all requests or of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) scheduled: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) errors: u64,
    pub(crate) shed: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) replayed: u64,
    /// Answers a second within the measured time.
    pub(crate) per_second: f64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p99_9_ms: f64,
    pub(crate) max_ms: f64,
    /// Percentile and milliseconds.
    pub(crate) curve: Vec<(f64, f64)>,
    pub(crate) outcomes: BTreeMap<String, u64>,
}

impl Figures {
    pub(crate) fn of(name: &str, slice: &Slice, measured: Duration) -> Self {
        let ms = |percentile| millis(slice.latencies.value_at_percentile(percentile));
        let curve = (0..=CURVE_STEPS)
            .map(|step| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / 10.0)))
            .map(|percentile| (percentile, ms(percentile)));
        Self {
            name: name.to_owned(),
            scheduled: slice.scheduled,
            sent: slice.sent,
            done: slice.done,
            errors: slice.errors,
            shed: slice.shed,
            accepted: slice.outcomes.accepted(),
            refused: slice.outcomes.refused(),
            replayed: slice.replayed,
            per_second: per_second(slice.in_time, measured),
            mean_ms: slice.latencies.mean() / 1e6,
            p50_ms: ms(50.0),
            p90_ms: ms(90.0),
            p99_ms: ms(99.0),
            p99_9_ms: ms(99.9),
            max_ms: millis(slice.latencies.max()),
            curve: curve.collect(),
            outcomes: slice.outcomes.sorted().into_iter().collect(),
        }
    }
}

/// One slice of time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Seconds since the first request, at the end of the slice.
    pub(crate) at_s: f64,
    pub(crate) done: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) outcomes: BTreeMap<String, u64>,
}

impl Moment {
    pub(crate) fn of(point: &Point) -> Self {
        Self {
            at_s: (point.at_s * 1_000.0).round() / 1_000.0,
            done: point.done,
            accepted: point.outcomes.accepted(),
            refused: point.outcomes.refused(),
            errors: point.errors,
            p50_ms: millis(point.p50),
            p99_ms: millis(point.p99),
            max_ms: millis(point.max),
            outcomes: point.outcomes.sorted().into_iter().collect(),
        }
    }
}

/// The value of `figure`; `None` where the run could not find it out.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn value(
    figure: &Figure,
    slice: &Slice,
    measured: Duration,
    oversold: Option<f64>,
    gap_s: f64,
) -> Option<f64> {
    let has_latencies = !slice.latencies.is_empty();
    match figure {
        Figure::Throughput => Some(per_second(slice.in_time, measured)),
        Figure::AcceptedPerS => Some(per_second(slice.outcomes.accepted(), measured)),
        Figure::LatencyMs(percentile) => {
            has_latencies.then(|| millis(slice.latencies.value_at_percentile(*percentile)))
        }
        Figure::MeanMs => has_latencies.then(|| slice.latencies.mean() / 1e6),
        Figure::Count(what) => Some(count(what, slice) as f64),
        Figure::Ratio(what) => {
            let of = slice.scheduled;
            (of > 0).then(|| count(what, slice) as f64 / of as f64)
        }
        Figure::Oversold => oversold,
        Figure::GapS => Some(gap_s),
    }
}

fn count(what: &Count, slice: &Slice) -> u64 {
    match what {
        Count::Scheduled => slice.scheduled,
        Count::Sent => slice.sent,
        Count::Done => slice.done,
        Count::Errors => slice.errors,
        Count::Shed => slice.shed,
        Count::Accepted => slice.outcomes.accepted(),
        Count::Refused => slice.outcomes.refused(),
        Count::RefusedAs(reason) => slice.outcomes.with_reason(reason),
        Count::Replayed => slice.replayed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_value_and_an_unknown_one_none() {
        let mut slice = Slice::new(0);
        (slice.scheduled, slice.done, slice.in_time) = (10, 8, 8);
        (slice.errors, slice.shed) = (1, 1);
        (0..6).for_each(|_| slice.outcomes.count(201, ""));
        (0..2).for_each(|_| slice.outcomes.count(409, "sold_out"));
        let of = |figure: &Figure| value(figure, &slice, Duration::from_secs(2), None, 0.4);
        let sold_out = Count::RefusedAs("sold_out".to_owned());
        assert_eq!(of(&Figure::Throughput), Some(4.0));
        assert_eq!(of(&Figure::AcceptedPerS), Some(3.0));
        assert_eq!(of(&Figure::Ratio(sold_out)), Some(0.2));
        assert_eq!(of(&Figure::Count(Count::Shed)), Some(1.0));
        assert_eq!(of(&Figure::GapS), Some(0.4));
        assert_eq!(of(&Figure::Oversold), None);
        assert_eq!(of(&Figure::LatencyMs(99.0)), None, "nothing was timed");
    }
}
