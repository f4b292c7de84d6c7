//! Owns `check` and `log`: reading a stopped data directory.

use super::{LogArguments, fail, print_or, written};
use crate::engine::event::Event;
use crate::engine::settings::EngineSettings;
use crate::engine::view::NetCapture;
use crate::ids::{Lsn, PurchaseId};
use crate::journal::{self, CheckError, CheckReport, Generation, JournalError};
use crate::money::Amount;
use crate::payments::sandbox::{self, SandboxError};
use crate::report::feed::files::{self, SinkFiles, SinkFilesError};
use crate::report::write_event;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

/// Checks `dir`; the figures are the last line of stdout.
pub(super) fn check(dir: &Path) -> ExitCode {
    match checked(dir) {
        // Not 1, which means that the directory is damaged.
        Ok(figures) => print_or(2, format_args!("{figures}\n"), ExitCode::SUCCESS),
        Err(why) if why.is_damage() => damaged(dir, &why.to_string()),
        Err(why) => fail(2, format_args!("{}: {why}", dir.display())),
    }
}

fn checked(dir: &Path) -> Result<Value, NotClean> {
    // Other problems are reported below, where they are found.
    if let Err(error @ JournalError::NoLog { .. }) =
        journal::refuse_emptied(dir, &[sandbox::path_in(dir)])
    {
        return Err(NotClean::Emptied(error));
    }
    if !dir.join("log").is_dir() {
        return Err(NotClean::NoLog);
    }
    let report = journal::check(dir, &EngineSettings::default())?;
    if report.segments == 0 {
        return Err(NotClean::NoLog);
    }
    let gateway = gateway_agrees(dir, &report)?;
    let sinks = files::verify(dir, report.log_id, report.end)?;
    Ok(figures(&report, &gateway, sinks))
}

fn damaged(dir: &Path, why: &str) -> ExitCode {
    let status = fail(1, format_args!("{}: {why}", dir.display()));
    let figures = json!({ "clean": false, "error": why });
    print_or(1, format_args!("{figures}\n"), status)
}

/// Why a directory is not valid.
#[derive(Debug, thiserror::Error)]
enum NotClean {
    /// Its log is gone.
    #[error(transparent)]
    Emptied(JournalError),
    #[error("it contains no log; name a data directory")]
    NoLog,
    #[error(transparent)]
    Journal(#[from] CheckError),
    #[error(transparent)]
    Gateway(#[from] SandboxError),
    #[error(transparent)]
    Sinks(#[from] SinkFilesError),
    #[error(
        "I8 does not hold: the gateway charged {charged} for {purchase}, captured are {captured}; \
         look the payment up at the gateway"
    )]
    OtherCharge {
        purchase: PurchaseId,
        charged: i64,
        captured: i64,
    },
    #[error(
        "I8 does not hold: {0} is captured, and the gateway has charged nothing for it; look the \
         payment up at the gateway"
    )]
    NoCharge(PurchaseId),
}

impl NotClean {
    /// Whether it is not what was written, or contradicts itself; else it cannot be read.
    fn is_damage(&self) -> bool {
        match self {
            Self::Emptied(_)
            | Self::Journal(CheckError::Damaged(_))
            | Self::Gateway(SandboxError::Damaged { .. })
            | Self::OtherCharge { .. }
            | Self::NoCharge(_) => true,
            Self::NoLog
            | Self::Journal(CheckError::Unreadable(_))
            | Self::Gateway(SandboxError::Io { .. }) => false,
            Self::Sinks(error) => error.is_damage(),
        }
    }
}

/// I8: what the sandbox gateway of this directory charged is what was captured, except for payments
/// in progress; the figures, or the difference. `Null` if no sandbox was used.
fn gateway_agrees(dir: &Path, report: &CheckReport) -> Result<Value, NotClean> {
    if !sandbox::path_in(dir).exists() {
        return Ok(Value::Null);
    }
    let charges = sandbox::read_charges(dir)?;
    let open: HashSet<PurchaseId> = report.open.iter().copied().collect();
    let mut unpaid: HashMap<PurchaseId, NetCapture> = report.captures.iter().copied().collect();
    let (mut count, mut in_doubt) = (0_u64, 0_u64);
    for charge in charges.iter().filter(|it| it.net() > Amount::ZERO) {
        if Some(charge.reference.log_id()) != report.log_id {
            continue;
        }
        count += 1;
        let purchase = charge.reference.purchase();
        match unpaid.remove(&purchase) {
            _ if open.contains(&purchase) => in_doubt += 1,
            Some(kept) if (kept.amount, kept.currency) == (charge.net(), charge.currency) => {}
            paid => {
                return Err(NotClean::OtherCharge {
                    purchase,
                    charged: charge.net().get(),
                    captured: paid.map_or(0, |kept| kept.amount.get()),
                });
            }
        }
    }
    // A free order is captured without a charge, and a full refund leaves nothing.
    let unmatched = |(purchase, kept): &(&PurchaseId, &NetCapture)| {
        kept.amount != Amount::ZERO && !open.contains(*purchase)
    };
    if let Some((purchase, _)) = unpaid.iter().find(unmatched) {
        return Err(NotClean::NoCharge(*purchase));
    }
    Ok(json!({ "charges": count, "in_doubt": in_doubt }))
}

fn generation_json(generation: Generation) -> Value {
    json!({ "number": generation.number(), "tag": format!("{:016x}", generation.tag()) })
}

fn figures(report: &CheckReport, gateway: &Value, sinks: SinkFiles) -> Value {
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
        "log_id": report.log_id.map(|id| format!("{id:016x}")),
        "generation": report.generation.map(generation_json),
        "frames": report.frames,
        "events": report.events,
        "torn_tail": report.torn_tail,
        "snapshots": report.snapshots,
        "buyers": report.buyers,
        "purchases": report.purchases,
        "open_payments": report.open.len(),
        "gateway": gateway,
        "sinks": sinks.cursors,
        "dead_letters": sinks.dead_letters,
        "products": report.products.iter().map(product).collect::<Vec<_>>(),
        "promotions": report.promotions.iter().map(promotion).collect::<Vec<_>>(),
        "digest": report.digest,
        "digest_from": report.digest_from.as_str(),
    })
}

/// Prints events as JSON lines.
pub(super) fn log(arguments: &LogArguments) -> ExitCode {
    let dir = &arguments.dir;
    if !dir.join("log").is_dir() {
        let why = format!("{} contains no log; name a data directory", dir.display());
        return fail(1, why);
    }
    if let Some(kind) = &arguments.kind
        && !Event::KINDS.contains(&kind.as_str())
    {
        let known = Event::KINDS.join(", ");
        return fail(
            2,
            format_args!("the kind `{kind}` is unknown; known kinds: {known}"),
        );
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let mut line = Vec::new();
    let to = arguments.to.map(Lsn);
    let read = journal::read_log(dir, Lsn(arguments.from), to, &mut |entry| {
        let wanted = arguments.kind.as_ref();
        if wanted.is_none_or(|kind| entry.event.kind() == kind) {
            line.clear();
            write_event(&entry, &mut line);
            line.push(b'\n');
            written = out.write_all(&line);
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
    result: Result<(), std::io::Error>,
) -> ExitCode {
    match read {
        Err(error) if result.is_ok() => fail(1, format_args!("{}: {error}", dir.display())),
        _ => written(result, ExitCode::SUCCESS),
    }
}
