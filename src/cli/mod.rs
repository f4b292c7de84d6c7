//! The command line: `serve`, `config check`, `check`, `log`, `replay`, `reconcile`, `backup`,
//! `restore`, `schema`, `import redis`, `receipt verify`, `completions`, `man`.
//!
//! Exit status: 0 done, 1 the work failed, 2 bad usage (of `check`: 1 damaged, 2 cannot read; of
//! `reconcile`: 1 differences, 2 cannot read; of `backup verify`: 1 not good; of `replay`: 2 rules
//! that do not parse, too). A failure is one sentence on stderr: what, where, what to do. Figures
//! and events go to stdout.
//! Deliberately absent: work of its own; each command puts the modules below together.

mod ask;
mod backup;
mod bounds;
mod compose;
mod demo;
mod descriptors;
mod faces;
mod import;
mod inspect;
mod manual;
mod notices;
mod prepare;
mod process;
mod progress;
mod receipt;
mod reconcile;
mod reload;
mod replay;
mod rules;
mod schema;
mod scoring;
mod serve;
mod signals;
mod supervisor;
mod watch;

use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The purchase core for limited drops.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the core.
    Serve(Serve),
    /// Work with the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Verify every checksum and invariant of a stopped data directory; exit 0 clean, 1 damaged,
    /// 2 cannot read.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Print the events of a stopped data directory as JSON lines.
    Log(LogArguments),
    /// Evaluate other risk rules on the attempts recorded in a data directory: which would be
    /// blocked, reviewed or allowed, and what that would have cost.
    Replay(replay::ReplayArguments),
    /// Compare the gateway's charges with holdfast's purchases; exit 0 no difference, 1
    /// differences, 2 cannot read.
    Reconcile(Reconcile),
    /// Copy the data directory of a running or stopped core to a store, or verify a backup.
    Backup(backup::BackupArguments),
    /// Build a data directory from a backup.
    Restore(backup::Restore),
    /// Print what to create in PostgreSQL or Kafka.
    Schema {
        #[command(subcommand)]
        of: SchemaOf,
    },
    /// Work with receipts.
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },
    /// Import what another system sold before.
    Import {
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page for each command into a directory.
    Man {
        /// The directory; it is created. Without it: print the page of `holdfast`.
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration, certificate, keys, rules and model as `serve` would, without binding
    /// or writing anything; exit 0 valid, 1 wrong.
    Check(ConfigCheck),
}

/// What `config check` takes.
#[derive(Debug, Args)]
struct ConfigCheck {
    /// The configuration file (TOML). Without it: the environment and the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read it as `serve --demo` does.
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Import stock, counters, idempotency keys, nonces and promotion uses from Redis. Shows what
    /// it would write; writes it with `--apply`.
    Redis(import::Redis),
}

/// What `serve` takes.
#[derive(Debug, Args)]
struct Serve {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; sets `storage.data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The address to listen on; sets `server.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Run a demo: public keys, the sandbox gateway and a drop on sale, unless the configuration
    /// sets them. Listens on loopback only, unless `--demo-listen` is given.
    #[arg(long)]
    demo: bool,
    /// Listen on this address with the demo although other machines reach it, as in a container:
    /// whoever reaches it can use the demo's public keys.
    #[arg(
        long,
        value_name = "ADDR",
        requires = "demo",
        conflicts_with = "listen"
    )]
    demo_listen: Option<String>,
    /// Start although the clock is before the last event in the log: the clock is right, and the
    /// log's time is corrected. Applies to this start only.
    #[arg(long)]
    accept_clock: bool,
}

