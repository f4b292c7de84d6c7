//! Owns the JSON of a product for shops.

use crate::engine::event::Active;
use crate::engine::view::ProductView;
use crate::money::Currency;
use crate::time::UnixMs;
use serde_json::{Value, json};

/// The JSON of a product for shops.
pub fn product_for_shop(view: &ProductView) -> Value {
    json!({
        "product_id": view.product.as_str(),
        "name": view.name,
        "price": by_currency(&view.prices, |price| price.get()),
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

/// Minor units by currency.
pub fn by_currency<T>(sums: &[(Currency, T)], minor_units: impl Fn(&T) -> i64) -> Value {
    let sums = sums.iter();
    let sums = sums.map(|(currency, sum)| (currency.to_string(), minor_units(sum).into()));
    Value::Object(sums.collect())
}

/// A time, if there is one.
pub fn time(at: Option<UnixMs>) -> Option<String> {
    at.map(|at| at.to_string())
}
