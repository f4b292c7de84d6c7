//! `loadtest compare`: limits, peers and holdfast in one run, interleaved.
//!
//! 1. In every round each contender is started fresh, measured in all ways, and stopped; no two run
//!    at the same time.
//! 2. A ratio is computed within a round, and the median of the rounds is shown: the machine's
//!    drift affects both sides.
//! 3. Responses of another kind than the contender should give are counted, and the row says so: a
//!    server that refuses quickly must not look fast.
//!
//! `contender` knows the contenders and starts them, `report` makes medians, table and JSON.

mod contender;
mod postgres;
mod report;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, fs};

use crate::cli::CompareArgs;
use crate::drive::Load;
use crate::error::{During as _, Fault};
use crate::generator::Span;
use crate::stats::{Summary, millis};

use contender::Contender;
use report::Report;

/// Products put on sale for a contender: `PRODUCTS_A_MEASURE` for each way of measuring.
pub(crate) const PRODUCTS_MAX: usize = 64;
/// In turn, 2,000,000 requests each: eight million requests a measurement before stock could run out.
const PRODUCTS_A_MEASURE: usize = 4;
const OPEN_CONNECTIONS: usize = 256;
const WARMUP: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_secs(2);

/// A way of measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Measure {
    /// Closed loop on so many connections.
    Closed(usize),
    /// Open loop at so many requests a second.
    Open(NonZeroU32),
    /// One after the other: `fdatasync`.
    Alone,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(connections) => write!(f, "closed, {connections} connections"),
            Self::Open(rate) => write!(f, "open, {rate}/s"),
            Self::Alone => write!(f, "one at a time"),
        }
    }
}

/// What one measurement of one contender gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Answers a second.
    pub(crate) per_second: f64,
    /// Median latency, ms.
    pub(crate) p50_ms: f64,
    /// 99th percentile, ms.
    pub(crate) p99_ms: f64,
    /// Share of the requests that were answered as they should be, 0 to 1.
    pub(crate) as_meant: f64,
}

impl Figures {
    /// The figures of a run whose answers should all be of `kind`, such as `201`.
    fn of(summary: &Summary, kind: &str) -> Self {
        let t = &summary.total;
        let outcomes = t.outcomes.sorted();
        let meant = outcomes.iter().find(|(k, _)| k == kind).map_or(0, |o| o.1);
        #[expect(clippy::cast_precision_loss, reason = "a share, shown in percent")]
        let as_meant = meant as f64 / t.scheduled.max(1) as f64;
        Self {
            per_second: summary.rate(),
            p50_ms: summary.ms(50.0),
            p99_ms: summary.ms(99.0),
            as_meant,
        }
    }

    /// The figures of something that is timed here, where every attempt succeeds or ends the run.
    fn of_latencies(latencies: &hdrhistogram::Histogram<u64>, per_second: f64) -> Self {
        Self {
            per_second,
            p50_ms: millis(latencies.value_at_percentile(50.0)),
            p99_ms: millis(latencies.value_at_percentile(99.0)),
            as_meant: 1.0,
        }
    }
}

/// What a comparison is made of.
pub(crate) struct Setup {
    measures: Vec<Measure>,
    measured: Duration,
    threads: u8,
    holdfast: Option<PathBuf>,
    dir: PathBuf,
}

impl Setup {
    fn load(&self, measure: Measure) -> Load {
        let (rate, connections, threads) = match measure {
            Measure::Closed(connections) => (None, connections, self.threads),
            // One thread keeps one schedule: a second would only fight the server for a core.
            Measure::Open(rate) => (Some(rate), OPEN_CONNECTIONS, 1),
            Measure::Alone => (None, 1, 1),
        };
        Load {
            rate,
            connections,
            threads,
            span: Span {
                warmup: WARMUP,
                measured: self.measured,
            },
        }
    }
}

/// Runs `compare` as asked on the command line.
pub(crate) fn command(args: &CompareArgs) -> Result<(), Fault> {
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir =
        tempfile::tempdir_in(&base).during(|| format!("make a directory in {}", base.display()))?;
    let closed = args.connections.iter().map(|c| Measure::Closed(*c));
    let open = args.rates.iter().map(|r| Measure::Open(*r));
    let setup = Setup {
        measures: closed.chain(open).collect(),
        measured: if args.quick {
            QUICK
        } else {
            Duration::from_secs_f64(args.duration)
        },
        threads: args.threads,
        holdfast: args.holdfast.clone(),
        dir: dir.path().to_owned(),
    };
    let rounds = if args.quick { 1 } else { args.rounds };
    let mut report = Report::new(rounds, &setup);
    let mut contenders = contender::all(&args.skip, setup.holdfast.is_some());
    for round in 1..=rounds {
        contenders.retain(|contender| run(*contender, round, &setup, &mut report));
    }
    println!("{}", report.table());
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", report.json());
        fs::write(path, text).during(|| format!("write {}", path.display()))?;
    }
    report.verdict()
}

/// Measures one contender in one round; false if it cannot run, so that later rounds leave it out.
fn run(contender: Contender, round: u32, setup: &Setup, report: &mut Report) -> bool {
    let mut note = |measure: Measure, figures: Figures| {
        eprintln!(
            "round {round}: {contender}, {measure}: {:.0}/s, p50 {:.3} ms, p99 {:.3} ms",
            figures.per_second, figures.p50_ms, figures.p99_ms
        );
        report.add(contender, measure, figures);
    };
    match contender.measure(setup, &mut note) {
        Ok(()) => true,
        Err(fault) => {
            eprintln!("{contender} is left out: {fault}");
            report.left_out(contender, &fault);
            false
        }
    }
}
