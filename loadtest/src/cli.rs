//! The command line: commands and options with their defaults and limits.
//!
//! Limits are checked here, so that the rest of the harness can rely on them. It has no logic.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::workload::Flow;

/// Load, checks and yardsticks for holdfast, from outside: it knows the HTTP contract and nothing else.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "Examples:\n  \
        loadtest scenarios\n  \
        loadtest run steady --url http://127.0.0.1:8080 --html steady.html\n  \
        loadtest report before.json after.json\n  \
        loadtest drive --rate 20000 --duration 10 --product sneaker --stock 2000000 --svg latency.svg\n  \
        loadtest drive --closed --connections 64 --flow buy --product sneaker --stock 2000000\n  \
        loadtest drop --buyers 2000 --stock 100\n  \
        loadtest compare --quick --holdfast target/release/holdfast\n  \
        loadtest sinks --holdfast target/release/holdfast\n  \
        loadtest rules --holdfast target/release/holdfast\n  \
        loadtest telemetry --holdfast target/release/holdfast\n\n\
        Exit status: 0 done, 1 not good enough (a threshold, an invariant, mostly refusals), 2 wrong usage, 3 could not run\n\n\
        Measure with the release profile: cargo build --release -p loadtest"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a scenario (stages, flows, cards, retries) and judge it by its thresholds
    Run(RunArgs),
    /// List the scenarios that come with the program, or print one
    Scenarios(ScenariosArgs),
    /// Show the report of a run again, or compare two runs
    Report(ReportArgs),
    /// Put load on a server and report latency and outcomes (open loop with --rate, closed loop with --closed)
    Drive(DriveArgs),
    /// Drive a whole drop and check its invariants from outside; exits with 1 if one is violated
    Drop(DropArgs),
    /// Measure limits, peers and holdfast in one run, interleaved, and print ratios
    Compare(CompareArgs),
    /// Measure how throughput and latency change with connections, products and purchases, in one run
    Growth(GrowthArgs),
    /// Measure what buyers notice of PostgreSQL being away and of the sink catching up, in one run
    Sinks(SinksArgs),
    /// Measure what risk rules cost: throughput with them and without any, in turns
    Rules(RulesArgs),
    /// Measure what telemetry costs: off, on, and with each request traced, in turns
    Telemetry(TelemetryArgs),
    /// Measure fdatasync of 4 KiB into written zeroes: what the disk allows
    Fdatasync(FdatasyncArgs),
    /// Serve the hyper ceiling: JSON in, JSON out, no work
    ServeCeiling(ServeArgs),
    /// Serve the bare durable server: log thread and group commit, no engine (throw-away)
    ServeBare(ServeBareArgs),
    /// Serve one buy as one Redis Lua script
    ServeRedis(ServeRedisArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A scenario file, or the name of a shipped scenario
    pub(crate) scenario: String,
    /// Server under test, instead of the scenario's
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Key of role shop, instead of the scenario's
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Key of role admin, instead of the scenario's
    #[arg(long)]
    pub(crate) admin_key: Option<String>,
    /// Speak HTTP/2, over TLS or (with http://) from the first byte
    #[arg(long)]
    pub(crate) http2: bool,
    /// Certificates to trust (PEM), instead of the public roots
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// Generating threads; each takes its share of connections and load
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// All stages so many times as long
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    pub(crate) duration_scale: f64,
    /// All rates and connections so many times as high
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    pub(crate) load_scale: f64,
    /// Write the report here: one file that needs nothing else
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Write the figures and the time series here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Write the latency distribution here, in `HdrHistogram`'s text format
    #[arg(long)]
    pub(crate) hgrm: Option<PathBuf>,
}

/// Arguments of `scenarios`.
#[derive(Debug, Args)]
pub(crate) struct ScenariosArgs {
    /// Print this one, as a start for your own
    pub(crate) name: Option<String>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Written by `run --json`
    pub(crate) run: PathBuf,
    /// Another run to compare it with: A is before, B after
    pub(crate) other: Option<PathBuf>,
    /// Write it here as a page
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
}

