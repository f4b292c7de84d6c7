//! Owns which history of the log may sell: it recognizes a restored or copied directory whose
//! original continued, and carries out the operator's order to accept it.
//!
//! Invariants: 1. a cursor belongs to this history only if the log has the same checksum before its
//! LSN and no later generation wrote it; 2. generation 1 needs no acceptance; a later generation is
//! accepted by an event of that generation; 3. whether the history may sell is one flag, so a
//! request pays for one atomic load; 4. an acceptance gives up every earlier generation from the
//! LSN at which its history differs from this one.
//! Deliberately absent: what sinks do about events that they have and the log has not.

use crate::engine::event::{AdminAct, AdminActed, Event, HistoryAccepted, LogGeneration};
use crate::ids::Lsn;
use crate::journal::format::fault::StorageFault;
use crate::journal::{Generation, Journal, JournalError};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far a reader of the log has come, and in which history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The generation that was written when the reader came here.
    pub generation: Generation,
    /// Everything before has been read.
    pub lsn: Lsn,
    /// The checksum of the log before `lsn`: [`super::Feed::cursor`].
    pub chain: u32,
}

/// Where a cursor stands, seen from this log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// In this history.
    Here,
    /// Before the place where the log begins now, so that nothing can be compared.
    BeforeTheLog,
    /// In another history.
    Elsewhere(Parting),
}

/// How a cursor shows that it is of another history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Another generation wrote it that does not come before ours.
    Generation,
    /// The log ends before it.
    Ahead {
        /// The end of the log.
        durable: Lsn,
    },
    /// The log has other records there.
    OtherRecords,
    /// It is not known: the reader cannot be asked, and the cursor comes with a copied directory.
    NotAsked,
}

impl fmt::Display for Parting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation => {
                out.write_str("another generation wrote it, which is not one before this one")
            }
            Self::Ahead { durable } => write!(out, "the log ends at LSN {durable}"),
            Self::OtherRecords => out.write_str("the log has other records before it"),
            Self::NotAsked => out.write_str(
                "this directory is a copy of the one that the cursor was written in, and what the sink has \
                 is not known until it is reached",
            ),
        }
    }
}

/// A reader of the log whose cursor is of another history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where it stands.
    pub cursor: Cursor,
    /// How that shows.
    pub parting: Parting,
}

/// The history goes on already.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NothingToAccept;

/// Which history goes on, and who has another one.
pub(in crate::journal) struct HistoryGate {
    state: Mutex<HistoryState>,
    may_sell: AtomicBool,
}

struct HistoryState {
    generation: Generation,
    accepted: Option<LogGeneration>,
    elsewhere: BTreeMap<&'static str, Elsewhere>,
}

impl HistoryState {
    /// Whether the generation that is written needs no acceptance, or has it.
    fn is_accepted(&self) -> bool {
        self.generation.number() == 1 || self.accepted == Some(named(self.generation))
    }

    /// Whether the operator has given up what is behind the place where this one's history parted.
    fn has_given_up(&self, cursor: &Cursor) -> bool {
        self.accepted == Some(named(self.generation))
            && cursor.generation.number() < self.generation.number()
    }

    fn may_sell(&self) -> bool {
        let mut elsewhere = self.elsewhere.values();
        self.is_accepted() && elsewhere.all(|it| self.has_given_up(&it.cursor))
    }
}

impl HistoryGate {
    pub(in crate::journal) fn new(generation: Generation, accepted: Option<LogGeneration>) -> Self {
        let state = HistoryState {
            generation,
            accepted,
            elsewhere: BTreeMap::new(),
        };
        Self {
            may_sell: AtomicBool::new(state.may_sell()),
            state: Mutex::new(state),
        }
    }

    /// The generation that the operator accepted last.
    pub(in crate::journal) fn accepted(&self) -> Option<LogGeneration> {
        self.state.lock().accepted
    }

    fn change(&self, change: impl FnOnce(&mut HistoryState)) {
        let mut state = self.state.lock();
        change(&mut state);
        self.may_sell.store(state.may_sell(), Ordering::Release);
    }
}

fn named(generation: Generation) -> LogGeneration {
    LogGeneration {
        number: generation.number(),
        tag: generation.tag(),
    }
}

impl Journal {
    /// Whether this history of the log may sell: it is the first one or accepted, and no reader has
    /// another one that was not given up.
    pub fn may_sell(&self) -> bool {
        self.history.may_sell.load(Ordering::Acquire)
    }

