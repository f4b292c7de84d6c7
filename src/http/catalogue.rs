//! Owns the bodies of products and promotions as the operator puts them, and how both are shown.
//!
//! Invariant: what comes out of parsing is whole and within the engine's ranges; what rules hold
//! between it and what is there already (stock and committed units) the engine decides.

use super::fields::{Fields, optional, required};
use super::orders::ID_FORM;
use super::problem::FieldError;
use crate::engine::event::{Active, AdminAct, Discount, ProductSet, PromotionSet};
use crate::engine::refusal::Refusal;
use crate::engine::view::{ProductView, PromotionView};
use crate::ids::{ProductId, PromotionCode, Segment};
use crate::money::{Amount, Currency, Price};
use crate::time::UnixMs;
use serde_json::{Map, Value, json};

/// The most units of one product: what a stock cell can count.
const STOCK_MAX: u32 = 2_097_151;
const NAME_CHARS_MAX: usize = 200;
const PRODUCTS_OF_A_PROMOTION_MAX: usize = 100;
/// Segments that a promotion can name.
const SEGMENTS_OF_A_PROMOTION_MAX: usize = 20;
const TTL_S_MAX: u32 = 30 * 86_400;

/// Why a body was refused.
pub type Refused = (Refusal, Vec<FieldError>);

/// The product that `body` describes.
pub fn product(
    body: &[u8],
    product: ProductId,
    currencies: &[Currency],
    by: AdminAct,
) -> Result<ProductSet, Refused> {
    let mut fields = Fields::of(
        body,
        &[
            "name",
            "price",
            "stock",
            "per_user_limit",
            "starts_at",
            "ends_at",
            "active",
            "hold_ttl_s",
            "reward_tokens",
        ],
    );
    let form = "has to be a text of 1 to 200 characters";
    let name = fields.parsed(required("name"), form, |text| {
        (1..=NAME_CHARS_MAX)
            .contains(&text.chars().count())
            .then(|| text.to_owned())
    });
    let price = fields.object(required("price"));
    let mut not_allowed = false;
    let prices = price.map(|price| sums(&mut fields, "price", price, currencies, &mut not_allowed));
    if prices.as_ref().is_some_and(Vec::is_empty) && fields.are_fine() && !not_allowed {
        fields.wrong("price", "has to have at least one currency");
    }
    let stock = fields.small(required("stock"), 0, STOCK_MAX);
    let per_user_limit = fields.small(optional("per_user_limit"), 1, STOCK_MAX);
    let (starts_at, ends_at, active) = window(&mut fields);
    let hold_ttl_s = fields.small(optional("hold_ttl_s"), 1, TTL_S_MAX);
    let reward_tokens = fields
        .small(optional("reward_tokens"), 0, 1_000_000)
        .unwrap_or(0);
    let prices = prices.map(|prices| {
        let each = prices
            .into_iter()
            .filter_map(|(currency, sum)| Price::new(sum).map(|price| (currency, price)));
        each.collect::<Vec<_>>()
    });
    match (finish(fields, not_allowed), name.zip(prices).zip(stock)) {
        (Ok(()), Some(((name, prices), stock))) => Ok(ProductSet {
            product,
            name,
            prices,
            stock,
            per_user_limit,
            starts_at,
            ends_at,
            active,
            hold_ttl_ms: hold_ttl_s.map(|s| u64::from(s) * 1_000),
            reward_tokens,
            by,
        }),
        (Err(refused), _) => Err(refused),
        (Ok(()), None) => Err((Refusal::InvalidRequest, Vec::new())),
    }
}

/// The promotion that `body` describes.
pub fn promotion(
    body: &[u8],
    code: PromotionCode,
    currencies: &[Currency],
    by: AdminAct,
) -> Result<PromotionSet, Refused> {
    let mut fields = Fields::of(
        body,
        &[
            "percent_off",
            "amount_off",
            "uses_max",
            "uses_per_user_max",
            "product_ids",
            "segments",
            "starts_at",
            "ends_at",
            "active",
        ],
    );
    let mut not_allowed = false;
    let percent = fields.small(optional("percent_off"), 1, 100);
    let amount = fields.object(optional("amount_off"));
    let discount = match (percent, amount) {
        (Some(percent), None) => u8::try_from(percent).ok().map(Discount::Percent),
        (None, Some(amount)) => {
            let sums = sums(
                &mut fields,
                "amount_off",
                amount,
                currencies,
                &mut not_allowed,
            );
            if sums.is_empty() && fields.are_fine() && !not_allowed {
                fields.wrong("amount_off", "has to have at least one currency");
            }
            let each = sums
                .into_iter()
                .filter_map(|(currency, sum)| Amount::new(sum).map(|sum| (currency, sum)));
            Some(Discount::Fixed(each.collect()))
        }
        _ => {
            if fields.are_fine() {
                fields.wrong("percent_off", "or amount_off has to be given, and not both");
            }
            None
        }
    };
    let uses_max = fields.small(required("uses_max"), 0, u32::MAX >> 1);
    let uses_per_user_max = fields.small(optional("uses_per_user_max"), 1, u32::MAX >> 1);
    let products = fields.list(
        optional("product_ids"),
        PRODUCTS_OF_A_PROMOTION_MAX,
        "1 to 64 characters of A-Z a-z 0-9 _ . : -",
        ProductId::parse,
    );
    let segments = fields.list(
        optional("segments"),
        SEGMENTS_OF_A_PROMOTION_MAX,
        "1 to 64 characters of A-Z a-z 0-9 _ . : -",
        Segment::parse,
    );
    let (starts_at, ends_at, active) = window(&mut fields);
    match (finish(fields, not_allowed), discount.zip(uses_max)) {
        (Ok(()), Some((discount, uses_max))) => Ok(PromotionSet {
            code,
            discount,
            uses_max,
            uses_per_user_max,
            products: products.unwrap_or_default(),
            segments: segments.unwrap_or_default(),
            starts_at,
            ends_at,
            active,
            by,
        }),
        (Err(refused), _) => Err(refused),
        (Ok(()), None) => Err((Refusal::InvalidRequest, Vec::new())),
    }
}

