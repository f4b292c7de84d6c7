//! Owns reading events back from the log, of a running journal and of a directory.
//!
//! Invariants: only durable records are shown; a page is limited in events shown and in records
//! read, so that a selective query over a long log answers in pieces and blocks nothing.

use super::feed::{Feed, LogTail};
use crate::engine::event::{Event, Target};
use crate::engine::rejection::{Fact, RefusalFacts};
use crate::ids::{KeyOwner, Lsn, PurchaseId, UserId};
use crate::journal::core::JournalCore;
use crate::journal::core::directory::refuse_running;
use crate::journal::core::settings::Disks;
use crate::journal::format::codec::{self, Kind};
use crate::journal::format::fault::JournalError;
use crate::time::UnixMs;
use crate::trace::TraceContext;
use std::ops::ControlFlow;
use std::path::Path;

/// Maximum records that one page reads.
pub const RECORDS_LOOKED_AT_MAX: usize = 200_000;

/// Bytes of the log read at a time if the newest events come first.
const STRETCH_BYTES: u64 = 8 << 20;

/// What to show.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// From this LSN on; an LSN inside a record means the next record.
    pub from: Lsn,
    /// Only events up to this LSN, inclusive.
    pub to: Lsn,
    /// Only events from this instant on.
    pub since: Option<UnixMs>,
    /// Only events up to this instant.
    pub until: Option<UnixMs>,
    pub order: SortOrder,
    /// Only events of this kind: see [`Event::kind`].
    pub kind: Option<String>,
    /// Only events about this buyer, including administrative acts on them and on their purchases.
    pub user: Option<UserId>,
    /// Only events about this purchase, including acts, webhooks and refused attempts on its hold.
    pub purchase: Option<PurchaseId>,
    /// Only administrative acts with this word, done or refused: see [`Event::act`].
    pub act: Option<String>,
    /// Only events caused by keys of this name: see [`Event::owner`].
    pub by: Option<KeyOwner>,
    pub limit: usize,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// The oldest first.
    Ascending,
    /// The newest first.
    Descending,
}

impl SortOrder {
    /// The order with this word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "asc" => Some(Self::Ascending),
            "desc" => Some(Self::Descending),
            _ => None,
        }
    }
}

/// An event with its LSN and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub lsn: Lsn,
    pub at: UnixMs,
    /// The trace of the request that it came by.
    pub trace: Option<TraceContext>,
    pub event: Event,
}

/// One page of the result.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// In the requested order.
    pub entries: Vec<AuditEntry>,
    /// Where to continue: the next page starts here if the oldest come first, and ends here if the
    /// newest do.
    pub next: Lsn,
    /// Whether there are more events at `next` already.
    pub end: LogEnd,
}

/// Whether the durable end of the log was reached.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// No later event is durable yet.
    Reached,
    NotYet,
}

impl AuditQuery {
    /// Whether it asks for `entry`; `owns` says whether a purchase is a buyer's.
    fn wants(&self, entry: &AuditEntry, owns: impl Fn(&UserId, PurchaseId) -> bool) -> bool {
        let event = &entry.event;
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at <= until)
            && self.kind.as_ref().is_none_or(|kind| event.kind() == kind)
            && self.user.as_ref().is_none_or(|user| {
                event.user() == Some(user)
                    || target_of(event).is_some_and(|target| {
                        let purchase = || PurchaseId::parse_purchase(target);
                        target == user.as_str() || purchase().is_some_and(|it| owns(user, it))
                    })
            })
            && self.purchase.is_none_or(|id| is_about(event, id))
            && self.act.as_ref().is_none_or(|act| event.act() == Some(act))
            && self
                .by
                .as_ref()
                .is_none_or(|owner| event.owner() == Some(owner))
    }
}

/// What an administrative act is about.
fn target_of(event: &Event) -> Option<&str> {
    let target = if let Event::AdminActed(acted) = event {
        acted.target.as_ref()
    } else if let Event::AdminRefused(refused) = event {
        refused.target.as_ref()
    } else {
        None
    };
    target.map(Target::as_str)
}

fn is_about(event: &Event, purchase: PurchaseId) -> bool {
    let named = if let Event::WebhookReceived(received) = event {
        received.purchase
    } else if let Event::AttemptRefused(refused) = event {
        refused.facts.as_deref().and_then(purchase_in)
    } else {
        event.step().map(|(id, _)| id)
    };
    let act = || target_of(event).and_then(PurchaseId::parse_purchase);
    named.or_else(act) == Some(purchase)
}

