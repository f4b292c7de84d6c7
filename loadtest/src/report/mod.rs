//! What a run found, as a value that is written, read again, shown and compared.
//!
//! 1. A report is made once, at the end of a run (`Run::new`); every form of it (`terminal`, `html`, JSON) shows the same value.
//! 2. A run of which most answers were refusals says so and fails, unless its scenario expects it: refusing is quick.
//! 3. Reading takes what this program wrote; `FORMAT` changes with the meaning of a field.
//!
//! `figures` counts, `chart` draws, `compare` sets two runs side by side, `hgrm` writes the distribution.

pub(crate) mod chart;
mod compare;
mod figures;
mod hgrm;
mod html;
pub(crate) mod terminal;

use std::fs;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cli::{ReportArgs, RunArgs};
use crate::error::{During as _, Fault};
use crate::runner::Counted;
use crate::scenario::Scenario;
use crate::scenario::threshold::StepName;
use crate::stats::Outcomes;
pub(crate) use figures::{Figures, Moment};

const FORMAT: u32 = 1;
/// Above this share of the answers, a run measures refusals.
const MOSTLY: f64 = 0.5;
/// What a run that trusts any certificate says.
pub(crate) const INSECURE: &str =
    "WARNING: --insecure: the server's certificate is NOT verified; anybody could be answering";

/// What was run, against what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) url: String,
    pub(crate) http: String,
    pub(crate) started_at: String,
    pub(crate) is_insecure: bool,
    pub(crate) duration_scale: f64,
    pub(crate) load_scale: f64,
}

impl Facts {
    pub(crate) fn title_line(&self) -> String {
        format!("{}: {}, {}", self.title, self.url, self.http)
    }
}

/// A whole report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    format: u32,
    pub(crate) facts: Facts,
    pub(crate) measured_s: f64,
    pub(crate) all: Figures,
    pub(crate) steps: Vec<Figures>,
    /// Units sold beyond the stock; `None` if the server did not say.
    pub(crate) oversold: Option<u64>,
    pub(crate) gap_s: f64,
    pub(crate) thresholds: Vec<Judged>,
    /// What most answers were, if they were refusals.
    pub(crate) mostly_refused: Option<String>,
    pub(crate) expect_refusals: bool,
    pub(crate) series: Vec<Moment>,
}

/// A threshold and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) threshold: String,
    pub(crate) value: Option<f64>,
    pub(crate) met: bool,
}

impl Run {
    /// The report of what `counted` says.
    pub(crate) fn new(
        facts: Facts,
        counted: &Counted,
        oversold: Option<u64>,
        scenario: &Scenario,
    ) -> Self {
        let summary = &counted.summary;
        let measured = summary.measured;
        let gap_s = summary.longest_gap().as_secs_f64();
        let steps = StepName::ALL.into_iter().zip(&counted.steps);
        let used = steps.filter(|(_, slice)| slice.scheduled > 0);
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let count = |n: u64| n as f64;
        let judged = scenario.thresholds.iter().map(|threshold| {
            let slice = match threshold.step {
                None => &summary.total,
                Some(step) => &counted.steps[step as usize],
            };
            let value = figures::value(
                &threshold.figure,
                slice,
                measured,
                oversold.map(count),
                gap_s,
            );
            Judged {
                threshold: threshold.to_string(),
                value,
                met: threshold.is_met_by(value),
            }
        });
        Self {
            format: FORMAT,
            measured_s: measured.as_secs_f64(),
            all: Figures::of("all", &summary.total, measured),
            steps: used
                .map(|(step, slice)| Figures::of(step.word(), slice, measured))
                .collect(),
            oversold,
            gap_s,
            thresholds: judged.collect(),
            mostly_refused: mostly_refused(&summary.total.outcomes),
            expect_refusals: scenario.expect_refusals,
            series: summary.series().iter().map(Moment::of).collect(),
            facts,
        }
    }

    /// Whether it is good enough.
    pub(crate) fn verdict(&self) -> Result<(), Fault> {
        let missed = self.thresholds.iter().filter(|one| !one.met).count();
        let mut what = Vec::new();
        if missed > 0 {
            what.push(format!(
                "{missed} of {} thresholds are not met",
                self.thresholds.len()
            ));
        }
        if let Some(refused) = self
            .mostly_refused
            .as_ref()
            .filter(|_| !self.expect_refusals)
        {
            what.push(format!(
                "{refused}; a scenario that means this says `expect_refusals = true`"
            ));
        }
        if self.all.done == 0 {
            what.push("not one request was answered".to_owned());
        }
        if what.is_empty() {
            return Ok(());
        }
        Err(Fault::NotMet {
            what: what.join("; "),
        })
    }

    fn read(file: &Path) -> Result<Self, Fault> {
        let text = fs::read(file).during(|| format!("read {}", file.display()))?;
        serde_json::from_slice(&text).map_err(|source| Fault::BadReport {
            file: file.to_owned(),
            source,
        })
    }
}

/// Says so if most answers were refusals.
pub(crate) fn mostly_refused(outcomes: &Outcomes) -> Option<String> {
    let (accepted, refused) = (outcomes.accepted(), outcomes.refused());
    #[expect(clippy::cast_precision_loss, reason = "a share, shown in percent")]
    let share = refused as f64 / (accepted + refused).max(1) as f64;
    let (chief, count) = outcomes.chief_refusal().filter(|_| share > MOSTLY)?;
    Some(format!(
        "MOSTLY REFUSED: {:.1} % of the answers are refusals, chiefly {chief} ({count})",
        share * 100.0
    ))
}

/// Writes the forms that are asked for.
pub(crate) fn write(run: &Run, latencies: &Histogram<u64>, args: &RunArgs) -> Result<(), Fault> {
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(run).expect("text, numbers and lists are JSON");
        write_file(path, &(text + "\n"))?;
    }
    if let Some(path) = &args.html {
        write_file(path, &html::page(run, None))?;
    }
    if let Some(path) = &args.hgrm {
        write_file(path, &hgrm::text(latencies))?;
    }
    Ok(())
}

/// Runs `report` as asked on the command line.
pub(crate) fn command(args: &ReportArgs) -> Result<(), Fault> {
    let run = Run::read(&args.run)?;
    let other = args.other.as_deref().map(Run::read).transpose()?;
    match &other {
        None => print!("{}", terminal::text(&run)),
        Some(other) => print!("{}", compare::text(&run, other)),
    }
    if let Some(path) = &args.html {
        write_file(path, &html::page(&run, other.as_ref()))?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), Fault> {
    fs::write(path, text).during(|| format!("write {}", path.display()))
}
