//! Owns what readers of the whole log need: events from a cursor on, and keeping the log from
//! there.
//!
//! Invariants: a feed shows durable events only, each once and in order; the log is kept from the
//! position of every registered reader, starting before the first snapshot of this process could
//! release anything; reading never wakes, blocks or waits for the log thread: a feed polls.
//! Deliberately absent: the readers, and the storage of their cursors.

use crate::engine::lifecycle::Step;
use crate::engine::view::{HistoryEntry, PurchaseView};
use crate::ids::{Lsn, PurchaseId};
use crate::journal::core::JournalCore;
use crate::journal::core::history::Cursor;
use crate::journal::format::fault::JournalError;
use crate::journal::tail::audit::{AuditEntry, entry_of};
use crate::money::Amount;
use std::sync::Arc;

/// Reads events in order up to the durable end, and continues as it moves.
pub struct Feed {
    reader: wal::Reader,
    log: Arc<wal::Log>,
}

/// The next result of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "an event is what there nearly always is; a box for each would cost more"
)]
pub enum Next {
    /// An event, and the LSN of the next one.
    Event(AuditEntry, Lsn),
    /// No further event is durable yet.
    NotYet,
}

impl Feed {
    pub(super) fn of(reader: wal::Reader, log: &Arc<wal::Log>) -> Self {
        let log = Arc::clone(log);
        Self { reader, log }
    }

    /// The next event. Reads the disk, so do not call it on a thread that serves requests.
    #[allow(clippy::should_implement_trait, reason = "it can fail and go on later")]
    pub fn next(&mut self) -> Result<Next, JournalError> {
        match self.reader.next()? {
            Some(record) => {
                let end = Lsn(record.end.get());
                Ok(Next::Event(entry_of(&record)?, end))
            }
            None => Ok(Next::NotYet),
        }
    }

    /// LSN of the next event.
    pub fn position(&self) -> Lsn {
        Lsn(self.reader.position().get())
    }

    /// The checksum of the log before [`Self::position`].
    pub fn chain(&self) -> u32 {
        self.reader.chain()
    }

    /// The cursor of a reader that has read everything that this feed has shown.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            generation: self.log.generation(),
            lsn: self.position(),
            chain: self.chain(),
        }
    }
}

/// The money of a purchase as of an LSN. A report about an event uses the state at the event,
/// however late it is written.
#[derive(Clone, Debug)]
pub struct PurchaseAsOf {
    /// The current purchase; use only what never changes after the capture.
    pub view: PurchaseView,
    /// The amount of each refund started by then, in order.
    pub refunds: Vec<Amount>,
}

impl PurchaseAsOf {
    /// The amount of the refund with this number, from 1.
    pub fn amount_of(&self, number: u32) -> Option<Amount> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        self.refunds.get(place).copied()
    }
}

/// Reading the log of a running journal, and keeping it for readers.
pub struct LogTail<'a> {
    pub(super) core: &'a JournalCore,
}

impl<'a> LogTail<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl LogTail<'_> {
    /// Events from `from` on, or from the beginning of the log if that is later: see
    /// [`Feed::position`].
    pub fn feed(&self, from: Lsn) -> Result<Feed, JournalError> {
        let from = wal::Lsn::new(from.0).max(self.core.log.first_lsn());
        let reader = self.core.log.reader(from)?;
        Ok(Feed::of(reader, &self.core.log))
    }

    /// Everything before is durable.
    pub fn durable_lsn(&self) -> Lsn {
        self.core.durable()
    }

    /// The first LSN of the log.
    pub fn first_lsn(&self) -> Lsn {
        Lsn(self.core.log.first_lsn().get())
    }

    /// Moves the retention of this name forward, so that the log before it may be removed.
    pub fn retention_moves(&self, name: &str, lsn: Lsn) {
        let retained = self.core.retentions.0.lock();
        if let Some(pin) = retained.iter().find(|pin| pin.name() == name) {
            pin.advance(wal::Lsn::new(lsn.0));
        }
    }

    /// Ends the retention of this name.
    pub fn retention_ends(&self, name: &str) {
        self.core
            .retentions
            .0
            .lock()
            .retain(|pin| pin.name() != name);
    }

    /// Keeps the whole remaining log again for a name whose retention has ended.
    pub fn retain_again(&self, name: &str) {
        let mut retained = self.core.retentions.0.lock();
        if !retained.iter().any(|pin| pin.name() == name) {
            retained.push(self.core.log.pin(name, self.core.log.first_lsn()));
        }
    }

    /// Removes segments that neither a snapshot nor a retention needs, and returns the freed bytes.
    /// Removes files, so do not call it on a thread that serves requests.
    pub fn let_go(&self) -> Result<u64, JournalError> {
        let needed = self.core.snapshots.pin.lock().lsn();
        let removed = self.core.log.remove_before(needed)?;
        Ok(removed.bytes)
    }

    /// Free bytes on the disk of the data directory; `None`: not known.
    pub fn disk_free_bytes(&self) -> Option<u64> {
        self.core.snapshots.storage.free_bytes().ok()
    }

    /// The purchase with its money as of the event at `lsn`, inclusive.
    pub fn purchase_as_of(&self, id: PurchaseId, lsn: Lsn) -> Option<PurchaseAsOf> {
        let catalogue = self.core.catalogue.load();
        let shard = self.core.shard(id.shard());
        let view = shard.purchase_view(id, &catalogue, lsn)?;
        let mut refunds = Vec::new();
        let started = |it: &&HistoryEntry| it.step == Step::RefundStarted;
        for _ in view.history.iter().filter(started) {
            let number = u32::try_from(refunds.len() + 1).ok()?;
            refunds.push(shard.refund_view(id, number)?.amount);
        }
        Some(PurchaseAsOf { view, refunds })
    }

    /// The event at `lsn` and its end; `None` if no durable event begins there, or if the log no
    /// longer has it.
    pub fn event_at(&self, lsn: Lsn) -> Result<Option<(AuditEntry, Lsn)>, JournalError> {
        let mut feed = match self.feed(lsn) {
            Ok(feed) => feed,
            Err(JournalError::Read(
                wal::ReadError::NotARecord { .. } | wal::ReadError::Ahead { .. },
            )) => return Ok(None),
            Err(error) => return Err(error),
        };
        match feed.next()? {
            Next::Event(entry, end) if entry.lsn == lsn => Ok(Some((entry, end))),
            Next::Event(..) | Next::NotYet => Ok(None),
        }
    }
}
