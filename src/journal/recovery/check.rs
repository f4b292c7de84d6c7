//! Owns checking a stopped directory: every checksum, every event, every invariant.
//!
//! Invariants: nothing is written; what opening would refuse is reported as damaged. In addition to
//! opening, the whole remaining log is read and, if it starts at LSN 0, folded from there: the state
//! from the snapshot must be the same (I6).

use crate::engine::settings::EngineSettings;
use crate::engine::shard::Shard;
use crate::engine::view::{Kept, PaymentView};
use crate::ids::{Lsn, PurchaseId};
use crate::journal::core::settings::Disks;
use crate::journal::format::fault::JournalError;
use crate::journal::format::store;
use crate::journal::recovery::{Folded, Folding, newest_good};
use crate::journal::snapshot::restore;
use std::path::Path;

/// What a clean directory holds.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Where the log begins.
    pub first: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// Segments of the log.
    pub segments: usize,
    /// Frames in them.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes at the end that nobody was told of, to be cut at the next start.
    pub torn_tail: Option<String>,
    /// Snapshots, all good.
    pub snapshots: usize,
    /// Buyers ever seen.
    pub buyers: usize,
    /// Purchases ever begun.
    pub purchases: usize,
    /// Names the log; `None` where it has no segment yet.
    pub log_id: Option<u64>,
    /// Which history of the log it goes on in; `None` where the log has no segment yet.
    pub generation: Option<wal::Generation>,
    /// Payments under way.
    pub open: Vec<PurchaseId>,
    /// Purchases that were paid, and what was paid for each.
    pub captures: Vec<(PurchaseId, Kept)>,
    /// Every payment, by purchase.
    pub payments: Vec<PaymentView>,
    /// For each product: total, held, sold.
    pub products: Vec<(String, u32, u32, u32)>,
    /// For each promotion: maximum, uses.
    pub promotions: Vec<(String, u32, u32)>,
    /// Of all state.
    pub digest: String,
    /// Whether the digest was reached both from a snapshot and from the beginning of the log.
    pub digest_from: DigestFrom,
}

/// How the digest was reached.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DigestFrom {
    /// From the log alone: there is no snapshot.
    Log,
    /// From the snapshot: the log no longer begins at the beginning.
    Snapshot,
    /// Both ways, with the same result.
    Both,
}

impl DigestFrom {
    /// A word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Snapshot => "snapshot",
            Self::Both => "both",
        }
    }
}

/// Why a directory is not clean.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// What was acknowledged is not all there, or contradicts itself.
    #[error("damaged: {0}")]
    Damaged(JournalError),
    /// It cannot be told.
    #[error("cannot read: {0}")]
    Unreadable(JournalError),
}

/// Checks the directory of a stopped journal.
pub fn check(data_dir: &Path, settings: &EngineSettings) -> Result<CheckReport, CheckError> {
    let disks = refuse_running(data_dir).and_then(|()| Disks::open_read_only(data_dir));
    check_on(&disks.map_err(CheckError::of)?, settings)
}

/// The same on other disks, which nobody may have open.
pub fn check_on(disks: &Disks, settings: &EngineSettings) -> Result<CheckReport, CheckError> {
    examine(disks, settings).map_err(CheckError::of)
}

impl CheckError {
    fn of(error: JournalError) -> Self {
        match error {
            JournalError::Io { .. }
            | JournalError::InUse { .. }
            | JournalError::Log(wal::OpenError::Io(_) | wal::OpenError::Format { .. }) => {
                Self::Unreadable(error)
            }
            _ => Self::Damaged(error),
        }
    }
}

