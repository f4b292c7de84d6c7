//! Owns the sentence of a refusal with figures: what happened, how much, what to do.
//!
//! Invariants: a sentence depends only on the reason and the facts, so a replayed refusal is the
//! same byte for byte; it contains the figures that are also fields; it consists of words of this
//! program, numbers, times and ids, and needs no escape in JSON.
//! Deliberately absent: reasons without figures, whose fixed sentences `problem` owns.

use crate::engine::event::{RetryAdvice, ReturnedMoney};
use crate::engine::lifecycle::PurchaseState;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{
    CardBar, CurrencyList, PricedBy, PromotionBar, QuotaScope, RefundBar, RefusalFacts,
    SpendingScope, UsesScope,
};
use crate::engine::view::DeclineView;
use crate::money::{Amount, Currency};
use crate::time::UnixMs;

/// An operator's act on a purchase.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum PurchaseAct {
    Refund,
    Void,
    /// Approve or reject.
    Review,
    /// Settle a stuck purchase.
    Settle,
}

/// The sentence for a purchase whose state does not allow `act`.
pub fn wrong_state(state: PurchaseState, act: PurchaseAct) -> String {
    let status = state.as_str();
    let needed = match act {
        PurchaseAct::Refund => "a captured purchase with money left can be refunded",
        PurchaseAct::Void => "a purchase that is not captured yet can be voided",
        PurchaseAct::Review => "a purchase under review can be approved or rejected",
        // It can always be settled as voided.
        PurchaseAct::Settle
            if matches!(state, PurchaseState::Stuck | PurchaseState::CaptureDiffers) =>
        {
            return "The purchase is stuck, but the gateway has no captured amount in its currency to book. Look the payment up at the gateway, or settle it as voided.".to_owned();
        }
        PurchaseAct::Settle => "a stuck purchase can be settled",
    };
    format!("The purchase is {status}; only {needed}.")
}

/// The sentence for `reason` with `facts`; `None`: the fixed sentence is sufficient.
pub(in crate::http) fn of(reason: Refusal, facts: &RefusalFacts) -> Option<String> {
    Some(match *facts {
        RefusalFacts::UserUnits {
            limit,
            used,
            requested,
        } => format!(
            "A buyer may have {limit} units of this product. This buyer has {used} and requested {requested} more."
        ),
        RefusalFacts::Spending {
            scope,
            currency,
            limit,
            used,
            amount,
        } => spending((reason, scope), currency, [amount, used, limit]),
        RefusalFacts::Stock {
            available,
            requested,
        } => format!("{available} units are available; {requested} were requested."),
        RefusalFacts::Window { starts_at, ends_at } => return window(reason, starts_at, ends_at),
        RefusalFacts::HoldExpired { expires_at, .. } => {
            format!("The hold expired at {expires_at}. Place a new one.")
        }
        RefusalFacts::HoldClosed { status, .. } => {
            format!(
                "The hold is {}; only a hold that is held can be paid or released.",
                status.as_str()
            )
        }
        // Only refunds have these facts.
        RefusalFacts::State { status, .. } => wrong_state(status, PurchaseAct::Refund),
        RefusalFacts::Captured {
            currency,
            captured,
            refunded,
            left,
            amount,
        } => exceeds_captured(currency, [amount, left, refunded, captured]),
        RefusalFacts::Refunded {
            conflict,
            currency,
            refunded,
            left,
        } => refund_conflict(conflict, currency, refunded, left),
        RefusalFacts::Quota {
            scope,
            limit,
            window_s,
        } => quota(scope, limit, window_s),
        RefusalFacts::Priced { by, currencies } => match by {
            PricedBy::Product => format!(
                "This product has no price in this currency. {}",
                in_currencies("It has one", currencies)
            ),
            PricedBy::Hold => format!(
                "The hold fixed no price in this currency. {}",
                in_currencies("It has one", currencies)
            ),
        },
        RefusalFacts::CardRetry {
            bar,
            declines,
            declines_max,
            retry_at,
            ..
        } => card_retry(bar, declines, declines_max, retry_at),
        RefusalFacts::Balance { balance, requested } => format!(
            "The buyer has {} reward tokens; {} were requested.",
            balance.get(),
            requested.get()
        ),
        RefusalFacts::Uses {
            scope,
            uses,
            uses_max,
        } => {
            let by = match scope {
                UsesScope::Promotion => "",
                UsesScope::User => " by this buyer",
            };
            format!("The promotion has reached its maximum{by}: {uses} of {uses_max} uses.")
        }
        RefusalFacts::Promotion(bar) => promotion(bar),
        RefusalFacts::Payable {
            currency,
            amount,
            least,
            most,
            step,
        } => payable(currency, amount, (least, most, step)),
    })
}

