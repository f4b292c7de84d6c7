//! Owns the administrative act that is recorded with its change.
//!
//! Invariant: an act and its change are one append, so neither is in the log without the other.
//! Deliberately absent: acts that change no state (`trail`), and what an act shows (`http`).

use crate::engine::event::{AdminActed, Event};

/// The record of who asked for a change.
pub enum Audit<'a, Change> {
    Nothing,
    /// An administrative act, made from the change.
    Act(&'a dyn Fn(&Change) -> AdminActed),
}

impl<Change> Clone for Audit<'_, Change> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Change> Copy for Audit<'_, Change> {}

impl<Change> Audit<'_, Change> {
    /// The act, if there is one. Only then `change` is called, which copies.
    pub(in crate::journal) fn act_of(self, change: impl FnOnce() -> Change) -> Option<Event> {
        match self {
            Self::Nothing => None,
            Self::Act(acted) => Some(Event::AdminActed(acted(&change()))),
        }
    }
}

/// The change of a value that the operator sets as a whole.
pub struct Revision<T> {
    /// `None`: it is new.
    pub before: Option<T>,
    pub after: T,
}
