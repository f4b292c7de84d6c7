//! The live line of a run: a bar if stderr is a terminal, otherwise a plain line per second.
//!
//! It only shows; the figures come from the summary it is given.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::stats::Summary;
use crate::terminal;

const PLAIN_EVERY: Duration = Duration::from_secs(1);

/// Shows how a run of known length goes.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    length: Duration,
    shown: Instant,
}

impl Progress {
    /// Announces `title` and starts the clock.
    pub(crate) fn new(title: &str, length: Duration) -> Self {
        eprintln!("{title}");
        let start = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            let style = ProgressStyle::with_template("{bar:20} {msg}")
                .expect("the template is a constant that indicatif takes");
            ProgressBar::new(millis).with_style(style)
        });
        Self {
            bar,
            start,
            length,
            shown: start,
        }
    }

    /// Shows the summary so far.
    pub(crate) fn show(&mut self, summary: &Summary) {
        let passed = self.start.elapsed();
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(line(summary));
        } else if self.shown.elapsed() >= PLAIN_EVERY {
            self.shown = Instant::now();
            let (passed, length) = (passed.as_secs_f64(), self.length.as_secs_f64());
            eprintln!("  {passed:5.1} of {length:.1} s  {}", line(summary));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(summary: &Summary) -> String {
    let t = &summary.total;
    let last = summary.series();
    // Four slices smooth the rate without hiding a stall.
    let recent = &last[last.len().saturating_sub(4)..];
    let answers: u64 = recent.iter().map(|p| p.done).sum();
    let rate = answers.checked_div(recent.len() as u64).unwrap_or(0) * 5;
    format!(
        "sent {} done {} errors {} | {rate}/s | p50 {:.2} p99 {:.2} max {:.2} ms | {}",
        t.sent,
        t.done,
        t.errors + t.shed,
        summary.ms(50.0),
        summary.ms(99.0),
        summary.ms(100.0),
        terminal::outcomes(summary)
    )
}