fn examine(disks: &Disks, settings: &EngineSettings) -> Result<CheckReport, JournalError> {
    let snapshots = store::list(&*disks.snapshots)?;
    for (_, name) in &snapshots {
        let reading = store::Reading::open(&*disks.snapshots, name)
            .map_err(crate::journal::format::fault::io("opening", name))?;
        restore(reading, settings).map_err(|error| JournalError::Invariant {
            invariant: "snapshot",
            what: format!("{name}: {error}"),
        })?;
    }
    let newest = newest_good(&*disks.snapshots, settings)?.restored;
    let from = newest.as_ref().map_or(Lsn(0), |it| it.first);
    let log_id = newest.as_ref().map(|it| it.log_id);
    let covered = newest
        .iter()
        .flat_map(|it| &it.shards)
        .map(|(_, lsn)| *lsn)
        .max();

    // Folded twice at once: from the snapshot, and from the log's own beginning.
    let mut from_snapshot = newest.map(|restored| Folding::from(Some(restored), settings, 0));
    let mut from_log = Folding::from(None, settings, 0);
    let mut first_seen = None;
    let mut failed = None;
    let scan = wal::scan(&*disks.log, wal::Lsn::ZERO, |record| {
        let lsn = Lsn(record.lsn.get());
        let whole = *first_seen.get_or_insert(lsn) == Lsn(0);
        if failed.is_some() {
            return;
        }
        let mut fold = || -> Result<(), JournalError> {
            if whole {
                from_log.fold(record)?;
            }
            match &mut from_snapshot {
                Some(folding) if lsn >= from => folding.fold(record),
                _ => Ok(()),
            }
        };
        failed = fold().err();
    })?;
    if let wal::Verdict::Damaged(damage) = scan.verdict {
        return Err(wal::OpenError::Damaged(damage).into());
    }
    if let Some(error) = failed {
        return Err(error);
    }
    #[allow(clippy::cast_possible_truncation, reason = "as the snapshots name it")]
    let segments_id = scan.log_id.map(|id| id as u64);
    if let (Some(snapshot), Some(segments)) = (log_id, segments_id)
        && snapshot != segments
    {
        let what = format!("snapshots of log {snapshot:016x}, segments of {segments:016x}");
        return Err(JournalError::Setting(what));
    }
    let (first, end) = (Lsn(scan.first.get()), Lsn(scan.end.get()));
    if let Some(covered) = covered
        && covered > end
    {
        return Err(JournalError::LogBehindSnapshot {
            snapshot: covered,
            durable: end,
        });
    }
    let (state, digest, digest_from) = agree(from_snapshot, from_log, first)?;
    let torn_tail = match scan.verdict {
        wal::Verdict::TornTail(tail) => Some(crate::journal::format::fault::describe(&tail)),
        wal::Verdict::Clean | wal::Verdict::Damaged(_) => None,
    };
    Ok(report(
        &state,
        digest,
        digest_from,
        CheckReport {
            first,
            end,
            log_id: segments_id,
            generation: scan.generations.last().map(|it| it.generation),
            segments: scan.segments,
            frames: scan.frames,
            events: scan.records,
            torn_tail,
            snapshots: snapshots.len(),
            ..CheckReport::empty()
        },
    ))
}

/// The state and its digest, reached in every way there is.
fn agree(
    from_snapshot: Option<Folding>,
    from_log: Folding,
    first: Lsn,
) -> Result<(Folded, String, DigestFrom), JournalError> {
    let Some(from_snapshot) = from_snapshot else {
        if first > Lsn(0) {
            return Err(JournalError::NoSnapshot {
                problems: "there is none".to_owned(),
                first,
            });
        }
        let state = from_log.finish()?;
        let digest = state.digest();
        return Ok((state, digest, DigestFrom::Log));
    };
    let state = from_snapshot.finish()?;
    let digest = state.digest();
    if first > Lsn(0) {
        return Ok((state, digest, DigestFrom::Snapshot));
    }
    let replayed = from_log.finish()?.digest();
    if replayed != digest {
        let what =
            format!("the snapshot and its log lead to {digest}, the whole log to {replayed}");
        return Err(JournalError::Invariant {
            invariant: "I6",
            what,
        });
    }
    Ok((state, digest, DigestFrom::Both))
}

fn report(
    state: &Folded,
    digest: String,
    digest_from: DigestFrom,
    figures: CheckReport,
) -> CheckReport {
    let sizes = state.shards.iter().map(Shard::sizes);
    let products = state.catalogue.products().iter().map(|product| {
        let levels = product.stock.read();
        (
            product.terms.product.to_string(),
            levels.total,
            levels.held,
            levels.sold,
        )
    });
    let promotions = state.catalogue.promotions().iter().map(|promotion| {
        let levels = promotion.uses.read();
        (promotion.terms.code.to_string(), levels.max, levels.uses)
    });
    CheckReport {
        buyers: sizes.clone().map(|it| it.buyers).sum(),
        purchases: sizes.map(|it| it.purchases).sum(),
        open: state
            .shards
            .iter()
            .flat_map(|shard| {
                let open = shard.open_payments().map(|(id, _)| id);
                open.chain(shard.differing_captures())
            })
            .collect(),
        captures: state.shards.iter().flat_map(Shard::captures).collect(),
        payments: state
            .shards
            .iter()
            .flat_map(|shard| shard.payments(0, usize::MAX).payments)
            .collect(),
        products: products.collect(),
        promotions: promotions.collect(),
        digest,
        digest_from,
        ..figures
    }
}

impl CheckReport {
    fn empty() -> Self {
        Self {
            first: Lsn(0),
            end: Lsn(0),
            segments: 0,
            frames: 0,
            events: 0,
            torn_tail: None,
            snapshots: 0,
            buyers: 0,
            purchases: 0,
            log_id: None,
            generation: None,
            open: Vec::new(),
            captures: Vec::new(),
            payments: Vec::new(),
            products: Vec::new(),
            promotions: Vec::new(),
            digest: String::new(),
            digest_from: DigestFrom::Log,
        }
    }
}

/// A running process changes the files under the reader.
pub(in crate::journal) fn refuse_running(data_dir: &Path) -> Result<(), JournalError> {
    let path = data_dir.join("lock");
    let Ok(file) = crate::files::open(&path) else {
        return Ok(());
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::InUse {
            path: data_dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(crate::journal::format::fault::io("locking", path)(source))
        }
    }
}
