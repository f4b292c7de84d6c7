//! The latency plot as one SVG file: percentile curve above, latency over time below.
//!
//! Written by hand: two panels of lines need no plotting library. Both vertical axes are logarithmic, since a tail that
//! matters is orders of magnitude above the median. The output is well-formed XML whatever the title holds.

use std::fmt::Write as _;

use crate::stats::{Summary, millis};

const WIDTH: f64 = 900.0;
const PANEL_HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 60.0;
const GAP: f64 = 80.0;
/// Percentiles on the horizontal axis of the upper panel, evenly spaced by "nines".
const TICKS: [(f64, &str); 7] = [
    (0.0, "0"),
    (50.0, "50"),
    (90.0, "90"),
    (99.0, "99"),
    (99.9, "99.9"),
    (99.99, "99.99"),
    (99.999, "99.999"),
];

/// The plot of `summary` under `title`.
pub(crate) fn render(title: &str, summary: &Summary) -> String {
    let height = TOP + 2.0 * PANEL_HEIGHT + GAP + 50.0;
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="16">{}</text>
<text x="{LEFT}" y="42" fill="#555">{}</text>
"##,
        escape(title),
        escape(&facts(summary))
    );
    percentile_panel(&mut out, summary);
    time_panel(&mut out, summary);
    out.push_str("</svg>\n");
    out
}

/// Maps latencies to a panel's height, logarithmically.
struct Scale {
    top: f64,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(top: f64, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for value in values.filter(|v| *v > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.1, 1.0);
        }
        Self {
            top,
            low: low.log10().floor(),
            high: high.log10().ceil().max(low.log10().floor() + 1.0),
        }
    }

    fn y(&self, ms: f64) -> f64 {
        let at = (ms.max(1e-6).log10() - self.low) / (self.high - self.low);
        self.top + PANEL_HEIGHT * (1.0 - at.clamp(0.0, 1.0))
    }

    fn grid(&self, out: &mut String) {
        let mut exponent = self.low;
        while exponent <= self.high {
            let ms = 10_f64.powf(exponent);
            let y = self.y(ms);
            let _ = writeln!(
                out,
                r##"<line x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{ms} ms</text>"##,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
            exponent += 1.0;
        }
    }
}

fn percentile_panel(out: &mut String, summary: &Summary) {
    let nines = |p: f64| -> f64 { -(1.0 - p.min(99.9995) / 100.0).log10() };
    let right = nines(99.999);
    let x = |p: f64| LEFT + (WIDTH - LEFT - RIGHT) * (nines(p) / right).min(1.0);
    // A tenth of a nine a step draws a smooth curve.
    let curve: Vec<(f64, f64)> = (0..=50_u32)
        .map(|step| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / 10.0)))
        .map(|p| (x(p), summary.ms(p)))
        .collect();
    let scale = Scale::new(TOP, curve.iter().map(|(_, ms)| *ms));
    scale.grid(out);
    for (p, label) in TICKS {
        axis_label(out, x(p), TOP + PANEL_HEIGHT, &format!("{label} %"));
    }
    caption(out, TOP, "latency by percentile");
    line(
        out,
        curve.iter().map(|(x, ms)| (*x, scale.y(*ms))),
        "#1f5fbf",
    );
}

fn time_panel(out: &mut String, summary: &Summary) {
    let top = TOP + PANEL_HEIGHT + GAP;
    let series = summary.series();
    let end = series.last().map_or(1.0, |p| p.at_s);
    let x = |s: f64| LEFT + (WIDTH - LEFT - RIGHT) * s / end;
    let values = series.iter().flat_map(|p| [millis(p.p50), millis(p.max)]);
    let scale = Scale::new(top, values);
    scale.grid(out);
    for step in 0..=5 {
        let s = end * f64::from(step) / 5.0;
        axis_label(out, x(s), top + PANEL_HEIGHT, &format!("{s:.1} s"));
    }
    caption(out, top, "latency over time: p50 blue, p99 orange, max red");
    let points = |pick: fn(&crate::stats::Point) -> u64| {
        let scale = &scale;
        series
            .iter()
            .map(move |p| (x(p.at_s), scale.y(millis(pick(p)))))
    };
    line(out, points(|p| p.max), "#c0392b");
    line(out, points(|p| p.p99), "#e08e0b");
    line(out, points(|p| p.p50), "#1f5fbf");
}

fn line(out: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
    out.push_str(r#"<polyline fill="none" stroke-width="1.5" stroke=""#);
    out.push_str(colour);
    out.push_str(r#"" points=""#);
    for (x, y) in points {
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    out.push_str("\"/>\n");
}

fn axis_label(out: &mut String, x: f64, bottom: f64, text: &str) {
    let _ = writeln!(
        out,
        r##"<line x1="{x:.1}" x2="{x:.1}" y1="{bottom}" y2="{}" stroke="#888"/><text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"##,
        bottom + 5.0,
        bottom + 20.0,
        escape(text)
    );
}

fn caption(out: &mut String, top: f64, text: &str) {
    let _ = writeln!(
        out,
        r##"<text x="{}" y="{}" text-anchor="end" fill="#555">{}</text>"##,
        WIDTH - RIGHT,
        top - 6.0,
        escape(text)
    );
}

fn facts(summary: &Summary) -> String {
    format!(
        "{:.0}/s, p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms, {} errors, {} shed",
        summary.rate(),
        summary.ms(50.0),
        summary.ms(99.0),
        summary.ms(99.9),
        summary.ms(100.0),
        summary.total.errors,
        summary.total.shed
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::Slice;

    fn check(summary: &Summary, lines: usize) {
        let svg = render("a <title> & \"more\"", summary);
        let document = roxmltree::Document::parse(&svg).expect("well-formed");
        let polylines = document
            .descendants()
            .filter(|n| n.has_tag_name("polyline"));
        let polylines: Vec<_> = polylines.collect();
        assert_eq!(polylines.len(), lines);
        for number in polylines
            .iter()
            .filter_map(|n| n.attribute("points"))
            .flat_map(|p| p.split([' ', ',']))
            .filter(|s| !s.is_empty())
        {
            let number: f64 = number.parse().expect("a number");
            assert!((0.0..=2_000.0).contains(&number), "{number} is outside");
        }
    }

    #[test]
    fn the_plot_is_well_formed_and_inside_its_frame() {
        let mut summary = Summary::new(Duration::from_secs(1), Duration::from_millis(200));
        for index in 0..5 {
            let mut slice = Slice::new(index);
            for us in 1..2_000 {
                slice.latencies.saturating_record(us * 1_000);
            }
            summary.add(slice);
        }
        check(&summary, 4);
    }

    #[test]
    fn a_run_without_answers_still_draws() {
        check(
            &Summary::new(Duration::from_secs(1), Duration::from_secs(1)),
            4,
        );
    }
}
