//! Owns the administrative act that stands in the log beside the change that it made.
//!
//! Invariant: an act and its change are one append, so neither is in the log without the other.
//! Deliberately absent: acts that change no state (`trail`), and what an act shows (`http`).

use crate::engine::event::{AdminActed, Event};

/// What stands in the log beside a change.
pub enum Audit<'a, Change> {
    Nothing,
    /// The administrative act that this makes of the change.
    Act(&'a dyn Fn(&Change) -> AdminActed),
}

impl<Change> Clone for Audit<'_, Change> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Change> Copy for Audit<'_, Change> {}

impl<Change> Audit<'_, Change> {
    /// The act, where there is one. Only then is the change copied for it.
    pub(in crate::journal) fn act_of(self, change: impl FnOnce() -> Change) -> Option<Event> {
        match self {
            Self::Nothing => None,
            Self::Act(acted) => Some(Event::AdminActed(acted(&change()))),
        }
    }
}

/// A change of something that the operator sets as a whole.
pub struct Revision<T> {
    /// `None`: it is new.
    pub before: Option<T>,
    pub after: T,
}
