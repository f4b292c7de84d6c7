//! Decides `Buy`: places a hold or takes an earlier one, and records the intent to charge for it.

use crate::engine::decide::amounts::{Paying, review_reasons, within_limits};
use crate::engine::decide::command::Buy;
use crate::engine::decide::hold::{HoldRequest, place};
use crate::engine::decide::release::{closed, expired};
use crate::engine::decide::risk::{RejectedAttempt, RiskSubject, hits, judge, reviews};
use crate::engine::decide::{Claims, Context, Decision};
use crate::engine::event::{Event, Flow, PaymentStarted, PaysFor, Quote, RetryAdvice, RuleHit};
use crate::engine::state::buyer::CardDecline;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::state::tries::PAYMENTS_PER_PURCHASE_MAX;
use crate::engine::words::lifecycle::{PurchaseState, Step};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{CardBar, PricedBy, PromotionBar, RefusalFacts, Rejection};
use crate::engine::words::score::Appraisal;
use crate::engine::words::settings::CardRetries;
use crate::ids::{CardToken, PurchaseId, UserId};
use crate::time::UnixMs;
use smallvec::SmallVec;

/// Whether the buy may go to the gateway, and its events.
pub fn decide_buy(
    context: Context<'_>,
    command: &Buy,
) -> Result<Decision<PurchaseId>, RejectedAttempt> {
    let decision = match command.hold {
        Some(hold) => pay_earlier_hold(context, command, hold),
        None => pay_own_hold(context, command),
    }?;
    // This check comes last, because the gateway would also refuse last. On a refusal the claims
    // give themselves back.
    let (rules, at) = (context.settings.card_retries, context.at);
    let shard = context.shard;
    if let Some(facts) = shard.card_bar(&command.user, &command.card, rules, at) {
        let rejection = Refusal::CardRetryForbidden.about(facts);
        return Err(decision.found.turned(rejection));
    }
    Ok(decision)
}

fn pay_own_hold(
    context: Context<'_>,
    command: &Buy,
) -> Result<Decision<PurchaseId>, RejectedAttempt> {
    let wanted = HoldRequest {
        origin: &command.origin,
        user: &command.user,
        product: &command.product,
        quantity: command.quantity,
        currency: Some(command.currency),
        promotion: command.promotion.as_ref(),
        metadata: &command.metadata,
        flow: Flow::Buy,
        paying: Some(paying(command)),
    };
    let (placed, claims, found) = place(context, &wanted)?;
    let made = placed.purchase;
    let terms = PaymentTerms {
        purchase: made,
        pays_for: PaysFor::OwnHold,
        quote: placed.quote,
        metadata: command.metadata.clone(),
        hits: placed.hits.clone(),
        appraisal: found.scored().into(),
    };
    let started = start(context, command, terms);
    Ok(Decision {
        events: SmallVec::from_iter([Event::HoldPlaced(placed), started]),
        claims,
        found,
        made,
    })
}

fn pay_earlier_hold(
    context: Context<'_>,
    command: &Buy,
    hold: PurchaseId,
) -> Result<Decision<PurchaseId>, RejectedAttempt> {
    let Context {
        shard,
        catalogue,
        at,
        ..
    } = context;
    // Another buyer's hold is answered as unknown, so that ids reveal nothing.
    let owned = shard.owner_of(hold) == Some(&command.user);
    let purchase = shard
        .find(hold)
        .filter(|_| owned)
        .ok_or(Refusal::HoldNotFound)?;
    let product = catalogue.product_at(purchase.product);
    if product.terms.product != command.product || purchase.quantity != command.quantity {
        return Err(Refusal::InvalidRequest.into());
    }
    match purchase.state() {
        PurchaseState::Expired => return Err(expired(hold, purchase).into()),
        PurchaseState::Held if at >= purchase.expires_at => {
            return Err(expired(hold, purchase).into());
        }
        _ if !purchase.may(Step::PaymentStarted) => return Err(closed(hold, purchase).into()),
        // Every payment of a purchase is stored, so their number is bounded.
        _ if purchase.ended_payments() >= PAYMENTS_PER_PURCHASE_MAX => {
            return Err(Refusal::Overloaded.into());
        }
        _ => {}
    }
    let quote = quote_of_hold(context, command, purchase)?;
    let metadata = if command.metadata.is_empty() {
        purchase.metadata()
    } else {
        command.metadata.clone()
    };
    let asked = RiskSubject {
        origin: &command.origin,
        user: &command.user,
        card: Some(&command.card),
        product: &command.product,
        quantity: purchase.quantity,
        currency: command.currency,
        amount: quote.unit_price.times(purchase.quantity),
    };
    let found = judge(context, &asked)?;
    let amounts = within_limits(context, paying(command), &quote);
    let amounts = amounts.map_err(|rejection| found.turned(rejection))?;
    let terms = PaymentTerms {
        purchase: hold,
        pays_for: PaysFor::EarlierHold,
        quote,
        metadata,
        hits: hits(context, found),
        appraisal: found.scored().into(),
    };
    let started = start(context, command, terms);
    Ok(Decision {
        events: SmallVec::from_iter([started]),
        claims: Claims {
            amounts,
            ..Claims::default()
        },
        found,
        made: hold,
    })
}

