//! Decides refunds of a captured purchase, and its reward tokens.
//!
//! Invariants: one refund of a purchase is in progress at a time; refunds are at most what was
//! captured; tokens clawed back over a purchase's whole life are at most those that it brought.

use super::{Context, Decision};
use crate::engine::decide::command::{SpendTokens, StartRefund};
use crate::engine::event::{
    Clawback, Event, RefundExtent, RefundStarted, RefundSucceeded, Restock, TokensSpent,
};
use crate::engine::state::purchase::{Purchase, RefundState};
use crate::engine::words::lifecycle::Step;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefundBar, RefusalFacts, Rejection};
use crate::ids::UserId;
use crate::money::{Amount, Tokens};

/// Maximum number of refunds of one purchase that leave something, failed ones included, because
/// every one is stored. A refund of all that is left is accepted beyond that, so that the bound
/// keeps no money back.
const REFUNDS_MAX: usize = 100;
/// Maximum number of refunds of one purchase, whatever they leave: what the gateway keeps refusing
/// is left to a person.
const REFUNDS_IN_ALL_MAX: usize = 1_000;

/// Whether the refund is allowed, and the intent to request it from the gateway.
pub fn decide_refund(
    context: Context<'_>,
    command: &StartRefund,
) -> Result<Decision<u32>, Rejection> {
    let shard = context.shard;
    let stored = shard.find(command.purchase);
    let stored = stored.ok_or(Refusal::PurchaseNotFound)?;
    let user = shard.owner_of(command.purchase);
    let user = user.ok_or(Refusal::PurchaseNotFound)?.clone();
    let amount = refundable(context, command, stored)?;
    let number = next_number(stored, amount)?;
    let started = RefundStarted {
        purchase: command.purchase,
        user: user.clone(),
        number,
        amount,
        previously_refunded: command.previously_refunded,
        note: command.note.clone(),
        restock: command.restock,
        key: command.key,
        by: command.by.clone(),
    };
    let mut decision = Decision::without_claims(Event::RefundStarted(started));
    if is_free(stored) {
        // No money moves, so the gateway is not called.
        let extent = RefundExtent::Full;
        let product = &context.catalogue.product_at(stored.product).terms.product;
        let done = RefundSucceeded {
            purchase: command.purchase,
            number,
            product: product.clone(),
            quantity: stored.quantity,
            amount,
            currency: stored.quote().currency,
            extent,
            leaves: stored.paid_state_after(amount),
            clawback: clawback(context, &user, stored, extent, amount),
            restock: command.restock,
            user,
        };
        decision.events.push(Event::RefundSucceeded(done));
    }
    Ok(decision.making(number))
}

/// The amount to refund, if the purchase, the earlier refunds and the gateway allow it.
fn refundable(
    context: Context<'_>,
    command: &StartRefund,
    stored: &Purchase,
) -> Result<Amount, Rejection> {
    let wrong_state = Refusal::WrongState.about(RefusalFacts::State {
        purchase: command.purchase,
        status: stored.state(),
    });
    if !stored.may(Step::RefundStarted) {
        return Err(wrong_state);
    }
    if stored.pending_refund().is_some() {
        return Err(conflict(stored, RefundBar::UnderWay));
    }
    if command.previously_refunded != stored.refunded {
        return Err(conflict(stored, RefundBar::Stale));
    }
    let left = stored.left();
    let free = is_free(stored);
    if left == Amount::ZERO && !free {
        return Err(wrong_state);
    }
    let currency = stored.quote().currency;
    let amount = command.amount.unwrap_or(left);
    if amount > left || amount == Amount::ZERO && !free {
        return Err(
            Refusal::RefundExceedsCaptured.about(RefusalFacts::Captured {
                currency,
                captured: stored.quote().amount,
                refunded: stored.refunded,
                left,
                amount,
            }),
        );
    }
    let payable = context.settings.payable.of(currency);
    if !free && !payable.gives_back(amount) {
        let facts = RefusalFacts::not_given_back(payable, currency, amount);
        return Err(Refusal::AmountNotPayable.about(facts));
    }
    // Units that the buyer still pays for, or will pay for if a dispute is won, are not sold again.
    if command.restock == Restock::Yes && amount < stored.kept() {
        return Err(conflict(stored, RefundBar::Restock));
    }
    Ok(amount)
}

/// The number of a refund of `amount`. The last one, which leaves nothing, has more room than the
/// others.
fn next_number(stored: &Purchase, amount: Amount) -> Result<u32, Rejection> {
    let before = stored
        .post_capture
        .as_ref()
        .map_or(0, |it| it.refunds.len());
    let most = if amount == stored.left() {
        REFUNDS_IN_ALL_MAX
    } else {
        REFUNDS_MAX
    };
    if before >= most {
        return Err(conflict(stored, RefundBar::TooMany));
    }
    Ok(u32::try_from(before + 1).expect("there are at most a thousand"))
}

