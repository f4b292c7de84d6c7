//! Owns the turn of a shard, for each command: clock, decide, append, apply, give back.
//!
//! Invariants: 1. all of a turn happens under the shard's lock, so its events are in the log in the
//! order in which they happened; 2. the lock is never held over I/O (an append copies into the
//! log's ring);
//! 3. claims are kept exactly if their events were appended; 4. an event that cannot be applied to
//!    the state that decided it is a bug and stops the process.
//! Deliberately absent: waiting for the disk. The caller waits at a gate before it answers.

pub(in crate::journal) mod correction;
pub(in crate::journal) mod limits;
pub(in crate::journal) mod money;
pub(in crate::journal) mod outcome;
pub(in crate::journal) mod segments;

use crate::engine::catalogue::Catalogue;
use crate::engine::command::{Buy, PlaceHold, ReleaseHold, SpendTokens};
use crate::engine::decide::{
    Claims, Context, Decision, RejectedAttempt, Watch, decide_expiries, decide_release,
};
use crate::engine::event::{
    AdminActed, AdminRefused, AttemptRefused, Event, Flow, IdempotencyKey, Origin, Part,
};
use crate::engine::keys::KeyAnswer;
use crate::engine::refusal::{Refusal, Trace};
use crate::engine::rejection::Rejection;
use crate::engine::risk::program::{RuleMatches, RuleSet};
use crate::engine::risk::scoring::Scoring;
use crate::engine::score::Appraisal;
use crate::engine::shard::Shard;
use crate::engine::stamp::{Settled, Stamp};
use crate::engine::view::HoldView;
use crate::ids::{CardToken, Lsn, ProductId, PurchaseTag, ShardId, UserId};
use crate::journal::core::refusals::Room;
use crate::journal::format::codec;
use crate::journal::format::fault::StorageFault;
use crate::journal::time::clock::Moment;
use crate::journal::turn::outcome::{
    Answered, BuyOutcome, Command, RefundOutcome, Refused, Spent, Submitted, UnderKey,
};
use crate::journal::{Journal, Slot};
use crate::time::UnixMs;
use arc_swap::Guard;
use parking_lot::MutexGuard;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

/// Expiries that one turn carries out before its command: few, so that no command pays for many.
const EXPIRIES_BEFORE_COMMAND: usize = 8;
/// Expiries that one turn of the sweeper carries out, so that no command waits long behind it.
const EXPIRIES_A_SWEEP: usize = 32;

/// What a command is about, for its refusal's event.
pub(in crate::journal) struct Attempt<'a> {
    pub(in crate::journal) flow: Flow,
    pub(in crate::journal) origin: &'a Origin,
    pub(in crate::journal) user: &'a UserId,
    pub(in crate::journal) product: Option<&'a ProductId>,
    pub(in crate::journal) quantity: u32,
    pub(in crate::journal) card: Option<&'a CardToken>,
}

impl Journal {
    /// Sets units aside.
    pub fn place_hold(&self, command: &PlaceHold) -> Result<Submitted<HoldView>, StorageFault> {
        let attempt = Attempt {
            flow: Flow::Hold,
            origin: &command.origin,
            user: &command.user,
            product: Some(&command.product),
            quantity: command.quantity,
            card: None,
        };
        self.attempt(&attempt, command)
    }

    /// Sets units aside, or takes an earlier hold, and writes down the intent to charge for them.
    pub fn buy(&self, command: &Buy) -> Result<Submitted<BuyOutcome>, StorageFault> {
        let attempt = Attempt {
            flow: Flow::Buy,
            origin: &command.origin,
            user: &command.user,
            product: Some(&command.product),
            quantity: command.quantity,
            card: Some(&command.card),
        };
        self.attempt(&attempt, command)
    }

    /// Takes reward tokens that a buyer spends in the shop.
    pub fn spend_tokens(&self, command: &SpendTokens) -> Result<Submitted<Spent>, StorageFault> {
        let attempt = Attempt {
            flow: Flow::Reward,
            origin: &command.origin,
            user: &command.user,
            product: None,
            quantity: 0,
            card: None,
        };
        self.attempt(&attempt, command)
    }