/// The purchase, or its hold, that a refusal is about.
fn purchase_in(facts: &RefusalFacts) -> Option<PurchaseId> {
    let fields = facts.fields();
    fields.into_iter().find_map(|(_, fact)| match fact {
        Fact::Hold(id) | Fact::Purchase(id) => Some(id),
        Fact::Number(_)
        | Fact::Word(_)
        | Fact::Currency(_)
        | Fact::Currencies(_)
        | Fact::Instant(_)
        | Fact::Null => None,
    })
}

/// Whether `purchase` is kept, and is this buyer's.
fn owns(core: &JournalCore, user: &UserId, purchase: PurchaseId) -> bool {
    core.shard(purchase.shard()).owner_of(purchase) == Some(user)
}

impl LogTail<'_> {
    /// Events from the log. Reads the disk, so do not call it on a thread that serves requests.
    pub fn audit(&self, query: &AuditQuery) -> Result<AuditPage, JournalError> {
        match query.order {
            SortOrder::Ascending => self.audit_forward(query),
            SortOrder::Descending => self.audit_backward(query),
        }
    }

    /// The newest first: the log is read in stretches from the end backward, each stretch forward.
    fn audit_backward(&self, query: &AuditQuery) -> Result<AuditPage, JournalError> {
        let first = query.from.max(Lsn(self.core.log.first_lsn().get()));
        // The end of the last record that may be shown.
        let mut end = Lsn(query.to.0.saturating_add(1)).min(Lsn(self.core.log.durable().get()));
        let mut page = AuditPage {
            entries: Vec::new(),
            next: Lsn(0),
            end: LogEnd::Reached,
        };
        let mut looked_at = 0;
        while end > first && looked_at < RECORDS_LOOKED_AT_MAX {
            let start = Lsn(end.0.saturating_sub(STRETCH_BYTES)).max(first);
            let mut found = Vec::new();
            if let Some(mut reader) = self.reader_at(start)? {
                while let Some(record) = reader.next()?
                    && record.lsn.get() < end.0
                {
                    looked_at += 1;
                    let entry = entry_of(&record)?;
                    if query.wants(&entry, |user, purchase| owns(self.core, user, purchase)) {
                        found.push(entry);
                    }
                }
            }
            while let Some(entry) = found.pop() {
                if page.entries.len() == query.limit {
                    page.next = Lsn(entry.lsn.0);
                    page.end = LogEnd::NotYet;
                    return Ok(page);
                }
                page.entries.push(entry);
            }
            end = start;
        }
        if end > first {
            page.next = Lsn(end.0 - 1);
            page.end = LogEnd::NotYet;
        }
        Ok(page)
    }

    fn audit_forward(&self, query: &AuditQuery) -> Result<AuditPage, JournalError> {
        let mut page = AuditPage {
            entries: Vec::new(),
            next: query.from,
            end: LogEnd::Reached,
        };
        let Some(mut reader) = self.reader_at(query.from)? else {
            return Ok(page);
        };
        for _ in 0..RECORDS_LOOKED_AT_MAX {
            if page.entries.len() == query.limit {
                page.end = LogEnd::NotYet;
                return Ok(page);
            }
            let Some(record) = reader.next()? else {
                return Ok(page);
            };
            if record.lsn.get() > query.to.0 {
                return Ok(page);
            }
            let entry = entry_of(&record)?;
            page.next = Lsn(record.end.get());
            if query.wants(&entry, |user, purchase| owns(self.core, user, purchase)) {
                page.entries.push(entry);
            }
        }
        page.end = LogEnd::NotYet;
        Ok(page)
    }

    /// A feed from the first record at or behind `from` on; `None` if nothing stands there yet.
    /// Reads the disk, so do not call it on a thread that serves requests.
    pub fn feed_behind(&self, from: Lsn) -> Result<Option<Feed>, JournalError> {
        let reader = self.reader_at(from)?;
        Ok(reader.map(|reader| Feed::of(reader, &self.core.log)))
    }

    /// A reader at the first record from `from` on; `None` if that is past the durable end.
    fn reader_at(&self, from: Lsn) -> Result<Option<wal::Reader>, JournalError> {
        let from = wal::Lsn::new(from.0).max(self.core.log.first_lsn());
        match self.core.log.reader(from) {
            Ok(reader) => Ok(Some(reader)),
            Err(wal::ReadError::NotARecord { next, .. }) => match self.core.log.reader(next) {
                Ok(reader) => Ok(Some(reader)),
                Err(wal::ReadError::Ahead { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Err(wal::ReadError::Ahead { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Shows each event of a stopped directory from `from` to before `to`, until `each` breaks off.
///
/// Damage is an error, after everything before it has been shown.
pub fn read_log(
    data_dir: &Path,
    from: Lsn,
    to: Option<Lsn>,
    each: &mut dyn FnMut(AuditEntry) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    read_log_on(&Disks::open_read_only(data_dir)?, from, to, each)
}

/// The same on other disks, which no process may have open.
pub fn read_log_on(
    disks: &Disks,
    from: Lsn,
    to: Option<Lsn>,
    each: &mut dyn FnMut(AuditEntry) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    let mut going = ControlFlow::Continue(());
    let mut undecodable = None;
    let scan = wal::scan(&*disks.log, wal::Lsn::new(from.0), |record| {
        let within = record.lsn.get() >= from.0 && to.is_none_or(|to| record.lsn.get() < to.0);
        if !within || going.is_break() || undecodable.is_some() {
            return;
        }
        match entry_of(record) {
            Ok(entry) => going = each(entry),
            Err(error) => undecodable = Some(error),
        }
    })?;
    match (undecodable, scan.verdict) {
        (Some(error), _) => Err(error),
        (None, wal::Verdict::Damaged(damage)) => Err(wal::OpenError::Damaged(damage).into()),
        (None, wal::Verdict::Clean | wal::Verdict::TornTail(_)) => Ok(()),
    }
}

/// The extent of a directory's log, for a reader.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LogExtent {
    /// The first LSN; above 0 if snapshots made the beginning obsolete.
    pub first: Lsn,
    /// The known durable LSN.
    pub durable: Lsn,
    is_witnessed: bool,
    writer: Writer,
}

impl LogExtent {
    /// Whether the last segment is left out: a core is writing it, and without a witness
    /// (`storage.witness`) it is not known how much of it is durable.
    pub fn leaves_out_last_segment(&self) -> bool {
        self.writer == Writer::Running && !self.is_witnessed
    }
}

/// Whether a process has the directory open.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Writer {
    Running,
    Stopped,
}

/// The extent of the log of `data_dir`, whether a core is running on it or not.
pub fn log_extent(data_dir: &Path) -> Result<LogExtent, JournalError> {
    let writer = match refuse_running(data_dir) {
        Ok(()) => Writer::Stopped,
        Err(JournalError::InUse { .. }) => Writer::Running,
        Err(error) => return Err(error),
    };
    let disks = Disks::open_read_only(data_dir)?;
    let wal::Extent {
        first,
        durable,
        is_witnessed,
    } = wal::extent(&*disks.log)?;
    Ok(LogExtent {
        first: Lsn(first.get()),
        durable: Lsn(durable.get()),
        is_witnessed,
        writer,
    })
}

/// Shows each event of a directory, until `each` breaks off. If a core is running on it, only the
/// events that were durable when `extent` was taken.
pub fn read_durable(
    data_dir: &Path,
    extent: &LogExtent,
    each: &mut dyn FnMut(AuditEntry) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    if extent.writer == Writer::Stopped {
        return read_log(data_dir, extent.first, None, each);
    }
    let read = read_log(data_dir, extent.first, Some(extent.durable), each);
    match read {
        // A frame that is being written looks unfinished; that is not damage.
        Err(JournalError::Log(wal::OpenError::Damaged(damage)))
            if damage.lsn.get() >= extent.durable.0 =>
        {
            Ok(())
        }
        read => read,
    }
}

pub(in crate::journal) fn entry_of(record: &wal::Record<'_>) -> Result<AuditEntry, JournalError> {
    let lsn = Lsn(record.lsn.get());
    let kind = Kind {
        number: record.kind,
        version: record.version,
    };
    let (at, event) = codec::decode(kind, record.payload)
        .map_err(|source| JournalError::Decode { lsn, source })?;
    let trace = codec::trace_of(record.payload);
    Ok(AuditEntry {
        lsn,
        at,
        trace,
        event,
    })
}
