//! Owns which history of the log may sell: it recognizes a restored or copied directory whose
//! original continued, and carries out the operator's order to accept it.
//!
//! Invariants: 1. a cursor belongs to this history only if the log has the same checksum before its
//! LSN and no later generation wrote it; 2. generation 1 needs no acceptance; a later generation is
//! accepted by an event of that generation; 3. whether the history may sell is one flag, so a
//! request pays for one atomic load; 4. an acceptance gives up every earlier generation from the
//! LSN at which its history differs from this one.
//! Deliberately absent: what sinks do about events that they have and the log has not.

use super::feed::LogTail;
use crate::engine::event::{AdminAct, AdminActed, Event, HistoryAccepted};
use crate::ids::Lsn;
use crate::journal::core::JournalCore;
use crate::journal::core::history::{Cursor, Elsewhere, Located, Parting, named};
use crate::journal::format::fault::{JournalError, StorageFault, WriteError};
use wal::Generation;

/// The history is accepted already.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NothingToAccept;

/// Which history of the log may sell.
pub struct LogHistory<'a> {
    core: &'a JournalCore,
}

impl<'a> LogHistory<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl LogHistory<'_> {
    /// Whether this history of the log may sell: it is the first one or accepted, and no reader has
    /// another history that the operator has not given up.
    pub fn may_sell(&self) -> bool {
        self.core.may_sell()
    }

    /// Whether the current generation is accepted by the operator, or needs no acceptance.
    pub fn is_accepted(&self) -> bool {
        self.core.history.state.lock().is_accepted()
    }

    /// The readers whose cursors belong to another history, by name.
    pub fn readers_elsewhere(&self) -> Vec<(&'static str, Elsewhere)> {
        let state = self.core.history.state.lock();
        state
            .elsewhere
            .iter()
            .map(|(name, it)| (*name, *it))
            .collect()
    }

    /// Whether the operator has given up the events that only the cursor's history has.
    pub fn has_given_up(&self, cursor: &Cursor) -> bool {
        self.core.history.state.lock().has_given_up(cursor)
    }

    /// Notes a reader whose cursor belongs to another history; `None`: it belongs to this one.
    pub fn reader_is_at(&self, name: &'static str, elsewhere: Option<Elsewhere>) {
        self.core.history.change(|state| match elsewhere {
            Some(elsewhere) => drop(state.elsewhere.insert(name, elsewhere)),
            None => drop(state.elsewhere.remove(name)),
        });
    }

    /// The cursor of a reader that has read everything before `lsn`, which must be durable and not before
    /// the log's beginning. Reads the disk.
    pub fn cursor_at(&self, lsn: Lsn) -> Result<Cursor, JournalError> {
        Ok(LogTail::of(self.core).feed(lsn)?.cursor())
    }

    /// How a cursor relates to this log. Reads the disk.
    pub fn locate(&self, cursor: &Cursor) -> Result<Located, JournalError> {
        let (ours, theirs) = (self.core.generation(), cursor.generation);
        if theirs != ours && theirs.number() >= ours.number() {
            return Ok(Located::Elsewhere(Parting::Generation));
        }
        match self.core.log.reader(wal::Lsn::new(cursor.lsn.0)) {
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

    /// The generations of the log and the LSN where each begins, oldest first. The oldest one begins
    /// where the log does now.
    pub fn generations(&self) -> Vec<(Generation, Lsn)> {
        let begun = self.core.log.generations().into_iter();
        begun
            .map(|it| (it.generation, Lsn(it.first.get())))
            .collect()
    }

    /// Accepts this history by the operator's order, in a generation of its own, which a restore has
    /// begun or which begins now. `acted` makes the act in the same append. The result says which LSN
    /// must be durable before it is confirmed. Blocks, and waits for a snapshot in progress.
    pub fn accept(
        &self,
        by: AdminAct,
        acted: impl FnOnce(&HistoryAccepted) -> AdminActed,
    ) -> Result<(HistoryAccepted, Lsn), WriteError<NothingToAccept>> {
        // A snapshot stores the accepted generation once for all its parts, so it must not change during one.
        let _no_snapshot = self.core.snapshots.taking.lock();
        let _turn = self.core.catalogue_turn.lock();
        if self.core.may_sell() {
            return Err(WriteError::Refused(NothingToAccept));
        }
        // 1. A generation greater than that of every cursor.
        let known = self.readers_elsewhere().into_iter();
        let known = known.map(|(_, it)| it.cursor.generation.number()).max();
        let known = known.unwrap_or(0);
        if self.is_accepted() || self.core.generation().number() <= known {
            let begun = self.core.log.begin_generation(known);
            let generation = begun.map_err(StorageFault::from)?;
            self.core
                .history
                .change(|state| state.generation = generation);
        }
        // 2. The event. A crash before it is durable leaves a generation that is not accepted.
        let generation = self.core.generation();
        let begun = self.core.log.generations();
        let begun = begun.last().expect("a log that runs has a segment");
        let accepted = HistoryAccepted {
            generation: named(generation),
            first: Lsn(begun.first.get()),
            by,
        };
        let act = Event::AdminActed(acted(&accepted));
        let events = [Event::HistoryAccepted(accepted.clone()), act];
        let (end, _) = self.core.append(&events, self.core.clock.moment())?;
        // 3. The state follows.
        self.core
            .history
            .change(|state| state.accepted = Some(accepted.generation));
        Ok((accepted, end))
    }
}