/// Arguments of `drive`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("pace").required(true).args(["rate", "closed"]))]
pub(crate) struct DriveArgs {
    /// Server under test
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Key of role shop
    #[arg(long, default_value = "demo-shop-key")]
    pub(crate) key: String,
    /// Key of role admin, used with --stock only
    #[arg(long, default_value = "demo-admin-key")]
    pub(crate) admin_key: String,
    /// What buyers do
    #[arg(long, value_enum, default_value = "hold")]
    pub(crate) flow: Flow,
    /// Open loop: requests a second, sent on schedule whatever the server does
    #[arg(long)]
    pub(crate) rate: Option<NonZeroU32>,
    /// Closed loop: every connection sends its next request when the answer has come
    #[arg(long)]
    pub(crate) closed: bool,
    /// Connections (an open loop keeps requests waiting when all are busy, and counts the wait)
    #[arg(long, default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// Measured time, seconds
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// Time before it, sent but not counted, seconds
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) warmup: f64,
    /// Generating threads; each takes its share of connections and rate
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// Different buyers, drawn at random; few of them meet their rate limit
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=99_999_999_999))]
    pub(crate) buyers: u64,
    /// Product asked for; with --products N the ids are PRODUCT-0 to PRODUCT-(N-1)
    #[arg(long)]
    pub(crate) product: String,
    /// Number of products, hot one after the other (2,000,000 requests each) unless --spread
    #[arg(long, default_value_t = 1, value_parser = products)]
    pub(crate) products: usize,
    /// Ask for the products in rotation instead of one after the other
    #[arg(long)]
    pub(crate) spread: bool,
    /// Put the product(s) on sale first, with this stock each (at most 2,097,151)
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=2_097_151))]
    pub(crate) stock: Option<u32>,
    /// Per-user limit of the products put on sale by --stock
    #[arg(long, default_value_t = 1_000)]
    pub(crate) per_user_limit: u32,
    /// Life of a hold of the products put on sale by --stock, seconds
    #[arg(long)]
    pub(crate) hold_ttl: Option<u32>,
    /// Do not fail if most answers are refusals
    #[arg(long)]
    pub(crate) expect_refusals: bool,
    /// Currency of a buy
    #[arg(long, default_value = "USD")]
    pub(crate) currency: String,
    /// Write the latency plot here
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    /// Write the figures here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of `drop`.
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// Server under test
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// Key of role shop
    #[arg(long, default_value = "demo-shop-key")]
    pub(crate) key: String,
    /// Key of role admin
    #[arg(long, default_value = "demo-admin-key")]
    pub(crate) admin_key: String,
    /// Product to create; a fresh id if not given. It must not have been sold before
    #[arg(long)]
    pub(crate) product: Option<String>,
    /// Units on sale
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2_097_151))]
    pub(crate) stock: u32,
    /// Number of buyers
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) buyers: u32,
    /// Buyers at work at the same time, each with a connection of its own
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) connections: u16,
    /// Units a buyer may have
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4))]
    pub(crate) per_user_limit: u32,
    /// Life of an abandoned hold, seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) hold_ttl: u32,
    /// Wait for pending purchases and for holds beyond their life, seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) settle: u32,
    /// Seed of the buyers' choices; drawn if not given, and printed
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Card that the gateway captures; `{buyer}` becomes a name of the buyer's own, since risk rules block a card
    /// that a crowd of buyers uses
    #[arg(long, default_value = "tok_ok_{buyer}")]
    pub(crate) card: String,
    /// Card that the gateway declines, in one payment of twenty; `{buyer}` as for --card
    #[arg(long, default_value = "tok_declined_{buyer}")]
    pub(crate) declined_card: String,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// One round of two seconds a measurement instead of --rounds of --duration
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds; every contender is measured once in each, and the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measured time of each measurement, seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// Closed-loop connections, each measured
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256], value_parser = connections)]
    pub(crate) connections: Vec<usize>,
    /// Open-loop rates, each measured on 256 connections
    #[arg(long, value_delimiter = ',', default_value = "20000")]
    pub(crate) rates: Vec<NonZeroU32>,
    /// Generating threads of a closed loop; an open loop has one
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// Contenders to leave out: ceiling, bare, redis, postgres, fdatasync, hold, buy, buy-unsigned,
    /// sold-out
    #[arg(long, value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// The holdfast binary; without it only limits and peers are measured
    #[arg(long)]
    pub(crate) holdfast: Option<PathBuf>,
    /// Where temporary data goes; must be on the disk to be measured, never a tmpfs
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Write all rounds and medians here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Arguments of `growth`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("server").required(true).args(["holdfast", "url"]))]
pub(crate) struct GrowthArgs {
    /// The holdfast binary, started afresh for each round
    #[arg(long)]
    pub(crate) holdfast: Option<PathBuf>,
    /// A running server instead; it must take as many connections
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Key of role shop, with --url
    #[arg(long, default_value = "demo-shop-key")]
    pub(crate) key: String,
    /// Key of role admin, with --url
    #[arg(long, default_value = "demo-admin-key")]
    pub(crate) admin_key: String,
    /// Connections, each measured with one product
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256, 1_024, 4_096], value_parser = connections)]
    pub(crate) connections: Vec<usize>,
    /// Products, each measured with 64 connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000, 10_000], value_parser = products)]
    pub(crate) products: Vec<usize>,
    /// Purchases made before, each measured with 64 connections and one product; such as 0,100000,1000000
    #[arg(long, value_delimiter = ',', value_parser = purchases)]
    pub(crate) preload: Vec<usize>,
    /// Rounds; every point is measured once in each, and the medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measured time of each point, seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// Generating threads
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) threads: u8,
    /// Where temporary data goes; must be on the disk to be measured, never a tmpfs
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Write the figures here
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Write the curves here
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
}