/// A sum in minor units for each currency, in the order of the codes.
fn sums(
    fields: &mut Fields,
    field: &'static str,
    object: Map<String, Value>,
    currencies: &[Currency],
    not_allowed: &mut bool,
) -> Vec<(Currency, i64)> {
    let mut sums = Vec::with_capacity(object.len().min(currencies.len()));
    for (code, value) in object {
        let Some(currency) = currencies.iter().find(|known| known.as_str() == code) else {
            *not_allowed = true;
            continue;
        };
        match value.as_i64().filter(|sum| (1..=Price::MAX).contains(sum)) {
            Some(sum) => sums.push((*currency, sum)),
            None => fields.wrong(
                field,
                format!(
                    "has to be whole minor units from 1 to {} a currency",
                    Price::MAX
                ),
            ),
        }
    }
    sums.sort_unstable();
    sums
}

fn window(fields: &mut Fields) -> (Option<UnixMs>, Option<UnixMs>, Active) {
    let starts_at = fields.time(optional("starts_at"));
    let ends_at = fields.time(optional("ends_at"));
    if starts_at
        .zip(ends_at)
        .is_some_and(|(starts, ends)| ends <= starts)
    {
        fields.wrong("ends_at", "has to be after starts_at");
    }
    let active = match fields.switch(optional("active")) {
        Some(false) => Active::No,
        Some(true) | None => Active::Yes,
    };
    (starts_at, ends_at, active)
}

fn finish(fields: Fields, not_allowed: bool) -> Result<(), Refused> {
    let errors = fields.into_errors();
    match (errors.is_empty(), not_allowed) {
        (true, false) => Ok(()),
        (true, true) => Err((Refusal::CurrencyNotAllowed, errors)),
        (false, _) => Err((Refusal::InvalidRequest, errors)),
    }
}

/// A product as a shop sees it.
pub fn product_for_shop(view: &ProductView) -> Value {
    let price = view
        .prices
        .iter()
        .map(|(currency, price)| (currency.to_string(), json!(price.get())));
    json!({
        "product_id": view.product.as_str(),
        "name": view.name,
        "price": price.collect::<Map<_, _>>(),
        "starts_at": time(view.starts_at),
        "ends_at": time(view.ends_at),
        "active": view.active == Active::Yes,
        "status": view.status.as_str(),
        "stock": {
            "total": view.total,
            "held": view.held,
            "sold": view.sold,
            "available": view.available(),
        },
        "per_user_limit": view.per_user_limit,
    })
}

/// A product as the operator sees it.
pub fn product_for_admin(view: &ProductView) -> Value {
    let mut shown = product_for_shop(view);
    shown["hold_ttl_s"] = json!(view.hold_ttl_ms.map(|ms| ms / 1_000));
    shown["reward_tokens"] = json!(view.reward_tokens);
    shown
}

/// A promotion as the operator sees it.
pub fn promotion_for_admin(view: &PromotionView) -> Value {
    let (percent_off, amount_off) = match &view.discount {
        Discount::Percent(percent) => (json!(percent), Value::Null),
        Discount::Fixed(sums) => {
            let sums = sums
                .iter()
                .map(|(currency, sum)| (currency.to_string(), json!(sum.get())));
            (Value::Null, Value::Object(sums.collect()))
        }
    };
    json!({
        "code": view.code.as_str(),
        "percent_off": percent_off,
        "amount_off": amount_off,
        "uses_max": view.uses_max,
        "uses": view.uses,
        "uses_per_user_max": view.uses_per_user_max,
        "product_ids": view.products.iter().map(ProductId::as_str).collect::<Vec<_>>(),
        "segments": view.segments.iter().map(Segment::as_str).collect::<Vec<_>>(),
        "starts_at": time(view.starts_at),
        "ends_at": time(view.ends_at),
        "active": view.active == Active::Yes,
    })
}

fn time(at: Option<UnixMs>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// What a path's id has to be, for messages.
pub const PATH_ID_FORM: &str = ID_FORM;
