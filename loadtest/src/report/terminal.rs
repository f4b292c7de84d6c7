//! A report as text: what was run, steps, outcomes, latency over time, thresholds.
//!
//! Pure: it makes text and prints nothing.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};

use super::{Figures, INSECURE, Judged, Run};
use crate::sinks::right;
use crate::terminal::sparkline;

const HEADER: [&str; 11] = [
    "step", "per s", "done", "errors", "shed", "replayed", "p50 ms", "p90 ms", "p99 ms",
    "p99.9 ms", "max ms",
];

/// The report of `run`.
pub(crate) fn text(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "{}, {:.1} s measured, {}",
        run.facts.title_line(),
        run.measured_s,
        run.facts.started_at
    );
    if run.facts.is_insecure {
        let _ = writeln!(out, "{INSECURE}");
    }
    let mut table = table(&HEADER);
    for figures in run.steps.iter().chain([&run.all]) {
        table.add_row(row(figures));
    }
    let _ = writeln!(out, "{table}");
    for (kind, count) in sorted(&run.all) {
        let _ = writeln!(out, "  {count:>10}  {kind}");
    }
    let nanos: Vec<u64> = run.series.iter().map(|m| nanos(m.p99_ms)).collect();
    if !nanos.is_empty() {
        let _ = writeln!(out, "  p99 over time  {}", sparkline(&nanos));
    }
    let _ = writeln!(
        out,
        "  longest time without an answer: {:.1} s; units oversold: {}",
        run.gap_s,
        run.oversold.map_or("unknown".to_owned(), |n| n.to_string())
    );
    if let Some(refused) = &run.mostly_refused {
        let expected = if run.expect_refusals {
            " (expected)"
        } else {
            ""
        };
        let _ = writeln!(out, "  {refused}{expected}");
    }
    if !run.thresholds.is_empty() {
        let _ = writeln!(out, "{}", thresholds(&run.thresholds));
    }
    out
}

/// The table of thresholds.
fn thresholds(all: &[Judged]) -> Table {
    let mut table = table(&["threshold", "measured", "met"]);
    for one in all {
        let met = if one.met { "yes" } else { "NO" };
        table.add_row([
            Cell::new(&one.threshold),
            right(&value(one.value)),
            Cell::new(met),
        ]);
    }
    table
}

/// A figure for people.
pub(crate) fn value(value: Option<f64>) -> String {
    match value {
        None => "unknown".to_owned(),
        Some(v) if v.fract() == 0.0 || v >= 1_000.0 => format!("{v:.0}"),
        Some(v) if v >= 10.0 => format!("{v:.1}"),
        Some(v) => format!("{v:.3}"),
    }
}

/// Kinds of outcomes, the most frequent first.
pub(crate) fn sorted(figures: &Figures) -> Vec<(&str, u64)> {
    let mut all: Vec<_> = figures
        .outcomes
        .iter()
        .map(|(k, n)| (k.as_str(), *n))
        .collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    all
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

fn row(figures: &Figures) -> Vec<Cell> {
    let mut row = vec![
        Cell::new(&figures.name),
        right(&format!("{:.0}", figures.per_second)),
    ];
    for count in [figures.done, figures.errors, figures.shed, figures.replayed] {
        row.push(right(&count.to_string()));
    }
    for ms in [
        figures.p50_ms,
        figures.p90_ms,
        figures.p99_ms,
        figures.p99_9_ms,
        figures.max_ms,
    ] {
        row.push(right(&format!("{ms:.2}")));
    }
    row
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a latency, shown as one of eight bars"
)]
fn nanos(ms: f64) -> u64 {
    (ms * 1e6) as u64
}
