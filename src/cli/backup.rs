//! Owns `backup`, `backup verify` and `restore`: a copy of a data directory, the state of a backup,
//! and a data directory from one.
//!
//! Invariants: the figures are JSON on the last line of stdout; progress goes to stderr, if that is
//! a terminal; exit 0 done (verify: good), 1 failed (verify: damaged), 2 wrong usage.

use super::progress::{LOOK, ProgressLine};
use super::{fail, print};
use crate::backup::{self, Carried, RestoreProgress, RestoreRequest, StoreTarget, Until, Verified};
use crate::config::{BackupTools, ConfigError, Environment, Sources};
use crate::engine::settings::EngineSettings;
use crate::ids::Lsn;
use crate::journal::Generation;
use crate::time::UnixMs;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `backup` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BackupArguments {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The configuration file: the data directory, and the keys of the store.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory of a running or stopped core; sets `storage.data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The target: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`, without a backup in it yet.
    #[arg(long, value_name = "URL", required = true)]
    to: Option<String>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Read and verify a whole backup, without restoring it; exit 0 valid, 1 not valid.
    Verify {
        /// The configuration file: the keys of the store.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The store with the backup.
        #[arg(long, value_name = "URL")]
        from: String,
    },
}

/// What `restore` takes.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The store with the backup: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`.
    #[arg(long, value_name = "URL")]
    from: String,
    /// Restore up to a time such as 2026-11-30T12:00:00Z (inclusive) or up to an LSN (exclusive).
    /// Without it: everything.
    #[arg(long, value_name = "TIME|LSN", value_parser = parse_until)]
    at: Option<Until>,
    /// Restore this generation, as named by `backup verify`. Without it: the newest one that
    /// reaches that far.
    #[arg(long, value_name = "GENERATION", value_parser = parse_generation)]
    generation: Option<Generation>,
    /// The new data directory; it must be absent or empty.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The configuration file: the keys of the store.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(lsn) = text.parse() {
        return Ok(Until::Lsn(Lsn(lsn)));
    }
    UnixMs::parse(text)
        .map(Until::Instant)
        .ok_or_else(|| "must be an LSN, or an instant such as 2026-11-30T12:00:00Z".to_owned())
}

fn parse_generation(text: &str) -> Result<Generation, String> {
    let form = || "must be a generation such as 2-00c0ffee00c0ffee".to_owned();
    let (number, tag) = text.split_once('-').ok_or_else(form)?;
    let number = number.parse().map_err(|_| form())?;
    let tag = u64::from_str_radix(tag, 16).map_err(|_| form())?;
    Ok(Generation::new(number, tag))
}

