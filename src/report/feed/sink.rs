//! Owns the three parts of every sink, so that one runner drives them all.
//!
//! [`Convert`] turns an event into the sink's item (a row, a message, a line), [`Deliver`] delivers
//! a batch, and [`Deliver::classify`] says what an error means. Invariants: converting depends only
//! on the event and on what never changes about its purchase, so repeating it gives the same; a
//! batch is delivered whole or not at all if the sink can do that; an event that a sink rejects
//! permanently is reported, never dropped.
//! Deliberately absent: reading the log, retries, cursors in files, dead letters; the runner has
//! these.

use crate::ids::Lsn;
use crate::journal::{AuditEntry, Cursor, Generation};
use crate::time::UnixMs;
use std::error::Error;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// One durable event on its way to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    pub entry: AuditEntry,
    /// LSN of the next event: the cursor after this one is delivered.
    pub end: Lsn,
}

/// Converts events into the sink's items. Runs on the thread that reads the log.
pub trait Convert: Send + 'static {
    type Item: Send + 'static;

    /// The item for the event; `None` if the sink does not use it.
    fn convert(&mut self, fed: &Fed) -> Result<Option<Self::Item>, Unfit>;

    /// Its approximate size in bytes, for the limit of a batch.
    fn bytes(item: &Self::Item) -> usize;
}

/// An event that can never be converted; it becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

/// Delivers batches. Runs on the sink's own thread and runtime.
pub trait Deliver: Send + 'static {
    type Item: Send + 'static;
    type Error: Error + Send + 'static;

    /// Connects if necessary, and returns the sink's own cursor if it keeps one ([`Kept::InSink`];
    /// `None`: nothing was ever delivered). Called at the start, and again after an error. `log_id`
    /// and `generation` identify the log; content of another log is an error.
    fn open(
        &mut self,
        log_id: u64,
        generation: Generation,
    ) -> impl Future<Output = Result<Option<Cursor>, Self::Error>> + Send;

    /// Delivers the batch; when it returns, nothing of it can be lost. After an error the runner
    /// calls it again with the same batch or with parts of it, so a part that had arrived must do
    /// no harm. An empty batch only moves the cursor.
    fn deliver(
        &mut self,
        batch: Batch<'_, Self::Item>,
    ) -> impl Future<Output = Result<Delivered, Self::Error>> + Send;

    /// Where its history and the log's parted, where it can tell by itself; `None`: by asking for the
    /// [`newest`](Self::newest). Only called where its cursor is of another history of the log than the
    /// one that goes on. It may be called again after it was dropped half way.
    fn parting(&mut self) -> impl Future<Output = Result<Option<Lsn>, Self::Error>> + Send {
        std::future::ready(Ok(None))
    }

    /// The newest event that it has of those that stand from `from` on and before `before`, by their
    /// LSNs. Only called where its cursor is of another history of the log than the one that goes on.
    fn newest(
        &mut self,
        from: Lsn,
        before: Lsn,
    ) -> impl Future<Output = Result<Option<SinkRecord>, Self::Error>> + Send;

    /// Takes back the events from `to` on, keeps them where an operator finds them, and moves the
    /// cursor from `from` to `to`, all or nothing. Returns the number of events.
    fn take_back(
        &mut self,
        from: &Cursor,
        to: &Cursor,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Loads what the sink has put off, without connecting, for a sink that does not run.
    fn recall(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Goes on with deliveries that the sink has put off, until something is worth asking
    /// [`put_off`](Self::put_off) about. It may be dropped half way. A sink that puts nothing off
    /// never ends it.
    fn tend(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::pending()
    }

    /// What became of deliveries that were put off, since the last call.
    fn put_off(&mut self) -> PutOff {
        PutOff::default()
    }

    /// The events that [`put_off`](Self::put_off) named as given up are durably among the dead letters.
    fn buried(&mut self) {}

    /// How long one item of a redrive takes at most, if items are delivered one by one: one that was begun
    /// in time may end so much later.
    fn longest_try(&self) -> Duration {
        Duration::ZERO
    }

    /// The process stops: finishes what is under way, as far as that takes a moment. Returns the LSN before
    /// which everything is delivered or durably kept, if that is past the cursor.
    fn leave(&mut self) -> impl Future<Output = Result<Option<Lsn>, Self::Error>> + Send {
        std::future::ready(Ok(None))
    }

    /// An operator wants deliveries that were put off to be tried now.
    fn wake(&mut self) {}

    /// What the error means.
    fn classify(error: &Self::Error) -> Class;
}

/// Deliveries that a sink has put off: the cursor has passed their events, and the sink keeps them
/// durably until they are delivered or among the dead letters.
#[derive(Debug, Default)]
pub struct PutOff {
    /// The oldest one that waits, and when its event happened.
    pub oldest: Option<(Lsn, UnixMs)>,
    /// Why the last one failed, while one waits after a failure.
    pub failure: Option<String>,
    /// Number of put-off events delivered since the last call.
    pub delivered: u64,
    /// Number of failed tries since the last call.
    pub retried: u64,
    /// Given up, to go to the dead letters; told again until [`Deliver::buried`] is called.
    pub given_up: Vec<GivenUp>,
}

/// An event that a sink has tried to deliver for long enough.
#[derive(Clone, Debug)]
pub struct GivenUp {
    pub fed: Fed,
    pub cause: String,
}

/// A sink's record of an event, to compare it with the event that the log has at this LSN. It must
/// not depend on the version of the program that delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRecord {
    /// Where it stands.
    pub lsn: Lsn,
    /// When it happened.
    pub at: UnixMs,
    pub kind: String,
    pub user: Option<String>,
}

