//! Owns `reconcile`: the gateway's charges against ours, by a running core or for a stopped data
//! directory, and the report for people.
//!
//! Invariants: a stopped directory is read and never written; both ways give the same JSON report,
//! and the table is made from it; exit 0 no difference, 1 differences, 2 cannot read. Progress
//! goes to stderr, if that is a terminal.

use super::progress::{LOOK, ProgressLine};
use super::{Reconcile, ask, fail, print};
use crate::config::{Config, Environment, GatewayKind, Sources};
use crate::engine::settings::EngineSettings;
use crate::journal;
use crate::payments::sandbox;
use crate::payments::stripe::Stripe;
use crate::reconcile::{ReconcileLimits, ReconcileProgress, SandboxFile, StoppedBooks, reconcile};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Maximum number of differences in one report.
const DIFFERENCES_MAX: usize = 1_000;

/// Compares, and prints the differences.
pub(super) fn run(arguments: &Reconcile) -> ExitCode {
    let report = match (&arguments.dir, &arguments.url, &arguments.key) {
        (Some(dir), _, _) => of_directory(dir, arguments.config.as_deref()),
        (None, Some(url), Some(key)) => of_core(url, key, arguments.ca.as_deref()),
        (None, _, _) => {
            Err("name a data directory, or --url and --key of a running holdfast".to_owned())
        }
    };
    let report = match report {
        Ok(report) => report,
        Err(why) => return fail(2, why),
    };
    if let Some(error) = report["error"].as_str() {
        return fail(2, error);
    }
    let shown = if arguments.json {
        format!("{report}\n")
    } else {
        table(&report)
    };
    let status = match report["differences"].as_array().map_or(0, Vec::len) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    print(shown, status)
}

fn of_directory(dir: &Path, config: Option<&Path>) -> Result<Value, String> {
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", dir.display());
    if !dir.join("log").is_dir() {
        return Err(named(&"it contains no log; name a data directory"));
    }
    let stripe = match config {
        Some(path) => stripe_of(dir, path).map_err(|why| format!("{}: {why}", path.display()))?,
        None => None,
    };
    if stripe.is_none() && !sandbox::path_in(dir).exists() {
        return Err(named(
            &"the directory was not used with the sandbox gateway; name the configuration with --config",
        ));
    }
    let checked = journal::check(dir, &EngineSettings::default()).map_err(|why| named(&why))?;
    let limits = ReconcileLimits {
        window: None,
        pause: Duration::ZERO,
        call_timeout: Duration::from_mins(1),
        differences_max: DIFFERENCES_MAX,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| named(&why))?;
    let books = StoppedBooks::new(checked);
    let mut line = ProgressLine::new();
    let mut progress = |at: ReconcileProgress| show(&mut line, at.charges, at.payments);
    let report = if let Some(stripe) = &stripe {
        runtime.block_on(reconcile(&books, stripe, limits, 1, &mut progress))
    } else {
        let charges = SandboxFile::read(dir).map_err(|why| named(&why))?;
        runtime.block_on(reconcile(&books, &charges, limits, 1, &mut progress))
    };
    line.clear();
    Ok(report.to_json())
}

/// The gateway of the configuration at `path`; `None` for the sandbox, whose file is in the
/// directory.
fn stripe_of(dir: &Path, path: &Path) -> Result<Option<Stripe>, Box<dyn std::error::Error>> {
    let mut sources = Sources {
        environment: Environment::of_process(),
        data_dir: Some(dir.to_owned()),
        ..Sources::default()
    };
    sources.read_file(path)?;
    Ok(match Config::load(&sources)?.payments.gateway {
        GatewayKind::Stripe(settings) => Some(Stripe::new(settings)?),
        GatewayKind::Sandbox => None,
    })
}

/// Requests a run from a running core and waits for its report.
fn of_core(url: &str, key: &str, ca_file: Option<&Path>) -> Result<Value, String> {
    const PATH: &str = "/admin/reconcile";
    let core = ask::CoreClient::new(url, key, ca_file)?;
    let asked = core.ask("POST", &format!("{PATH}?full=true"))?;
    let run = asked["run"]
        .as_u64()
        .ok_or_else(|| format!("{url} does not answer like holdfast"))?;
    let mut line = ProgressLine::new();
    loop {
        let mut status = core.ask("GET", PATH)?;
        let done = status["report"]["run"].as_u64().is_some_and(|it| it >= run);
        if done {
            line.clear();
            return Ok(status["report"].take());
        }
        // The numbers restart with the process.
        if status["runs"].as_u64().is_some_and(|runs| runs < run) {
            line.clear();
            return Err(format!(
                "holdfast at {url} restarted during the comparison; repeat the command"
            ));
        }
        let running = &status["running"];
        let count = |name: &str| running[name].as_u64().unwrap_or_default();
        show(&mut line, count("charges"), count("payments"));
        std::thread::sleep(LOOK);
    }
}

fn show(line: &mut ProgressLine, charges: u64, payments: u64) {
    line.show(format_args!(
        "{charges} charges and {payments} payments compared"
    ));
}

/// The report as a table.
fn table(report: &Value) -> String {
    const HEAD: [&str; 6] = [
        "difference",
        "purchase",
        "we say",
        "captured - refunded",
        "gateway says",
        "authorized, captured - refunded",
    ];
    let none = Vec::new();
    let differences = report["differences"].as_array().unwrap_or(&none);
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(differences.iter().map(row));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    if !differences.is_empty() {
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let _ = writeln!(text, "{}", line.join("  ").trim_end());
        }
        text.push('\n');
    }
    let counts = &report["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap_or_default();
    let _ = writeln!(
        text,
        "{} differences in {} charges of the gateway's and {} payments of ours: {} agree, {} open, \
         {} without money, {} of other logs, {} without a reference, {} confirmed but not listed",
        differences.len(),
        count("charges"),
        count("payments"),
        count("agree"),
        count("open"),
        count("empty"),
        count("foreign"),
        count("without_reference"),
        count("unlisted"),
    );
    if report["complete"] == false {
        text.push_str(
            "There are more differences: the comparison stopped at reconcile.differences_max.\n",
        );
    }
    text
}

fn row(difference: &Value) -> [String; 6] {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_i64().map_or("-".to_owned(), |it| it.to_string());
    let (ours, theirs) = (&difference["ours"], &difference["gateway"]);
    let money = |amount: &Value, side: &Value| {
        if side["currency"].is_null() {
            return "-".to_owned();
        }
        let (amount, refunded) = (number(amount), number(&side["refunded"]));
        format!("{amount} - {refunded} {}", word(&side["currency"]))
    };
    let set_aside = match &theirs["authorized"] {
        Value::Null => "-".to_owned(),
        aside => format!("{}, {}", number(aside), money(&theirs["captured"], theirs)),
    };
    [
        word(&difference["kind"]),
        word(&difference["purchase_id"]),
        word(&ours["status"]),
        money(&ours["amount"], ours),
        word(&theirs["status"]),
        set_aside,
    ]
}
