//! Owns the commands of buyers: hold units, buy, spend tokens, release a hold.
//!
//! Deliberately absent: the checks that they share (`attempt`), and steps of the payment (`money`).

use super::attempt::{Attempt, submit};
use super::outcome::{BuyOutcome, Spent, Submitted};
use super::shard_turn::Turn;
use crate::engine::command::{Buy, PlaceHold, ReleaseHold, SpendTokens};
use crate::engine::decide::decide_release;
use crate::engine::event::{AttemptRefused, Flow};
use crate::engine::refusal::Refusal;
use crate::engine::rejection::Rejection;
use crate::engine::score::Appraisal;
use crate::engine::view::HoldView;
use crate::journal::core::JournalCore;
use crate::journal::format::fault::StorageFault;

/// Holds units for a buyer.
pub(in crate::journal) fn place_hold(
    core: &JournalCore,
    command: &PlaceHold,
) -> Result<Submitted<HoldView>, StorageFault> {
    let attempt = Attempt {
        flow: Flow::Hold,
        origin: &command.origin,
        user: &command.user,
        product: Some(&command.product),
        quantity: command.quantity,
        card: None,
    };
    submit(core, &attempt, command)
}

/// Holds units, or uses an earlier hold, and records the intent to charge for them.
pub(in crate::journal) fn buy(
    core: &JournalCore,
    command: &Buy,
) -> Result<Submitted<BuyOutcome>, StorageFault> {
    let attempt = Attempt {
        flow: Flow::Buy,
        origin: &command.origin,
        user: &command.user,
        product: Some(&command.product),
        quantity: command.quantity,
        card: Some(&command.card),
    };
    submit(core, &attempt, command)
}

/// Takes reward tokens that a buyer spends in the shop.
pub(in crate::journal) fn spend_tokens(
    core: &JournalCore,
    command: &SpendTokens,
) -> Result<Submitted<Spent>, StorageFault> {
    let attempt = Attempt {
        flow: Flow::Reward,
        origin: &command.origin,
        user: &command.user,
        product: None,
        quantity: 0,
        card: None,
    };
    submit(core, &attempt, command)
}

/// Releases a hold.
pub(in crate::journal) fn release_hold(
    core: &JournalCore,
    command: &ReleaseHold,
) -> Result<Submitted<HoldView>, StorageFault> {
    let mut turn = Turn::take(core, command.hold.shard())?;
    let told = match decide_release(turn.context(), command) {
        Ok(Some(decision)) => turn.commit(decision)?,
        Ok(None) => core.appended(),
        Err(rejection) => {
            let Rejection { reason, facts } = rejection;
            let refused = AttemptRefused {
                flow: Flow::Hold,
                reason,
                facts: facts.map(Box::new),
                user: match reason {
                    // The refusal must not reveal whether another buyer has such a hold.
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
