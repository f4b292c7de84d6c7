//! Decides the price of units of a product.

use crate::engine::event::Quote;
use crate::engine::state::catalogue::{Product, Promotion, barred};
use crate::engine::words::payable::AmountRule;
use crate::engine::words::refusal::Refusal;
use crate::engine::words::rejection::{CurrencyList, PromotionBar, RefusalFacts, Rejection};
use crate::money::{Amount, Currency};

/// The price of `quantity` units of `product` in `currency`, less `promotion`. A discount is
/// rounded down as far as `payable` requires, so that the rest can be charged; a discount of zero
/// does not apply.
pub fn quote(
    product: &Product,
    quantity: u32,
    currency: Currency,
    promotion: Option<&Promotion>,
    payable: AmountRule,
) -> Result<Quote, Rejection> {
    let unit_price = product.price(currency).ok_or(Refusal::CurrencyNotAllowed)?;
    let whole = unit_price.times(quantity);
    let discount = match promotion {
        Some(promotion) => promotion.discount(whole, currency)?,
        None => Amount::ZERO,
    };
    let amount = payable.charged(whole, discount);
    let amount = amount.ok_or_else(|| {
        let asked = whole.saturating_minus(discount);
        let facts = RefusalFacts::not_charged(payable, currency, Some(asked));
        Refusal::AmountNotPayable.about(facts)
    })?;
    let rounded = whole.saturating_minus(amount);
    if rounded == Amount::ZERO && discount > Amount::ZERO {
        return Err(barred(PromotionBar::Currency(CurrencyList::default())));
    }
    Ok(Quote {
        currency,
        unit_price,
        discount: rounded,
        amount,
    })
}