    /// Gives a hold up.
    pub fn release_hold(&self, command: &ReleaseHold) -> Result<Submitted<HoldView>, StorageFault> {
        let mut turn = self.turn(command.hold.shard())?;
        let told = match decide_release(turn.context(), command) {
            Ok(Some(decision)) => turn.commit(decision)?,
            Ok(None) => self.appended(),
            Err(rejection) => {
                let Rejection { reason, facts } = rejection;
                let refused = AttemptRefused {
                    flow: Flow::Hold,
                    reason,
                    facts: facts.map(Box::new),
                    user: match reason {
                        // Whose it is, if anybody's, is not told.
                        Refusal::HoldNotFound => None,
                        _ => turn.shard.owner_of(command.hold).cloned(),
                    },
                    product: None,
                    quantity: 0,
                    card: None,
                    origin: command.origin.clone(),
                    hits: Vec::new(),
                    appraisal: Appraisal::Plain,
                    left_out: 0,
                };
                let told = turn.commit_refused(refused)?;
                return Ok(Submitted::refused(
                    rejection,
                    command.origin.request,
                    Some(told),
                ));
            }
        };
        let view = turn.shard.hold_view(command.hold, &turn.catalogue);
        let view = view.expect("deciding found the hold");
        Ok(Submitted::first(view, told))
    }

    /// Writes down what the front end refused by itself, for the audit trail. Its answer need not
    /// wait: the refusal leaves nothing behind.
    pub fn refuse(&self, mut refused: AttemptRefused) -> Result<(), StorageFault> {
        debug_assert_ne!(
            refused.reason.trace(),
            Trace::AttemptAndKey,
            "the engine refuses what is remembered"
        );
        if let Some(user) = &refused.user {
            let mut turn = self.turn(ShardId::of(user))?;
            return turn.commit_refused(refused).map(drop);
        }
        if !self.keeps_refusal(&mut refused) {
            return Ok(());
        }
        let event = Event::AttemptRefused(refused);
        self.append_fact(&event).map(drop)
    }

    /// Writes down an administrative act; the LSN that must be durable before it is confirmed.
    pub fn admin_acted(&self, act: AdminActed) -> Result<Lsn, StorageFault> {
        self.append_fact(&Event::AdminActed(act))
    }

    /// Writes down an administrative act that was refused, with the count of those left out before
    /// it; the LSN of its end, `None` where this one is left out.
    pub fn admin_refused(&self, mut refused: AdminRefused) -> Result<Option<Lsn>, StorageFault> {
        let kept = self
            .refused_acts
            .admit(&refused.by.owner, self.room_for_refusals());
        let Some(left_out) = kept else {
            return Ok(None);
        };
        refused.left_out = left_out;
        self.append_fact(&Event::AdminRefused(refused)).map(Some)
    }

    /// Refused administrative acts that were not written down.
    pub fn refused_acts_left_out(&self) -> u64 {
        self.refused_acts.left_out()
    }

    /// Refused attempts that were not written down.
    pub fn refused_attempts_left_out(&self) -> u64 {
        self.refused_attempts.left_out()
    }

    /// Whether `refused` is written down, then with the count of those left out before it. What
    /// changes the buyer's state always is.
    fn keeps_refusal(&self, refused: &mut AttemptRefused) -> bool {
        if refused.origin.key.is_some() && refused.reason.trace() != Trace::Nothing {
            return true;
        }
        let owner = &refused.origin.owner;
        let kept = self.refused_attempts.admit(owner, self.room_for_refusals());
        refused.left_out = kept.unwrap_or(0);
        kept.is_some()
    }

    fn room_for_refusals(&self) -> Room {
        if self.log.disk_free_low() || !self.log.has_room() {
            Room::Low
        } else {
            Room::Enough
        }
    }

