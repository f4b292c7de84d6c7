//! Owns the turn of a shard, for each command: clock, decide, append, apply, give back.
//!
//! Invariants: 1. all of a turn happens under the shard's lock, so its events are in the log in the
//! order in which they happened; 2. the lock is never held over I/O (an append copies into the
//! log's ring);
//! 3. claims are kept exactly if their events were appended; 4. an event that cannot be applied to
//!    the state that decided it is a bug and stops the process.
//! Deliberately absent: waiting for the disk. The caller waits at a gate before it answers.

use crate::engine::catalogue::Catalogue;
use crate::engine::decide::{Claims, Context, Decision, RejectedAttempt, Watch, decide_expiries};
use crate::engine::event::{AttemptRefused, Event, Part};
use crate::engine::refusal::{Refusal, Trace};
use crate::engine::rejection::Rejection;
use crate::engine::risk::program::{RuleMatches, RuleSet};
use crate::engine::risk::scoring::Scoring;
use crate::engine::shard::Shard;
use crate::engine::stamp::{Settled, Stamp};
use crate::ids::{Lsn, PurchaseTag, ShardId};
use crate::journal::core::JournalCore;
use crate::journal::core::order::Held;
use crate::journal::core::slot::Slot;
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::Moment;
use crate::journal::turn::attempt::Attempt;
use crate::journal::turn::outcome::{Command, Submitted};
use crate::time::UnixMs;
use crate::trace;
use arc_swap::Guard;
use std::sync::Arc;

/// Maximum number of expiries in a turn before its command, so that no command pays for many.
const EXPIRIES_BEFORE_COMMAND: usize = 8;
/// Maximum number of expiries in one turn of the sweeper, so that no command waits long behind it.
const EXPIRIES_A_SWEEP: usize = 32;

/// Expires holds of one shard that are due; returns whether more are left.
pub(in crate::journal) fn sweep_shard(
    core: &JournalCore,
    id: ShardId,
) -> Result<MoreDue, StorageFault> {
    let mut turn = Turn::begin(core, id);
    let expired = turn.expire_due(EXPIRIES_A_SWEEP)?;
    Ok(if expired == EXPIRIES_A_SWEEP {
        MoreDue::Left
    } else {
        MoreDue::None
    })
}

/// Whether due holds are left.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum MoreDue {
    Left,
    None,
}

/// A shard's turn.
pub(in crate::journal) struct Turn<'a> {
    core: &'a JournalCore,
    slot: &'a Slot,
    pub(in crate::journal) shard: Held<'a, Shard>,
    pub(in crate::journal) catalogue: Guard<Arc<Catalogue>>,
    rules: Guard<Arc<RuleSet>>,
    scoring: Guard<Arc<Scoring>>,
    pub(in crate::journal) at: UnixMs,
    settled: Settled,
}

impl<'a> Turn<'a> {
    /// Takes the shard's turn: nothing else changes the shard until the turn is dropped.
    pub(in crate::journal) fn take(
        core: &'a JournalCore,
        id: ShardId,
    ) -> Result<Self, StorageFault> {
        let mut turn = Self::begin(core, id);
        turn.expire_due(EXPIRIES_BEFORE_COMMAND)?;
        Ok(turn)
    }

    fn begin(core: &'a JournalCore, id: ShardId) -> Self {
        let slot = &*core.slots[id.index()];
        let shard = slot.shard.lock();
        let Moment { at, settled } = core.clock.moment_after(shard.last_at());
        Turn {
            core,
            slot,
            shard,
            catalogue: core.catalogue.load(),
            rules: core.rules.load(),
            scoring: core.scoring.load(),
            at,
            settled,
        }
    }
}

