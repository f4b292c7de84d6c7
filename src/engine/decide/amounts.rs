//! Decides whether an amount fits the limits of its buyer, card and device, and whether a person
//! must review it.
//!
//! The amount to be paid counts, after the discount.

use super::Context;
use crate::engine::event::{Origin, Quote};
use crate::engine::shared::amounts::{AmountClaims, Payer};
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{RefusalFacts, Rejection, SpendingScope};
use crate::ids::{CardToken, UserId};
use crate::money::Amount;

/// The reason of a review for its amount.
const AMOUNT_OVER: &str = "amount_over";

/// The buyer with card and device.
#[derive(Copy, Clone)]
pub(super) struct Paying<'a> {
    pub(super) user: &'a UserId,
    pub(super) card: &'a CardToken,
    pub(super) origin: &'a Origin,
}

/// The claims on shared amounts, if the amount fits.
pub(super) fn within_limits(
    context: Context<'_>,
    paying: Paying<'_>,
    quote: &Quote,
) -> Result<AmountClaims, Rejection> {
    let limits = &context.settings.amounts;
    let (currency, amount) = (quote.currency, quote.amount);
    if amount == Amount::ZERO {
        return Ok(AmountClaims::default());
    }
    let (today, ever) = context
        .shard
        .spent(paying.user, currency, context.day_start);
    for (reason, used, limit) in [
        (Refusal::DailyLimit, today, limits.daily_in(currency)),
        (Refusal::LifetimeLimit, ever, limits.lifetime_in(currency)),
    ] {
        if let Some(limit) = limit
            && amount > limit.saturating_minus(used)
        {
            return Err(reason.about(RefusalFacts::Spending {
                scope: SpendingScope::User,
                currency,
                limit,
                used,
                amount,
            }));
        }
    }
    let payer = Payer {
        card: paying.card,
        device: paying.origin.device.as_ref(),
        currency,
        amount,
    };
    context.shared.claim(payer, context.day_start)
}

/// Why a person must decide before this is charged; empty if no review is needed.
pub(super) fn review_reasons(context: Context<'_>, quote: &Quote) -> Vec<String> {
    let over = context.settings.review.amount_over_in(quote.currency);
    let over = over.filter(|over| quote.amount > *over);
    over.map(|_| AMOUNT_OVER.to_owned()).into_iter().collect()
}
