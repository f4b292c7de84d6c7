//! Owns `replay`: a data directory, stopped or of a running core, read against risk rules.
//!
//! Invariants: nothing is written but to stdout and stderr; the report, its JSON and the list of
//! changes are each alone on stdout. Deliberately absent: the replay itself (`replay`).

mod show;

use super::scoring::{self, ScoringFault};
use super::{fail, say, written};
use crate::config::keys;
use crate::engine::risk::model::Model;
use crate::engine::settings::EngineSettings;
use crate::ids::Lsn;
use crate::journal::{LogExtent, log_extent, read_durable};
use crate::replay::{self, Change, History, Plan, Report, Trial};
use crate::risk;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Events between two updates of the progress bar.
const EVENTS_A_MOVE: u64 = 4_096;

/// What `replay` takes.
#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// The data directory. A core may be running on it; events that are durable at the start are
    /// read.
    dir: PathBuf,
    /// TOML file with the risk rules to evaluate. Without it: the rules that were in force at each
    /// time; then only results of attempts decided in the same instant on several threads may
    /// change.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// A model to score each attempt, for rules that use `risk_score`. Without it: the scores in
    /// the log, otherwise the operator's.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Count the later effects of blocked attempts (declines, purchases, payments), too, as
    /// recorded.
    #[arg(long)]
    as_recorded: bool,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Print each attempt with a different result as a line of JSON, and no report.
    #[arg(long, conflicts_with = "json")]
    list: bool,
    /// Maximum number of counted cards, addresses, devices and buyers, and of sets of distinct
    /// values, as in `engine.velocity_keys_max`.
    #[arg(long, value_name = "N", default_value_t = EngineSettings::default().bounds.velocity_keys_max, value_parser = keys_in_range())]
    keys_max: usize,
}

/// The range of `engine.velocity_keys_max`.
fn keys_in_range() -> RangedU64ValueParser<usize> {
    let setting = keys::find("engine.velocity_keys_max").and_then(|it| it.range);
    let (least, most) = setting.expect("it is a whole number, which has a range");
    RangedU64ValueParser::new().range(least..=most)
}

/// A failure: the exit status, and a sentence.
type ReplayFailure = (u8, String);

/// Replays; exit 0 done, 1 the directory cannot be read, 2 the rules cannot.
pub(super) fn run(arguments: &ReplayArguments) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match replayed(arguments, &mut out) {
        Ok(result) => written(result.and_then(|()| out.flush()), ExitCode::SUCCESS),
        Err((status, why)) => {
            // Changes that were printed before stay.
            let _ = out.flush();
            fail(status, why)
        }
    }
}

fn replayed(
    arguments: &ReplayArguments,
    out: &mut impl Write,
) -> Result<std::io::Result<()>, ReplayFailure> {
    let dir = &arguments.dir;
    let plan = Plan {
        trial: trial(arguments)?,
        model: model(arguments)?,
        history: if arguments.as_recorded {
            History::AsRecorded
        } else {
            History::WithoutBlocked
        },
        keys_max: arguments.keys_max,
    };
    if !dir.join("log").is_dir() {
        let why = format!("{} contains no log; name a data directory", dir.display());
        return Err((1, why));
    }
    let unreadable = |error| (1, format!("{}: {error}", dir.display()));
    let extent = log_extent(dir).map_err(unreadable)?;
    if extent.first > Lsn(0) && arguments.rules.is_none() {
        let why = format!(
            "{}: the log begins at LSN {}, after the rules were set; name rules with --rules",
            dir.display(),
            extent.first
        );
        return Err((2, why));
    }
    if extent.leaves_out_last_segment() {
        say(format_args!(
            "{}: a core is running without a witness (storage.witness = false), so the newest segment is left out; \
             stop it to have all\n",
            dir.display()
        ));
    }
    let mut written = Ok(());
    let mut list = |change: Change| {
        if arguments.list && written.is_ok() {
            written = writeln!(out, "{}", show::change(&change));
        }
    };
    let report = read(arguments, plan, &extent, &mut list)?;
    if written.is_err() || arguments.list {
        return Ok(written);
    }
    let shown = if arguments.json {
        show::json(&report).to_string()
    } else {
        show::text(&report, &heading(arguments))
    };
    Ok(writeln!(out, "{shown}"))
}

fn trial(arguments: &ReplayArguments) -> Result<Trial, ReplayFailure> {
    let Some(path) = &arguments.rules else {
        return Ok(Trial::AsInForce);
    };
    let text = crate::files::read_text(path, crate::files::TEXT_BYTES_MAX).map_err(|error| {
        let path = path.display();
        (
            2,
            format!("cannot read the risk rules `{path}`: {error}; check --rules"),
        )
    })?;
    let compiled = risk::compile(&text).map_err(|error| {
        let path = path.display();
        (
            2,
            format!("the risk rules `{path}` are wrong at {error}; correct them there"),
        )
    })?;
    Ok(Trial::Rules(compiled.set))
}

fn model(arguments: &ReplayArguments) -> Result<Option<Arc<Model>>, ReplayFailure> {
    let Some(path) = &arguments.model else {
        return Ok(None);
    };
    match scoring::load(path) {
        Ok((loaded, _)) => Ok(Some(loaded.model)),
        Err(ScoringFault::Wrong { path, error }) => {
            let path = path.display();
            let why = format!("the risk model `{path}` is wrong at {error}; correct it there");
            Err((2, why))
        }
        Err(ScoringFault::Unreadable { path, source }) => {
            let path = path.display();
            let why = format!("cannot read the risk model `{path}`: {source}; check --model");
            Err((2, why))
        }
    }
}

fn heading(arguments: &ReplayArguments) -> String {
    let rules = arguments.rules.as_ref().map_or_else(
        || "the rules that were in force at each time".to_owned(),
        |path| format!("the rules of {}", path.display()),
    );
    let history = if arguments.as_recorded {
        "the results of blocked attempts still count"
    } else {
        "the results of blocked attempts do not count"
    };
    let model = arguments.model.as_ref().map_or_else(String::new, |path| {
        format!(" and the model of {}", path.display())
    });
    let dir = arguments.dir.display();
    format!("{dir} against {rules}{model}; {history}")
}

fn read(
    arguments: &ReplayArguments,
    plan: Plan,
    extent: &LogExtent,
    list: &mut dyn FnMut(Change),
) -> Result<Report, ReplayFailure> {
    let mut replay = replay::Replay::new(plan, extent.first);
    // Drawn on a terminal only.
    let progress = ProgressBar::new(extent.durable.0.saturating_sub(extent.first.0));
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    progress.set_style(style.expect("the template is a constant"));
    let mut events = 0_u64;
    let mut failed = None;
    let done = read_durable(&arguments.dir, extent, &mut |entry| {
        events += 1;
        if events.is_multiple_of(EVENTS_A_MOVE) {
            progress.set_position(entry.lsn.0.saturating_sub(extent.first.0));
        }
        match replay.read(entry, list) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    progress.finish_and_clear();
    let dir = arguments.dir.display();
    match (failed, done) {
        (Some(error), _) => Err((1, format!("{dir}: {error}"))),
        (None, Err(error)) => Err((1, format!("{dir}: {error}"))),
        (None, Ok(())) => Ok(replay.finish(list)),
    }
}
