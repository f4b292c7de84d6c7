//! Owns which history of the log may sell, and which readers have another one.
//!
//! Invariants: a log of generation 1 needs no acceptance, a later one is accepted in that generation;
//! whether the history may sell is one flag, so a request pays for one atomic load.

use super::order::{LockRank, Ordered};
use crate::engine::event::LogGeneration;
use crate::ids::Lsn;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use wal::Generation;

/// The position of a reader in the log, and its history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The generation that was being written when the reader reached this position.
    pub generation: Generation,
    /// Everything before has been read.
    pub lsn: Lsn,
    /// The checksum of the log before `lsn`: [`Feed::cursor`](crate::journal::Feed::cursor).
    pub chain: u32,
}

/// How a cursor relates to this log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// In this history.
    Here,
    /// Before the beginning of the log, whose older records are removed: nothing is left to compare.
    BeforeTheLog,
    /// In another history.
    Elsewhere(Parting),
}

/// How a cursor shows that it belongs to another history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    /// A generation that does not precede this log's wrote it.
    Generation,
    /// The log ends before it.
    Ahead {
        /// The end of the log.
        durable: Lsn,
    },
    /// The log has other records at this position.
    OtherRecords,
    /// Not known: the reader cannot be asked, and the cursor was copied with the directory.
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

/// A reader of the log whose cursor belongs to another history.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    pub cursor: Cursor,
    pub parting: Parting,
}

/// Which history may sell, and which readers have another one.
pub(in crate::journal) struct HistoryGate {
    pub(in crate::journal) state: Ordered<HistoryState>,
    may_sell: AtomicBool,
}

pub(in crate::journal) struct HistoryState {
    pub(in crate::journal) generation: Generation,
    pub(in crate::journal) accepted: Option<LogGeneration>,
    pub(in crate::journal) elsewhere: BTreeMap<&'static str, Elsewhere>,
}

impl HistoryState {
    /// Whether the current generation is accepted, or needs no acceptance.
    pub(in crate::journal) fn is_accepted(&self) -> bool {
        self.generation.number() == 1 || self.accepted == Some(named(self.generation))
    }

    /// Whether the operator has given up the events that only the cursor's history has.
    pub(in crate::journal) fn has_given_up(&self, cursor: &Cursor) -> bool {
        self.accepted == Some(named(self.generation))
            && cursor.generation.number() < self.generation.number()
    }

    fn may_sell(&self) -> bool {
        let mut elsewhere = self.elsewhere.values();
        self.is_accepted() && elsewhere.all(|it| self.has_given_up(&it.cursor))
    }
}

impl HistoryGate {
    /// Whether this history may sell: see [`HistoryState::may_sell`].
    pub(in crate::journal) fn may_sell(&self) -> bool {
        self.may_sell.load(Ordering::Acquire)
    }

    pub(in crate::journal) fn new(generation: Generation, accepted: Option<LogGeneration>) -> Self {
        let state = HistoryState {
            generation,
            accepted,
            elsewhere: BTreeMap::new(),
        };
        Self {
            may_sell: AtomicBool::new(state.may_sell()),
            state: Ordered::new(LockRank::History, state),
        }
    }

    /// The generation that the operator accepted last.
    pub(in crate::journal) fn accepted(&self) -> Option<LogGeneration> {
        self.state.lock().accepted
    }

    pub(in crate::journal) fn change(&self, change: impl FnOnce(&mut HistoryState)) {
        let mut state = self.state.lock();
        change(&mut state);
        self.may_sell.store(state.may_sell(), Ordering::Release);
    }
}

pub(in crate::journal) fn named(generation: Generation) -> LogGeneration {
    LogGeneration {
        number: generation.number(),
        tag: generation.tag(),
    }
}
