//! Decides what a report of a dispute does to its purchase, and to the buyer's reward tokens.
//!
//! Invariants: each dispute takes its own amount, and returns it if it is won after it was lost;
//! its share of the reward tokens goes with its money, rounded down, and the last part of the money
//! takes all that are left. A dispute returns exactly the tokens that it took. Deliberately absent:
//! which dispute a report is about, and whether it counts (`state::disputes`).

use super::refund::{asked_back, share};
use super::{Context, OwnedPurchase};
use crate::engine::decide::command::{NamedCurrency, ReceiveWebhook};
use crate::engine::event::{DisputeClosed, DisputeOpened, Event, GivenBack, WebhookKind};
use crate::engine::state::disputes::{DisputeChange, Word, charged_back};
use crate::engine::state::purchase::Purchase;
use crate::engine::words::dispute::{Dispute, DisputeStatus};
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection};
use crate::ids::PurchaseId;
use crate::money::{Amount, Tokens};

/// The effect of a webhook on the disputes of its purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisputeWord {
    /// It changes a dispute.
    Changes(Box<Event>),
    /// It changes nothing visible, and is kept because later reports are compared with it.
    Noted(Box<Event>),
    /// It is about a dispute that our books have no place for.
    Unplaced(Unplaced),
    /// It is about no dispute, or an older report.
    Nothing,
}

/// Why our books have no place for a dispute.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// No money was captured for the purchase, or the dispute's amount is zero.
    NoMoney,
    /// It is in another currency than the purchase.
    OtherCurrency,
    /// The purchase has the maximum number of disputes.
    TooMany,
}

impl Unplaced {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMoney => "no_money",
            Self::OtherCurrency => "other_currency",
            Self::TooMany => "too_many",
        }
    }
}

/// What a dispute's webhook does to its purchase. It is refused while the payment is in progress or
/// under review: the dispute proves a capture, and the gateway must send it again once the capture
/// is in the log.
pub fn decide_dispute(
    context: Context<'_>,
    purchase: PurchaseId,
    command: &ReceiveWebhook,
) -> Result<DisputeWord, Rejection> {
    let found = OwnedPurchase::find(context.shard, purchase);
    let (Some(status), Some(of)) = (status_of(command.kind), found) else {
        return Ok(DisputeWord::Nothing);
    };
    let stored = of.stored;
    if !stored.may(Step::DisputeOpened) {
        return match stored.state {
            PurchaseState::UnderReview | PurchaseState::CaptureDiffers => {
                Err(before_the_capture(purchase, stored))
            }
            state if state.is_open_payment() => Err(before_the_capture(purchase, stored)),
            _ => Ok(DisputeWord::Unplaced(Unplaced::NoMoney)),
        };
    }
    let quote = stored.quote();
    if quote.amount == Amount::ZERO || command.amount == Some(Amount::ZERO) {
        return Ok(DisputeWord::Unplaced(Unplaced::NoMoney));
    }
    match command.currency {
        NamedCurrency::None => {}
        NamedCurrency::Known(currency) if currency == quote.currency => {}
        NamedCurrency::Known(_) | NamedCurrency::Unknown => {
            return Ok(DisputeWord::Unplaced(Unplaced::OtherCurrency));
        }
    }
    let word = Word {
        id: command.dispute.as_ref(),
        status,
        at: command.happened_at,
        amount: command.amount,
    };
    Ok(match stored.effect_of(word) {
        DisputeChange::TooLate => DisputeWord::Nothing,
        DisputeChange::TooMany => DisputeWord::Unplaced(Unplaced::TooMany),
        DisputeChange::Changes(place, dispute) => {
            let event = changed(context, of, place, dispute, command);
            DisputeWord::Changes(Box::new(event))
        }
        DisputeChange::Noted(place, dispute) => {
            let event = changed(context, of, place, dispute, command);
            DisputeWord::Noted(Box::new(event))
        }
    })
}

fn before_the_capture(purchase: PurchaseId, stored: &Purchase) -> Rejection {
    Refusal::WrongState.about(RefusalFacts::State {
        purchase,
        status: stored.state,
    })
}

const fn status_of(kind: WebhookKind) -> Option<DisputeStatus> {
    match kind {
        WebhookKind::DisputeOpened => Some(DisputeStatus::Opened),
        WebhookKind::DisputeWon => Some(DisputeStatus::Won),
        WebhookKind::DisputeLost => Some(DisputeStatus::Lost),
        WebhookKind::PaymentAuthorized
        | WebhookKind::PaymentCaptured
        | WebhookKind::PaymentVoided
        | WebhookKind::PaymentFailed
        | WebhookKind::RefundSucceeded
        | WebhookKind::RefundFailed
        | WebhookKind::Other => None,
    }
}

fn changed(
    context: Context<'_>,
    of: OwnedPurchase<'_>,
    place: usize,
    dispute: Dispute,
    command: &ReceiveWebhook,
) -> Event {
    let (purchase, stored) = (of.id, of.stored);
    let known = stored.disputes().get(place);
    let number = u32::try_from(place + 1).expect("few are kept");
    let before = known.map(Dispute::status);
    let (user, currency) = (of.owner.clone(), stored.quote().currency);
    // What was lost took money and tokens: where its win is followed by another beginning, they come
    // back with the win.
    if dispute.status() == DisputeStatus::Opened && before != Some(DisputeStatus::Lost) {
        return Event::DisputeOpened(DisputeOpened {
            purchase,
            user,
            number,
            dispute,
            before,
            currency,
            code: command.code.clone(),
            charged_back: stored.charged_back(),
        });
    }
    let asked_before = known.map_or(Tokens::NONE, |it| it.asked_back);
    let mut disputes = stored.disputes().to_vec();
    disputes.truncate(place);
    disputes.push(dispute);
    disputes.extend(stored.disputes().iter().skip(place + 1).cloned());
    let same_money = known.is_some_and(|known| {
        (known.status(), known.amount) == (disputes[place].status(), disputes[place].amount)
    });
    // When its words happened says nothing of its money.
    let asked = if same_money {
        asked_before
    } else {
        asks_back(stored, &disputes, place, asked_before)
    };
    disputes[place].asked_back = asked;
    let tokens = asked_before.minus(asked);
    let given_back = GivenBack {
        tokens,
        debt_paid: tokens.min(context.shard.token_debt(&user)),
    };
    Event::DisputeClosed(DisputeClosed {
        purchase,
        number,
        before,
        currency,
        charged_back_before: stored.charged_back(),
        charged_back: charged_back(stored.quote().amount, &disputes),
        leaves: stored.paid_state_with(&disputes),
        clawback: asked_back(context, &user, asked.minus(asked_before)),
        given_back,
        dispute: disputes.swap_remove(place),
        user,
    })
}

/// The total of tokens that the dispute at `place` claws back; it has clawed back `before` so far.
fn asks_back(stored: &Purchase, disputes: &[Dispute], place: usize, before: Tokens) -> Tokens {
    let (Some(post_capture), DisputeStatus::Lost) =
        (&stored.post_capture, disputes[place].status())
    else {
        return Tokens::NONE;
    };
    let others = post_capture.tokens_asked_back.minus(before);
    let left = post_capture.tokens.minus(others);
    let captured = stored.quote().amount;
    let not_refunded = captured.saturating_minus(stored.refunded);
    if not_refunded <= charged_back(captured, disputes) {
        return left;
    }
    left.min(share(post_capture.tokens, disputes[place].amount, captured))
}
