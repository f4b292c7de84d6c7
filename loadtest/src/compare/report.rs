//! Medians, ratios, the table and the JSON of a comparison.
//!
//! 1. Ratios are formed within a round, then the median is taken.
//! 2. A row whose answers were not what they should be says so, and the comparison fails.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

use super::contender::Contender;
use super::{Figures, Measure, Setup};
use crate::error::Fault;

/// Share of answers that must be as meant for a row to count.
const AS_MEANT_MIN: f64 = 0.99;

struct Row {
    contender: Contender,
    measure: Measure,
    rounds: Vec<Figures>,
}

/// What a comparison found.
pub(crate) struct Report {
    rows: Vec<Row>,
    left_out: Vec<(Contender, String)>,
    rounds: u32,
    seconds: f64,
    /// The machine's load average before anything was started; what was not quiet then says little.
    load_before: Option<f64>,
}

impl Report {
    /// An empty report.
    pub(super) fn new(rounds: u32, setup: &Setup) -> Self {
        Self {
            rows: Vec::new(),
            left_out: Vec::new(),
            rounds,
            seconds: setup.measured.as_secs_f64(),
            load_before: load_average(),
        }
    }

    /// Adds a round's figures.
    pub(super) fn add(&mut self, contender: Contender, measure: Measure, figures: Figures) {
        let same = |r: &&mut Row| r.contender == contender && r.measure == measure;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.rounds.push(figures),
            None => self.rows.push(Row {
                contender,
                measure,
                rounds: vec![figures],
            }),
        }
    }

    /// Notes that a contender could not run.
    pub(super) fn left_out(&mut self, contender: Contender, fault: &Fault) {
        self.left_out.push((contender, fault.to_string()));
    }

    /// Fails if holdfast could not run or a row's answers were not as meant.
    pub(super) fn verdict(&self) -> Result<(), Fault> {
        let wrong = self.rows.iter().filter(|r| !r.counts()).count();
        let missing = self.left_out.iter().filter(|(c, _)| c.is_holdfast());
        let missing = missing.count();
        match wrong + missing {
            0 => Ok(()),
            rows => Err(Fault::Void { rows }),
        }
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header([
            "what",
            "measured",
            "per second",
            "x ceiling",
            "x redis",
            "p50 ms",
            "p99 ms",
            "p99 x bare",
            "",
        ]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        for row in &self.rows {
            let ratio = |other| self.ratio(row, other, |f| f.per_second);
            let tail = self.ratio(row, Contender::Bare, |f| f.p99_ms);
            table.add_row([
                Cell::new(row.contender),
                Cell::new(row.measure),
                right(thousands(row.median(|f| f.per_second))),
                right(shown(ratio(Contender::Ceiling).filter(|_| row.is_closed()))),
                right(shown(ratio(Contender::Redis).filter(|_| row.is_closed()))),
                right(format!("{:.3}", row.median(|f| f.p50_ms))),
                right(format!("{:.3}", row.median(|f| f.p99_ms))),
                right(shown(tail)),
                Cell::new(row.remark()),
            ]);
        }
        let load = self.load_before.map_or_else(String::new, |l| {
            format!(", load average {l} before the first")
        });
        let (rounds, seconds) = (self.rounds, self.seconds);
        let mut text = format!("medians of {rounds} rounds of {seconds} s{load}\n{table}");
        for (contender, why) in &self.left_out {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{contender} is left out: {why}");
        }
        text
    }

    /// All rounds and medians.
    pub(super) fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let left_out: Vec<_> = self
            .left_out
            .iter()
            .map(|(c, why)| json!({"contender": c.name(), "why": why}))
            .collect();
        json!({
            "rounds": self.rounds,
            "seconds": self.seconds,
            "load_before": self.load_before,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "rows": rows,
            "left_out": left_out,
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let (kind, at) = match row.measure {
            Measure::Closed(connections) => ("closed", connections),
            Measure::Open(rate) => ("open", rate.get() as usize),
            Measure::Alone => ("alone", 1),
        };
        let rounds: Vec<_> = row.rounds.iter().map(figures_json).collect();
        json!({
            "contender": row.contender.name(),
            "measure": kind, "at": at,
            "median": {
                "per_second": row.median(|f| f.per_second),
                "p50_ms": row.median(|f| f.p50_ms),
                "p99_ms": row.median(|f| f.p99_ms),
                "as_meant": row.median(|f| f.as_meant),
            },
            "ratio_to_ceiling": self.ratio(row, Contender::Ceiling, |f| f.per_second),
            "ratio_to_redis": self.ratio(row, Contender::Redis, |f| f.per_second),
            "p99_ratio_to_bare": self.ratio(row, Contender::Bare, |f| f.p99_ms),
            "counts": row.counts(),
            "rounds": rounds,
        })
    }

    /// The median over the rounds of `row` by `other`, measured in the same way in the same round.
    fn ratio(&self, row: &Row, other: Contender, of: fn(&Figures) -> f64) -> Option<f64> {
        let other = self
            .rows
            .iter()
            .find(|r| r.contender == other && r.measure == row.measure)?;
        let ratios = row
            .rounds
            .iter()
            .zip(&other.rounds)
            .map(|(a, b)| of(a) / of(b));
        median(ratios.filter(|r| r.is_finite()).collect())
    }
}

impl Row {
    fn median(&self, of: fn(&Figures) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect()).unwrap_or(0.0)
    }

    fn is_closed(&self) -> bool {
        matches!(self.measure, Measure::Closed(_))
    }

    /// A peer that falls behind an open loop is a finding, not a fault: its row counts, its remark says it.
    fn counts(&self) -> bool {
        !self.is_closed() || self.median(|f| f.as_meant) >= AS_MEANT_MIN
    }

    fn remark(&self) -> String {
        let as_meant = self.median(|f| f.as_meant);
        let percent = format!("{:.1} % answered as meant", as_meant * 100.0);
        match self.measure {
            _ if !self.counts() => format!("VOID: {percent}"),
            Measure::Open(rate) if self.median(|f| f.per_second) < 0.98 * f64::from(rate.get()) => {
                "falls behind".to_owned()
            }
            _ if as_meant < AS_MEANT_MIN => percent,
            _ => String::new(),
        }
    }
}

