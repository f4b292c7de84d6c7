//! The points of `growth` as rows: medians over the rounds, ratios to the base of the same round.

use std::collections::BTreeMap;

use comfy_table::{Cell, Table};
use serde_json::{Value, json};

use crate::report::chart::{Axis, Chart, Line, stacked};
use crate::report::terminal::table;
use crate::sinks::{median, right};
use crate::stats::Summary;

/// Answers that must be holds for a point to count.
const AS_MEANT_MIN: f64 = 0.99;

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Curve {
    /// 64 connections, one product, nothing bought before.
    Base,
    Connections,
    Products,
    /// Bought before.
    Purchases,
}

impl Curve {
    const GROWING: [Self; 3] = [Self::Connections, Self::Products, Self::Purchases];

    fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Connections => "connections",
            Self::Products => "products",
            Self::Purchases => "purchases",
        }
    }
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) curve: Curve,
    pub(crate) at: usize,
}

/// What one round found at one point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    round: u32,
    point: Point,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    as_meant: f64,
}

impl Measured {
    pub(crate) fn of(round: u32, point: Point, summary: &Summary) -> Self {
        let total = &summary.total;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let as_meant = total.outcomes.accepted() as f64 / total.scheduled.max(1) as f64;
        Self {
            round,
            point,
            per_second: summary.rate(),
            p50_ms: summary.ms(50.0),
            p99_ms: summary.ms(99.0),
            as_meant,
        }
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{} {}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            self.point.curve.word(),
            self.point.at,
            self.per_second,
            self.p50_ms,
            self.p99_ms
        )
    }
}

/// A point over all rounds.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    point: Point,
    per_second: f64,
    ratio: f64,
    ratio_min: f64,
    ratio_max: f64,
    p50_ms: f64,
    p99_ms: f64,
    pub(crate) is_void: bool,
}

/// One row a point, in the order of the curves.
pub(crate) fn rows(measured: &[Measured]) -> Vec<Row> {
    let base: BTreeMap<u32, f64> = measured
        .iter()
        .filter(|one| one.point.curve == Curve::Base)
        .map(|one| (one.round, one.per_second))
        .collect();
    let mut by_point: BTreeMap<Point, Vec<&Measured>> = BTreeMap::new();
    for one in measured {
        by_point.entry(one.point).or_default().push(one);
    }
    let row = |(point, all): (Point, Vec<&Measured>)| {
        let ratios: Vec<f64> = all
            .iter()
            .map(|one| one.per_second / base[&one.round].max(1e-9))
            .collect();
        Row {
            point,
            per_second: median(all.iter().map(|one| one.per_second)),
            ratio: median(ratios.iter().copied()),
            ratio_min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratio_max: ratios.iter().copied().fold(0.0, f64::max),
            p50_ms: median(all.iter().map(|one| one.p50_ms)),
            p99_ms: median(all.iter().map(|one| one.p99_ms)),
            is_void: all.iter().any(|one| one.as_meant < AS_MEANT_MIN),
        }
    };
    by_point.into_iter().map(row).collect()
}

/// The table for people.
pub(crate) fn text(rows: &[Row], rounds: u32) -> String {
    let mut table: Table = table(&[
        "what grows",
        "to",
        "holds/s",
        "x base",
        "range",
        "p50 ms",
        "p99 ms",
    ]);
    for row in rows {
        let ratio = if row.is_void {
            "VOID".to_owned()
        } else {
            format!("{:.2}", row.ratio)
        };
        table.add_row([
            Cell::new(row.point.curve.word()),
            right(&row.point.at.to_string()),
            right(&format!("{:.0}", row.per_second)),
            right(&ratio),
            right(&format!("{:.2}–{:.2}", row.ratio_min, row.ratio_max)),
            right(&format!("{:.2}", row.p50_ms)),
            right(&format!("{:.2}", row.p99_ms)),
        ]);
    }
    format!(
        "medians of {rounds} rounds, closed loop; base: 64 connections, one product; purchases: made before, then the base again\n{table}"
    )
}

/// The same for programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "curve": row.point.curve.word(), "at": row.point.at, "per_second": row.per_second,
            "ratio": row.ratio, "ratio_min": row.ratio_min, "ratio_max": row.ratio_max,
            "p50_ms": row.p50_ms, "p99_ms": row.p99_ms, "void": row.is_void,
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}

/// The curves, one below the other.
pub(crate) fn svg(rows: &[Row]) -> String {
    let mut charts = Vec::new();
    for curve in Curve::GROWING {
        let of_it: Vec<&Row> = rows.iter().filter(|r| r.point.curve == curve).collect();
        if of_it.is_empty() {
            continue;
        }
        let (rate, latency) = match curve {
            Curve::Connections | Curve::Base => {
                ("Holds per second by connections", "Latency by connections")
            }
            Curve::Products => ("Holds per second by products", "Latency by products"),
            Curve::Purchases => (
                "Holds per second by purchases made before",
                "Latency by purchases made before",
            ),
        };
        let ticks = || -> Vec<(f64, String)> {
            let all = of_it.iter().enumerate();
            all.map(|(n, row)| (place(n), row.point.at.to_string()))
                .collect()
        };
        let line = |name: &str, colour, pick: fn(&Row) -> f64| Line {
            name: name.to_owned(),
            colour,
            points: of_it
                .iter()
                .enumerate()
                .map(|(n, row)| (place(n), pick(row)))
                .collect(),
        };
        charts.push(Chart {
            title: rate,
            unit: "",
            axis: Axis::Linear,
            ticks: ticks(),
            lines: vec![line("holds/s", 1, |row| row.per_second)],
        });
        charts.push(Chart {
            title: latency,
            unit: " ms",
            axis: Axis::Log,
            ticks: ticks(),
            lines: vec![
                line("p50", 1, |row| row.p50_ms),
                line("p99", 2, |row| row.p99_ms),
            ],
        });
    }
    stacked(&charts)
}

/// Points stand evenly: they grow by factors.
#[expect(clippy::cast_precision_loss, reason = "a handful of points")]
fn place(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(round: u32, curve: Curve, at: usize, per_second: f64, as_meant: f64) -> Measured {
        Measured {
            round,
            point: Point { curve, at },
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            as_meant,
        }
    }

    #[test]
    fn ratios_are_to_the_base_of_the_round_and_a_void_point_says_so() {
        let all = [
            measured(1, Curve::Base, 64, 100.0, 1.0),
            measured(1, Curve::Products, 10, 50.0, 1.0),
            measured(2, Curve::Base, 64, 10.0, 1.0),
            measured(2, Curve::Products, 10, 9.0, 1.0),
            measured(2, Curve::Connections, 1, 1.0, 0.5),
        ];
        let rows = rows(&all);
        let of = |curve| rows.iter().find(|row| row.point.curve == curve).unwrap();
        let products = of(Curve::Products);
        assert!((products.ratio_min - 0.5).abs() < 1e-9 && (products.ratio_max - 0.9).abs() < 1e-9);
        assert!((of(Curve::Base).ratio - 1.0).abs() < 1e-9);
        assert!(of(Curve::Connections).is_void && !products.is_void);
        assert!(text(&rows, 2).contains("VOID"));
        roxmltree::Document::parse(&svg(&rows)).unwrap();
    }
}