/// Copies a data directory, or verifies a backup.
pub(super) fn backup(arguments: &BackupArguments) -> ExitCode {
    if let Some(BackupCommand::Verify { config, from }) = &arguments.command {
        return verify(config.as_deref(), from);
    }
    let Some(to) = &arguments.to else {
        return fail(2, "--to is missing: the store or directory for the copy");
    };
    let tools = tools(arguments.config.as_deref(), arguments.data_dir.as_deref());
    let found = tools.and_then(|it| Ok((it.target("--to", to)?, it.data_dir)));
    let (target, data_dir) = match found {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    if target.lies_in(&data_dir) {
        return fail(
            2,
            "--to is inside the data directory and would be lost with it; name another disk or store",
        );
    }
    if !data_dir.join("log").is_dir() {
        let why = format!(
            "{} contains no log; name a data directory",
            data_dir.display()
        );
        return fail(1, why);
    }
    let carried = Carried::default();
    let mut line = ProgressLine::new();
    let copied = run(async {
        let copying = backup::copy(&data_dir, &target, now(), &carried);
        tokio::pin!(copying);
        loop {
            tokio::select! {
                copied = &mut copying => return copied,
                () = tokio::time::sleep(LOOK) => {
                    show(&mut line, "written", carried.objects(), carried.bytes());
                }
            }
        }
    });
    line.clear();
    match copied {
        Ok(Ok(copied)) => {
            let figures = json!({
                "to": target.to_string(),
                "log_id": format!("{:016x}", copied.log_id),
                "snapshot_lsn": copied.snapshot.map(|it| it.0),
                "end_lsn": copied.end.0,
                "objects": copied.objects,
                "bytes": copied.bytes,
            });
            print(format_args!("{figures}\n"), ExitCode::SUCCESS)
        }
        Ok(Err(error)) => fail(1, error),
        Err(error) => fail(1, error),
    }
}

/// Builds a data directory from a backup.
pub(super) fn restore(arguments: &Restore) -> ExitCode {
    let target = match target(arguments.config.as_deref(), &arguments.from) {
        Ok(target) => target,
        Err(error) => return refused(&error),
    };
    let order = RestoreRequest {
        from: &target,
        until: arguments.at.unwrap_or(Until::End),
        generation: arguments.generation,
        data_dir: &arguments.data_dir,
        engine: &EngineSettings::default(),
    };
    let mut line = ProgressLine::new();
    let restored = run(backup::restore(&order, &mut |at: RestoreProgress| {
        show(&mut line, at.stage, at.objects, at.bytes);
    }));
    line.clear();
    match restored {
        Ok(Ok(restored)) => {
            let check = &restored.check;
            let figures = json!({
                "data_dir": arguments.data_dir.display().to_string(),
                "of_generation": restored.of.to_string(),
                "generation": restored.generation.to_string(),
                "snapshot_lsn": restored.snapshot.map(|it| it.0),
                "first_lsn": check.first.0,
                "end_lsn": check.end.0,
                "events": check.events,
                "buyers": check.buyers,
                "purchases": check.purchases,
                "digest": check.digest,
                "objects": restored.objects,
                "bytes": restored.bytes,
            });
            print(format_args!("{figures}\n"), ExitCode::SUCCESS)
        }
        Ok(Err(error)) => fail(1, error),
        Err(error) => fail(1, error),
    }
}

fn verify(config: Option<&Path>, from: &str) -> ExitCode {
    let target = match target(config, from) {
        Ok(target) => target,
        Err(error) => return refused(&error),
    };
    let scratch = match Scratch::make() {
        Ok(scratch) => scratch,
        Err(error) => {
            return fail(
                1,
                format_args!("cannot use the temporary directory: {error}"),
            );
        }
    };
    let mut line = ProgressLine::new();
    let verified = run(backup::verify(
        &target,
        &scratch.0,
        &mut |objects, bytes| {
            show(&mut line, "reading", objects, bytes);
        },
    ));
    line.clear();
    let verified = match verified {
        Ok(Ok(verified)) => verified,
        Ok(Err(error)) => return fail(1, error),
        Err(error) => return fail(1, error),
    };
    let status = if verified.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        fail(
            1,
            format_args!("the backup is damaged: {}", verified.problems.join("; ")),
        )
    };
    print(format_args!("{}\n", verified_json(&verified)), status)
}

fn verified_json(verified: &Verified) -> Value {
    let generations = verified.generations.iter().map(|it| {
        let gaps = it.gaps.iter();
        json!({
            "generation": it.generation.to_string(),
            "segments": it.segments,
            "pieces": it.pieces,
            "snapshots": it.snapshots,
            "restorable_from_lsn": it.restorable.map(|(from, _)| from.0),
            "restorable_to_lsn": it.restorable.map(|(_, to)| to.0),
            "gaps": gaps.map(|(from, to)| json!([from.0, to.0])).collect::<Vec<_>>(),
        })
    });
    json!({
        "good": verified.problems.is_empty(),
        "problems": verified.problems,
        "generations": generations.collect::<Vec<_>>(),
        "objects": verified.objects,
        "bytes": verified.bytes,
        "foreign_objects": verified.foreign,
    })
}

fn tools(config: Option<&Path>, data_dir: Option<&Path>) -> Result<BackupTools, ConfigError> {
    let mut sources = Sources {
        environment: Environment::of_process(),
        data_dir: data_dir.map(Path::to_owned),
        ..Sources::default()
    };
    if let Some(path) = config {
        sources.read_file(path)?;
    }
    BackupTools::load(&sources)
}

/// A wrong flag is bad usage; everything else is the configuration.
fn refused(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::Invalid { key, what } if key.starts_with("--") => {
            fail(2, format_args!("{key} {what}"))
        }
        _ => fail(1, error),
    }
}

fn target(config: Option<&Path>, from: &str) -> Result<StoreTarget, ConfigError> {
    tools(config, None)?.target("--from", from)
}

fn run<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.map_or(0, |it| it.as_millis());
    UnixMs::new(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// A directory for one object at a time, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let tag = crate::random::Random::System.draw();
        let path = std::env::temp_dir().join(format!("holdfast-verify-{tag:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn show(line: &mut ProgressLine, stage: &str, objects: u64, bytes: u64) {
    let mib = bytes >> 20;
    line.show(format_args!("{stage}: {objects} objects, {mib} MiB"));
}
