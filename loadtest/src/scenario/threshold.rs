//! Thresholds: what a run must reach, as `p99_ms < 5` or `refused.sold_out_ratio > 0.5`.
//!
//! 1. A threshold that cannot be read is refused where it stands in the file, never ignored.
//! 2. A figure that the run could not find out is a threshold not met.
//!
//! `docs/loadtest.md` has the table of figures; what a figure is in a run, `report::figures` knows.

use std::fmt;

use serde::Deserialize;

/// One condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Threshold {
    pub(crate) text: String,
    /// `hold`, `buy`, …; all requests without it.
    pub(crate) step: Option<StepName>,
    pub(crate) figure: Figure,
    op: Op,
    bound: f64,
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StepName {
    Hold,
    Buy,
    Pay,
    Release,
    Read,
}

impl StepName {
    pub(crate) const ALL: [Self; 5] = [Self::Hold, Self::Buy, Self::Pay, Self::Release, Self::Read];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Buy => "buy",
            Self::Pay => "pay",
            Self::Release => "release",
            Self::Read => "read",
        }
    }
}

/// A figure of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    Throughput,
    AcceptedPerS,
    /// Percentile, 0 to 100; 100 is the largest.
    LatencyMs(f64),
    MeanMs,
    Count(Count),
    /// The same, divided by the requests scheduled.
    Ratio(Count),
    Oversold,
    GapS,
}

/// Something that is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Count {
    Scheduled,
    Sent,
    Done,
    Errors,
    Shed,
    Accepted,
    Refused,
    RefusedAs(String),
    Replayed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// In this order: the longer sign of two that begin alike comes first.
const OPS: [(&str, Op); 5] = [
    ("<=", Op::AtMost),
    (">=", Op::AtLeast),
    ("==", Op::Equal),
    ("<", Op::Less),
    (">", Op::More),
];

const NAMES: &str = "throughput, accepted_per_s, p50_ms (any percentile: p99_9_ms), mean_ms, max_ms, scheduled, sent, done, errors, \
     shed, accepted, refused, refused.REASON, replayed (each also as NAME_ratio), oversold, gap_s";

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (left, op, right) = OPS
            .iter()
            .find_map(|(sign, op)| {
                text.split_once(sign)
                    .map(|(left, right)| (left, *op, right))
            })
            .ok_or_else(|| format!("`{text}`: a threshold is FIGURE <, <=, ==, >= or > NUMBER"))?;
        let bound = right.trim().replace('_', "");
        let bound = bound
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .ok_or_else(|| format!("`{}` is not a number", right.trim()))?;
        let name = left.trim();
        let step = StepName::ALL.into_iter().find_map(|step| {
            let rest = name.strip_prefix(step.word())?;
            Some((step, rest.strip_prefix('.')?))
        });
        let (step, name) = match step {
            Some((step, name)) => (Some(step), name),
            None => (None, name),
        };
        let figure = Figure::parse(name)
            .filter(|figure| step.is_none() || !figure.is_of_the_whole_run())
            .ok_or_else(|| format!("`{}` is no figure; there are: {NAMES}", left.trim()))?;
        Ok(Self {
            text,
            step,
            figure,
            op,
            bound,
        })
    }
}

impl Figure {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "throughput" => Self::Throughput,
            "accepted_per_s" => Self::AcceptedPerS,
            "mean_ms" => Self::MeanMs,
            "max_ms" => Self::LatencyMs(100.0),
            "oversold" => Self::Oversold,
            "gap_s" => Self::GapS,
            _ => {
                if let Some(figure) = Count::parse(name).map(Self::Count) {
                    return Some(figure);
                }
                if let Some(count) = name.strip_suffix("_ratio") {
                    return Count::parse(count).map(Self::Ratio);
                }
                let percentile = name.strip_prefix('p')?.strip_suffix("_ms")?;
                let percentile: f64 = percentile.replacen('_', ".", 1).parse().ok()?;
                (0.0..=100.0)
                    .contains(&percentile)
                    .then_some(Self::LatencyMs(percentile))?
            }
        })
    }

    fn is_of_the_whole_run(&self) -> bool {
        matches!(self, Self::Oversold | Self::GapS)
    }
}

impl Count {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "scheduled" => Self::Scheduled,
            "sent" => Self::Sent,
            "done" => Self::Done,
            "errors" => Self::Errors,
            "shed" => Self::Shed,
            "accepted" => Self::Accepted,
            "refused" => Self::Refused,
            "replayed" => Self::Replayed,
            _ => {
                let reason = name.strip_prefix("refused.")?;
                let is_word = |b: u8| b.is_ascii_lowercase() || b == b'_';
                let is_ratio = reason.ends_with("_ratio");
                (!reason.is_empty() && !is_ratio && reason.bytes().all(is_word))
                    .then(|| Self::RefusedAs(reason.to_owned()))?
            }
        })
    }
}

impl Threshold {
    /// Whether `value` is good enough.
    pub(crate) fn is_met_by(&self, value: Option<f64>) -> bool {
        let Some(value) = value else {
            return false;
        };
        match self.op {
            Op::Less => value < self.bound,
            Op::AtMost => value <= self.bound,
            #[expect(
                clippy::float_cmp,
                reason = "`errors == 0`: the figure is a whole number"
            )]
            Op::Equal => value == self.bound,
            Op::AtLeast => value >= self.bound,
            Op::More => value > self.bound,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Threshold, String> {
        Threshold::try_from(text.to_owned())
    }

    #[test]
    fn every_figure_is_read() {
        let figure = |text: &str| read(text).unwrap().figure;
        assert_eq!(figure("p99_9_ms < 5"), Figure::LatencyMs(99.9));
        assert_eq!(figure("max_ms<=5"), Figure::LatencyMs(100.0));
        assert_eq!(figure("errors == 0"), Figure::Count(Count::Errors));
        assert_eq!(figure("errors_ratio < 0.01"), Figure::Ratio(Count::Errors));
        let sold_out = Count::RefusedAs("sold_out".to_owned());
        assert_eq!(
            figure("refused.sold_out_ratio > 0.5"),
            Figure::Ratio(sold_out)
        );
        let of_holds = read("hold.throughput > 10_000").unwrap();
        assert_eq!(of_holds.step, Some(StepName::Hold));
        assert!(of_holds.is_met_by(Some(10_000.5)) && !of_holds.is_met_by(Some(10_000.0)));
    }

    #[test]
    fn what_is_no_threshold_is_refused_and_unknown_is_not_met() {
        for bad in [
            "",
            "p99_ms",
            "p99_ms < fast",
            "p990_ms < 1",
            "eror == 0",
            "hold.oversold == 0",
            "refused.Sold < 1",
            "p99_ms = 5",
        ] {
            assert!(read(bad).is_err(), "{bad} was taken");
        }
        assert!(!read("oversold == 0").unwrap().is_met_by(None));
    }
}