/// Runnable tasks over the last minute, where the system tells.
fn load_average() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn figures_json(f: &Figures) -> Value {
    json!({"per_second": f.per_second, "p50_ms": f.p50_ms, "p99_ms": f.p99_ms, "as_meant": f.as_meant})
}

/// The middle value; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |r| format!("{r:.2}"))
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(per_second: f64, as_meant: f64) -> Figures {
        Figures {
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            as_meant,
        }
    }

    fn report(rows: &[(Contender, &[f64], f64)]) -> Report {
        let mut report = Report {
            rows: Vec::new(),
            left_out: Vec::new(),
            rounds: 3,
            seconds: 1.0,
            load_before: None,
        };
        for (contender, rates, as_meant) in rows {
            for rate in *rates {
                report.add(*contender, Measure::Closed(64), figures(*rate, *as_meant));
            }
        }
        report
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine halves its speed in the second round: the ratio stays 0.5 in every round.
        let ceiling: &[f64] = &[100_000.0, 50_000.0, 100_000.0];
        let hold: &[f64] = &[50_000.0, 25_000.0, 50_000.0];
        let report = report(&[
            (Contender::Ceiling, ceiling, 1.0),
            (Contender::Hold, hold, 1.0),
        ]);
        assert_eq!(report.json()["rows"][1]["ratio_to_ceiling"], json!(0.5));
        assert!(report.table().contains("50,000"));
        assert!(report.verdict().is_ok());
    }

    #[test]
    fn a_row_of_wrong_answers_is_void() {
        let report = report(&[(Contender::Hold, &[1e6], 0.4)]);
        assert!(report.table().contains("VOID: 40.0 %"));
        assert!(report.verdict().is_err());
    }

    #[test]
    fn medians_and_separators() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![1.0, 2.0]), Some(1.5));
        assert_eq!(median(vec![]), None);
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
    }
}
