//! Decides what becomes of a captured purchase: refunds, disputes, reward tokens.
//!
//! Invariants: one refund of a purchase is under way at a time; what goes back is at most what was
//! captured; tokens asked back over a purchase's whole life are at most those that it brought.

use super::{Context, Decision};
use crate::engine::command::{ReceiveWebhook, SpendTokens, StartRefund};
use crate::engine::event::{
    Clawback, DisputeClosed, DisputeOpened, DisputeOutcome, Event, RefundExtent, RefundStarted,
    RefundSucceeded, Restock, TokensSpent, WebhookKind,
};
use crate::engine::lifecycle::{PurchaseState, Step};
use crate::engine::purchase::Purchase;
use crate::engine::refusal::Refusal;
use crate::ids::{PurchaseId, UserId};
use crate::money::{Amount, Tokens};

/// Refunds of one purchase, at most; every one of them is kept.
const REFUNDS_MAX: usize = 100;

/// Whether the money may go back, and the intent to ask the gateway for it.
pub fn decide_refund(context: Context<'_>, command: &StartRefund) -> Result<Decision, Refusal> {
    let shard = context.shard;
    let stored = shard.find(command.purchase);
    let stored = stored.ok_or(Refusal::PurchaseNotFound)?;
    let user = shard.owner_of(command.purchase);
    let user = user.ok_or(Refusal::PurchaseNotFound)?.clone();
    if !stored.may(Step::RefundStarted) {
        return Err(Refusal::WrongState);
    }
    if command.previously_refunded != stored.refunded || stored.pending_refund().is_some() {
        return Err(Refusal::RefundConflict);
    }
    let left = stored.left();
    let free = stored.quote().amount == Amount::ZERO;
    if left == Amount::ZERO && !free {
        return Err(Refusal::WrongState);
    }
    let amount = command.amount.unwrap_or(left);
    if amount > left || amount == Amount::ZERO && !free {
        return Err(Refusal::RefundExceedsCaptured);
    }
    let payable = context.settings.payable.of(stored.quote().currency);
    if !free && !payable.gives_back(amount) {
        return Err(Refusal::AmountNotPayable);
    }
    // What the buyer keeps paying for is not sold to another.
    if command.restock == Restock::Yes && amount < left {
        return Err(Refusal::RefundConflict);
    }
    let before = stored.aftermath.as_ref().map_or(0, |it| it.refunds.len());
    // None after it would do better.
    if before >= REFUNDS_MAX {
        return Err(Refusal::RefundConflict);
    }
    let number = u32::try_from(before + 1).expect("there are at most a hundred");
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
    if free {
        // No money moves: the gateway is not asked.
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
    Ok(decision)
}

/// What a dispute's webhook does to its purchase; `None` where it comes too late or is about
/// nothing that can be disputed. Refused where the payment is still under way here, or waits for a
/// person: the dispute says that there was a capture, and is to be told again once that stands in
/// the log.
pub fn decide_dispute(
    context: Context<'_>,
    purchase: PurchaseId,
    command: &ReceiveWebhook,
) -> Result<Option<Event>, Refusal> {
    let Some((stored, event)) = dispute(context, purchase, command) else {
        return Ok(None);
    };
    // A dispute is booked over all that is left, so there is one at a time, and a lost one is over.
    let open_to_it = match stored.state {
        PurchaseState::Disputed => command.kind != WebhookKind::DisputeOpened,
        PurchaseState::ChargedBack => false,
        _ => true,
    };
    let may = event.step().is_some_and(|(_, step)| stored.may(step));
    if may && open_to_it {
        Ok(Some(event))
    } else if stored.state.is_open_payment() || stored.state == PurchaseState::UnderReview {
        Err(Refusal::WrongState)
    } else {
        Ok(None)
    }
}

fn dispute<'a>(
    context: Context<'a>,
    purchase: PurchaseId,
    command: &ReceiveWebhook,
) -> Option<(&'a Purchase, Event)> {
    let stored = context.shard.find(purchase)?;
    let user = context.shard.owner_of(purchase)?.clone();
    let happened_at = command.happened_at;
    let last = stored.aftermath.as_ref().and_then(|it| it.dispute_at);
    if last.is_some_and(|last| happened_at < last) {
        return None;
    }
    let event = match command.kind {
        // Told of the same instant, the beginning came before the end that is known already.
        WebhookKind::DisputeOpened if last == Some(happened_at) => return None,
        WebhookKind::DisputeOpened => Event::DisputeOpened(DisputeOpened {
            purchase,
            user,
            amount: command.amount,
            code: command.code.clone(),
            happened_at,
        }),
        WebhookKind::DisputeWon => Event::DisputeClosed(DisputeClosed {
            purchase,
            user,
            outcome: won(stored),
            happened_at,
            charged_back: Amount::ZERO,
            clawback: Clawback::default(),
        }),
        WebhookKind::DisputeLost => {
            let left = stored.quote().amount.saturating_minus(stored.refunded);
            let clawback = clawback(context, &user, stored, RefundExtent::Full, left);
            Event::DisputeClosed(DisputeClosed {
                purchase,
                user,
                outcome: DisputeOutcome::Lost,
                happened_at,
                charged_back: left,
                clawback,
            })
        }
        WebhookKind::PaymentAuthorized
        | WebhookKind::PaymentCaptured
        | WebhookKind::PaymentVoided
        | WebhookKind::PaymentFailed
        | WebhookKind::RefundSucceeded
        | WebhookKind::RefundFailed
        | WebhookKind::Other => return None,
    };
    Some((stored, event))
}

