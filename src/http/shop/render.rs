//! Owns the JSON of holds and purchases, written field by field because the shop waits for it.
//!
//! Invariant: the same view gives the same bytes, so a replayed response is the same.

use crate::engine::event::Quote;
use crate::engine::metadata::Metadata;
use crate::engine::view::{HoldView, PaymentBegun, PurchaseView};
use crate::ids::{AuthorizationId, CaptureId, PromotionCode};
use crate::json::{self, Object};
use crate::receipts::{Receipt, UnknownKey};

/// The JSON of a hold that is read: with its purchase's id once a payment has started.
pub fn hold_read(view: &HoldView) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    Object::write(&mut out, |object| {
        hold_fields(object, view);
        match view.payments {
            PaymentBegun::None => object.null("purchase_id"),
            PaymentBegun::Some => object.purchase("purchase_id", "p_", view.purchase),
        };
    });
    out
}

pub fn hold(view: &HoldView) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    Object::write(&mut out, |object| hold_fields(object, view));
    out
}

fn hold_fields(object: &mut Object<'_>, view: &HoldView) {
    object
        .purchase("hold_id", "h_", view.purchase)
        .id("product_id", view.product.as_str())
        .number("quantity", view.quantity)
        .id("status", view.state.as_str());
    quote(object, &view.quote);
    object.instant("expires_at", view.expires_at);
}

fn quote(object: &mut Object<'_>, quote: &Quote) {
    object
        .money("unit_price", quote.unit_price.get(), quote.currency)
        .money("discount", quote.discount.get(), quote.currency)
        .money("amount", quote.amount.get(), quote.currency);
}

pub fn purchase(
    view: &PurchaseView,
    gateway: &str,
    receipt: Result<Option<&Receipt>, &UnknownKey>,
) -> Vec<u8> {
    let currency = view.quote.currency;
    let mut out = Vec::with_capacity(2_048);
    Object::write(&mut out, |object| {
        object
            .purchase("purchase_id", "p_", view.purchase)
            .id("user_id", view.user.as_str())
            .id("product_id", view.product.as_str())
            .number("quantity", view.quantity)
            .id("currency", currency.as_str());
        quote(object, &view.quote);
        object
            .money("refunded_amount", view.refunded.get(), currency)
            .money("charged_back_amount", view.charged_back.get(), currency)
            .list("disputes", &view.disputes, |object, dispute| {
                object
                    .instant("opened_at", dispute.opened_at)
                    .money("amount", dispute.amount.get(), currency)
                    .id("status", dispute.status().as_str());
            })
            .id_or_null(
                "promotion_code",
                view.promotion.as_ref().map(PromotionCode::as_str),
            )
            .with("metadata", |out| metadata(out, &view.metadata))
            .id("status", view.state.as_str())
            .id_or_null("reason", view.reason)
            .instant("created_at", view.created_at())
            .instant("updated_at", view.updated_at())
            .object("gateway", |object| gateway_fields(object, view, gateway));
        match receipt {
            Ok(Some(receipt)) => object.with("receipt", |out| receipt.write_json(out)),
            Ok(None) => object.null("receipt"),
            Err(missing) => object
                .null("receipt")
                .object("receipt_unavailable", |object| {
                    object
                        .purchase("receipt_id", "r_", view.purchase)
                        .id("key_id", missing.key_id.as_str());
                }),
        };
        object.list("history", &view.history, |object, entry| {
            object
                .instant("at", entry.at)
                .id("event", entry.step.as_str())
                .number("lsn", entry.lsn.0);
        });
    });
    out
}

/// The keys are the shop's, so they are escaped, too.
fn metadata(out: &mut Vec<u8>, metadata: &Metadata) {
    json::raw(out, "{");
    for (place, (key, value)) in metadata.pairs().enumerate() {
        if place > 0 {
            json::raw(out, ",");
        }
        json::text(out, key);
        json::raw(out, ":");
        json::text(out, value);
    }
    json::raw(out, "}");
}

fn gateway_fields(object: &mut Object<'_>, view: &PurchaseView, gateway: &str) {
    // The gateway's ids use the alphabet of ids.
    let authorization = view.authorization.as_ref();
    let capture = view.capture.as_ref();
    object
        .id("name", gateway)
        .id_or_null(
            "authorization_id",
            authorization.map(AuthorizationId::as_str),
        )
        .id_or_null("capture_id", capture.map(CaptureId::as_str));
    match view.captured {
        Some((amount, Some(currency))) => object.money("captured_amount", amount.get(), currency),
        Some((amount, None)) => object.object("captured_amount", |object| {
            object.number("value", amount.get()).null("currency");
        }),
        None => object.null("captured_amount"),
    };
}
