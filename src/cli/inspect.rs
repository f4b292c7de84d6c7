//! Owns `check` and `log`: reading a stopped data directory.

use super::{Log, fail};
use crate::engine::settings::EngineSettings;
use crate::ids::Lsn;
use crate::journal::{self, CheckError, CheckReport, JournalError};
use crate::report::event_json;
use serde_json::{Value, json};
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

/// Checks `dir`; the figures are the last line of stdout.
pub(super) fn check(dir: &Path) -> ExitCode {
    if !dir.is_dir() {
        let why = format!("{} is no directory; name a data directory", dir.display());
        return fail(2, why);
    }
    match journal::check(dir, &EngineSettings::default()) {
        Ok(report) => {
            println!("{}", figures(&report));
            ExitCode::SUCCESS
        }
        Err(error @ CheckError::Damaged(_)) => {
            println!("{}", json!({ "clean": false, "error": error.to_string() }));
            fail(1, format_args!("{}: {error}", dir.display()))
        }
        Err(error @ CheckError::Unreadable(_)) => {
            fail(2, format_args!("{}: {error}", dir.display()))
        }
    }
}

fn figures(report: &CheckReport) -> Value {
    let product = |(id, total, held, sold): &(String, u32, u32, u32)| {
        json!({
            "product_id": id,
            "total": total,
            "available": total - held - sold,
            "held": held,
            "sold": sold,
        })
    };
    let promotion = |(code, maximum, uses): &(String, u32, u32)| json!({ "code": code, "uses_max": maximum, "uses": uses });
    json!({
        "clean": true,
        "first_lsn": report.first.0,
        "end_lsn": report.end.0,
        "segments": report.segments,
        "frames": report.frames,
        "events": report.events,
        "torn_tail": report.torn_tail,
        "snapshots": report.snapshots,
        "buyers": report.buyers,
        "purchases": report.purchases,
        "open_payments": report.open_payments,
        "products": report.products.iter().map(product).collect::<Vec<_>>(),
        "promotions": report.promotions.iter().map(promotion).collect::<Vec<_>>(),
        "digest": report.digest,
        "digest_from": report.digest_from.as_str(),
    })
}

/// Prints events as JSON lines.
pub(super) fn log(arguments: &Log) -> ExitCode {
    let dir = &arguments.dir;
    if !dir.is_dir() {
        let why = format!("{} is no directory; name a data directory", dir.display());
        return fail(1, why);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let to = arguments.to.map(Lsn);
    let read = journal::read_log(dir, Lsn(arguments.from), to, &mut |entry| {
        let wanted = arguments.kind.as_ref();
        if wanted.is_none_or(|kind| entry.event.kind() == kind) {
            written = writeln!(out, "{}", event_json(&entry));
        }
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    finish(dir, read, written.and_then(|()| out.flush()))
}

fn finish(
    dir: &Path,
    read: Result<(), JournalError>,
    written: Result<(), std::io::Error>,
) -> ExitCode {
    match (read, written) {
        // Whoever read has enough: `holdfast log DIR | head`.
        (_, Err(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        (_, Err(error)) => fail(1, format_args!("stdout cannot be written: {error}")),
        (Err(error), Ok(())) => fail(1, format_args!("{}: {error}", dir.display())),
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
    }
}
