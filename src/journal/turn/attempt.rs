//! Owns the checks of every attempt before its own rules: idempotency, rate, room.
//!
//! Invariants: the key is checked first, so a repeated request gets its first answer, whatever has
//! changed since; room is checked before anything is written, because a refusal creates a buyer and a
//! key, too.

use super::outcome::{Answered, Command, Refused, Submitted, UnderKey};
use super::shard_turn::Turn;
use crate::engine::event::{Flow, Origin};
use crate::engine::keys::KeyAnswer;
use crate::engine::refusal::Refusal;
use crate::ids::{CardToken, ProductId, ShardId, UserId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;

/// The subject of a command, for the event of its refusal.
pub(in crate::journal) struct Attempt<'a> {
    pub(in crate::journal) flow: Flow,
    pub(in crate::journal) origin: &'a Origin,
    pub(in crate::journal) user: &'a UserId,
    pub(in crate::journal) product: Option<&'a ProductId>,
    pub(in crate::journal) quantity: u32,
    pub(in crate::journal) card: Option<&'a CardToken>,
}

/// Runs an attempt in its shard's turn: the checks that all attempts share, then its own.
pub(in crate::journal) fn submit<C: Command>(
    core: &JournalCore,
    attempt: &Attempt<'_>,
    command: &C,
) -> Result<Submitted<C::Outcome>, StorageFault> {
    let turn = Turn::take(core, ShardId::of(attempt.user))?;
    // 1. The idempotency key, before everything else: a repeated request gets its first answer, whatever
    // has changed since.
    let turn = match answered_under_key(core, turn, attempt)? {
        KeyCheck::New(turn) => turn,
        KeyCheck::Answered(answer) => return Ok(answer),
    };
    // 2. Returning money or taking tokens is no attempt to buy: neither a full disk nor the rate limit
    // refuses it, as long as its key can be stored.
    let buys = !matches!(attempt.flow, Flow::Refund | Flow::Reward);
    if buys {
        // 3. With a full disk the refusal is not recorded, because there is no room for its event.
        if core.log.disk_free_low() {
            let request = attempt.origin.request;
            return Ok(Submitted::refused(
                Refusal::StorageUnavailable,
                request,
                None,
            ));
        }
        // 4. The rate limit and the quotas. The refusal has the longer wait: a client that came back
        // after the shorter one would be refused again.
        let rate = (turn.shard).rate_wait_ms(attempt.user, core.rate(), turn.at);
        let quota = (turn.shard).quota_wait_ms(attempt.user, attempt.flow, &core.settings, turn.at);
        let longer = rate.into_iter().chain(quota).max_by_key(|(ms, _)| *ms);
        if let Some((wait_ms, facts)) = longer {
            let rejection = Refusal::RateLimited.about(facts);
            let mut refused = turn.turn_away(attempt, rejection.into())?;
            if let Err(refused) = &mut refused.outcome {
                refused.retry_after_ms = Some(wait_ms);
            }
            return Ok(refused);
        }
    }
    // 5. Room for a buyer and a key, before anything is written: a refusal creates both, too.
    if let Err(reason) = turn.shard.room_for(attempt.user, &core.settings.bounds) {
        return turn.refuse(attempt, reason);
    }
    // 6. The command's own rules.
    match command.decide(turn.context()) {
        Ok(decision) => turn.accept(decision, command),
        Err(turned) => turn.turn_away(attempt, turned),
    }
}

/// Whether a request is new.
enum KeyCheck<'a, Outcome> {
    New(Turn<'a>),
    /// It is repeated, or its key is in use.
    Answered(Submitted<Outcome>),
}

/// Answers the attempt from its idempotency key, unless the key is free or there is none.
fn answered_under_key<'a, Outcome: UnderKey>(
    core: &JournalCore,
    turn: Turn<'a>,
    attempt: &Attempt<'_>,
) -> Result<KeyCheck<'a, Outcome>, StorageFault> {
    let Some(key) = &attempt.origin.key else {
        return Ok(KeyCheck::New(turn));
    };
    let answer = match turn.shard.key_answer(key, &turn.catalogue) {
        KeyAnswer::Free => return Ok(KeyCheck::New(turn)),
        KeyAnswer::InFlight => {
            let under_way = turn.shard.under_way(key.scope);
            let mut refused = turn.refuse(attempt, Refusal::IdempotencyInFlight)?;
            if let Err(refused) = &mut refused.outcome {
                refused.under_way = under_way;
            }
            refused
        }
        KeyAnswer::Reused => turn.refuse(attempt, Refusal::IdempotencyKeyReused)?,
        KeyAnswer::Elsewhere => turn.refuse(attempt, Refusal::IdempotencyOutcomeElsewhere)?,
        KeyAnswer::Refused { rejection, request } => {
            replayed(core, Err(Refused::new(rejection, request)))
        }
        KeyAnswer::Finished(finished) => match UnderKey::shown(finished) {
            Some(outcome) => replayed(core, Ok(outcome)),
            // The key was used for another kind of command.
            None => turn.refuse(attempt, Refusal::IdempotencyKeyReused)?,
        },
    };
    Ok(KeyCheck::Answered(answer))
}

/// The stored outcome of a key, which may not be durable yet: its first answer may still be waiting.
pub(in crate::journal) fn replayed<Outcome>(
    core: &JournalCore,
    outcome: Result<Outcome, Refused>,
) -> Submitted<Outcome> {
    Submitted {
        outcome,
        replay: Answered::Again,
        durable_at: Some(core.appended()),
    }
}