    /// The order of checks that every attempt shares: idempotency, rate limit, then its own.
    pub(in crate::journal) fn attempt<C: Command>(
        &self,
        attempt: &Attempt<'_>,
        command: &C,
    ) -> Result<Submitted<C::Outcome>, StorageFault> {
        let turn = self.turn(ShardId::of(attempt.user))?;
        if let Some(key) = &attempt.origin.key {
            match turn.shard.key_answer(key, &turn.catalogue) {
                KeyAnswer::Free => {}
                KeyAnswer::InFlight => {
                    let under_way = turn.shard.under_way(key.scope);
                    let mut refused = turn.refuse(attempt, Refusal::IdempotencyInFlight)?;
                    if let Err(refused) = &mut refused.outcome {
                        refused.under_way = under_way;
                    }
                    return Ok(refused);
                }
                KeyAnswer::Reused => return turn.refuse(attempt, Refusal::IdempotencyKeyReused),
                KeyAnswer::Elsewhere => {
                    return turn.refuse(attempt, Refusal::IdempotencyOutcomeElsewhere);
                }
                KeyAnswer::Refused { rejection, request } => {
                    return Ok(self.replayed(Err(Refused::new(rejection, request))));
                }
                KeyAnswer::Finished(finished) => {
                    return match UnderKey::shown(finished) {
                        Some(outcome) => Ok(self.replayed(Ok(outcome))),
                        // Another kind of command came with it.
                        None => turn.refuse(attempt, Refusal::IdempotencyKeyReused),
                    };
                }
            }
        }
        // What gives money back or takes tokens is no attempt to buy: neither the rate limit nor a
        // full disk keeps it, as long as its key can be remembered.
        if matches!(attempt.flow, Flow::Refund | Flow::Reward) {
            if let Err(reason) = turn.shard.room_for(attempt.user, &self.settings.bounds) {
                return turn.refuse(attempt, reason);
            }
            return match command.decide(turn.context()) {
                Ok(decision) => turn.accept(decision, command),
                Err(turned) => turn.turn_away(attempt, turned),
            };
        }
        // Not written down: there is no room left to write.
        if self.log.disk_free_low() {
            let request = attempt.origin.request;
            return Ok(Submitted::refused(
                Refusal::StorageUnavailable,
                request,
                None,
            ));
        }
        let rate = self.rate();
        let bounds = &self.settings.bounds;
        let rate = turn.shard.rate_wait_ms(attempt.user, rate, turn.at);
        let quota = (turn.shard).quota_wait_ms(attempt.user, attempt.flow, &self.settings, turn.at);
        // Of two limits the one with the longer wait is told.
        let longer = rate.into_iter().chain(quota).max_by_key(|(ms, _)| *ms);
        if let Some((wait_ms, facts)) = longer {
            let rejection = Refusal::RateLimited.about(facts);
            let mut refused = turn.turn_away(attempt, rejection.into())?;
            if let Err(refused) = &mut refused.outcome {
                refused.retry_after_ms = Some(wait_ms);
            }
            return Ok(refused);
        }
        // Asked before anything is written, because a refusal too makes a buyer and a key.
        if let Err(reason) = turn.shard.room_for(attempt.user, bounds) {
            return turn.refuse(attempt, reason);
        }
        match command.decide(turn.context()) {
            Ok(decision) => turn.accept(decision, command),
            Err(turned) => turn.turn_away(attempt, turned),
        }
    }

    /// What a key says, whatever kind of command it came with.
    pub fn key_answer(&self, user: &UserId, key: &IdempotencyKey) -> KeyAnswer {
        let shard = self.shard(ShardId::of(user));
        shard.key_answer(key, &self.catalogue.load())
    }

    /// What stands under the finished key of a buy, for a front end that can take no new one just now.
    pub fn replay_buy(&self, user: &UserId, key: &IdempotencyKey) -> Option<Submitted<BuyOutcome>> {
        self.replay(user, key)
    }

