//! A report, or two beside each other, as one HTML file that needs nothing else: styles and charts are inside.
//!
//! It has no script and asks the network for nothing; every text from outside is escaped.

use std::fmt::Write as _;

use super::chart::{Axis, Chart, Line, escape, seconds};
use super::compare::{differs, pairs, ratio, rows};
use super::terminal::{sorted, value};
use super::{Figures, INSECURE, Moment, Run};

const STYLE: &str = include_str!("page.css");
/// Kinds of outcomes with a line of their own.
const KINDS_MAX: usize = 6;
/// Percentiles with a label, by nines.
const NINES: [(f64, &str); 6] = [
    (0.0, "0 %"),
    (1.0, "90 %"),
    (2.0, "99 %"),
    (3.0, "99.9 %"),
    (4.0, "99.99 %"),
    (5.0, "99.999 %"),
];

/// The page of `run`, compared with `other` if there is one.
pub(crate) fn page(run: &Run, other: Option<&Run>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width\"/>\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\n",
        title = escape(&run.facts.title)
    );
    match other {
        None => single(&mut out, run),
        Some(other) => double(&mut out, run, other),
    }
    out.push_str("</body></html>\n");
    out
}

fn single(out: &mut String, run: &Run) {
    let _ = writeln!(out, "<p>{}</p>", escape(&run.facts.about));
    facts(out, "", run);
    verdict(out, run);
    out.push_str(&throughput(run).svg());
    out.push_str(&outcomes(run).svg());
    out.push_str(&latency(&[("", run)]).svg());
    out.push_str(&percentiles(&[("", run)]).svg());
    steps(out, run);
    kinds(out, &run.all);
}

fn double(out: &mut String, a: &Run, b: &Run) {
    facts(out, "A: ", a);
    facts(out, "B: ", b);
    if let Some(warning) = differs(a, b) {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(&warning));
    }
    for (of_a, of_b) in pairs(a, b) {
        let _ = writeln!(
            out,
            "<table><tr><th>{}</th><th>A</th><th>B</th><th>B / A</th></tr>",
            escape(&of_a.name)
        );
        for ((name, of_a), (_, of_b)) in rows(of_a).into_iter().zip(rows(of_b)) {
            let _ = writeln!(
                out,
                "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                value(Some(of_a)),
                value(Some(of_b)),
                ratio(of_a, of_b)
            );
        }
        out.push_str("</table>\n");
    }
    let both = [("A ", a), ("B ", b)];
    out.push_str(&rates(&both).svg());
    out.push_str(&latency(&both).svg());
    out.push_str(&percentiles(&both).svg());
}

fn facts(out: &mut String, before: &str, run: &Run) {
    let _ = writeln!(
        out,
        "<p class=\"facts\">{before}{} · {} · {:.1} s measured · {:.0} answers/s · longest time without an answer {:.1} s · \
         units oversold: {}</p>",
        escape(&run.facts.title_line()),
        escape(&run.facts.started_at),
        run.measured_s,
        run.all.per_second,
        run.gap_s,
        run.oversold.map_or("unknown".to_owned(), |n| n.to_string())
    );
    if run.facts.is_insecure {
        let _ = writeln!(out, "<p class=\"bad\">{INSECURE}</p>");
    }
}

fn verdict(out: &mut String, run: &Run) {
    if let Some(refused) = &run.mostly_refused {
        let class = if run.expect_refusals { "facts" } else { "bad" };
        let _ = writeln!(out, "<p class=\"{class}\">{}</p>", escape(refused));
    }
    if run.thresholds.is_empty() {
        return;
    }
    out.push_str("<table><tr><th>threshold</th><th>measured</th><th>met</th></tr>\n");
    for one in &run.thresholds {
        let (class, met) = if one.met { ("", "yes") } else { ("bad", "NO") };
        let _ = writeln!(
            out,
            "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{met}</td></tr>",
            escape(&one.threshold),
            value(one.value)
        );
    }
    out.push_str("</table>\n");
}

fn steps(out: &mut String, run: &Run) {
    out.push_str(
        "<table><tr><th>step</th><th>per s</th><th>done</th><th>errors</th><th>shed</th><th>replayed</th><th>p50 ms</th>\
         <th>p90 ms</th><th>p99 ms</th><th>p99.9 ms</th><th>max ms</th></tr>\n",
    );
    for f in run.steps.iter().chain([&run.all]) {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td>\
             <td>{:.2}</td><td>{:.2}</td><td>{:.2}</td></tr>",
            escape(&f.name),
            f.per_second,
            f.done,
            f.errors,
            f.shed,
            f.replayed,
            f.p50_ms,
            f.p90_ms,
            f.p99_ms,
            f.p99_9_ms,
            f.max_ms
        );
    }
    out.push_str("</table>\n");
}

