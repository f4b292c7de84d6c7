//! The result of a run in the terminal: the figures, the outcomes, a percentile bar chart and a sparkline over time.
//!
//! Pure: it makes text and prints nothing, so that the caller decides where it goes.

use std::fmt::Write as _;

use crate::stats::{Summary, millis};

const BAR_WIDTH: f64 = 50.0;
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SPARKLINE_MAX: usize = 60;
const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// The report of `summary` under `title`.
pub(crate) fn report(title: &str, summary: &Summary) -> String {
    let t = &summary.total;
    let mut out = format!(
        "{title}\n  {:.0} answers/s over {:.1} s: {} scheduled, {} sent, {} done, {} errors, {} shed\n",
        summary.rate(),
        summary.measured.as_secs_f64(),
        t.scheduled,
        t.sent,
        t.done,
        t.errors,
        t.shed
    );
    for (kind, count) in t.outcomes.sorted() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "  {count:>10}  {kind}");
    }
    let gap = summary.longest_gap();
    if !gap.is_zero() {
        let _ = writeln!(
            out,
            "  longest time without an answer: {:.1} s",
            gap.as_secs_f64()
        );
    }
    let top = summary.ms(100.0).max(0.001);
    for p in PERCENTILES {
        let ms = summary.ms(p);
        let name = if p >= 100.0 {
            "max".to_owned()
        } else {
            format!("p{p}")
        };
        let _ = writeln!(out, "  {name:>6} {ms:>10.3} ms  {}", bar(ms, top));
    }
    let p99: Vec<u64> = summary.series().iter().map(|p| p.p99).collect();
    if !p99.is_empty() {
        let _ = writeln!(out, "  p99 over time  {}", sparkline(&p99));
    }
    out
}

/// The short form of the outcomes for the progress line.
pub(crate) fn outcomes(summary: &Summary) -> String {
    let kinds = summary.total.outcomes.sorted();
    let shown: Vec<_> = kinds
        .iter()
        .take(3)
        .map(|(k, n)| format!("{k}: {n}"))
        .collect();
    shown.join(", ")
}

/// A bar on a logarithmic scale of four decades below `top`.
fn bar(ms: f64, top: f64) -> String {
    let decades = 4.0;
    let share = 1.0 + (ms.max(1e-6) / top).log10() / decades;
    let length = (share.clamp(0.02, 1.0) * BAR_WIDTH).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to BAR_WIDTH"
    )]
    "█".repeat(length as usize)
}

pub(crate) fn sparkline(values: &[u64]) -> String {
    let group = values.len().div_ceil(SPARKLINE_MAX).max(1);
    let peaks: Vec<u64> = values
        .chunks(group)
        .map(|c| c.iter().copied().max().unwrap_or(0))
        .collect();
    let top = peaks.iter().copied().max().unwrap_or(1).max(1);
    let line: String = peaks
        .iter()
        .map(|v| SPARKS[(u128::from(*v) * 7 / u128::from(top)) as usize])
        .collect();
    format!("{line}  (highest {:.3} ms)", millis(top))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::Slice;

    #[test]
    fn the_report_names_every_count() {
        let mut summary = Summary::new(Duration::from_secs(1), Duration::from_millis(200));
        let mut slice = Slice::new(0);
        (slice.scheduled, slice.sent, slice.done, slice.in_time) = (3, 3, 2, 2);
        slice.errors = 1;
        slice.latencies.saturating_record(2_000_000);
        slice.outcomes.count(409, "sold_out");
        summary.add(slice);
        let text = report("hold", &summary);
        for part in [
            "2 answers/s",
            "3 sent",
            "1 errors",
            "409 sold_out",
            "p99.9",
            "█",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_long_series_stays_on_one_line() {
        let line = sparkline(&(0..1_000).collect::<Vec<_>>());
        assert!(line.chars().count() < SPARKLINE_MAX + 30);
        assert!(line.contains('█'));
    }
}
