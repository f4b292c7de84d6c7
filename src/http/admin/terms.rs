//! Owns the documents of products and promotions that PUT replaces and PATCH changes: reading and
//! showing them.
//!
//! Invariants: terms that were read are complete and within the engine's ranges; an absent or empty
//! field never means the most permissive value, except for fields that the contract marks as
//! optional; the entity tag depends on the document alone, so sales do not change it.
//! Deliberately absent: the rules between terms and what is held, sold and used, which the journal
//! checks under the catalogue's turn.

use super::written::Written;
use crate::engine::cells::StockLevels;
use crate::engine::event::{Active, AdminAct, Discount, ProductSet, PromotionSet};
use crate::engine::payable::{AmountRule, AmountRules};
use crate::engine::refusal::Refusal;
use crate::engine::view::{ProductView, PromotionView};
use crate::http::shop::products::{by_currency, product_for_shop, time};
use crate::http::wire::fields::{Fields, ID_FORM, InvalidBody, nullable, optional, required};
use crate::http::wire::preconditions::ETag;
use crate::ids::{ProductId, PromotionCode, Segment};
use crate::journal::NotSet;
use crate::money::{Amount, Currency, Price};
use crate::time::UnixMs;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Maximum units of one product, the limit of a stock cell.
pub const STOCK_MAX: u32 = 2_097_151;
const NAME_CHARS_MAX: usize = 200;
const PRODUCTS_OF_A_PROMOTION_MAX: usize = 100;
/// Maximum number of segments of a promotion.
const SEGMENTS_OF_A_PROMOTION_MAX: usize = 20;
const TTL_S_MAX: u32 = 30 * 86_400;
const TOKENS_MAX: u32 = 1_000_000;
/// The form of a word that is searched for card numbers.
const WORD_FORM: &str = "1 to 64 characters of A-Z a-z 0-9 _ . : -, without a card number";

/// The product with the terms `written`; `standing` is the current one, if any.
pub fn product(
    written: Written,
    (product, standing): (&ProductId, Option<&ProductView>),
    money: PriceRules<'_>,
    by: AdminAct,
) -> Result<ProductSet, InvalidBody> {
    let fields = written.onto(|| standing.map(product_terms).unwrap_or_default());
    let mut reader = TermsReader::new(fields, money);
    let name = reader.fields.name(required("name"), NAME_CHARS_MAX);
    let price = reader.fields.object(required("price"));
    let prices = price.map(|price| {
        reader.sums("price", price, |currency, sum| {
            payable(money.payable.of(currency), currency, sum)?;
            Price::new(sum).ok_or_else(sums_form)
        })
    });
    let stock = reader.fields.small(required("stock"), 0, STOCK_MAX);
    let per_user_limit = reader
        .fields
        .small(nullable("per_user_limit"), 1, STOCK_MAX);
    let window = reader.window();
    let hold_ttl_s = reader.fields.small(optional("hold_ttl_s"), 1, TTL_S_MAX);
    let reward_tokens = reader
        .fields
        .small(optional("reward_tokens"), 0, TOKENS_MAX);
    let found = name.zip(prices).zip(stock.zip(window));
    let ((name, prices), (stock, window)) = reader.finish(found)?;
    Ok(ProductSet {
        product: product.clone(),
        name,
        prices,
        stock,
        per_user_limit,
        starts_at: window.starts_at,
        ends_at: window.ends_at,
        active: window.active,
        hold_ttl_ms: hold_ttl_s.map(|s| u64::from(s) * 1_000),
        reward_tokens: reward_tokens.unwrap_or(0),
        by,
    })
}

/// The promotion with the terms `written`; `standing` is the current one, if any. It keeps the
/// spelling of its code.
pub fn promotion(
    written: Written,
    (code, standing): (&PromotionCode, Option<&PromotionView>),
    money: PriceRules<'_>,
    by: AdminAct,
) -> Result<PromotionSet, InvalidBody> {
    let fields = written.onto(|| standing.map(promotion_terms).unwrap_or_default());
    let mut reader = TermsReader::new(fields, money);
    let discount = reader.discount();
    let uses_max = reader.fields.small(required("uses_max"), 0, u32::MAX >> 1);
    let uses_per_user_max = nullable("uses_per_user_max");
    let uses_per_user_max = reader.fields.small(uses_per_user_max, 1, u32::MAX >> 1);
    let products = reader.fields.list(
        optional("product_ids"),
        PRODUCTS_OF_A_PROMOTION_MAX,
        ID_FORM,
        ProductId::parse,
    );
    let segments = reader.fields.list(
        optional("segments"),
        SEGMENTS_OF_A_PROMOTION_MAX,
        WORD_FORM,
        Segment::parse,
    );
    let window = reader.window();
    let (discount, (uses_max, window)) = reader.finish(discount.zip(uses_max.zip(window)))?;
    Ok(PromotionSet {
        code: standing.map_or(code, |it| &it.code).clone(),
        discount,
        uses_max,
        uses_per_user_max,
        products: products.unwrap_or_default(),
        segments: segments.unwrap_or_default(),
        starts_at: window.starts_at,
        ends_at: window.ends_at,
        active: window.active,
        by,
    })
}

