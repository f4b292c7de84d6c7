//! Owns the corrections of the clock that a shard has seen, and when a record happened by today's
//! clock.
//!
//! Invariant: an instant stays as it was recorded; its age follows from its position in the log.
//! Deliberately absent: what a correction changes (`apply::correction`).

use crate::engine::state::purchase::Happened;
use crate::ids::Lsn;
use crate::time::UnixMs;
use rkyv::{Archive, Deserialize, Serialize};

/// Maximum number of corrections stored; beyond it, the two oldest are merged.
const CORRECTIONS_KEPT: usize = 64;

/// The corrections that a shard has seen, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Corrections(Vec<Correction>);

#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
struct Correction {
    lsn: Lsn,
    offset_ms: i64,
}

impl Corrections {
    /// When it happened by today's clock: the recorded instant, moved by every correction since.
    /// Ages are measured from here.
    pub(in crate::engine) fn today(&self, happened: &Happened) -> UnixMs {
        let later = self.0.iter().rev().take_while(|it| it.lsn > happened.lsn);
        later.fold(happened.at, |at, it| at.moved_ms(it.offset_ms))
    }

    /// The LSN of every correction, and by how many milliseconds it moved the clock.
    pub(in crate::engine) fn newest_first(&self) -> impl Iterator<Item = (Lsn, i64)> {
        self.0.iter().rev().map(|it| (it.lsn, it.offset_ms))
    }

    pub(in crate::engine::state) fn add(&mut self, lsn: Lsn, offset_ms: i64) {
        if self.0.len() == CORRECTIONS_KEPT {
            let oldest = self.0.remove(0);
            let next = &mut self.0[0];
            next.offset_ms = next.offset_ms.saturating_add(oldest.offset_ms);
        }
        self.0.push(Correction { lsn, offset_ms });
    }
}
