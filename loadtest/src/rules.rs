//! `loadtest rules`: the cost of risk rules for buyers, in one run.
//!
//! 1. Two processes, one with the rules and one without any, are measured alternately, in a
//!    different order in every round: closed loop, so that throughput differs. The other process is
//!    idle.
//! 2. A ratio is computed within a round; the median of the rounds is shown, and their range.
//! 3. Buyers are chosen at random, each with its own device and card, so that most counters are
//!    new; a buy has address, device and card.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};

use crate::admin::{Offer, STOCK_MAX, put_product};
use crate::cli::RulesArgs;
use crate::demo::{self, ADMIN_KEY, SHOP_KEY};
use crate::drive::{Load, measure, run_number};
use crate::error::{During as _, Fault};
use crate::generator::Span;
use crate::http::Target;
use crate::http::client::Client;
use crate::http::request::Whence;
use crate::sinks::{median, right};
use crate::workload::{Flow, Plan};

const PER_USER_LIMIT: u32 = 1_000;
/// So large a space that a buyer hardly ever meets the rate limit.
const BUYERS: u64 = 50_000_000;
const WARMUP: Duration = Duration::from_secs(1);
pub(crate) const FLOWS: [(Flow, &str); 2] = [(Flow::Hold, "hold"), (Flow::Buy, "buy")];

/// Answers a second without rules and with them, a pair for each round.
type Pairs = Vec<[f64; 2]>;

/// Runs `rules` as asked on the command line.
pub(crate) fn command(args: &RulesArgs) -> Result<(), Fault> {
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let made = || format!("make a directory in {}", base.display());
    let dirs = [
        tempfile::tempdir_in(&base).during(made)?,
        tempfile::tempdir_in(&base).during(made)?,
    ];
    let file = std::path::absolute(&args.rules).during(|| args.rules.display().to_string())?;
    let configs = [
        String::new(),
        format!("[risk]\nrules_file = {:?}\n", file.display().to_string()),
    ];
    let mut running = Vec::new();
    for (dir, config) in dirs.iter().zip(&configs) {
        running.push(demo::start(&args.holdfast, dir.path(), config)?);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["", "without rules", "with them", "ratio", "range"]);
    for (flow, name) in FLOWS {
        let mut pairs = Pairs::new();
        for round in 0..args.rounds {
            let mut pair = [0.0; 2];
            let mut order = [0, 1];
            order.rotate_left(round as usize % 2);
            for side in order {
                let product = format!("{name}-{round}");
                let turn = Turn {
                    flow,
                    product: &product,
                    connections: args.connections,
                    duration: args.duration,
                };
                pair[side] = turn.drive(&running[side].1)?;
            }
            eprintln!(
                "{name}, round {}: {:.0}/s, {:.0}/s",
                round + 1,
                pair[0],
                pair[1]
            );
            pairs.push(pair);
        }
        table.add_row(row(name, &pairs));
    }
    println!(
        "medians of {} rounds, answers a second\n{table}",
        args.rounds
    );
    Ok(())
}

fn row(name: &str, pairs: &Pairs) -> Vec<Cell> {
    let ratios = || pairs.iter().map(|[without, with]| with / without);
    let least = ratios().fold(f64::INFINITY, f64::min);
    let most = ratios().fold(0.0, f64::max);
    vec![
        Cell::new(name),
        right(&format!("{:.0}", median(pairs.iter().map(|pair| pair[0])))),
        right(&format!("{:.0}", median(pairs.iter().map(|pair| pair[1])))),
        right(&format!("{:.2}", median(ratios()))),
        right(&format!("{least:.2}–{most:.2}")),
    ]
}

/// What one side is measured with, in a closed loop; the other ones are idle.
pub(crate) struct Turn<'a> {
    pub(crate) flow: Flow,
    pub(crate) product: &'a str,
    pub(crate) connections: usize,
    pub(crate) duration: f64,
}

impl Turn<'_> {
    /// Answers a second.
    pub(crate) fn drive(&self, target: &Target) -> Result<f64, Fault> {
        let offer = Offer {
            stock: STOCK_MAX,
            per_user_limit: PER_USER_LIMIT,
            hold_ttl_s: None,
        };
        put_product(&mut Client::new(target, ADMIN_KEY), self.product, offer)?;
        let plan = Plan {
            flow: self.flow,
            key: SHOP_KEY.to_owned(),
            products: vec![self.product.to_owned()],
            spread: false,
            buyers: BUYERS,
            whence: Whence::Said,
            currency: "USD".to_owned(),
            run: run_number(),
        };
        let load = Load {
            rate: None,
            connections: self.connections,
            threads: 1,
            span: Span {
                warmup: WARMUP,
                measured: Duration::from_secs_f64(self.duration),
            },
        };
        let summary = measure(target, &plan, load, &mut |_| {})?;
        let outcomes = summary.total.outcomes.sorted();
        for (kind, count) in outcomes.iter().filter(|(kind, _)| kind != "201") {
            eprintln!("not as meant: {count} × {kind}");
        }
        Ok(summary.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let cells = row("hold", &vec![[100.0, 90.0], [10.0, 9.5], [50.0, 40.0]]);
        let shown: Vec<String> = cells.iter().map(Cell::content).collect();
        assert_eq!(shown, ["hold", "50", "40", "0.90", "0.80–0.95"]);
    }
}
