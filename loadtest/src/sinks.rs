//! `loadtest sinks`: the latency of buyers while a sink is unavailable and while it catches up, in
//! one run.
//!
//! 1. In every round each phase is measured once, on the same process: the sink follows, its
//!    database is stopped, the database is back and the sink catches up. Before the next round the
//!    sink has caught up.
//! 2. A ratio is computed within a round, against the phase in which the sink follows, and the
//!    median of the rounds is shown. The variation of that phase between rounds is shown, too: it
//!    is the noise.
//! 3. Unexpected responses are reported, and the run fails unless the sink has every event in the
//!    end.

use std::fmt;
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::admin::{Offer, STOCK_MAX, put_product};
use crate::cli::SinksArgs;
use crate::cluster::Cluster;
use crate::demo::{self, ADMIN_KEY, SHOP_KEY};
use crate::drive::{Load, measure, run_number};
use crate::error::{During as _, Fault};
use crate::generator::Span;
use crate::http::Target;
use crate::http::client::Client;
use crate::http::request::Whence;
use crate::workload::{Flow, Plan};

const PER_USER_LIMIT: u32 = 1_000;
/// So large a space that a buyer hardly ever meets the rate limit.
const BUYERS: u64 = 50_000_000;
const CONNECTIONS: usize = 256;
const WARMUP: Duration = Duration::from_secs(1);
const CAUGHT_UP_MAX: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the sink does while buyers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Follows,
    Away,
    CatchesUp,
}

const PHASES: [Phase; 3] = [Phase::Follows, Phase::Away, Phase::CatchesUp];

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Follows => "PostgreSQL follows",
            Self::Away => "PostgreSQL is away",
            Self::CatchesUp => "it is back and catches up",
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Runs `sinks` as asked on the command line.
pub(crate) fn command(args: &SinksArgs) -> Result<(), Fault> {
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let base =
        tempfile::tempdir_in(&base).during(|| format!("make a directory in {}", base.display()))?;
    let inside = || format!("make a directory in {}", base.path().display());
    let dir = tempfile::tempdir_in(base.path()).during(inside)?;
    let cluster = Cluster::create(dir.path(), base.path())?;
    let mut database = Some(cluster.start()?);
    let port = cluster.port();
    let config = format!(
        "[report.postgres]\nurl = \"postgresql://app@127.0.0.1:{port}/postgres\"\n\
         [report]\nbackoff_max_ms = 1000\n"
    );
    let (_holdfast, target) = demo::start(&args.holdfast, dir.path(), &config)?;
    let mut admin = Client::new(&target, ADMIN_KEY);
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let mut figures = Vec::new();
        for phase in PHASES {
            match phase {
                Phase::Follows => {}
                Phase::Away => database = None,
                Phase::CatchesUp => database = Some(cluster.start()?),
            }
            let product = format!("round-{round}");
            let measured = drive(args, &target, &mut admin, &product)?;
            eprintln!(
                "round {round}: {phase}: {:.0}/s, p50 {:.3} ms, p99 {:.3} ms",
                measured.per_second, measured.p50_ms, measured.p99_ms
            );
            figures.push(measured);
        }
        let (lag_bytes, took) = until_caught_up(&mut admin)?;
        eprintln!("round {round}: the last {lag_bytes} bytes of log took {took:.1?} more");
        rounds.push(figures);
    }
    drop(database);
    println!("{}", table(&rounds));
    Ok(())
}

fn drive(
    args: &SinksArgs,
    target: &Target,
    admin: &mut Client,
    product: &str,
) -> Result<Figures, Fault> {
    let offer = Offer {
        stock: STOCK_MAX,
        per_user_limit: PER_USER_LIMIT,
        hold_ttl_s: None,
    };
    put_product(admin, product, offer)?;
    let plan = Plan {
        flow: args.flow,
        key: SHOP_KEY.to_owned(),
        products: vec![product.to_owned()],
        spread: false,
        buyers: BUYERS,
        whence: Whence::Unsaid,
        currency: "USD".to_owned(),
        run: run_number(),
    };
    let load = Load {
        rate: Some(args.rate),
        connections: CONNECTIONS,
        threads: 1,
        span: Span {
            warmup: WARMUP,
            measured: Duration::from_secs_f64(args.duration),
        },
    };
    let summary = measure(target, &plan, load, &mut |_| {})?;
    let outcomes = summary.total.outcomes.sorted();
    let meant = |kind: &str| kind == "201" || (args.flow == Flow::Mixed && kind == "200");
    for (kind, count) in outcomes.iter().filter(|(kind, _)| !meant(kind)) {
        eprintln!("not as meant: {count} × {kind}");
    }
    Ok(Figures {
        per_second: summary.rate(),
        p50_ms: summary.ms(50.0),
        p99_ms: summary.ms(99.0),
    })
}

