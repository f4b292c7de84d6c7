//! Owns the sentence of a refusal that has figures: what happened, how much, what to do.
//!
//! Invariants: a sentence follows from the reason and the facts alone, so that a refusal answered
//! again under its key is the same to the byte; it says the figures that stand beside it as
//! fields; it holds words of this program, numbers, instants and ids, and needs no escape in JSON.
//! Deliberately absent: reasons without figures, whose fixed sentences `http::problem` owns.

use crate::engine::event::RetryAdvice;
use crate::engine::refusal::Refusal;
use crate::engine::rejection::{PromotionBar, QuotaScope, RefusalFacts, SpendingScope, UsesScope};
use crate::engine::view::DeclineView;
use crate::money::{Amount, Currency};
use crate::time::UnixMs;

/// The sentence of `reason` about `facts`; `None`: its fixed one says as much.
pub(in crate::http) fn of(reason: Refusal, facts: &RefusalFacts) -> Option<String> {
    Some(match *facts {
        RefusalFacts::UserUnits {
            limit,
            used,
            requested,
        } => format!(
            "This buyer may have {limit} of this product and holds or owns {used}; {requested} more were asked for."
        ),
        RefusalFacts::Spending {
            scope,
            currency,
            limit,
            used,
            amount,
        } => {
            let limit_of = match (reason, scope) {
                (Refusal::DailyLimit, SpendingScope::User) => "today's limit",
                (Refusal::DailyLimit, SpendingScope::Card) => "today's limit of this card",
                (Refusal::DailyLimit, SpendingScope::Device) => "today's limit of this device",
                (_, SpendingScope::User) => "the lifetime limit",
                (_, SpendingScope::Card) => "the lifetime limit of this card",
                (_, SpendingScope::Device) => "the lifetime limit of this device",
            };
            let [amount, used, limit] = [amount, used, limit].map(|it| currency.in_units(it.get()));
            format!(
                "This amount of {amount} {currency} exceeds {limit_of}: {used} of {limit} {currency} are used."
            )
        }
        RefusalFacts::Stock {
            available,
            requested,
        } => format!("Units available: {available}; requested: {requested}."),
        RefusalFacts::Window { starts_at, ends_at } => return window(reason, starts_at, ends_at),
        RefusalFacts::HoldExpired { expires_at, .. } => {
            format!("The hold expired at {expires_at}; place a new one.")
        }
        RefusalFacts::HoldClosed { status, .. } => {
            format!(
                "The hold is {}; only a held one can be paid or released.",
                status.as_str()
            )
        }
        RefusalFacts::State { status, .. } => {
            format!(
                "The purchase is {}, which does not allow this.",
                status.as_str()
            )
        }
        RefusalFacts::Captured {
            currency,
            captured,
            refunded,
            left,
            amount,
        } => {
            let shown = [amount, left, refunded, captured].map(|it| currency.in_units(it.get()));
            let [amount, left, refunded, captured] = shown;
            format!(
                "{amount} {currency} are more than the {left} {currency} that can be refunded: {refunded} of {captured} {currency} were refunded before."
            )
        }
        RefusalFacts::Refunded { currency, refunded } => format!(
            "{} {currency} of this purchase are refunded, or another refund is under way; read the purchase again.",
            currency.in_units(refunded.get())
        ),
        RefusalFacts::Quota {
            scope,
            limit,
            window_s,
        } => quota(scope, limit, window_s),
        RefusalFacts::Balance { balance, requested } => format!(
            "The buyer has {} reward tokens; {} were asked for.",
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
            format!("The promotion is used up{by}: {uses} of {uses_max} uses.")
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

fn window(reason: Refusal, starts_at: Option<UnixMs>, ends_at: Option<UnixMs>) -> Option<String> {
    let starts = starts_at.map(|at| format!("starts at {at}"));
    let ends = ends_at.map(|at| format!("ends at {at}"));
    let window: Vec<_> = starts.into_iter().chain(ends).collect();
    let window = (!window.is_empty()).then(|| window.join(" and "))?;
    Some(match reason {
        Refusal::SaleInactive => {
            format!("This product is switched off, whatever its window: it {window}.")
        }
        Refusal::SaleEnded => format!("The sale is over: its window {window}."),
        _ => format!("The sale has not begun: its window {window}."),
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
            "{whose} has at most {limit} {what} in {window_s} s, and they are used up; see Retry-After."
        ),
        None => format!(
            "{whose} has at most {limit} {what} at once, and they are used up; see Retry-After."
        ),
    }
}

fn promotion(bar: PromotionBar) -> String {
    match bar {
        PromotionBar::Inactive => "The promotion is switched off.".to_owned(),
        PromotionBar::NotStarted { starts_at } => format!("The promotion starts at {starts_at}."),
        PromotionBar::Ended { ends_at } => format!("The promotion ended at {ends_at}."),
        PromotionBar::Product => "The promotion is for other products.".to_owned(),
        PromotionBar::Segment => "The promotion is for other buyers.".to_owned(),
        PromotionBar::Currency => "The promotion takes nothing off in this currency.".to_owned(),
        PromotionBar::Hold => {
            "The hold was placed with another promotion, or with none.".to_owned()
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
        "The payment gateway does not take {amount}: it has to be {}.",
        bounds.join(", ")
    )
}

/// The sentences of a payment that was not made.
pub(in crate::http) fn declined(view: &DeclineView) -> String {
    let unavailable = view.reason == Refusal::GatewayUnavailable;
    let what = match &view.code {
        _ if unavailable => {
            "The payment gateway could not be reached; nothing was charged, and the key is free."
                .to_owned()
        }
        Some(code) => format!("The payment was declined ({code}); nothing was charged."),
        None => "The payment was declined; nothing was charged.".to_owned(),
    };
    let advice = match view.advice {
        _ if unavailable => None,
        RetryAdvice::Never => Some("Do not try this card again.".to_owned()),
        RetryAdvice::OtherCard => Some("Try another card, or enter this one anew.".to_owned()),
        RetryAdvice::Later => Some("Try this card later, or another one now.".to_owned()),
    };
    let hold = view
        .hold
        .map(|until| format!("The hold is kept until {until}."));
    let sentences: Vec<_> = [Some(what), advice, hold].into_iter().flatten().collect();
    sentences.join(" ")
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
                "The payment gateway does not take 0.49 USD: it has to be at least 0.50 USD, at most 999999.99 USD, a multiple of 0.01 USD.",
            ),
        ] {
            assert_eq!(of(reason, &facts).as_deref(), Some(sentence));
        }
    }
}
