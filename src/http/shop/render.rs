//! Owns the JSON of holds and purchases, written by hand because the shop waits for it.
//!
//! Invariant: the same view gives the same bytes, so a replayed response is the same.

use crate::engine::event::Quote;
use crate::engine::metadata::Metadata;
use crate::engine::view::{HoldView, PaymentBegun, PurchaseView};
use crate::json;
use crate::receipts::{Receipt, UnknownKey};

/// The JSON of a hold that is read: with its purchase's id once a payment has started.
pub fn hold_read(view: &HoldView) -> Vec<u8> {
    let mut out = hold(view);
    out.pop();
    json::raw(&mut out, ",\"purchase_id\":");
    match view.payments {
        PaymentBegun::None => json::raw(&mut out, "null"),
        PaymentBegun::Some => json::shown(&mut out, view.purchase),
    }
    json::raw(&mut out, "}");
    out
}

pub fn hold(view: &HoldView) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    json::raw(&mut out, "{\"hold_id\":\"h_");
    json::digits(&mut out, view.purchase);
    json::raw(&mut out, "\",\"product_id\":");
    json::id(&mut out, view.product.as_str());
    json::raw(&mut out, ",\"quantity\":");
    json::number(&mut out, view.quantity);
    json::raw(&mut out, ",\"status\":");
    json::id(&mut out, view.state.as_str());
    json::raw(&mut out, ",");
    quote(&mut out, &view.quote);
    json::raw(&mut out, ",\"expires_at\":");
    json::shown(&mut out, view.expires_at);
    json::raw(&mut out, "}");
    out
}

/// `"unit_price":…,"discount":…,"amount":…`.
fn quote(out: &mut Vec<u8>, quote: &Quote) {
    json::raw(out, "\"unit_price\":");
    json::money(out, quote.unit_price.get(), quote.currency);
    json::raw(out, ",\"discount\":");
    json::money(out, quote.discount.get(), quote.currency);
    json::raw(out, ",\"amount\":");
    json::money(out, quote.amount.get(), quote.currency);
}

pub fn purchase(
    view: &PurchaseView,
    gateway: &str,
    receipt: Result<Option<&Receipt>, &UnknownKey>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_536);
    json::raw(&mut out, "{\"purchase_id\":\"p_");
    json::digits(&mut out, view.purchase);
    json::raw(&mut out, "\",\"user_id\":");
    json::id(&mut out, view.user.as_str());
    json::raw(&mut out, ",\"product_id\":");
    json::id(&mut out, view.product.as_str());
    json::raw(&mut out, ",\"quantity\":");
    json::number(&mut out, view.quantity);
    json::raw(&mut out, ",\"currency\":");
    json::id(&mut out, view.quote.currency.as_str());
    json::raw(&mut out, ",");
    quote(&mut out, &view.quote);
    json::raw(&mut out, ",\"refunded_amount\":");
    json::money(&mut out, view.refunded.get(), view.quote.currency);
    json::raw(&mut out, ",\"charged_back_amount\":");
    json::money(&mut out, view.charged_back.get(), view.quote.currency);
    json::raw(&mut out, ",\"disputes\":[");
    for (place, dispute) in view.disputes.iter().enumerate() {
        if place > 0 {
            json::raw(&mut out, ",");
        }
        json::raw(&mut out, "{\"opened_at\":");
        json::shown(&mut out, dispute.opened_at);
        json::raw(&mut out, ",\"amount\":");
        json::money(&mut out, dispute.amount.get(), view.quote.currency);
        json::raw(&mut out, ",\"status\":");
        json::id(&mut out, dispute.status.as_str());
        json::raw(&mut out, "}");
    }
    json::raw(&mut out, "]");
    json::raw(&mut out, ",\"promotion_code\":");
    let promotion = view.promotion.as_ref();
    json::id_or_null(&mut out, promotion.map(crate::ids::PromotionCode::as_str));
    json::raw(&mut out, ",\"metadata\":");
    metadata(&mut out, &view.metadata);
    json::raw(&mut out, ",\"status\":");
    json::id(&mut out, view.state.as_str());
    json::raw(&mut out, ",\"reason\":");
    json::id_or_null(&mut out, view.reason);
    json::raw(&mut out, ",\"created_at\":");
    json::shown(&mut out, view.created_at());
    json::raw(&mut out, ",\"updated_at\":");
    json::shown(&mut out, view.updated_at());
    json::raw(&mut out, ",\"gateway\":");
    gateway_names(&mut out, view, gateway);
    json::raw(&mut out, ",\"receipt\":");
    match receipt {
        Ok(Some(receipt)) => receipt.write_json(&mut out),
        Ok(None) => json::raw(&mut out, "null"),
        Err(missing) => {
            json::raw(
                &mut out,
                "null,\"receipt_unavailable\":{\"receipt_id\":\"r_",
            );
            json::digits(&mut out, view.purchase);
            json::raw(&mut out, "\",\"key_id\":");
            json::id(&mut out, missing.key_id.as_str());
            json::raw(&mut out, "}");
        }
    }
    json::raw(&mut out, ",\"history\":[");
    for (place, entry) in view.history.iter().enumerate() {
        if place > 0 {
            json::raw(&mut out, ",");
        }
        json::raw(&mut out, "{\"at\":");
        json::shown(&mut out, entry.at);
        json::raw(&mut out, ",\"event\":");
        json::id(&mut out, entry.step.as_str());
        json::raw(&mut out, ",\"lsn\":");
        json::number(&mut out, entry.lsn.0);
        json::raw(&mut out, "}");
    }
    json::raw(&mut out, "]}");
    out
}

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

fn gateway_names(out: &mut Vec<u8>, view: &PurchaseView, gateway: &str) {
    // The gateway's ids use the alphabet of ids.
    let authorization = view.authorization.as_ref();
    let capture = view.capture.as_ref();
    json::raw(out, "{\"name\":");
    json::id(out, gateway);
    json::raw(out, ",\"authorization_id\":");
    json::id_or_null(out, authorization.map(crate::ids::AuthorizationId::as_str));
    json::raw(out, ",\"capture_id\":");
    json::id_or_null(out, capture.map(crate::ids::CaptureId::as_str));
    json::raw(out, ",\"captured_amount\":");
    match view.captured {
        Some((amount, Some(currency))) => json::money(out, amount.get(), currency),
        Some((amount, None)) => {
            json::raw(out, "{\"value\":");
            json::number(out, amount.get());
            json::raw(out, ",\"currency\":null}");
        }
        None => json::raw(out, "null"),
    }
    json::raw(out, "}");
}