/// What `log` takes.
#[derive(Debug, Args)]
struct LogArguments {
    /// The data directory.
    dir: PathBuf,
    /// Print events from this LSN on.
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    from: u64,
    /// Print events before this LSN.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// Print only events of this kind, such as `hold_placed`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

/// What `reconcile` takes: a stopped data directory, or a running core.
#[derive(Debug, Args)]
struct Reconcile {
    /// A stopped data directory, compared with the sandbox gateway's file in it, or with the
    /// gateway in --config.
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// The configuration of the core that used the directory; its gateway is read.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// A running core, which compares with its own gateway: `https://HOST:PORT`, or on this machine
    /// `http://127.0.0.1:8080`. If `server.admin_listen` is set, use that address.
    #[arg(long, value_name = "URL", requires = "key")]
    url: Option<String>,
    /// PEM file with the authorities that sign the core's certificate. Without it: the public ones.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// An API key of the running core with the role admin.
    #[arg(long, value_name = "KEY", env = "HOLDFAST_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What `schema` prints.
#[derive(Debug, Subcommand)]
enum SchemaOf {
    /// The tables, roles and views of the PostgreSQL sink, as SQL.
    Postgres,
    /// The topics of the Kafka sink, how to create them, and the types of the events in them.
    Kafka(schema::Kafka),
}

#[derive(Debug, Subcommand)]
enum ReceiptCommand {
    /// Verify a receipt without the server; exit 0 genuine, 1 not.
    Verify(Verify),
}

/// What `receipt verify` takes.
#[derive(Debug, Args)]
struct Verify {
    /// The receipt, as JSON.
    file: PathBuf,
    #[command(flatten)]
    keys: VerifyKeys,
}

/// Sources of keys. HMAC and signature may be verified together; a configuration has the keys of
/// both.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct VerifyKeys {
    /// A file with the HMAC secret of the key that the receipt names.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A file with the public keys, as returned by `/.well-known/jwks.json`.
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    jwks: Option<PathBuf>,
    /// A file with the public key of the signature: PEM, or a JSON Web Key.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A configuration with `receipts.hmac_keys` and `receipts.ed25519_keys`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_file", "jwks", "public_key"])]
    config: Option<PathBuf>,
    /// Verify with the demo's keys.
    #[arg(long, conflicts_with_all = ["key_file", "jwks", "public_key", "config"])]
    demo: bool,
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    process::keep_off_huge_pages();
    process::keep_private();
    match Arguments::parse().command {
        CliCommand::Serve(arguments) => serve::run(&arguments),
        CliCommand::Config {
            command: ConfigCommand::Check(arguments),
        } => prepare::check(&arguments),
        CliCommand::Check { dir } => inspect::check(&dir),
        CliCommand::Log(arguments) => inspect::log(&arguments),
        CliCommand::Replay(arguments) => replay::run(&arguments),
        CliCommand::Backup(arguments) => backup::backup(&arguments),
        CliCommand::Restore(arguments) => backup::restore(&arguments),
        CliCommand::Reconcile(arguments) => reconcile::run(&arguments),
        CliCommand::Schema {
            of: SchemaOf::Postgres,
        } => schema::postgres(),
        CliCommand::Receipt {
            command: ReceiptCommand::Verify(arguments),
        } => receipt::verify(&arguments),
        CliCommand::Import {
            command: ImportCommand::Redis(arguments),
        } => import::redis(&arguments),
        CliCommand::Schema {
            of: SchemaOf::Kafka(arguments),
        } => schema::kafka(&arguments),
        CliCommand::Completions { shell } => manual::completions(shell),
        CliCommand::Man { dir } => manual::man(dir.as_deref()),
    }
}

/// Writes to stdout and ends with `status`. The macros of the standard library would panic where
/// the reader of a pipe has closed it.
fn print(text: impl std::fmt::Display, status: ExitCode) -> ExitCode {
    print_or(1, text, status)
}

/// The same; fails with `unwritten` where stdout cannot be written.
fn print_or(unwritten: u8, text: impl std::fmt::Display, status: ExitCode) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let result = write!(out, "{text}").and_then(|()| out.flush());
    written_or(unwritten, result, status)
}

/// Ends with `status` after stdout was written. A reader that closed its end, as `head` does, has
/// what it wanted: that is no failure.
fn written(result: std::io::Result<()>, status: ExitCode) -> ExitCode {
    written_or(1, result, status)
}

fn written_or(unwritten: u8, result: std::io::Result<()>, status: ExitCode) -> ExitCode {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(unwritten, format_args!("cannot write to stdout: {error}"))
        }
        _ => status,
    }
}

/// Says why on stderr and fails with `status`.
fn fail(status: u8, why: impl std::fmt::Display) -> ExitCode {
    say(format_args!("holdfast: {why}\n"));
    ExitCode::from(status)
}

/// Writes to stderr; a closed stderr is no error.
fn say(text: impl std::fmt::Display) {
    let _ = write!(std::io::stderr(), "{text}");
}