fn won(stored: &Purchase) -> DisputeOutcome {
    if stored.refunded == Amount::ZERO {
        DisputeOutcome::Won
    } else if stored.refunded < stored.quote().amount {
        DisputeOutcome::WonPartRefunded
    } else {
        DisputeOutcome::WonRefunded
    }
}

/// Whether the buyer has the tokens, and the event that takes them.
pub fn decide_spending(context: Context<'_>, command: &SpendTokens) -> Result<Decision, Refusal> {
    if context.shard.tokens(&command.user) < command.tokens {
        return Err(Refusal::NotEnoughTokens);
    }
    Ok(Decision::without_claims(Event::TokensSpent(TokensSpent {
        user: command.user.clone(),
        tokens: command.tokens,
        origin: command.origin.clone(),
    })))
}

/// Whether money is left that could go back once `amount` more has.
pub(super) fn extent_after(stored: &Purchase, amount: Amount) -> RefundExtent {
    let left = stored.quote().amount.saturating_minus(stored.refunded);
    if amount >= left {
        RefundExtent::Full
    } else {
        RefundExtent::Part
    }
}

/// The tokens that go back with `amount`: their share of the purchase's, rounded down, and with
/// the last of the money all that are left.
pub(super) fn clawback(
    context: Context<'_>,
    user: &UserId,
    stored: &Purchase,
    extent: RefundExtent,
    amount: Amount,
) -> Clawback {
    let Some(aftermath) = &stored.aftermath else {
        return Clawback::default();
    };
    let left = aftermath.tokens.minus(aftermath.tokens_asked_back);
    let requested = match extent {
        RefundExtent::Full => left,
        RefundExtent::Part => left.min(share(aftermath.tokens, amount, stored.quote().amount)),
    };
    let recovered = requested.min(context.shard.tokens(user));
    Clawback {
        requested,
        recovered,
        shortfall: requested.minus(recovered),
    }
}

fn share(tokens: Tokens, part: Amount, whole: Amount) -> Tokens {
    let wide = |amount: Amount| u128::from(amount.get().unsigned_abs());
    let shared = u128::from(tokens.get()) * wide(part) / wide(whole).max(1);
    Tokens::new(u64::try_from(shared).unwrap_or(tokens.get()))
}