/// Nothing was charged: a refund of 0 ends it.
fn is_free(stored: &Purchase) -> bool {
    stored.quote().amount == Amount::ZERO
}

fn conflict(stored: &Purchase, conflict: RefundBar) -> Rejection {
    Refusal::RefundConflict.about(RefusalFacts::Refunded {
        conflict,
        currency: stored.quote().currency,
        refunded: stored.refunded,
        left: Some(stored.left()),
    })
}

/// Whether the buyer has the tokens, and the event that spends them.
pub fn decide_spending(context: Context<'_>, command: &SpendTokens) -> Result<Decision, Rejection> {
    let balance = context.shard.tokens(&command.user);
    if balance < command.tokens {
        return Err(Refusal::NotEnoughTokens.about(RefusalFacts::Balance {
            balance,
            requested: command.tokens,
        }));
    }
    Ok(Decision::without_claims(Event::TokensSpent(TokensSpent {
        user: command.user.clone(),
        tokens: command.tokens,
        origin: command.origin.clone(),
    })))
}

/// Whether money is left to refund after `amount` more.
pub(super) fn extent_after(stored: &Purchase, amount: Amount) -> RefundExtent {
    if amount >= stored.kept() {
        RefundExtent::Full
    } else {
        RefundExtent::Part
    }
}

/// The tokens clawed back with `amount`: their share of the purchase's tokens, rounded down; the
/// last part of the money takes all that are left.
pub(super) fn clawback(
    context: Context<'_>,
    user: &UserId,
    stored: &Purchase,
    extent: RefundExtent,
    amount: Amount,
) -> Clawback {
    let Some(post_capture) = &stored.post_capture else {
        return Clawback::default();
    };
    let left = post_capture.tokens.minus(post_capture.tokens_asked_back);
    let requested = match extent {
        RefundExtent::Full => left,
        RefundExtent::Part => left.min(share(post_capture.tokens, amount, stored.quote().amount)),
    };
    asked_back(context, user, requested)
}

/// Claws back `tokens`; the buyer owes what the balance does not have.
pub(super) fn asked_back(context: Context<'_>, user: &UserId, requested: Tokens) -> Clawback {
    let recovered = requested.min(context.shard.tokens(user));
    Clawback {
        requested,
        recovered,
        shortfall: requested.minus(recovered),
    }
}

pub(super) fn share(tokens: Tokens, part: Amount, whole: Amount) -> Tokens {
    let wide = |amount: Amount| u128::from(amount.get().unsigned_abs());
    let shared = u128::from(tokens.get()) * wide(part) / wide(whole).max(1);
    Tokens::new(u64::try_from(shared).unwrap_or(tokens.get()))
}

/// Money that had gone back and came back, and its reward tokens.
#[derive(Copy, Clone)]
pub(super) struct ComesBack {
    pub(super) amount: Amount,
    pub(super) tokens: Tokens,
}

/// What comes back where the refund of this number failed after all.
pub(super) fn comes_back(purchase: &Purchase, number: u32) -> Option<ComesBack> {
    let refund = purchase.refund(number)?;
    let RefundState::Succeeded { clawback, .. } = refund.state else {
        return None;
    };
    let moved = refund.amount > Amount::ZERO && purchase.pending_refund().is_none();
    moved.then_some(ComesBack {
        amount: refund.amount,
        tokens: clawback.requested,
    })
}

/// What comes back of refunds that were made at the gateway's own site, where it has given back
/// `total` in all: the tokens are the money's share of theirs.
pub(super) fn found_comes_back(purchase: &Purchase, total: Amount) -> Option<ComesBack> {
    if purchase.pending_refund().is_some() {
        return None;
    }
    let post_capture = purchase.post_capture.as_deref();
    let mut found = purchase.refunded;
    let mut asked_back = post_capture.map_or(Tokens::NONE, |it| it.tokens_asked_back);
    for refund in post_capture.iter().flat_map(|it| &it.refunds) {
        if let RefundState::Succeeded { clawback, .. } = refund.state {
            found = found.saturating_minus(refund.amount);
            asked_back = asked_back.minus(clawback.requested);
        }
    }
    for dispute in purchase.disputes() {
        asked_back = asked_back.minus(dispute.asked_back);
    }
    let back = purchase.refunded.saturating_minus(total).min(found);
    (back > Amount::ZERO).then(|| ComesBack {
        amount: back,
        tokens: share(asked_back, back, found),
    })
}