fn refund_conflict(
    conflict: RefundBar,
    currency: Currency,
    refunded: Amount,
    left: Option<Amount>,
) -> String {
    let left = match left {
        Some(left) => format!(
            "; {} {currency} can be refunded",
            currency.in_units(left.get())
        ),
        None => String::new(),
    };
    let refunded = currency.in_units(refunded.get());
    match conflict {
        RefundBar::Stale => format!(
            "{refunded} {currency} of this purchase are refunded, which is not what previously_refunded says{left}. Read the purchase again."
        ),
        RefundBar::UnderWay => format!(
            "Another refund of this purchase is in progress: {refunded} {currency} are refunded{left}. Read the purchase again once it has ended."
        ),
        RefundBar::Restock => format!(
            "restock is allowed only on the refund that leaves nothing, disputed money included: {refunded} {currency} are refunded{left}."
        ),
        RefundBar::TooMany => format!(
            "The purchase has the maximum number of refunds: {refunded} {currency} are refunded{left}. Refund all that is left at once."
        ),
    }
}

fn window(reason: Refusal, starts_at: Option<UnixMs>, ends_at: Option<UnixMs>) -> Option<String> {
    let starts = starts_at.map(|at| format!("starts at {at}"));
    let ends = ends_at.map(|at| format!("ends at {at}"));
    let window: Vec<_> = starts.into_iter().chain(ends).collect();
    let window = (!window.is_empty()).then(|| window.join(" and "))?;
    Some(match reason {
        Refusal::SaleInactive => {
            format!("This product is inactive. Its sale {window}.")
        }
        Refusal::SaleEnded => format!("The sale has ended: it {window}."),
        _ => format!("The sale has not started: it {window}."),
    })
}

fn quota(scope: QuotaScope, limit: u64, window_s: Option<u64>) -> String {
    let what = match scope {
        QuotaScope::Attempts => "attempts to buy",
        QuotaScope::OpenHolds => "open holds",
        QuotaScope::IdempotencyKeys => "idempotency keys",
        QuotaScope::ApiKey => "requests",
    };
    let whose = match scope {
        QuotaScope::Attempts | QuotaScope::OpenHolds | QuotaScope::IdempotencyKeys => "A buyer",
        QuotaScope::ApiKey => "This API key",
    };
    match window_s {
        Some(window_s) => format!(
            "{whose} may make at most {limit} {what} in {window_s} s, and has reached that. Try again after the seconds in Retry-After."
        ),
        None => format!(
            "{whose} may have at most {limit} {what} at once, and has reached that. Try again after the seconds in Retry-After."
        ),
    }
}

fn spending(
    (reason, scope): (Refusal, SpendingScope),
    currency: Currency,
    amounts: [Amount; 3],
) -> String {
    let limit_of = match (reason, scope) {
        (Refusal::DailyLimit, SpendingScope::User) => "today's limit",
        (Refusal::DailyLimit, SpendingScope::Card) => "today's limit of this card",
        (Refusal::DailyLimit, SpendingScope::Device) => "today's limit of this device",
        (_, SpendingScope::User) => "the lifetime limit",
        (_, SpendingScope::Card) => "the lifetime limit of this card",
        (_, SpendingScope::Device) => "the lifetime limit of this device",
    };
    let [amount, used, limit] = amounts.map(|it| currency.in_units(it.get()));
    format!(
        "This amount of {amount} {currency} exceeds {limit_of}: {used} of {limit} {currency} are used."
    )
}

fn exceeds_captured(currency: Currency, amounts: [Amount; 4]) -> String {
    let [_, left, refunded, captured] = amounts;
    let disputed = captured.saturating_minus(refunded).saturating_minus(left);
    let also = match disputed {
        Amount::ZERO => String::new(),
        it => format!(" and {} are disputed", currency.in_units(it.get())),
    };
    let [amount, left, refunded, captured] = amounts.map(|it| currency.in_units(it.get()));
    format!(
        "The refund of {amount} {currency} exceeds the {left} {currency} that can still be refunded: {refunded} of {captured} {currency} are refunded{also}."
    )
}

/// `what` with the currencies in which it is so.
fn in_currencies(what: &str, currencies: CurrencyList) -> String {
    let codes: Vec<_> = currencies.iter().map(|it| it.to_string()).collect();
    match codes.as_slice() {
        [] => format!("{what} in none."),
        codes => format!("{what} in {}.", codes.join(", ")),
    }
}

