//! Owns what every attempt goes through before its own rules: idempotency, rate, room.
//!
//! Invariants: the key is asked first, so that an answer given once is given again whatever has changed
//! since; a limit is asked before anything is written, because a refusal too makes a buyer and a key.

use super::outcome::{Answered, Command, Refused, Submitted, UnderKey};
use super::shard_turn::Turn;
use crate::engine::event::{Flow, Origin};
use crate::engine::keys::KeyAnswer;
use crate::engine::refusal::Refusal;
use crate::ids::{CardToken, ProductId, ShardId, UserId};
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;

/// What a command is about, for its refusal's event.
pub(in crate::journal) struct Attempt<'a> {
    pub(in crate::journal) flow: Flow,
    pub(in crate::journal) origin: &'a Origin,
    pub(in crate::journal) user: &'a UserId,
    pub(in crate::journal) product: Option<&'a ProductId>,
    pub(in crate::journal) quantity: u32,
    pub(in crate::journal) card: Option<&'a CardToken>,
}

/// The order of checks that every attempt shares: idempotency, rate limit, then its own.
pub(in crate::journal) fn submit<C: Command>(
    core: &JournalCore,
    attempt: &Attempt<'_>,
    command: &C,
) -> Result<Submitted<C::Outcome>, StorageFault> {
    let turn = Turn::take(core, ShardId::of(attempt.user))?;
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
                return Ok(replayed(core, Err(Refused::new(rejection, request))));
            }
            KeyAnswer::Finished(finished) => {
                return match UnderKey::shown(finished) {
                    Some(outcome) => Ok(replayed(core, Ok(outcome))),
                    // Another kind of command came with it.
                    None => turn.refuse(attempt, Refusal::IdempotencyKeyReused),
                };
            }
        }
    }
    // What gives money back or takes tokens is no attempt to buy: neither the rate limit nor a
    // full disk keeps it, as long as its key can be remembered.
    if matches!(attempt.flow, Flow::Refund | Flow::Reward) {
        if let Err(reason) = turn.shard.room_for(attempt.user, &core.settings.bounds) {
            return turn.refuse(attempt, reason);
        }
        return match command.decide(turn.context()) {
            Ok(decision) => turn.accept(decision, command),
            Err(turned) => turn.turn_away(attempt, turned),
        };
    }
    // Not written down: there is no room left to write.
    if core.log.disk_free_low() {
        let request = attempt.origin.request;
        return Ok(Submitted::refused(
            Refusal::StorageUnavailable,
            request,
            None,
        ));
    }
    let rate = core.rate();
    let bounds = &core.settings.bounds;
    let rate = turn.shard.rate_wait_ms(attempt.user, rate, turn.at);
    let quota = (turn.shard).quota_wait_ms(attempt.user, attempt.flow, &core.settings, turn.at);
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

/// What stands under a key may not be durable yet: its first answer may still be waiting.
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