impl Turn<'_> {
    pub(in crate::journal) fn context(&self) -> Context<'_> {
        Context {
            shard: &self.shard,
            catalogue: &self.catalogue,
            settings: &self.core.settings,
            shared: &self.core.shared,
            watch: Some(Watch {
                rules: &self.rules,
                scoring: &self.scoring,
                velocity: &self.core.velocity,
            }),
            at: self.at,
            day_start: self.core.days.start_of(self.at),
            tag: PurchaseTag(self.core.random.draw()),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            at: self.at,
            settled: self.settled,
        }
    }

    /// Appends and applies the events, keeps the claims, and gives back what the events free; returns
    /// their end.
    pub(in crate::journal) fn commit(&mut self, decision: Decision) -> Result<Lsn, StorageFault> {
        let Decision {
            events,
            claims,
            found,
            made: (),
        } = decision;
        self.commit_found(&events, claims, found)
    }

    fn commit_found(
        &mut self,
        events: &[Event],
        claims: Claims,
        found: RuleMatches,
    ) -> Result<Lsn, StorageFault> {
        let end = self.commit_events(events, claims)?;
        self.rules.count(found);
        Ok(end)
    }

    pub(in crate::journal) fn commit_events(
        &mut self,
        events: &[Event],
        claims: Claims,
    ) -> Result<Lsn, StorageFault> {
        // 1. Append while this turn holds the shard, so that the shard's events are in the log in the order
        // in which they happened. If the append fails, dropping `claims` gives the units back, and nothing
        // has happened.
        let (end, begins) = self.core.append(events, self.moment())?;
        // 2. From here on the events own the claimed units. Keeping the claims before the append would lose
        // the units at a fault; not keeping them would free units that were just sold.
        claims.keep();
        // 3. Apply in the order of the log, as recovery does: a later event of the same decision may
        // build on an earlier one. What an event frees is given back after it is in the log, so a
        // crash can only find too much reserved.
        for (event, lsn) in events.iter().zip(begins) {
            let stamp = self.moment().stamp(lsn);
            match event.part() {
                Part::Shard(..) => self.apply(event, stamp),
                Part::Webhooks(change) => self.core.remember(change, stamp.into()),
                Part::Nothing => {}
                Part::Limits(_)
                | Part::Catalogue(_)
                | Part::Risk(_)
                | Part::Time(_)
                | Part::History(_) => {
                    unreachable!("{} is not appended in a shard's turn", event.kind())
                }
            }
            // 4. Count before the turn ends: a snapshot takes each shard's lock once to be sure that
            // everything appended before its LSN has been counted.
            self.core.velocity.record(event, stamp);
        }
        // 5. Publish the figures that are read without a turn, and wake the sweeper if the next expiry is
        // earlier now.
        self.slot.note(&self.shard);
        self.core.background.expiry_moved(&self.shard);
        Ok(end)
    }

    /// Applies the event to the shard, and gives freed units and uses back to the shared cells.
    fn apply(&mut self, event: &Event, stamp: Stamp) {
        let limits = self.core.limits();
        let effects = self.shard.apply(event, stamp, &self.catalogue, limits);
        let effects = effects.unwrap_or_else(|broken| {
            panic!("it was decided and applied under one lock, yet {broken}")
        });
        let day_start = |at| self.core.days.start_of(at);
        effects.carry_out(&self.catalogue, &self.core.shared, day_start);
    }

    pub(in crate::journal) fn accept<C: Command>(
        mut self,
        decision: Decision<C::Made>,
        command: &C,
    ) -> Result<Submitted<C::Outcome>, StorageFault> {
        let Decision {
            events,
            claims,
            found,
            made,
        } = decision;
        let told = self.commit_found(&events, claims, found)?;
        let outcome = command.outcome(made, &self.shard, &self.catalogue);
        let outcome = outcome.expect("it was applied in this turn");
        Ok(Submitted::first(outcome, told))
    }

    /// Records a refusal by a check before the command's own rules.
    pub(in crate::journal) fn refuse<Outcome>(
        self,
        attempt: &Attempt<'_>,
        reason: Refusal,
    ) -> Result<Submitted<Outcome>, StorageFault> {
        self.turn_away(attempt, reason.into())
    }

    /// Records the refusal. If it changes state, its answer waits until it is durable.
    pub(in crate::journal) fn turn_away<Outcome>(
        mut self,
        attempt: &Attempt<'_>,
        turned: RejectedAttempt,
    ) -> Result<Submitted<Outcome>, StorageFault> {
        let RejectedAttempt { rejection, found } = turned;
        let Rejection { reason, facts } = *rejection;
        let end = self.commit_refused(AttemptRefused {
            flow: attempt.flow,
            reason,
            facts: facts.map(Box::new),
            user: Some(attempt.user.clone()),
            product: attempt.product.cloned(),
            quantity: attempt.quantity,
            card: attempt.card.cloned(),
            origin: attempt.origin.clone(),
            hits: self.rules.hits(found),
            appraisal: found.scored().into(),
            left_out: 0,
        })?;
        self.rules.count(found);
        let told = match reason.trace() {
            // These reveal the state of a purchase, whose last step may not be durable yet.
            Trace::Nothing
                if matches!(reason, Refusal::WrongState | Refusal::IdempotencyInFlight) =>
            {
                Some(end)
            }
            Trace::Nothing => None,
            Trace::Attempt | Trace::AttemptAndKey | Trace::Key => Some(end),
        };
        Ok(Submitted::refused(*rejection, attempt.origin.request, told))
    }

    /// Returns the LSN that must be durable before the refusal is revealed. Also for one that is left out:
    /// its answer may reveal an earlier append.
    pub(in crate::journal) fn commit_refused(
        &mut self,
        mut refused: AttemptRefused,
    ) -> Result<Lsn, StorageFault> {
        if !self.core.keeps_refusal(&mut refused) {
            return Ok(self.core.appended());
        }
        let event = Event::AttemptRefused(refused);
        self.commit_events(std::slice::from_ref(&event), Claims::default())
    }

    fn expire_due(&mut self, most: usize) -> Result<usize, StorageFault> {
        if self.shard.next_expiry().is_none_or(|due| due > self.at) {
            return Ok(0);
        }
        let events = decide_expiries(&mut self.shard, &self.catalogue, self.at, most);
        if events.is_empty() {
            self.slot.note(&self.shard);
        } else {
            // The request whose turn this is did not make them expire.
            trace::without(|| self.commit_events(&events, Claims::default()))?;
        }
        Ok(events.len())
    }
}
