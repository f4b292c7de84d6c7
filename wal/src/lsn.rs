//! Positions in the log.
//!
//! Invariant: an [`Lsn`] counts bytes of the record stream, from 0 when the log was created and
//! for ever, across segments, restarts and removals. Frame and segment headers are not counted, so
//! a position does not depend on how appends happened to be batched.
//!
//! It has no arithmetic on purpose: positions are taken from the log, never computed.

use std::fmt;

/// A byte position in the record stream: the log sequence number.
///
/// The LSN of a record is the position of its first byte; every record starts at a multiple of
/// [`RECORD_ALIGN`](crate::RECORD_ALIGN). As an end (`durable`, `Appended::end`) it is exclusive:
/// everything below it is meant.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The position where every log begins.
    pub const ZERO: Self = Self(0);

    /// The LSN at a byte position.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The byte position.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}