/// The terms of a product with `add` added to its total.
pub fn with_stock(standing: &ProductView, add: i64, by: AdminAct) -> Result<ProductSet, NotSet> {
    let total = i64::from(standing.total) + add;
    let Ok(stock) = u32::try_from(total) else {
        return Err(NotSet::BelowCommitted(StockLevels {
            total: standing.total,
            held: standing.held,
            sold: standing.sold,
        }));
    };
    Ok(ProductSet {
        product: standing.product.clone(),
        name: standing.name.clone(),
        prices: standing.prices.clone(),
        stock,
        per_user_limit: standing.per_user_limit,
        starts_at: standing.starts_at,
        ends_at: standing.ends_at,
        active: standing.active,
        hold_ttl_ms: standing.hold_ttl_ms,
        reward_tokens: standing.reward_tokens,
        by,
    })
}

/// The number in the body of a change of the total.
pub fn added(body: &[u8]) -> Result<i64, InvalidBody> {
    let mut fields = Fields::of(body, &["add"]);
    let most = i64::from(STOCK_MAX);
    let add = fields.integer(required("add"), -most, most);
    match (add, fields.into_errors()) {
        (Some(add), errors) if errors.is_empty() => Ok(add),
        (_, errors) => Err((Refusal::InvalidRequest, errors)),
    }
}

/// The rules for amounts in terms.
#[derive(Copy, Clone, Debug)]
pub struct PriceRules<'a> {
    /// The drop's currencies.
    pub currencies: &'a [Currency],
    /// The amounts that the gateway accepts in each.
    pub payable: &'a AmountRules,
}

/// Reads terms from fields.
struct TermsReader<'a> {
    fields: Fields,
    currencies: &'a [Currency],
    /// Number of errors about a currency outside of the drop.
    foreign: usize,
}

fn sums_form() -> String {
    let most = Price::MAX;
    format!("must be a whole number of minor units from 1 to {most} for each currency")
}

/// Whether the gateway accepts a price, or the message with the accepted ones.
fn payable(rule: AmountRule, currency: Currency, sum: i64) -> Result<(), String> {
    let amount = Amount::new(sum).ok_or_else(sums_form)?;
    if rule.takes(amount) {
        return Ok(());
    }
    let (least, most) = (rule.least(), rule.most());
    let mut message = format!(
        "has an amount in {currency} that the payment gateway does not accept: it accepts {least} to {most} minor units"
    );
    if rule.step() > 1 {
        let _ = write!(message, " in steps of {}", rule.step());
    }
    let near = rule.nearest(amount);
    let near = [near.below, near.above].into_iter().flatten();
    let near: Vec<_> = near.map(|it| it.get().to_string()).collect();
    let _ = write!(message, "; the nearest: {}", near.join(" and "));
    Err(message)
}

struct SaleWindow {
    starts_at: Option<UnixMs>,
    ends_at: Option<UnixMs>,
    active: Active,
}

impl<'a> TermsReader<'a> {
    const fn new(fields: Fields, money: PriceRules<'a>) -> Self {
        Self {
            fields,
            currencies: money.currencies,
            foreign: 0,
        }
    }

    /// An amount in minor units per currency, ordered by code; at least one.
    fn sums<T>(
        &mut self,
        field: &'static str,
        object: Map<String, Value>,
        sum_of: impl Fn(Currency, i64) -> Result<T, String>,
    ) -> Vec<(Currency, T)> {
        if object.is_empty() {
            self.fields.wrong(field, "must have at least one currency");
        }
        let mut sums = Vec::with_capacity(object.len().min(self.currencies.len()));
        for (code, value) in object {
            let known = self.currencies.iter().find(|known| known.as_str() == code);
            let Some(currency) = known else {
                self.foreign += 1;
                let listed: Vec<_> = self.currencies.iter().map(Currency::as_str).collect();
                let listed = listed.join(", ");
                let message =
                    format!("has a currency that drop.currencies does not list: {listed}");
                self.fields.wrong(field, message);
                continue;
            };
            let in_range = value.as_i64().filter(|sum| (1..=Price::MAX).contains(sum));
            let sum = in_range.ok_or_else(sums_form);
            match sum.and_then(|sum| sum_of(*currency, sum)) {
                Ok(sum) => sums.push((*currency, sum)),
                Err(message) => self.fields.wrong(field, message),
            }
        }
        sums.sort_unstable_by_key(|(currency, _)| *currency);
        sums
    }

