//! Load generator, drop checker and yardsticks for holdfast.
//!
//! 1. It knows the HTTP contract and nothing else: no part of the holdfast library is linked, so it can judge it.
//! 2. It runs on the same cores as what it measures, so its hot loop (`generator`) allocates nothing and shares nothing.
//! 3. Ratios count, not absolute figures: `compare` measures limits, peers and holdfast interleaved in one run.
//!
//! `cli` says what can be asked, `runner` plays a `scenario` and `report` shows it, `drive` measures, `dropcheck` judges, `compare` sets side by side, `growth` draws curves, `sinks`, `rules` and `telemetry` look at what these cost, `serve` holds the
//! yardstick servers. `docs/performance.md` tells how to read the figures.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod cluster;
mod compare;
mod demo;
mod drive;
mod dropcheck;
mod error;
mod fdatasync;
mod generator;
mod growth;
mod http;
mod process;
mod progress;
mod report;
mod rules;
mod runner;
mod scenario;
mod schedule;
mod serve;
mod sinks;
mod stats;
mod svg;
mod telemetry;
mod terminal;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => runner::command(&args),
        Command::Scenarios(args) => scenario::command(&args),
        Command::Report(args) => report::command(&args),
        Command::Drive(args) => drive::command(&args),
        Command::Drop(args) => dropcheck::command(&args),
        Command::Compare(args) => compare::command(&args),
        Command::Growth(args) => growth::command(&args),
        Command::Rules(args) => rules::command(&args),
        Command::Telemetry(args) => telemetry::command(&args),
        Command::Sinks(args) => sinks::command(&args),
        Command::Fdatasync(args) => fdatasync::command(&args),
        Command::ServeCeiling(args) => serve::ceiling::command(&args),
        Command::ServeBare(args) => serve::bare::command(&args),
        Command::ServeRedis(args) => serve::redis::command(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("loadtest: {fault}");
            fault.exit_code()
        }
    }
}
