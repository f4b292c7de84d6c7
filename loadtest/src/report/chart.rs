//! Charts as inline SVG: lines over a horizontal axis, linear or logarithmic upwards.
//!
//! 1. A chart needs nothing from elsewhere: no script, no font, no style but the classes of the page it stands in.
//! 2. Long series are thinned to what the width can show; of each group the largest value stays, so no peak is lost.
//! 3. The output is well-formed XML whatever the names hold.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
const POINTS_MAX: usize = 450;

/// What a chart outside of a page needs: the colours that the page has for the same classes.
const STYLE: &str = ".s{fill:none;stroke-width:1.6}.g{stroke:#ccc}text{fill:#445}\
     .c1{stroke:#2f6fd0}.c2{stroke:#e08e0b}.c3{stroke:#c0392b}";

/// How the vertical axis grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Linear,
    Log,
}

/// A named line; its colour is the page's class `c` and this number.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One chart.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    /// Behind every number of the vertical axis.
    pub(crate) unit: &'a str,
    pub(crate) axis: Axis,
    /// Places and labels of the horizontal axis; the first and the last are its ends.
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) lines: Vec<Line>,
}

impl Chart<'_> {
    /// The chart as one `<svg>` element.
    pub(crate) fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" font-size="12">
<title>{title}</title><text class="t" x="{LEFT}" y="16">{title}</text>"#,
            title = escape(self.title)
        );
        let scale = self.scale();
        for (value, label) in scale.grid(self.unit) {
            let y = scale.y(value);
            let _ = writeln!(
                out,
                r#"<line class="g" x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}"/><text class="l" x="{}" y="{:.1}" text-anchor="end">{label}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (value, label) in &self.ticks {
            let _ = writeln!(
                out,
                r#"<text class="l" x="{:.1}" y="{}" text-anchor="middle">{}</text>"#,
                self.x(*value),
                HEIGHT - BOTTOM + 18.0,
                escape(label)
            );
        }
        self.legend(&mut out);
        for line in &self.lines {
            self.line(&mut out, &scale, line);
        }
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = WIDTH - RIGHT;
        for line in self.lines.iter().rev() {
            #[expect(clippy::cast_precision_loss, reason = "the length of a name")]
            let width = line.name.chars().count() as f64 * 7.0 + 26.0;
            x -= width;
            let _ = writeln!(
                out,
                r#"<line class="s c{}" x1="{x:.0}" x2="{:.0}" y1="12" y2="12"/><text class="l" x="{:.0}" y="16">{}</text>"#,
                line.colour,
                x + 14.0,
                x + 18.0,
                escape(&line.name)
            );
        }
    }

    fn line(&self, out: &mut String, scale: &Scale, line: &Line) {
        let _ = write!(out, r#"<polyline class="s c{}" points=""#, line.colour);
        for group in line
            .points
            .chunks(line.points.len().div_ceil(POINTS_MAX).max(1))
        {
            let peak = group.iter().fold(0.0_f64, |peak, (_, y)| peak.max(*y));
            let at = group[group.len() / 2].0;
            let _ = write!(out, "{:.1},{:.1} ", self.x(at), scale.y(peak));
        }
        out.push_str("\"/>\n");
    }

    fn x(&self, value: f64) -> f64 {
        let first = self.ticks.first().map_or(0.0, |t| t.0);
        let last = self.ticks.last().map_or(1.0, |t| t.0);
        let span = (last - first).max(1e-9);
        LEFT + (WIDTH - LEFT - RIGHT) * ((value - first) / span).clamp(0.0, 1.0)
    }

    fn scale(&self) -> Scale {
        let values = self.lines.iter().flat_map(|line| &line.points);
        let (mut low, mut high) = (f64::MAX, 0.0_f64);
        for (_, value) in values.filter(|(_, value)| *value > 0.0) {
            low = low.min(*value);
            high = high.max(*value);
        }
        if low > high {
            (low, high) = (0.1, 1.0);
        }
        match self.axis {
            Axis::Linear => Scale {
                axis: self.axis,
                low: 0.0,
                high: round_up(high),
            },
            Axis::Log => Scale {
                axis: self.axis,
                low: low.log10().floor(),
                high: high.log10().ceil().max(low.log10().floor() + 1.0),
            },
        }
    }
}

/// Charts one below the other, as a file of its own.
pub(crate) fn stacked(charts: &[Chart<'_>]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a handful of charts")]
    let height = HEIGHT * charts.len() as f64;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"><style>{STYLE}</style>"#
    );
    let mut y = 0.0;
    for chart in charts {
        let place = format!(r#"<svg y="{y}" width="{WIDTH}" height="{HEIGHT}" "#);
        out.push_str(&chart.svg().replacen("<svg ", &place, 1));
        y += HEIGHT;
    }
    out.push_str("</svg>\n");
    out
}

/// Seconds from 0 to `end` as five steps.
pub(crate) fn seconds(end: f64) -> Vec<(f64, String)> {
    let end = end.max(0.2);
    let step = |n: i32| end * f64::from(n) / 5.0;
    (0..=5)
        .map(|n| (step(n), format!("{:.1} s", step(n))))
        .collect()
}

/// Text as it may stand in XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The vertical axis; for `Log` its ends are exponents of ten.
struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        let at = match self.axis {
            Axis::Linear => value,
            Axis::Log => value.max(1e-6).log10(),
        };
        let share = ((at - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)
    }

    fn grid(&self, unit: &str) -> Vec<(f64, String)> {
        let mut all = Vec::new();
        match self.axis {
            Axis::Linear => {
                for step in 0..=4 {
                    let value = self.high * f64::from(step) / 4.0;
                    all.push((value, format!("{}{unit}", short(value))));
                }
            }
            Axis::Log => {
                let mut exponent = self.low;
                while exponent <= self.high {
                    let value = 10_f64.powf(exponent);
                    all.push((value, format!("{value}{unit}")));
                    exponent += 1.0;
                }
            }
        }
        all
    }
}

fn short(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0} k", value / 1_000.0)
    } else if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The next 1, 2, 4 or 8 times a power of ten, so that four steps are short numbers.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_well_formed_and_no_peak_is_lost() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), 1.0)).collect();
        points[5_003].1 = 900.0;
        let chart = Chart {
            title: "a < b & \"c\"",
            unit: " ms",
            axis: Axis::Log,
            ticks: seconds(10_000.0),
            lines: vec![Line {
                name: "p99 <".to_owned(),
                colour: 1,
                points,
            }],
        };
        let svg = chart.svg();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let line = document.descendants().find(|n| n.has_tag_name("polyline"));
        let points = line.unwrap().attribute("points").unwrap();
        let places: Vec<f64> = points
            .split_whitespace()
            .map(|p| p.split_once(',').unwrap().1.parse().unwrap())
            .collect();
        assert!(places.len() <= POINTS_MAX);
        let top = places.iter().copied().fold(f64::MAX, f64::min);
        assert!(top < TOP + 10.0, "900 of 1000 ms is near the top: {top}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expect) in [
            (0.7, 0.8),
            (1.0, 1.0),
            (2.1, 4.0),
            (9.0, 10.0),
            (34_000.0, 40_000.0),
        ] {
            assert!((round_up(value) - expect).abs() < 1e-9 * expect, "{value}");
        }
    }
}
