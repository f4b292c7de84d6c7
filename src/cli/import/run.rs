//! Owns one import, step by step: read, compare, write, report.

use super::mapping::Mapping;
use super::outcome::ImportReport;
use super::plan::ImportPlan;
use super::{Redis, apply, source};
use crate::cli::{Serve, compose, fail, prepare, print};
use crate::config::{ApiKey, Config, Role};
use crate::ids::KeyOwner;
use crate::journal::{ClockBehind, ImportTarget};
use std::process::ExitCode;

/// Runs it; exit 0 if everything that was understood is imported (or would be), 2 if the URL is
/// malformed, 1 otherwise.
pub(in crate::cli) fn redis(arguments: &Redis) -> ExitCode {
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

/// The shop's API key with this name, which buyers' idempotency keys were used with.
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
        demo_listen: None,
        demo: arguments.demo,
        accept_clock: false,
    });
    let sources = sources.map_err(|error| error.to_string())?;
    let config = Config::load(&sources).map_err(|error| error.to_string())?;
    let options =
        compose::journal(&config, ClockBehind::Refuse).map_err(|error| error.to_string())?;
    let mut standing = ImportTarget::read(&options.data_dir, &options.engine)
        .map_err(|error| error.to_string())?;
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