    fn discount(&mut self) -> Option<Discount> {
        let was_fine = self.fields.are_fine();
        let percent = self.fields.small(optional("percent_off"), 1, 100);
        let amount = self.fields.object(optional("amount_off"));
        match (percent, amount) {
            (Some(percent), None) => u8::try_from(percent).ok().map(Discount::Percent),
            (None, Some(amount)) => {
                let sums = self.sums("amount_off", amount, |_, sum| {
                    Amount::new(sum).ok_or_else(sums_form)
                });
                Some(Discount::Fixed(sums))
            }
            (Some(_), Some(_)) => {
                let message = "and amount_off are both given; send one of them, and null or nothing for the other";
                self.fields.wrong("percent_off", message);
                None
            }
            (None, None) => {
                // An error about one of them is recorded already.
                if was_fine && self.fields.are_fine() {
                    let message = "is missing; send percent_off or amount_off";
                    self.fields.wrong("percent_off", message);
                }
                None
            }
        }
    }

    fn window(&mut self) -> Option<SaleWindow> {
        let starts_at = self.fields.time(nullable("starts_at"));
        let ends_at = self.fields.time(nullable("ends_at"));
        let both = starts_at.zip(ends_at);
        if both.is_some_and(|(starts, ends)| ends <= starts) {
            self.fields.wrong("ends_at", "must be after starts_at");
        }
        let active = if self.fields.switch(required("active"))? {
            Active::Yes
        } else {
            Active::No
        };
        Some(SaleWindow {
            starts_at,
            ends_at,
            active,
        })
    }

    /// The result if there was no error; a missing field is among the errors.
    fn finish<T>(self, found: Option<T>) -> Result<T, InvalidBody> {
        let errors = self.fields.into_errors();
        match found {
            Some(found) if errors.is_empty() => Ok(found),
            _ if self.foreign > 0 && errors.len() == self.foreign => {
                Err((Refusal::CurrencyNotAllowed, errors))
            }
            _ => Err((Refusal::InvalidRequest, errors)),
        }
    }
}

/// A product's terms as PUT takes them.
pub fn product_terms(view: &ProductView) -> Value {
    json!({
        "name": view.name,
        "price": by_currency(&view.prices, |price| price.get()),
        "stock": view.total,
        "per_user_limit": view.per_user_limit,
        "starts_at": time(view.starts_at),
        "ends_at": time(view.ends_at),
        "active": view.active == Active::Yes,
        "hold_ttl_s": view.hold_ttl_ms.map(|ms| ms / 1_000),
        "reward_tokens": view.reward_tokens,
    })
}

/// A promotion's terms as PUT takes them.
pub fn promotion_terms(view: &PromotionView) -> Value {
    let (percent_off, amount_off) = match &view.discount {
        Discount::Percent(percent) => (json!(percent), Value::Null),
        Discount::Fixed(sums) => (Value::Null, by_currency(sums, |sum| sum.get())),
    };
    json!({
        "percent_off": percent_off,
        "amount_off": amount_off,
        "uses_max": view.uses_max,
        "uses_per_user_max": view.uses_per_user_max,
        "product_ids": listed(&view.products, ProductId::as_str),
        "segments": listed(&view.segments, Segment::as_str),
        "starts_at": time(view.starts_at),
        "ends_at": time(view.ends_at),
        "active": view.active == Active::Yes,
    })
}

/// The entity tag of a product's terms and total.
pub fn product_tag(view: &ProductView) -> ETag {
    ETag::of(&json!([view.product.as_str(), product_terms(view)]))
}

/// The entity tag of a promotion's terms.
pub fn promotion_tag(view: &PromotionView) -> ETag {
    ETag::of(&json!([view.code.as_str(), promotion_terms(view)]))
}

/// The JSON of a product for operators.
pub fn product_for_admin(view: &ProductView) -> Value {
    let mut shown = product_for_shop(view);
    shown["hold_ttl_s"] = json!(view.hold_ttl_ms.map(|ms| ms / 1_000));
    shown["reward_tokens"] = json!(view.reward_tokens);
    shown
}

/// The JSON of a promotion for operators.
pub fn promotion_for_admin(view: &PromotionView) -> Value {
    let mut shown = promotion_terms(view);
    shown["code"] = view.code.as_str().into();
    shown["uses"] = view.uses.into();
    shown
}

/// The entries of a restriction; null if there is none.
fn listed<T>(entries: &[T], text: impl Fn(&T) -> &str) -> Value {
    if entries.is_empty() {
        return Value::Null;
    }
    entries.iter().map(|it| Value::from(text(it))).collect()
}
