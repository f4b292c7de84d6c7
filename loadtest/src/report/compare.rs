//! Two runs side by side: A is before, B after, and the ratio is B / A.
//!
//! It judges nothing: whether a ratio is noise, only more runs can say.

use std::fmt::Write as _;

use comfy_table::Cell;

use super::terminal::{table, value};
use super::{Figures, Run};
use crate::sinks::right;

/// The names and values that are compared.
pub(crate) fn rows(figures: &Figures) -> [(&'static str, f64); 10] {
    #[expect(clippy::cast_precision_loss, reason = "shares, shown in percent")]
    let percent = |n: u64| 100.0 * n as f64 / figures.scheduled.max(1) as f64;
    [
        ("answers per second", figures.per_second),
        ("mean ms", figures.mean_ms),
        ("p50 ms", figures.p50_ms),
        ("p90 ms", figures.p90_ms),
        ("p99 ms", figures.p99_ms),
        ("p99.9 ms", figures.p99_9_ms),
        ("max ms", figures.max_ms),
        ("accepted %", percent(figures.accepted)),
        ("refused %", percent(figures.refused)),
        ("errors and shed %", percent(figures.errors + figures.shed)),
    ]
}

/// Steps of both runs: A's, then those that only B has.
pub(crate) fn pairs<'a>(a: &'a Run, b: &'a Run) -> Vec<(&'a Figures, &'a Figures)> {
    let mut all = vec![(&a.all, &b.all)];
    for of_a in &a.steps {
        if let Some(of_b) = b.steps.iter().find(|of_b| of_b.name == of_a.name) {
            all.push((of_a, of_b));
        }
    }
    all
}

/// B / A, where it says something.
pub(crate) fn ratio(a: f64, b: f64) -> String {
    if a > 0.0 {
        format!("{:.2}", b / a)
    } else {
        String::new()
    }
}

/// The comparison as text.
pub(crate) fn text(a: &Run, b: &Run) -> String {
    let mut out = String::new();
    for (name, run) in [("A", a), ("B", b)] {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "{name}: {}, {}, {:.1} s",
            run.facts.title_line(),
            run.facts.started_at,
            run.measured_s
        );
    }
    if let Some(warning) = differs(a, b) {
        let _ = writeln!(out, "{warning}");
    }
    for (of_a, of_b) in pairs(a, b) {
        let mut table = table(&[&of_a.name, "A", "B", "B / A"]);
        for ((name, of_a), (_, of_b)) in rows(of_a).into_iter().zip(rows(of_b)) {
            table.add_row([
                Cell::new(name),
                right(&value(Some(of_a))),
                right(&value(Some(of_b))),
                right(&ratio(of_a, of_b)),
            ]);
        }
        let _ = writeln!(out, "{table}");
    }
    out
}

/// Why the two should not be compared, if so.
pub(crate) fn differs(a: &Run, b: &Run) -> Option<String> {
    let load = |run: &Run| {
        (
            run.facts.title.clone(),
            run.facts.http.clone(),
            run.facts.load_scale.to_bits(),
            run.facts.duration_scale.to_bits(),
        )
    };
    (load(a) != load(b)).then(|| {
        "NOT THE SAME LOAD: scenario, protocol or scale differ, so the ratios say little".to_owned()
    })
}