    /// The same of a refund.
    pub fn replay_refund(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Option<Submitted<RefundOutcome>> {
        self.replay(user, key)
    }

    fn replay<Outcome: UnderKey>(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
    ) -> Option<Submitted<Outcome>> {
        match self.key_answer(user, key) {
            KeyAnswer::Free | KeyAnswer::InFlight | KeyAnswer::Reused | KeyAnswer::Elsewhere => {
                None
            }
            KeyAnswer::Refused { rejection, request } => {
                Some(self.replayed(Err(Refused::new(rejection, request))))
            }
            KeyAnswer::Finished(finished) => {
                UnderKey::shown(finished).map(|outcome| self.replayed(Ok(outcome)))
            }
        }
    }

    fn replayed<Outcome>(&self, outcome: Result<Outcome, Refused>) -> Submitted<Outcome> {
        // What stands under a key may not be durable yet: its first answer may still be waiting.
        Submitted {
            outcome,
            replay: Answered::Again,
            durable_at: Some(self.appended()),
        }
    }

    /// Takes the shard's turn: nobody else changes it until the turn is dropped.
    pub(in crate::journal) fn turn(&self, id: ShardId) -> Result<Turn<'_>, StorageFault> {
        let slot = &*self.slots[id.index()];
        let shard = slot.shard.lock();
        let mut turn = self.begin(slot, shard);
        turn.expire_due(EXPIRIES_BEFORE_COMMAND)?;
        Ok(turn)
    }

    /// Lets the holds of one shard run out that are due; whether more are left.
    pub(in crate::journal) fn sweep_shard(&self, id: ShardId) -> Result<MoreDue, StorageFault> {
        let slot = &*self.slots[id.index()];
        let shard = slot.shard.lock();
        let mut turn = self.begin(slot, shard);
        let expired = turn.expire_due(EXPIRIES_A_SWEEP)?;
        Ok(if expired == EXPIRIES_A_SWEEP {
            MoreDue::Left
        } else {
            MoreDue::None
        })
    }

    fn begin<'a>(&'a self, slot: &'a Slot, shard: MutexGuard<'a, Shard>) -> Turn<'a> {
        let Moment { at, settled } = self.clock.moment_after(shard.last_at());
        Turn {
            journal: self,
            slot,
            shard,
            catalogue: self.catalogue.load(),
            rules: self.rules.load(),
            scoring: self.scoring.load(),
            at,
            settled,
        }
    }

    /// Appends an event that changes nothing; where it ends.
    fn append_fact(&self, event: &Event) -> Result<Lsn, StorageFault> {
        assert!(
            matches!(event.part(), Part::Nothing),
            "{} is appended by the turn that applies it",
            event.kind()
        );
        self.append_one(event, self.clock.moment())
    }

    /// Appends one event, which the caller applies; where it ends.
    pub(in crate::journal) fn append_one(
        &self,
        event: &Event,
        at: Moment,
    ) -> Result<Lsn, StorageFault> {
        self.append(std::slice::from_ref(event), at)
            .map(|(end, _)| end)
    }

    /// Appends events as one; where they end, and where each begins.
    pub(in crate::journal) fn append(
        &self,
        events: &[Event],
        moment: Moment,
    ) -> Result<(Lsn, SmallVec<[Lsn; 2]>), StorageFault> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            let mut ends = SmallVec::<[usize; 2]>::new();
            for event in events {
                let begin = buffer.len();
                codec::encode(event, moment.at, buffer);
                if moment.settled == Settled::No {
                    codec::mark_unsettled(&mut buffer[begin..]);
                }
                ends.push(buffer.len());
            }
            let mut entries = SmallVec::<[wal::Entry<'_>; 2]>::new();
            let mut begin = 0;
            for (event, end) in events.iter().zip(&ends) {
                let codec::Kind { number, version } = codec::kind_of(event);
                entries.push(wal::Entry {
                    kind: number,
                    version,
                    payload: &buffer[begin..*end],
                });
                begin = *end;
            }
            let appended = self.log.append(&entries)?;
            let mut next = appended.first.get();
            let begins = entries.iter().map(|entry| {
                let begin = Lsn(next);
                next += wal::record_bytes(entry.payload.len()) as u64;
                begin
            });
            let begins = begins.collect();
            debug_assert_eq!(
                next,
                appended.end.get(),
                "records stand one behind the other"
            );
            Ok((Lsn(appended.end.get()), begins))
        })
    }
}

