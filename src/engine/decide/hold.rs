//! Decides `PlaceHold`, and the placing half of a buy.

use super::amounts::{Paying, within_limits};
use super::quote::quote;
use super::risk::{RiskSubject, hits, judge};
use super::{Claims, Context, Decision, RejectedAttempt};
use crate::engine::decide::command::PlaceHold;
use crate::engine::event::{Event, Flow, HeldQuote, HoldPlaced, Origin};
use crate::engine::risk::program::RuleMatches;
use crate::engine::state::catalogue::{Product, Promotion, barred};
use crate::engine::words::metadata::Metadata;
use crate::engine::words::payable::AmountRule;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{PricedBy, PromotionBar, RefusalFacts, Rejection, UsesScope};
use crate::engine::words::score::Appraisal;
use crate::ids::{ProductId, PromotionCode, PurchaseId, UserId};
use crate::money::Currency;
use smallvec::SmallVec;
use std::sync::Arc;

/// Whether units may be reserved, and the event of the hold.
pub fn decide_hold(
    context: Context<'_>,
    command: &PlaceHold,
) -> Result<Decision<PurchaseId>, RejectedAttempt> {
    let wanted = HoldRequest {
        origin: &command.origin,
        user: &command.user,
        product: &command.product,
        quantity: command.quantity,
        currency: command.currency,
        promotion: command.promotion.as_ref(),
        metadata: &command.metadata,
        flow: Flow::Hold,
        paying: None,
    };
    let (placed, claims, found) = place(context, &wanted)?;
    let made = placed.purchase;
    Ok(Decision {
        events: SmallVec::from_iter([Event::HoldPlaced(placed)]),
        claims,
        found,
        made,
    })
}

/// A hold as requested by either command.
pub(super) struct HoldRequest<'a> {
    pub(super) origin: &'a Origin,
    pub(super) user: &'a UserId,
    pub(super) product: &'a ProductId,
    pub(super) quantity: u32,
    pub(super) currency: Option<Currency>,
    pub(super) promotion: Option<&'a PromotionCode>,
    pub(super) metadata: &'a Metadata,
    pub(super) flow: Flow,
    /// The payer, if the hold is paid at once; then amounts are limited.
    pub(super) paying: Option<Paying<'a>>,
}

/// The checks from product to stock, in the contract's order.
pub(super) fn place(
    context: Context<'_>,
    wanted: &HoldRequest<'_>,
) -> Result<(HoldPlaced, Claims, RuleMatches), RejectedAttempt> {
    let Context { catalogue, at, .. } = context;
    let product = catalogue
        .product(wanted.product)
        .ok_or(Refusal::ProductNotFound)?;
    product.on_sale(at)?;
    let currency = wanted
        .currency
        .or_else(|| first_currency(context, product, wanted));
    let priced = currency.and_then(|it| Some((it, product.price(it)?)));
    let (currency, priced) = priced.ok_or_else(|| not_priced(context, product))?;
    debug_assert!(priced.get() > 0);

    let asked = RiskSubject {
        origin: wanted.origin,
        user: wanted.user,
        card: wanted.paying.map(|paying| paying.card),
        product: wanted.product,
        quantity: wanted.quantity,
        currency,
        amount: priced.times(wanted.quantity),
    };
    let found = judge(context, &asked)?;
    let set_aside = set_aside(context, wanted, product, currency);
    let (mut placed, claims) = set_aside.map_err(|rejection| found.turned(rejection))?;
    placed.hits = hits(context, found);
    if wanted.flow == Flow::Hold {
        placed.appraisal = found.scored().into();
    }
    Ok((placed, claims, found))
}

/// The checks from the limits to stock.
fn set_aside(
    context: Context<'_>,
    wanted: &HoldRequest<'_>,
    product: &Product,
    currency: Currency,
) -> Result<(HoldPlaced, Claims), Rejection> {
    let Context {
        shard,
        settings,
        at,
        ..
    } = context;
    shard.room_for_purchase(&settings.bounds)?;
    let committed = shard.committed(wanted.user, product.index);
    let limit = product.terms.per_user_limit.unwrap_or(u32::MAX);
    if committed.saturating_add(wanted.quantity) > limit {
        return Err(Refusal::PerUserLimit.about(RefusalFacts::UserUnits {
            limit,
            used: committed,
            requested: wanted.quantity,
        }));
    }

    let promotion = wanted
        .promotion
        .map(|code| usable(context, wanted, code))
        .transpose();
    // Amount limits refuse before a promotion does, so the amount to be paid is needed first.
    let applied = promotion.ok().flatten().map(AsRef::as_ref);
    let payable = settings.payable.of(currency);
    let quoted = quote(product, wanted.quantity, currency, applied, payable);
    let mut claims = Claims::default();
    if let Some(paying) = wanted.paying {
        let whole = quote(product, wanted.quantity, currency, None, AmountRule::ANY)?;
        claims.amounts = within_limits(context, paying, quoted.as_ref().unwrap_or(&whole))?;
    }
    let promotion = promotion?;
    let quote = quoted.map_err(|rejection| {
        let asked = (product, wanted.quantity, applied);
        told_what_would_do(context, rejection, asked)
    })?;
    claim_units(product, promotion, wanted.quantity, &mut claims)?;

    let other_quotes = match wanted.flow {
        Flow::Hold => other_quotes(context, product, wanted.quantity, currency, applied),
        // It is paid at once, in the requested currency.
        Flow::Buy | Flow::Refund | Flow::Webhook | Flow::Reward => Vec::new(),
    };
    let hold_ttl_ms = product.terms.hold_ttl_ms.unwrap_or(settings.hold_ttl_ms);
    let placed = HoldPlaced {
        purchase: shard.next_id(context.tag),
        user: wanted.user.clone(),
        product: wanted.product.clone(),
        quantity: wanted.quantity,
        quote,
        other_quotes,
        reward_tokens: product.terms.reward_tokens,
        // The code as the operator wrote it, whatever case the buyer used.
        promotion: promotion.map(|it| it.terms.code.clone()),
        expires_at: at.plus_ms(hold_ttl_ms),
        metadata: wanted.metadata.clone(),
        flow: wanted.flow,
        origin: wanted.origin.clone(),
        hits: Vec::new(),
        appraisal: Appraisal::Plain,
    };
    Ok((placed, claims))
}

