//! `import redis`: takes over what a running Redis knows of sales until now.
//!
//! Invariants: Redis is only read (`SCAN` and reads, never `KEYS`, never a write); without
//! `--apply` nothing is written anywhere; what is there already is left alone, so the same import
//! again changes nothing; where anything conflicts, nothing is applied unless `--skip-conflicts` says
//! so. `mapping` says which keys mean what, `source` reads them, `plan` compares
//! with the data directory, `outcome` tells. Deliberately absent: what taking over means (`journal`).

mod apply;
mod mapping;
mod outcome;
mod plan;
mod source;

use super::{Serve, compose, fail, prepare, print};
use crate::config::{ApiKey, Config, Role};
use crate::ids::KeyOwner;
use crate::journal::{ClockBehind, Standing};
use clap::Args;
use mapping::Mapping;
use outcome::ImportReport;
use plan::ImportPlan;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `import redis` takes.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
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
    /// Leave out what conflicts, and take the rest.
    #[arg(long)]
    skip_conflicts: bool,
    /// Report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs it; exit 0 when everything that was understood is taken (or would be), 2 where the URL is
/// none, 1 otherwise.
pub(super) fn redis(arguments: &Redis) -> ExitCode {
    let Some(redis) = source::client(&arguments.url) else {
        return fail(
            2,
            "--url must have the form redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], such as \
             redis://127.0.0.1:6379/0",
        );
    };
    match run(arguments, &redis) {
        Ok(outcome) => {
            let shown = if arguments.json {
                outcome.json().to_string()
            } else {
                outcome.text()
            };
            let status = status_of(&outcome, arguments.skip_conflicts);
            print(format_args!("{shown}\n"), status)
        }
        Err(why) => fail(1, why),
    }
}

fn status_of(outcome: &ImportReport, skip_conflicts: bool) -> ExitCode {
    match (outcome.conflicts(), outcome.late_conflicts()) {
        (0, _) => ExitCode::SUCCESS,
        (_, late) if late > 0 => fail(
            1,
            format_args!("{late} entries could not be written; read the report, then repeat"),
        ),
        (_, _) if skip_conflicts => ExitCode::SUCCESS,
        (count, _) => fail(
            1,
            format_args!(
                "{count} conflicts, so nothing was written; resolve them (the report lists them), or skip them with --skip-conflicts"
            ),
        ),
    }
}

/// The shop's API key of this name, which buyers' idempotency keys came with.
fn shop_key(keys: &[ApiKey], name: &str) -> Result<KeyOwner, String> {
    let key = keys.iter().find(|key| key.owner.as_str() == name);
    match key.map(|key| (key.role, &key.owner)) {
        Some((Role::Shop, owner)) => Ok(owner.clone()),
        Some((Role::Admin | Role::Auditor | Role::Metrics, _)) => Err(format!(
            "the API key `{name}` does not have the role shop; set key_owner in the mapping to the shop's key"
        )),
        None => Err(format!(
            "the configuration has no API key `{name}`; set key_owner in the mapping to the shop's key"
        )),
    }
}

fn run(arguments: &Redis, redis: &redis::Client) -> Result<ImportReport, String> {
    let mapping = match &arguments.mapping {
        Some(path) => Mapping::read(path)?,
        None => Mapping::default(),
    };
    let sources = prepare::sources(&Serve {
        config: arguments.config.clone(),
        data_dir: arguments.data_dir.clone(),
        listen: None,
        demo: arguments.demo,
        accept_clock: false,
    });
    let sources = sources.map_err(|error| error.to_string())?;
    let config = Config::load(&sources).map_err(|error| error.to_string())?;
    let options =
        compose::journal(&config, ClockBehind::Refuse).map_err(|error| error.to_string())?;
    let mut standing =
        Standing::read(&options.data_dir, &options.engine).map_err(|error| error.to_string())?;
    let mut outcome = ImportReport::new();
    let found = source::read(redis, &mapping, &mut outcome)?;
    let key_owner = shop_key(&config.keys, &mapping.key_owner);
    let plan = ImportPlan::make(&found, &key_owner, &mut standing, &mut outcome);
    if arguments.apply && (outcome.conflicts() == 0 || arguments.skip_conflicts) {
        outcome.applying();
        apply::carry_out(&plan, options, &mut outcome)?;
    }
    Ok(outcome)
}
