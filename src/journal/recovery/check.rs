//! Owns checking a stopped directory: every checksum, every event, every invariant.
//!
//! Invariants: nothing is written; what opening would refuse is reported as damaged. In addition to
//! opening, the whole remaining log is read and, if it starts at LSN 0, folded from there: the state
//! from the snapshot must be the same (I6).

use super::fold::{Folded, Folding};
use super::newest::newest_good;
use crate::engine::settings::EngineSettings;
use crate::engine::shard::Shard;
use crate::engine::view::{NetCapture, PaymentView};
use crate::ids::{Lsn, PurchaseId};
use crate::journal::core::directory::refuse_running;
use crate::journal::core::settings::Disks;
use crate::journal::format::fault::{BadSnapshot, BrokenInvariant, JournalError, describe, io};
use crate::journal::format::store;
use crate::journal::snapshot::restoring::{Restored, restore};
use std::path::Path;

/// The figures of a clean directory.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The first LSN of the log.
    pub first: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// Segments of the log.
    pub segments: usize,
    pub frames: u64,
    pub events: u64,
    /// Unacknowledged bytes at the end, which the next start cuts.
    pub torn_tail: Option<String>,
    /// Valid snapshots.
    pub snapshots: usize,
    /// Buyers.
    pub buyers: usize,
    /// Holds and purchases.
    pub purchases: usize,
    /// `None` if the log has no segment yet.
    pub log_id: Option<u64>,
    /// `None` if the log has no segment yet.
    pub generation: Option<wal::Generation>,
    /// Payments in progress.
    pub open: Vec<PurchaseId>,
    /// Paid purchases with their amounts.
    pub captures: Vec<(PurchaseId, NetCapture)>,
    /// Every payment, by purchase.
    pub payments: Vec<PaymentView>,
    /// For each product: total, held, sold.
    pub products: Vec<(String, u32, u32, u32)>,
    /// For each promotion: maximum, uses.
    pub promotions: Vec<(String, u32, u32)>,
    /// The digest over the whole state.
    pub digest: String,
    pub digest_from: DigestFrom,
}

/// How the digest was computed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DigestFrom {
    /// From the log alone; there is no snapshot.
    Log,
    /// From the snapshot alone; the log no longer has its beginning.
    Snapshot,
    /// From both, with the same result.
    Both,
}

impl DigestFrom {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Snapshot => "snapshot",
            Self::Both => "both",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Acknowledged data is missing or inconsistent.
    #[error("damaged: {0}")]
    Damaged(JournalError),
    /// The directory cannot be read.
    #[error("cannot read: {0}")]
    Unreadable(JournalError),
}

/// Checks the directory of a stopped journal.
pub fn check(data_dir: &Path, settings: &EngineSettings) -> Result<CheckReport, CheckError> {
    let disks = refuse_running(data_dir).and_then(|()| Disks::open_read_only(data_dir));
    check_on(&disks.map_err(CheckError::of)?, settings)
}

/// The same on other disks, which no process may have open.
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
    // 1. Every snapshot must be readable, not only the newest, from which the next start would begin.
    let snapshots = store::list(&*disks.snapshots)?;
    for (_, name) in &snapshots {
        let reading =
            store::SnapshotFile::open(&*disks.snapshots, name).map_err(io("opening", name))?;
        restore(reading, settings).map_err(|problem| BadSnapshot {
            name: name.clone(),
            problem,
        })?;
    }
    let newest = newest_good(&*disks.snapshots, settings)?.restored;
    let log_id = newest.as_ref().map(|it| it.log_id);
    let covered = newest
        .iter()
        .flat_map(|it| &it.shards)
        .map(|(_, lsn)| *lsn)
        .max();

    // 2. The log, folded from the snapshot and from LSN 0.
    let ReadLog {
        scan,
        from_snapshot,
        from_log,
    } = ReadLog::of(disks, settings, newest)?;
    // 3. Snapshots and log belong together: the same log, and the log is no shorter than what a
    // snapshot has of it.
    #[allow(clippy::cast_possible_truncation, reason = "as the snapshots name it")]
    let segments_id = scan.log_id.map(|id| id as u64);
    if let (Some(snapshots), Some(segments)) = (log_id, segments_id)
        && snapshots != segments
    {
        return Err(JournalError::OtherLog {
            snapshots,
            segments,
        });
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
    // 4. Both folds must lead to the same state.
    let (state, digest, digest_from) = agree(from_snapshot, from_log, first)?;
    let torn_tail = match scan.verdict {
        wal::Verdict::TornTail(tail) => Some(describe(&tail)),
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

/// The whole remaining log, with its events folded twice in one pass.
struct ReadLog {
    scan: wal::Scan,
    /// From the newest snapshot on; `None` without a snapshot.
    from_snapshot: Option<Folding>,
    /// From LSN 0 on; empty if the log no longer begins there.
    from_log: Folding,
}

impl ReadLog {
    fn of(
        disks: &Disks,
        settings: &EngineSettings,
        newest: Option<Restored>,
    ) -> Result<Self, JournalError> {
        let from = newest.as_ref().map_or(Lsn(0), |it| it.first);
        let mut from_snapshot = newest.map(|restored| Folding::from(Some(restored), settings, 0));
        let mut from_log = Folding::from(None, settings, 0);
        let mut first_seen = None;
        let mut failed = None;
        let scan = wal::scan(&*disks.log, wal::Lsn::ZERO, |record| {
            let lsn = Lsn(record.lsn.get());
            let whole = *first_seen.get_or_insert(lsn) == Lsn(0);
            // Reading continues after an event that cannot be folded: damaged bytes further on are
            // the more likely cause, so they are reported first.
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
        match failed {
            Some(error) => Err(error),
            None => Ok(Self {
                scan,
                from_snapshot,
                from_log,
            }),
        }
    }
}

/// The state and its digest, computed in every possible way; all must agree.
fn agree(
    from_snapshot: Option<Folding>,
    from_log: Folding,
    first: Lsn,
) -> Result<(Folded, String, DigestFrom), JournalError> {
    let Some(from_snapshot) = from_snapshot else {
        if first > Lsn(0) {
            let bad = Vec::new();
            return Err(JournalError::NoSnapshot { bad, first });
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
        let broken = BrokenInvariant::Digests {
            restored: digest,
            replayed,
        };
        return Err(broken.into());
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