/// A hold fixes the price in every currency, however the terms change later.
fn quote_of_hold(
    context: Context<'_>,
    command: &Buy,
    purchase: &Purchase,
) -> Result<Quote, Rejection> {
    let held = purchase
        .promotion
        .map(|index| context.catalogue.promotion_at(index));
    if let Some(asked) = &command.promotion
        && held.is_none_or(|promotion| promotion.terms.code != *asked)
    {
        let facts = RefusalFacts::Promotion(PromotionBar::Hold);
        return Err(Refusal::PromotionNotApplicable.about(facts));
    }
    let currency = command.currency;
    purchase
        .held_quote(currency)
        .map_err(|reason| match reason {
            Refusal::AmountNotPayable => {
                let rule = context.settings.payable.of(currency);
                reason.about(RefusalFacts::not_charged(rule, currency, None))
            }
            Refusal::PromotionNotApplicable => {
                let would_do = purchase.held_currencies();
                reason.about(RefusalFacts::Promotion(PromotionBar::Currency(would_do)))
            }
            Refusal::CurrencyNotAllowed => reason.about(RefusalFacts::Priced {
                by: PricedBy::Hold,
                currencies: purchase.held_currencies(),
            }),
            reason => reason.into(),
        })
}

fn paying(command: &Buy) -> Paying<'_> {
    Paying {
        user: &command.user,
        card: &command.card,
        origin: &command.origin,
    }
}

/// What a payment takes from its hold, and what the risk rules found.
struct PaymentTerms {
    purchase: PurchaseId,
    pays_for: PaysFor,
    quote: Quote,
    metadata: Metadata,
    hits: Vec<RuleHit>,
    appraisal: Appraisal,
}

fn start(context: Context<'_>, command: &Buy, terms: PaymentTerms) -> Event {
    let PaymentTerms {
        purchase,
        pays_for,
        quote,
        metadata,
        hits,
        appraisal,
    } = terms;
    let mut review = review_reasons(context, &quote);
    review.extend(reviews(&hits));
    Event::PaymentStarted(PaymentStarted {
        purchase,
        user: command.user.clone(),
        quote,
        card: command.card.clone(),
        pays_for,
        origin: command.origin.clone(),
        metadata,
        review,
        hits,
        appraisal,
    })
}

impl Shard {
    /// Why the card's network does not allow `user` to try `card` again, and from when it does;
    /// `None`: it does now.
    fn card_bar(
        &self,
        user: &UserId,
        card: &CardToken,
        rules: CardRetries,
        at: UnixMs,
    ) -> Option<RefusalFacts> {
        let more = self.buyer(user)?.more.as_ref()?;
        let counts = |it: &&CardDecline| it.card == *card && at.since_ms(it.at) < rules.window_ms;
        let counted = || more.declines.iter().filter(counts);
        let of = |advice| counted().filter(move |it| it.advice == advice);
        let limited = of(RetryAdvice::Later).count();
        // The limit is met again once the oldest beyond it no longer counts; they stand in the order
        // of their instants.
        let limit = usize::try_from(rules.limited_max).unwrap_or(usize::MAX);
        let last_final = of(RetryAdvice::Never).next_back();
        let too_many = limited
            .checked_sub(limit)
            .and_then(|beyond| of(RetryAdvice::Later).nth(beyond));
        let (bar, barring) = match (last_final, too_many) {
            (Some(decline), _) => (CardBar::Final, decline),
            (None, Some(decline)) => (CardBar::Limit, decline),
            (None, None) => return None,
        };
        Some(RefusalFacts::CardRetry {
            bar,
            declines: u32::try_from(counted().count()).expect("few declines are kept"),
            declines_max: rules.limited_max,
            window_s: rules.window_ms / 1_000,
            retry_at: barring.at.plus_ms(rules.window_ms),
        })
    }
}
