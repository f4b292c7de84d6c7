//! `loadtest growth`: how throughput and latency change with connections, products and purchases.
//!
//! 1. All points of a round are measured in one run, and each ratio is to the base of its round (64 connections, one product,
//!    nothing bought before): a machine that slows down slows both.
//! 2. Each point has products of its own, so that no stock runs out; a point of which more than a hundredth of the answers were
//!    not holds is void, and the command fails.
//! 3. Purchases are bought before they are measured with, by the same server, which is a fresh one in each round.
//!
//! It starts the server itself (`--holdfast`), or measures a running one (`--url`), whose limit on connections then applies.

mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::admin::{Offer, STOCK_MAX, put_product};
use crate::cli::GrowthArgs;
use crate::demo;
use crate::drive::{Load, measure, run_number};
use crate::error::{During as _, Fault};
use crate::generator::Span;
use crate::http::Target;
use crate::http::client::Client;
use crate::http::request::Whence;
use crate::process::{self, Server};
use crate::workload::{Flow, Plan};
use table::{Curve, Measured, Point};

/// What ratios are relative to.
const BASE_CONNECTIONS: usize = 64;
const PER_USER_LIMIT: u32 = 1_000;
/// So large a space that a buyer hardly ever meets the rate limit.
const BUYERS: u64 = 50_000_000;
const WARMUP_MAX: Duration = Duration::from_secs(1);
/// Purchases are made in runs so long, until there are enough.
const PRELOAD: Duration = Duration::from_millis(500);
/// Runs in a row without one purchase: the server does not sell.
const BARREN_MAX: u32 = 10;
/// Bounds that no point reaches: what is measured is growth, not refusals.
const CONFIG: &str = "[server]\nmax_connections = 20000\nconnections_per_peer_max = 20000\n\
     [engine]\nproducts_max = 1000000\nbuyers_max = 1000000\npurchases_max = 1000000\nkeys_max = 2000000\n";

/// Runs `growth` as asked on the command line.
pub(crate) fn command(args: &GrowthArgs) -> Result<(), Fault> {
    let most = args.connections.iter().copied().max().unwrap_or(1);
    process::allow_connections(most);
    let mut measured = Vec::new();
    for round in 1..=args.rounds {
        let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::tempdir_in(&base)
            .during(|| format!("make a directory in {}", base.display()))?;
        let server = Measurable::start(args, dir.path())?;
        for point in points(args) {
            let found = server.measure(args, round, point)?;
            eprintln!("round {round}: {}", found.line());
            measured.push(found);
        }
    }
    let rows = table::rows(&measured);
    println!("{}", table::text(&rows, args.rounds));
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", table::json(&rows));
        fs::write(path, text).during(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &args.svg {
        fs::write(path, table::svg(&rows)).during(|| format!("write {}", path.display()))?;
    }
    match rows.iter().filter(|row| row.is_void).count() {
        0 => Ok(()),
        rows => Err(Fault::Void { rows }),
    }
}

/// The points of a round, the base first and purchases last: they stay.
fn points(args: &GrowthArgs) -> Vec<Point> {
    let mut all = vec![Point {
        curve: Curve::Base,
        at: BASE_CONNECTIONS,
    }];
    let mut add = |curve, values: &[usize]| {
        all.extend(values.iter().map(|at| Point { curve, at: *at }));
    };
    add(Curve::Connections, &args.connections);
    add(Curve::Products, &args.products);
    let mut preload = args.preload.clone();
    preload.sort_unstable();
    add(Curve::Purchases, &preload);
    all
}

/// A server, started here or not.
struct Measurable {
    target: Target,
    _server: Option<Server>,
    /// Purchases made so far in this round.
    bought: std::cell::Cell<usize>,
}

impl Measurable {
    fn start(args: &GrowthArgs, dir: &Path) -> Result<Self, Fault> {
        let (server, target) = match (&args.holdfast, &args.url) {
            (Some(binary), _) => {
                let (server, target) = demo::start(binary, dir, CONFIG)?;
                (Some(server), target)
            }
            (None, Some(url)) => (None, Target::parse(url)?),
            (None, None) => unreachable!("the command line demands one of the two"),
        };
        Ok(Self {
            target,
            _server: server,
            bought: std::cell::Cell::new(0),
        })
    }

    fn measure(&self, args: &GrowthArgs, round: u32, point: Point) -> Result<Measured, Fault> {
        let (connections, products) = match point.curve {
            Curve::Base | Curve::Purchases => (BASE_CONNECTIONS, 1),
            Curve::Connections => (point.at, 1),
            Curve::Products => (BASE_CONNECTIONS, point.at),
        };
        if point.curve == Curve::Purchases {
            self.buy(args, point.at)?;
        }
        let products = self.put_on_sale(args, products)?;
        let duration = Duration::from_secs_f64(args.duration);
        let load = Load {
            rate: None,
            connections,
            threads: threads(args.threads, connections),
            span: Span {
                warmup: WARMUP_MAX.min(duration / 2),
                measured: duration,
            },
        };
        let plan = plan(args, Flow::Hold, products);
        let summary = measure(&self.target, &plan, load, &mut |_| {})?;
        Ok(Measured::of(round, point, &summary))
    }

    /// Buys until there are `count` purchases.
    fn buy(&self, args: &GrowthArgs, count: usize) -> Result<(), Fault> {
        let mut barren = 0;
        while self.bought.get() < count {
            let plan = plan(args, Flow::Buy, self.put_on_sale(args, 1)?);
            let load = Load {
                rate: None,
                connections: BASE_CONNECTIONS,
                threads: threads(args.threads, BASE_CONNECTIONS),
                span: Span {
                    warmup: Duration::ZERO,
                    measured: PRELOAD,
                },
            };
            let summary = measure(&self.target, &plan, load, &mut |_| {})?;
            let bought = summary.total.outcomes.accepted();
            let bought = usize::try_from(bought).unwrap_or(usize::MAX);
            self.bought.set(self.bought.get() + bought);
            barren = if bought == 0 { barren + 1 } else { 0 };
            if barren == BARREN_MAX {
                let kinds = summary.total.outcomes.sorted();
                let what = kinds.first().map_or("nothing", |(kind, _)| kind);
                return Err(Fault::Usage {
                    why: format!("no purchase is made to measure with; the server answers {what}"),
                });
            }
        }
        Ok(())
    }

    fn put_on_sale(&self, args: &GrowthArgs, count: usize) -> Result<Vec<String>, Fault> {
        let run = run_number();
        let offer = Offer {
            stock: STOCK_MAX,
            per_user_limit: PER_USER_LIMIT,
            hold_ttl_s: None,
        };
        let mut admin = Client::new(&self.target, &args.admin_key);
        let products: Vec<_> = (0..count).map(|n| format!("g{run:08x}-{n}")).collect();
        for product in &products {
            put_product(&mut admin, product, offer)?;
        }
        Ok(products)
    }
}

fn plan(args: &GrowthArgs, flow: Flow, products: Vec<String>) -> Plan {
    Plan {
        flow,
        key: args.key.clone(),
        products,
        spread: true,
        buyers: BUYERS,
        // A card of each buyer's own, or risk rules refuse.
        whence: Whence::Said,
        currency: "USD".to_owned(),
        run: run_number(),
    }
}

/// Threads of a point: each has at least one connection.
fn threads(wanted: u8, connections: usize) -> u8 {
    u8::try_from(connections).map_or(wanted, |connections| wanted.min(connections))
}