fn card_retry(bar: CardBar, declines: u32, declines_max: u32, retry_at: UnixMs) -> String {
    match bar {
        CardBar::Final => format!(
            "The card was declined before, and its network allows no other try until {retry_at}. Use another card."
        ),
        CardBar::Limit => format!(
            "The card was declined {declines} times, and its network allows {declines_max}. Use another card, or this one after {retry_at}."
        ),
    }
}

fn promotion(bar: PromotionBar) -> String {
    match bar {
        PromotionBar::Inactive => "The promotion is inactive.".to_owned(),
        PromotionBar::NotStarted { starts_at } => format!("The promotion starts at {starts_at}."),
        PromotionBar::Ended { ends_at } => format!("The promotion ended at {ends_at}."),
        PromotionBar::Product => "The promotion does not apply to this product.".to_owned(),
        PromotionBar::Segment => "The promotion does not apply to this buyer's segment.".to_owned(),
        PromotionBar::Currency(would_do) => format!(
            "The promotion gives no discount in this currency. {}",
            in_currencies("It gives one", would_do)
        ),
        PromotionBar::Hold => {
            "The hold was placed with a different promotion, or with none. Pay with the hold's promotion, or place a new hold.".to_owned()
        }
    }
}

fn payable(
    currency: Currency,
    amount: Option<Amount>,
    (least, most, step): (Option<i64>, Option<i64>, i64),
) -> String {
    let shown = |minor| format!("{} {currency}", currency.in_units(minor));
    let amount = amount.map_or_else(|| "this amount".to_owned(), |it| shown(it.get()));
    let mut bounds = Vec::new();
    bounds.extend(least.map(|it| format!("at least {}", shown(it))));
    bounds.extend(most.map(|it| format!("at most {}", shown(it))));
    bounds.push(format!("a multiple of {}", shown(step)));
    format!(
        "The payment gateway does not accept {amount}. The amount must be {}.",
        bounds.join(", ")
    )
}

/// The sentences for a payment that was not made.
pub(in crate::http) fn declined(view: &DeclineView) -> String {
    let unavailable = view.reason == Refusal::GatewayUnavailable;
    let what = match &view.code {
        _ if unavailable => {
            "The payment gateway could not be reached. Nothing was charged. The idempotency key can be used again."
                .to_owned()
        }
        Some(code) => format!("The payment was declined ({code}). {}", charged(view.returned)),
        None => format!("The payment was declined. {}", charged(view.returned)),
    };
    let advice = match view.advice {
        _ if unavailable => None,
        RetryAdvice::Never => Some("Do not try this card again.".to_owned()),
        RetryAdvice::OtherCard => Some("Try another card, or enter this card again.".to_owned()),
        RetryAdvice::Later => Some("Try this card later, or another card now.".to_owned()),
    };
    let hold = view
        .hold
        .map(|until| format!("The hold stays open until {until}."));
    let sentences: Vec<_> = [Some(what), advice, hold].into_iter().flatten().collect();
    sentences.join(" ")
}

/// What the gateway charged for a payment that the shop did not get.
fn charged(returned: Option<ReturnedMoney>) -> String {
    let Some(ReturnedMoney { amount, currency }) = returned else {
        return "Nothing was charged.".to_owned();
    };
    let what = currency.map_or_else(
        || "an amount in a currency that is none of ISO 4217".to_owned(),
        |currency| format!("{} {currency}", currency.in_units(amount.get())),
    );
    format!("The gateway captured {what} and refunded it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(minor: i64) -> Amount {
        Amount::new(minor).unwrap()
    }

    #[test]
    fn sentences_say_what_the_limit_is_and_how_much_of_it_is_used() {
        let currency = Currency::parse("USD").unwrap();
        let spent = RefusalFacts::Spending {
            scope: SpendingScope::User,
            currency,
            limit: amount(50_000),
            used: amount(45_000),
            amount: amount(9_900),
        };
        let payable = RefusalFacts::Payable {
            currency,
            amount: Some(amount(49)),
            least: Some(50),
            most: Some(99_999_999),
            step: 1,
        };
        for (reason, facts, sentence) in [
            (
                Refusal::DailyLimit,
                spent,
                "This amount of 99.00 USD exceeds today's limit: 450.00 of 500.00 USD are used.",
            ),
            (
                Refusal::LifetimeLimit,
                spent,
                "This amount of 99.00 USD exceeds the lifetime limit: 450.00 of 500.00 USD are used.",
            ),
            (
                Refusal::AmountNotPayable,
                payable,
                "The payment gateway does not accept 0.49 USD. The amount must be at least 0.50 USD, at most 999999.99 USD, a multiple of 0.01 USD.",
            ),
        ] {
            assert_eq!(of(reason, &facts).as_deref(), Some(sentence));
        }
    }
}
