//! `import redis`: takes over what a running Redis knows of sales until now.
//!
//! Invariants: Redis is only read (`SCAN` and reads, never `KEYS`, never a write); without
//! `--apply` nothing is written anywhere; what is there already is left alone, so the same import
//! again changes nothing; where anything conflicts, nothing is applied unless `--skip-conflicts`
//! says so. `mapping` says which keys mean what, `source` reads them, `plan` compares with the data
//! directory, `outcome` tells. Deliberately absent: what taking over means (`journal`).

#[cfg(feature = "redis-import")]
mod apply;
#[cfg(feature = "redis-import")]
mod mapping;
#[cfg(feature = "redis-import")]
mod outcome;
#[cfg(feature = "redis-import")]
mod plan;
#[cfg(feature = "redis-import")]
mod run;
#[cfg(feature = "redis-import")]
mod source;

use clap::Args;
#[cfg(feature = "redis-import")]
pub(super) use run::redis;
use std::path::PathBuf;

/// What `import redis` takes.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[cfg_attr(
    not(feature = "redis-import"),
    allow(dead_code, reason = "the command takes them, and says that it cannot")
)]
pub(super) struct Redis {
    /// URL of Redis, such as `redis://127.0.0.1:6379/0`.
    #[arg(
        long,
        value_name = "URL",
        env = "HOLDFAST_IMPORT_REDIS_URL",
        hide_env_values = true
    )]
    url: String,
    /// TOML file with the names of keys. Without it: the usual names.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// The configuration file of the core.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory of the stopped core; sets `storage.data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use the demo's configuration.
    #[arg(long)]
    demo: bool,
    /// Write into the data directory. Without it nothing is written.
    #[arg(long)]
    apply: bool,
    /// Leave out conflicting entries and import the rest.
    #[arg(long)]
    skip_conflicts: bool,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Says that this build cannot.
#[cfg(not(feature = "redis-import"))]
pub(super) fn redis(_: &Redis) -> std::process::ExitCode {
    super::fail(
        1,
        "this program was built without Redis; build it with the cargo feature `redis-import`",
    )
}
