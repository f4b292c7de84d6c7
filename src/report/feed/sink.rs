//! Owns what a sink is: three parts that every one has, so that one runner drives them all.
//!
//! [`Convert`] makes of an event what the sink takes (a row, a message, a line), [`Deliver`] hands
//! a batch over, and [`Deliver::classify`] says what an error means. Invariants: converting is a
//! function of the event and of what never changes about its purchase, so that doing it again
//! makes the same; a batch is delivered whole or not at all where the sink can; an event that a
//! sink refuses for good is named, never dropped.
//! Deliberately absent: reading the log, retries, cursors in files, dead letters: the runner's.

use crate::ids::Lsn;
use crate::journal::{AuditEntry, Cursor, Generation};
use crate::time::UnixMs;
use std::error::Error;
use std::future::Future;

/// One durable event on its way to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// The event at its place.
    pub entry: AuditEntry,
    /// Where the next event stands: the cursor once this one is delivered.
    pub end: Lsn,
}

/// Makes of each event what its sink takes. Runs on the thread that reads the log.
pub trait Convert: Send + 'static {
    /// What the sink takes.
    type Item: Send + 'static;

    /// What becomes of the event; `None` where the sink has no use for it.
    fn convert(&mut self, fed: &Fed) -> Result<Option<Self::Item>, Unfit>;

    /// About how many bytes it takes, for the bound of a batch.
    fn bytes(item: &Self::Item) -> usize;
}

/// An event that cannot be converted, ever: it becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

/// Hands batches over. Runs on a thread and a runtime of the sink's own.
pub trait Deliver: Send + 'static {
    /// What it takes.
    type Item: Send + 'static;
    /// What can go wrong.
    type Error: Error + Send + 'static;

    /// Connects, where it has to, and says where the sink has come to if it keeps that itself
    /// ([`Kept::InSink`]; `None`: nothing was ever delivered), else the newest event that it shows to
    /// have ([`Kept::InFile`]). Called at the start, and again after an error. `log_id` names the log,
    /// of which `generation` is written: what stands there of another log is an error.
    fn open(
        &mut self,
        log_id: u64,
        generation: Generation,
    ) -> impl Future<Output = Result<Option<Cursor>, Self::Error>> + Send;

    /// Delivers the batch; once it returns, nothing of it can be lost. After an error the runner
    /// calls with the same batch again, or with parts of it: what had arrived nevertheless must
    /// not do harm. An empty batch only moves the cursor.
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
    ) -> impl Future<Output = Result<Option<Mark>, Self::Error>> + Send;

    /// Takes back what it has from `to` on, keeps that where an operator finds it, and moves its cursor
    /// from `from` to `to`: all of it or nothing. How many events it took back.
    fn take_back(
        &mut self,
        from: &Cursor,
        to: &Cursor,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Whether to try again.
    fn classify(error: &Self::Error) -> Class;
}

/// What a sink knows of an event that it has, to tell whether it is the one that the log has there.
/// Nothing of it depends on the version of the program that delivered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it stands.
    pub lsn: Lsn,
    /// When it happened.
    pub at: UnixMs,
    pub kind: String,
    /// The buyer that it is about.
    pub user: Option<String>,
}

impl Mark {
    /// Whether it is of this event. Histories that parted go on at other instants.
    pub(super) fn is_of(&self, entry: &AuditEntry) -> bool {
        let user = entry.event.user().map(crate::ids::UserId::as_str);
        (self.lsn, self.at) == (entry.lsn, entry.at)
            && self.kind == entry.event.kind()
            && self.user.as_deref() == user
    }
}

/// A run of events, in the order of the log.
#[derive(Debug)]
pub struct Batch<'a, I> {
    /// What to deliver.
    pub items: &'a [Placed<I>],
    pub purpose: Purpose,
}

/// Why a batch is delivered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It comes from the log: the cursor goes from `from` to `to` with it.
    Feed {
        /// Where the cursor stands before.
        from: Lsn,
        /// Where it stands after.
        to: Cursor,
    },
    /// It was refused before and is tried again; the cursor stays.
    Redrive,
}

/// An item with the place of its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<I> {
    /// Where the event stands.
    pub lsn: Lsn,
    /// Where the next one does.
    pub end: Lsn,
    /// The checksum of the log before `end`; `None` for a dead letter that is driven again.
    pub chain: Option<u32>,
    /// What became of it.
    pub item: I,
}

/// A batch that was delivered, but for what is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// What was refused for good, where the sink can say so of each by itself.
    pub rejected: Vec<Rejection>,
    /// How many more were refused for good, which the sink keeps among dead letters of its own.
    pub buried: usize,
}

/// An item that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its index in the batch.
    pub index: usize,
    pub cause: String,
}

/// What an error means.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may work later: the runner opens the sink anew and tries again, for as long as it takes.
    Retriable,
    /// Something in the batch is refused for good: the runner halves the batch until it is found.
    Rejected,
    /// The sink is set up wrong (of another log, without rights): tried again rarely, told loudly.
    Misconfigured,
}

/// Where a sink's cursor is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the sink's own store, in one transaction with what it delivers. The file beside the log
    /// follows, so that the log is kept from there on while the sink cannot be reached.
    InSink,
    /// In a file in the data directory, written after each delivery: after a crash the last batch
    /// is delivered again. What the sink shows to have only tells whether it has this history.
    InFile,
}

/// A sink, ready to be run.
#[derive(Debug)]
pub struct Sink<C, D> {
    /// Its name: in settings, metrics, `/admin/sinks`, file names. `[a-z_]+`.
    pub name: &'static str,
    /// Makes items.
    pub convert: C,
    pub deliver: D,
    /// Where its cursor is kept.
    pub cursor: Kept,
    /// How its events are gathered.
    pub batching: Batching,
}

/// How events are gathered into batches: whichever bound is reached first ends one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Batching {
    pub events_max: usize,
    /// Bytes, by [`Convert::bytes`].
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more, in milliseconds.
    pub wait_ms: u64,
}