/// Arguments of `sinks`.
#[derive(Debug, Args)]
pub(crate) struct SinksArgs {
    /// The holdfast binary
    #[arg(long)]
    pub(crate) holdfast: PathBuf,
    /// Rounds; each has every phase once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measured time of each phase, seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) duration: f64,
    /// Open loop: requests a second, sent on schedule whatever the server does
    #[arg(long, default_value = "2000")]
    pub(crate) rate: NonZeroU32,
    /// What buyers do
    #[arg(long, value_enum, default_value = "buy")]
    pub(crate) flow: Flow,
    /// Where temporary data goes; must be on the disk to be measured, never a tmpfs
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    /// The holdfast binary
    #[arg(long)]
    pub(crate) holdfast: PathBuf,
    #[arg(long, default_value = "rules/default.toml")]
    pub(crate) rules: PathBuf,
    /// Rounds; in each both are measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measured time of each, seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) duration: f64,
    #[arg(long, default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// Where temporary data goes; must be on the disk to be measured, never a tmpfs
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// Arguments of `telemetry`.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    /// The holdfast binary
    #[arg(long)]
    pub(crate) holdfast: PathBuf,
    /// The same, built without the feature `otlp`, to compare with telemetry that is off
    #[arg(long)]
    pub(crate) without: Option<PathBuf>,
    /// Rounds; in each all are measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Measured time of each, seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) duration: f64,
    #[arg(long, default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// Where temporary data goes; must be on the disk to be measured, never a tmpfs
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// Arguments of `fdatasync`.
#[derive(Debug, Args)]
pub(crate) struct FdatasyncArgs {
    /// Where the file is made (and removed again)
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// How long, seconds
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub(crate) duration: f64,
}

/// Arguments of `serve-ceiling`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; with port 0 a free one, which stdout names
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Runtimes, each with its own listener (`SO_REUSEPORT`)
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: u8,
    /// Stop when stdin is closed, so that no server outlives the harness that started it
    #[arg(long, hide = true)]
    pub(crate) until_stdin_closes: bool,
}

/// Arguments of `serve-bare`.
#[derive(Debug, Args)]
pub(crate) struct ServeBareArgs {
    /// Address and workers.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Where the log goes
    #[arg(long)]
    pub(crate) dir: PathBuf,
}

/// Arguments of `serve-redis`.
#[derive(Debug, Args)]
pub(crate) struct ServeRedisArgs {
    /// Address and workers.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Redis to use, redis://HOST:PORT
    #[arg(long)]
    pub(crate) redis: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if (0.0..=86_400.0).contains(&s) => Ok(s),
        _ => Err("a number of seconds from 0 to 86400".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (0.001..=100.0).contains(&n) => Ok(n),
        _ => Err("a number from 0.001 to 100".to_owned()),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    bounded(text, 16_384)
}

fn purchases(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n <= 100_000_000 => Ok(n),
        _ => Err("a number from 0 to 100000000".to_owned()),
    }
}

fn products(text: &str) -> Result<usize, String> {
    bounded(text, 100_000)
}

fn bounded(text: &str, max: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => Err(format!("a number from 1 to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
