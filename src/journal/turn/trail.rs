//! Owns records without a change of state: refusals of the front end, and administrative acts.
//!
//! Invariant: a refusal that changes no state may be left out, and the next recorded one says how many
//! were.

use super::shard_turn::Turn;
use crate::engine::event::{AdminActed, AdminRefused, AttemptRefused, Event};
use crate::engine::refusal::Trace;
use crate::ids::{Lsn, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;

/// The audit trail of attempts and acts.
pub struct Trail<'a> {
    core: &'a JournalCore,
}

impl<'a> Trail<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl Trail<'_> {
    /// Records a refusal that the front end decided alone. Its answer need not wait, because the refusal
    /// changes no state.
    pub fn refuse(&self, mut refused: AttemptRefused) -> Result<(), StorageFault> {
        debug_assert_ne!(
            refused.reason.trace(),
            Trace::AttemptAndKey,
            "the engine refuses what is remembered"
        );
        if let Some(user) = &refused.user {
            let mut turn = Turn::take(self.core, ShardId::of(user))?;
            return turn.commit_refused(refused).map(drop);
        }
        if !self.core.keeps_refusal(&mut refused) {
            return Ok(());
        }
        let event = Event::AttemptRefused(refused);
        self.core.append_fact(&event).map(drop)
    }

    /// Records an administrative act; returns the LSN that must be durable before it is confirmed.
    pub fn admin_acted(&self, act: AdminActed) -> Result<Lsn, StorageFault> {
        self.core.append_fact(&Event::AdminActed(act))
    }

    /// Records a refused administrative act, with the count of those left out before it; returns the LSN
    /// of its end, or `None` if this one is left out.
    pub fn admin_refused(&self, mut refused: AdminRefused) -> Result<Option<Lsn>, StorageFault> {
        let kept = self
            .core
            .refused_acts
            .admit(&refused.by.owner, self.core.room_for_refusals());
        let Some(left_out) = kept else {
            return Ok(None);
        };
        refused.left_out = left_out;
        self.core
            .append_fact(&Event::AdminRefused(refused))
            .map(Some)
    }

    /// Number of refused administrative acts that were not recorded.
    pub fn acts_left_out(&self) -> u64 {
        self.core.refused_acts.left_out()
    }

    /// Number of refused attempts that were not recorded.
    pub fn attempts_left_out(&self) -> u64 {
        self.core.refused_attempts.left_out()
    }
}
