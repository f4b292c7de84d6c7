//! The command line: `serve`, `check`, `log`, `receipt verify`.
//!
//! Exit status: 0 done, 1 the work failed, 2 bad usage (of `check`: 1 damaged, 2 cannot read). A
//! failure is one sentence on stderr: what, where, what to do. Figures and events go to stdout.
//! Deliberately absent: work of its own; each command puts the modules below together.

mod compose;
mod inspect;
mod receipt;
mod rules;
mod serve;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The purchase core for limited drops.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the core.
    Serve(Serve),
    /// Verify every checksum and invariant of a stopped data directory; exit 0 clean, 1 damaged,
    /// 2 cannot read.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Print the events of a stopped data directory as JSON lines.
    Log(Log),
    /// Work with receipts.
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },
}

/// What `serve` takes.
#[derive(Debug, Args)]
struct Serve {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the log is kept; sets `storage.data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen; sets `server.listen`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Fill what the configuration leaves out for a demo: well-known keys, the sandbox gateway,
    /// a drop on sale; on loopback only.
    #[arg(long)]
    demo: bool,
}

/// What `log` takes.
#[derive(Debug, Args)]
struct Log {
    /// The data directory.
    dir: PathBuf,
    /// From this LSN on.
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    from: u64,
    /// To before this LSN.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// Only events of this kind, such as `hold_placed`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
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

/// Where the key is taken from: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct VerifyKeys {
    /// A file with the HMAC secret of the key that the receipt names.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A configuration with `receipts.hmac_keys`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The demo's key.
    #[arg(long)]
    demo: bool,
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check { dir } => inspect::check(&dir),
        Command::Log(arguments) => inspect::log(&arguments),
        Command::Receipt {
            command: ReceiptCommand::Verify(arguments),
        } => receipt::verify(&arguments),
    }
}

/// Says why on stderr and fails with `status`.
fn fail(status: u8, why: impl std::fmt::Display) -> ExitCode {
    eprintln!("holdfast: {why}");
    ExitCode::from(status)
}