    /// Whether the generation that is written needs no acceptance by the operator, or has it.
    pub fn is_history_accepted(&self) -> bool {
        self.history.state.lock().is_accepted()
    }

    /// The readers whose cursors are of another history, by name.
    pub fn readers_elsewhere(&self) -> Vec<(&'static str, Elsewhere)> {
        let state = self.history.state.lock();
        state
            .elsewhere
            .iter()
            .map(|(name, it)| (*name, *it))
            .collect()
    }

    /// Whether the operator has given up the history of this cursor behind the place where it parted
    /// from this one.
    pub fn has_given_up(&self, cursor: &Cursor) -> bool {
        self.history.state.lock().has_given_up(cursor)
    }

    /// Notes where a reader has its cursor, where that is another history; `None`: it is in this one.
    pub fn reader_is_at(&self, name: &'static str, elsewhere: Option<Elsewhere>) {
        self.history.change(|state| match elsewhere {
            Some(elsewhere) => drop(state.elsewhere.insert(name, elsewhere)),
            None => drop(state.elsewhere.remove(name)),
        });
    }

    /// The cursor of a reader that has read everything before `lsn`, which has to be durable and not
    /// before the log begins. Reads the disk.
    pub fn cursor_at(&self, lsn: Lsn) -> Result<Cursor, JournalError> {
        Ok(self.feed(lsn)?.cursor())
    }

    /// Where a cursor stands. Reads the disk.
    pub fn locate(&self, cursor: &Cursor) -> Result<Located, JournalError> {
        let (ours, theirs) = (self.generation(), cursor.generation);
        if theirs != ours && theirs.number() >= ours.number() {
            return Ok(Located::Elsewhere(Parting::Generation));
        }
        match self.log.reader(wal::Lsn::new(cursor.lsn.0)) {
            Ok(reader) if reader.chain() == cursor.chain => Ok(Located::Here),
            Ok(_) | Err(wal::ReadError::NotARecord { .. }) => {
                Ok(Located::Elsewhere(Parting::OtherRecords))
            }
            Err(wal::ReadError::Ahead { durable, .. }) => {
                let durable = Lsn(durable.get());
                Ok(Located::Elsewhere(Parting::Ahead { durable }))
            }
            Err(wal::ReadError::Removed { .. }) => Ok(Located::BeforeTheLog),
            Err(error) => Err(error.into()),
        }
    }

    /// The generations of the log and where each begins, oldest first; the oldest one where the log
    /// begins now.
    pub fn generations(&self) -> Vec<(Generation, Lsn)> {
        let begun = self.log.generations().into_iter();
        begun
            .map(|it| (it.generation, Lsn(it.first.get())))
            .collect()
    }

    /// Goes on with this history by the operator's order, in a generation of its own: begun already by a
    /// restore, else begun now. `acted` makes the act that stands in the same append. What it gives
    /// back tells from which LSN on it is durable. Blocks, and waits for a snapshot that is being taken.
    pub fn accept_history(
        &self,
        by: AdminAct,
        acted: impl FnOnce(&HistoryAccepted) -> AdminActed,
    ) -> Result<Result<(HistoryAccepted, Lsn), NothingToAccept>, StorageFault> {
        // A snapshot has what is accepted as of one place for all its parts.
        let _no_snapshot = self.snapshots.taking.lock();
        let _turn = self.catalogue_turn.lock();
        if self.may_sell() {
            return Ok(Err(NothingToAccept));
        }
        // 1. A generation that nobody has a cursor of, greater than any that somebody has.
        let known = self.readers_elsewhere().into_iter();
        let known = known.map(|(_, it)| it.cursor.generation.number()).max();
        let known = known.unwrap_or(0);
        if self.is_history_accepted() || self.generation().number() <= known {
            let generation = self.log.begin_generation(known)?;
            self.history.change(|state| state.generation = generation);
        }
        // 2. The event. A crash before it is durable leaves a generation that is not accepted.
        let generation = self.generation();
        let begun = self.log.generations();
        let begun = begun.last().expect("a log that runs has a segment");
        let accepted = HistoryAccepted {
            generation: named(generation),
            first: Lsn(begun.first.get()),
            by,
        };
        let act = Event::AdminActed(acted(&accepted));
        let events = [Event::HistoryAccepted(accepted.clone()), act];
        let (end, _) = self.append(&events, self.clock.moment())?;
        // 3. The state follows.
        self.history
            .change(|state| state.accepted = Some(accepted.generation));
        Ok(Ok((accepted, end)))
    }
}
