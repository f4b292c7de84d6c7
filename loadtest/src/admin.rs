//! Puts products on sale through the admin API, for runs that need their own.
//!
//! It reads nothing back: the checks of the drop judge the product's later state.

use serde_json::json;

use crate::error::Fault;
use crate::http::client::Client;

/// Most units a product can have.
pub(crate) const STOCK_MAX: u32 = 2_097_151;

/// What matters to a run about its product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Units on sale.
    pub(crate) stock: u32,
    /// Units a buyer may hold or own at once.
    pub(crate) per_user_limit: u32,
    /// Life of a hold in seconds; the server's setting if `None`.
    pub(crate) hold_ttl_s: Option<u32>,
}

/// `PUT /admin/products/{id}`: on sale from long ago to far ahead, for 19.99 USD.
pub(crate) fn put_product(client: &mut Client, id: &str, offer: Offer) -> Result<(), Fault> {
    let mut body = json!({
        "name": format!("load test {id}"),
        "price": {"USD": 1_999},
        "stock": offer.stock,
        "per_user_limit": offer.per_user_limit,
        "starts_at": "2020-01-01T00:00:00.000Z",
        "ends_at": "2099-01-01T00:00:00.000Z",
        "active": true,
    });
    if let Some(ttl) = offer.hold_ttl_s {
        body["hold_ttl_s"] = json!(ttl);
    }
    client.put(&format!("/admin/products/{id}"), &body)?;
    Ok(())
}