/// Claims the promotion's use and the units, or neither.
fn claim_units(
    product: &Product,
    promotion: Option<&Arc<Promotion>>,
    quantity: u32,
    claims: &mut Claims,
) -> Result<(), Rejection> {
    // Checked before anything is claimed: if a use were claimed and given back because the stock is
    // gone, another buyer would be refused it meanwhile.
    if let Some(promotion) = promotion
        && promotion.uses.read().available() == 0
    {
        return Err(exhausted(promotion));
    }
    if product.stock.read().available() < quantity {
        return Err(sold_out(product, quantity));
    }
    if let Some(promotion) = promotion {
        let claim = promotion.uses.claim_owned(1);
        claims.promotion = Some(claim.ok_or_else(|| exhausted(promotion))?);
    }
    let claim = product.stock.claim_owned(quantity);
    claims.stock = Some(claim.ok_or_else(|| sold_out(product, quantity))?);
    Ok(())
}

/// The first of the drop's currencies with a quote, otherwise the first with a price.
fn first_currency(
    context: Context<'_>,
    product: &Product,
    wanted: &HoldRequest<'_>,
) -> Option<Currency> {
    let promotion = wanted
        .promotion
        .and_then(|code| context.catalogue.promotion(code));
    let promotion = promotion.map(AsRef::as_ref);
    let priced = || {
        let listed = context.settings.currencies.iter().copied();
        listed.filter(|it| product.price(*it).is_some())
    };
    let payable = &context.settings.payable;
    let quoted =
        |it: &Currency| quote(product, wanted.quantity, *it, promotion, payable.of(*it)).is_ok();
    let mut quoted = priced().filter(quoted);
    quoted.next().or_else(|| priced().next())
}

/// The product has no price in the currency; in which of the drop's it has.
fn not_priced(context: Context<'_>, product: &Product) -> Rejection {
    let listed = context.settings.currencies.iter().copied();
    Refusal::CurrencyNotAllowed.about(RefusalFacts::Priced {
        by: PricedBy::Product,
        currencies: listed.filter(|it| product.price(*it).is_some()).collect(),
    })
}

/// `rejection`, where the promotion gives nothing in the currency, with those in which it does.
fn told_what_would_do(
    context: Context<'_>,
    rejection: Rejection,
    (product, quantity, promotion): (&Product, u32, Option<&Promotion>),
) -> Rejection {
    let Some(RefusalFacts::Promotion(PromotionBar::Currency(_))) = rejection.facts else {
        return rejection;
    };
    let payable = &context.settings.payable;
    let gives = |it: &Currency| quote(product, quantity, *it, promotion, payable.of(*it)).is_ok();
    let listed = context.settings.currencies.iter().copied();
    barred(PromotionBar::Currency(listed.filter(gives).collect()))
}

/// What the hold costs in every currency but the one that is shown.
fn other_quotes(
    context: Context<'_>,
    product: &Product,
    quantity: u32,
    shown: Currency,
    promotion: Option<&Promotion>,
) -> Vec<HeldQuote> {
    let listed = context.settings.currencies.iter().copied();
    let others = listed.filter(|it| *it != shown && product.price(*it).is_some());
    let held = others.map(|currency| {
        let payable = context.settings.payable.of(currency);
        match quote(product, quantity, currency, promotion, payable) {
            Ok(quote) => HeldQuote::Payable(quote),
            Err(rejection) => HeldQuote::Refused(currency, rejection.reason),
        }
    });
    held.collect()
}

fn usable<'a>(
    context: Context<'a>,
    wanted: &HoldRequest<'_>,
    code: &PromotionCode,
) -> Result<&'a Arc<Promotion>, Rejection> {
    let promotion = context
        .catalogue
        .promotion(code)
        .ok_or(Refusal::PromotionNotFound)?;
    promotion.applies(wanted.product, context.at)?;
    promotion.is_for(context.shard.segment(wanted.user))?;
    let used = context.shard.promotion_uses(wanted.user, promotion.index);
    match promotion.terms.uses_per_user_max {
        Some(most) if used >= most => Err(Refusal::PromotionExhausted.about(RefusalFacts::Uses {
            scope: UsesScope::User,
            uses: used,
            uses_max: most,
        })),
        _ => Ok(promotion),
    }
}

/// Other shards change the cell meanwhile, so the figure read now may exceed the one that was too
/// small a moment ago. The refusal reports at most one unit fewer than requested, as it was then.
fn sold_out(product: &Product, requested: u32) -> Rejection {
    let available = product.stock.read().available();
    Refusal::SoldOut.about(RefusalFacts::Stock {
        available: available.min(requested.saturating_sub(1)),
        requested,
    })
}

/// Likewise: all uses were taken a moment ago.
fn exhausted(promotion: &Promotion) -> Rejection {
    let uses_max = promotion.uses.read().max;
    Refusal::PromotionExhausted.about(RefusalFacts::Uses {
        scope: UsesScope::Promotion,
        uses: uses_max,
        uses_max,
    })
}