/// Waits until the sink has everything: how far it was behind, and how long that took.
fn until_caught_up(admin: &mut Client) -> Result<(u64, Duration), Fault> {
    let began = Instant::now();
    let mut first = None;
    loop {
        let answer = admin.get("/admin/sinks")?;
        let sinks = answer.json();
        let of_postgres = sinks["sinks"].as_array().into_iter().flatten();
        let sink = of_postgres
            .into_iter()
            .find(|sink| sink["name"] == "postgres");
        let lag = sink.and_then(|sink| sink["lag_bytes"].as_u64());
        let first = *first.get_or_insert(lag.unwrap_or(0));
        if lag == Some(0) {
            return Ok((first, began.elapsed()));
        }
        if began.elapsed() > CAUGHT_UP_MAX {
            return Err(Fault::NotReady {
                what: "the sink".to_owned(),
                seconds: CAUGHT_UP_MAX.as_secs(),
                output: answer.text(),
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn table(rounds: &[Vec<Figures>]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "while",
        "per second",
        "p50 ms",
        "p99 ms",
        "p50 x follows",
        "p99 x follows",
    ]);
    for (index, phase) in PHASES.into_iter().enumerate() {
        let figure =
            |pick: fn(&Figures) -> f64| median(rounds.iter().map(|round| pick(&round[index])));
        let ratio = |pick: fn(&Figures) -> f64| {
            median(
                rounds
                    .iter()
                    .map(|round| pick(&round[index]) / pick(&round[0])),
            )
        };
        table.add_row([
            Cell::new(phase),
            right(&format!("{:.0}", figure(|f| f.per_second))),
            right(&format!("{:.3}", figure(|f| f.p50_ms))),
            right(&format!("{:.3}", figure(|f| f.p99_ms))),
            right(&format!("{:.2}", ratio(|f| f.p50_ms))),
            right(&format!("{:.2}", ratio(|f| f.p99_ms))),
        ]);
    }
    let spread = |pick: fn(&Figures) -> f64| {
        let middle = median(rounds.iter().map(|round| pick(&round[0])));
        let of = |round: &Vec<Figures>| pick(&round[0]) / middle;
        let least = rounds.iter().map(of).fold(f64::INFINITY, f64::min);
        let most = rounds.iter().map(of).fold(0.0, f64::max);
        format!("{least:.2}–{most:.2}")
    };
    table.add_row([
        Cell::new("noise: the first row from round to round"),
        right(""),
        right(""),
        right(""),
        right(&spread(|f| f.p50_ms)),
        right(&spread(|f| f.p99_ms)),
    ]);
    let count = rounds.len();
    format!("medians of {count} rounds\n{table}")
}

pub(crate) fn right(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let figures = |p99_ms| Figures {
            per_second: 10.0,
            p50_ms: 1.0,
            p99_ms,
        };
        // The machine is three times as slow in the second round, for every phase.
        let rounds: Vec<_> = [1.0, 3.0, 1.0]
            .map(|slow| [1.0, 1.0, 2.0].map(|ms| figures(ms * slow)).to_vec())
            .to_vec();
        let text = table(&rounds);
        let away = text.lines().find(|line| line.contains("away")).unwrap();
        assert!(away.contains("1.00") && !away.contains("3.00"), "{text}");
        let back = text.lines().find(|line| line.contains("back")).unwrap();
        assert!(back.contains("2.00"), "{text}");
        assert!(text.contains("1.00–3.00"), "{text}");
    }
}