fn kinds(out: &mut String, all: &Figures) {
    out.push_str("<table><tr><th>outcome</th><th>count</th></tr>\n");
    for (kind, count) in sorted(all) {
        let _ = writeln!(out, "<tr><td>{}</td><td>{count}</td></tr>", escape(kind));
    }
    out.push_str("</table>\n");
}

fn throughput(run: &Run) -> Chart<'static> {
    let line = |name: &str, colour, pick: fn(&Moment) -> u64| Line {
        name: name.to_owned(),
        colour,
        points: over_time(run, pick),
    };
    Chart {
        title: "Answers per second",
        unit: "",
        axis: Axis::Linear,
        ticks: seconds(end(run)),
        lines: vec![
            line("accepted", 1, |m| m.accepted),
            line("refused", 2, |m| m.refused),
            line("errors", 3, |m| m.errors),
        ],
    }
}

fn rates(runs: &[(&str, &Run)]) -> Chart<'static> {
    let lines = runs.iter().enumerate().map(|(n, (name, run))| Line {
        name: format!("{name}answers"),
        colour: n * 3 + 1,
        points: over_time(run, |m| m.done),
    });
    Chart {
        title: "Answers per second",
        unit: "",
        axis: Axis::Linear,
        ticks: seconds(last_end(runs)),
        lines: lines.collect(),
    }
}

fn outcomes(run: &Run) -> Chart<'static> {
    let most = sorted(&run.all).into_iter().take(KINDS_MAX).enumerate();
    let lines = most.map(|(n, (kind, _))| Line {
        name: kind.to_owned(),
        colour: n + 1,
        points: over_time(run, |m| m.outcomes.get(kind).copied().unwrap_or(0)),
    });
    Chart {
        title: "Outcomes per second",
        unit: "",
        axis: Axis::Linear,
        ticks: seconds(end(run)),
        lines: lines.collect(),
    }
}

fn latency(runs: &[(&str, &Run)]) -> Chart<'static> {
    let mut lines = Vec::new();
    for (n, (name, run)) in runs.iter().enumerate() {
        let mut line = |what: &str, colour, pick: fn(&Moment) -> f64| {
            lines.push(Line {
                name: format!("{name}{what}"),
                colour: n * 3 + colour,
                points: run.series.iter().map(|m| (m.at_s, pick(m))).collect(),
            });
        };
        line("p50", 1, |m| m.p50_ms);
        line("p99", 2, |m| m.p99_ms);
        line("max", 3, |m| m.max_ms);
    }
    Chart {
        title: "Latency over time, from the intended start",
        unit: " ms",
        axis: Axis::Log,
        ticks: seconds(last_end(runs)),
        lines,
    }
}

fn percentiles(runs: &[(&str, &Run)]) -> Chart<'static> {
    let nines = |percentile: f64| -(1.0 - percentile.min(99.9995) / 100.0).log10();
    let lines = runs.iter().enumerate().map(|(n, (name, run))| Line {
        name: format!("{name}latency"),
        colour: n * 3 + 1,
        points: run
            .all
            .curve
            .iter()
            .map(|(p, ms)| (nines(*p), *ms))
            .collect(),
    });
    Chart {
        title: "Latency by percentile",
        unit: " ms",
        axis: Axis::Log,
        ticks: NINES
            .iter()
            .map(|(x, label)| (*x, (*label).to_owned()))
            .collect(),
        lines: lines.collect(),
    }
}

/// What `pick` counts, as a rate at each moment. A moment without any answer or error is 0, not a line from one to the next.
fn over_time(run: &Run, pick: impl Fn(&Moment) -> u64) -> Vec<(f64, f64)> {
    let slice = crate::generator::SLICE.as_secs_f64();
    let mut points = Vec::with_capacity(run.series.len());
    let mut last = run.series.first().map_or(0.0, |m| m.at_s - slice);
    for moment in &run.series {
        if moment.at_s - last > 1.5 * slice {
            points.push((last + slice, 0.0));
            points.push((moment.at_s - slice, 0.0));
        }
        last = moment.at_s;
        #[expect(
            clippy::cast_precision_loss,
            reason = "the count of a fifth of a second"
        )]
        points.push((moment.at_s, pick(moment) as f64 / slice));
    }
    points
}

fn end(run: &Run) -> f64 {
    run.series.last().map_or(1.0, |m| m.at_s)
}

fn last_end(runs: &[(&str, &Run)]) -> f64 {
    runs.iter().map(|(_, run)| end(run)).fold(0.2, f64::max)
}