impl SinkRecord {
    /// Whether it is the same event. In different histories the times differ.
    pub(super) fn is_of(&self, entry: &AuditEntry) -> bool {
        let user = entry.event.user().map(crate::ids::UserId::as_str);
        (self.lsn, self.at) == (entry.lsn, entry.at)
            && self.kind == entry.event.kind()
            && self.user.as_deref() == user
    }
}

/// Items in the order of the log.
#[derive(Debug)]
pub struct Batch<'a, I> {
    pub items: &'a [Placed<I>],
    pub purpose: Purpose,
}

/// Why a batch is delivered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// From the log: the cursor moves from `from` to `to`.
    Feed {
        /// The cursor before the batch.
        from: Lsn,
        /// The cursor after the batch.
        to: Cursor,
    },
    /// Dead letters that are redriven; the cursor does not move. A sink that delivers items one by one
    /// begins none after `until`, and names the others as left.
    Redrive { until: Instant },
}

/// An item with the LSN of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<I> {
    pub lsn: Lsn,
    /// LSN of the next event.
    pub end: Lsn,
    /// The checksum of the log before `end`; `None` for a dead letter that is driven again.
    pub chain: Option<u32>,
    /// What became of it.
    pub item: I,
}

/// The result of a delivered batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Items that were rejected permanently, if the sink can name them.
    pub rejected: Vec<RejectedItem>,
    /// Number of further rejected items that the sink keeps in its own dead letters.
    pub buried: usize,
    /// Number of items that the sink has put off: [`PutOff`].
    pub put_off: usize,
    /// The indices of a redrive's items for which there was no time.
    pub left: Vec<usize>,
}

/// An item that was rejected permanently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedItem {
    /// Its index in the batch.
    pub index: usize,
    pub cause: String,
}

/// What an error means.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may succeed later: the runner opens the sink again and retries without end.
    Retriable,
    /// An item of the batch is rejected permanently: the runner halves the batch until it is found.
    Rejected,
    /// The sink is configured wrongly (another log, missing privileges): retried rarely, and
    /// reported.
    Misconfigured,
    /// The other side wants no more deliveries: the sink is paused until an operator resumes it.
    Unwanted,
}

/// Where a sink's cursor is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the sink's own store, in one transaction with each delivery. The file in the data
    /// directory is updated later, so that the log is kept from there on while the sink cannot be
    /// reached.
    InSink,
    /// In a file in the data directory, written after each delivery. After a crash the last batch
    /// is delivered again.
    InFile,
}

#[derive(Debug)]
pub struct Sink<C, D> {
    /// Its name: in settings, metrics, `/admin/sinks`, file names. `[a-z_]+`.
    pub name: &'static str,
    pub convert: C,
    pub deliver: D,
    pub cursor: Kept,
    pub begins: Begins,
    pub batching: Batching,
}

/// Where a sink that is new to this log begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Begins {
    /// At the log's beginning: it gets everything that the log has.
    AtTheBeginning,
    /// At the log's end: what was before it was set up is history. In a restored log at its beginning.
    AtTheEnd,
}

/// The limits of a batch; the first limit that is reached ends it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Batching {
    pub events_max: usize,
    /// Bytes, by [`Convert::bytes`].
    pub bytes_max: usize,
    /// How long an incomplete batch waits for more events, in milliseconds.
    pub wait_ms: u64,
}