/// Whether holds are left that are due.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum MoreDue {
    Left,
    None,
}

/// A shard's turn.
pub(in crate::journal) struct Turn<'a> {
    journal: &'a Journal,
    slot: &'a Slot,
    pub(in crate::journal) shard: MutexGuard<'a, Shard>,
    pub(in crate::journal) catalogue: Guard<Arc<Catalogue>>,
    rules: Guard<Arc<RuleSet>>,
    scoring: Guard<Arc<Scoring>>,
    pub(in crate::journal) at: UnixMs,
    settled: Settled,
}

impl Turn<'_> {
    pub(in crate::journal) fn context(&self) -> Context<'_> {
        Context {
            shard: &self.shard,
            catalogue: &self.catalogue,
            settings: &self.journal.settings,
            shared: &self.journal.shared,
            watch: Some(Watch {
                rules: &self.rules,
                scoring: &self.scoring,
                velocity: &self.journal.velocity,
            }),
            at: self.at,
            day_start: self.journal.days.start_of(self.at),
            tag: PurchaseTag(self.journal.random.draw()),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            at: self.at,
            settled: self.settled,
        }
    }

    /// Appends, applies, keeps the claims, gives back what the events free; where they end.
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
        // 1. Append, while this turn holds the shard: the shard's events stand in the log in the
        // order in which they happened. Where it fails, dropping `claims` gives the units back, and
        // nothing of the decision has happened.
        let (end, begins) = self.journal.append(events, self.moment())?;
        // 2. From here on the events own what was claimed. Before the append, a fault would lose the
        // units; without this, dropping the claims would free units that were just sold.
        claims.keep();
        // 3. Apply in the order of the log, as recovery does: a later event of the same decision may
        // build on an earlier one. What an event frees is given back after it is in the log, so a
        // crash can only find too much reserved.
        for (event, lsn) in events.iter().zip(begins) {
            let stamp = self.moment().stamp(lsn);
            match event.part() {
                Part::Shard(..) => self.apply(event, stamp),
                Part::Webhooks(change) => self.journal.remember(change, stamp.into()),
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
            self.journal.velocity.record(event, stamp);
        }
        // 5. Publish what is looked at without a turn, and wake the sweeper if the next expiry is
        // earlier now.
        self.slot.note(&self.shard);
        self.journal.background.expiry_moved(&self.shard);
        Ok(end)
    }

    /// Changes the shard, and gives back in the shared cells what that frees.
    fn apply(&mut self, event: &Event, stamp: Stamp) {
        let limits = self.journal.limits();
        let effects = self.shard.apply(event, stamp, &self.catalogue, limits);
        let effects = effects.unwrap_or_else(|broken| {
            panic!("it was decided and applied under one lock, yet {broken}")
        });
        let day_start = |at| self.journal.days.start_of(at);
        effects.carry_out(&self.catalogue, &self.journal.shared, day_start);
    }

    fn accept<C: Command>(
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

    /// Writes down a refusal before anything was decided.
    fn refuse<Outcome>(
        self,
        attempt: &Attempt<'_>,
        reason: Refusal,
    ) -> Result<Submitted<Outcome>, StorageFault> {
        self.turn_away(attempt, reason.into())
    }

    /// Writes the refusal down; it is told once durable where it leaves something behind.
    fn turn_away<Outcome>(
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
            // These say where a purchase is, which somebody may have written just now.
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

    /// Where the refusal may be told from. One that is left out changes nothing, but its answer may
    /// reveal what was appended just before.
    fn commit_refused(&mut self, mut refused: AttemptRefused) -> Result<Lsn, StorageFault> {
        if !self.journal.keeps_refusal(&mut refused) {
            return Ok(self.journal.appended());
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
            self.commit_events(&events, Claims::default())?;
        }
        Ok(events.len())
    }
}
