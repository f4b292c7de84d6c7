//! `import redis`: takes over what a running Redis knows of sales until now.
//!
//! Invariants: Redis is only read (`SCAN` and reads, never `KEYS`, never a write); without
//! `--apply` nothing is written anywhere; what is there already is left alone, so the same import
//! again changes nothing. `mapping` says which keys mean what, `source` reads them, `plan` compares
//! with the data directory, `outcome` tells. Deliberately absent: what taking over means (`journal`).

mod apply;
mod mapping;
mod outcome;
mod plan;
mod source;

use super::{Serve, compose, fail, print, serve};
use crate::journal::Standing;
use clap::Args;
use mapping::Mapping;
use outcome::Outcome;
use plan::Plan;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `import redis` takes.
#[derive(Debug, Args)]
pub(super) struct Redis {
    /// The Redis, such as `redis://127.0.0.1:6379/0`.
    #[arg(
        long,
        value_name = "URL",
        env = "HOLDFAST_IMPORT_REDIS_URL",
        hide_env_values = true
    )]
    url: String,
    /// Which keys mean what, in TOML; without it the usual names.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// The configuration that the core runs with.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory of the stopped core; sets `storage.data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration of the demo.
    #[arg(long)]
    demo: bool,
    /// Write it into the data directory; without this nothing is written.
    #[arg(long)]
    apply: bool,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs it; exit 0 when everything that was understood is taken (or would be), 1 otherwise.
pub(super) fn redis(arguments: &Redis) -> ExitCode {
    match run(arguments) {
        Ok(outcome) => {
            let shown = if arguments.json {
                outcome.json().to_string()
            } else {
                outcome.text()
            };
            let status = if outcome.has_conflicts() {
                fail(1, "conflicts were left out; see the report")
            } else {
                ExitCode::SUCCESS
            };
            print(format_args!("{shown}\n"), status)
        }
        Err(why) => fail(1, why),
    }
}

fn run(arguments: &Redis) -> Result<Outcome, String> {
    let mapping = match &arguments.mapping {
        Some(path) => Mapping::read(path)?,
        None => Mapping::default(),
    };
    let config = serve::load(&Serve {
        config: arguments.config.clone(),
        data_dir: arguments.data_dir.clone(),
        listen: None,
        demo: arguments.demo,
    })
    .map_err(|error| error.to_string())?;
    let options = compose::journal(&config).map_err(|error| error.to_string())?;
    let standing =
        Standing::read(&options.data_dir, &options.engine).map_err(|error| error.to_string())?;
    let mut outcome = Outcome::new(arguments.apply);
    let found = source::read(&arguments.url, &mapping, &mut outcome)?;
    let plan = Plan::make(&found, &standing, &mut outcome);
    if arguments.apply {
        apply::carry_out(&plan, options, &mut outcome)?;
    }
    Ok(outcome)
}
