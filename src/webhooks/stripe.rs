//! Owns Stripe's events: which of them matter here, and which purchase they are about.
//!
//! A payment is found by the reference in the metadata of its `PaymentIntent`, which Stripe copies
//! to the charge; a refund of ours by its own reference. Disputes, and refunds made at Stripe
//! itself, only have the id of the `PaymentIntent`: the purchases are searched for it, because such
//! events are rare and an index of all payments would serve nothing else. A payment without our
//! reference is not ours: an account may have many of those.
//!
//! An inquiry (a dispute whose status begins with `warning_`) takes no money and is not a dispute;
//! it becomes one when the funds are withdrawn.

use super::message::{About, ID_FORM, MalformedWebhook, WebhookMessage, malformed};
use super::scheme::Delivery;
use crate::engine::command::NamedCurrency;
use crate::engine::event::WebhookKind;
use crate::ids::{AuthorizationId, DisputeId, GatewayCode, WebhookEventId};
use crate::money::{Amount, Currency};
use crate::payments::gateway::Reference;
use crate::time::UnixMs;
use serde_json::Value;

pub(super) fn read(body: &[u8], delivery: &Delivery) -> Result<WebhookMessage, MalformedWebhook> {
    let event: Value =
        serde_json::from_slice(body).map_err(|_| malformed("body", "must be a Stripe event"))?;
    let event_id = event["id"].as_str().and_then(WebhookEventId::parse);
    let event_id = event_id.ok_or(malformed("id", ID_FORM))?;
    let kind = event["type"].as_str();
    let kind = kind.ok_or(malformed("type", "must be a string"))?;
    if is_thin(&event) {
        return Ok(WebhookMessage {
            nonce: delivery.nonce_of(&event_id),
            event_id,
            kind: WebhookKind::Other,
            happened_at: UnixMs::default(),
            about: About::NamedOnly,
            amount: None,
            currency: NamedCurrency::None,
            dispute: None,
            code: None,
            refund: None,
        });
    }
    let created = event["created"].as_u64();
    let created = created.ok_or(malformed("created", "must be Unix seconds"))?;
    let object = &event["data"]["object"];
    if !object.is_object() {
        return Err(malformed("data.object", "must be an object"));
    }
    let kind = kind_of(kind, object["status"].as_str());
    let about = match kind {
        WebhookKind::Other => About::Nothing,
        _ => about(object, kind),
    };
    Ok(WebhookMessage {
        nonce: delivery.nonce_of(&event_id),
        event_id,
        kind,
        happened_at: UnixMs::new(created.saturating_mul(1_000)),
        about,
        amount: object["amount"].as_i64().and_then(Amount::new),
        currency: currency(object),
        dispute: dispute_of(object, kind),
        code: code(object),
        refund: refund_of(object).and_then(|(_, number)| number.parse().ok()),
    })
}

/// Whether `event` is a thin one, which names an object and says nothing of it. Those of disputes do
/// not even name the payment, so nothing follows from them here; see `docs/webhooks.md`.
fn is_thin(event: &Value) -> bool {
    let names = event["object"] == "v2.core.event" || event["related_object"].is_object();
    names && event["data"]["object"].is_null()
}

/// What an event of this type, about an object with this status, means here.
fn kind_of(kind: &str, status: Option<&str>) -> WebhookKind {
    match (kind, status) {
        ("payment_intent.amount_capturable_updated", _) => WebhookKind::PaymentAuthorized,
        ("payment_intent.succeeded", _) => WebhookKind::PaymentCaptured,
        ("payment_intent.canceled", _) => WebhookKind::PaymentVoided,
        ("payment_intent.payment_failed", _) => WebhookKind::PaymentFailed,
        ("charge.refunded", _)
        | ("refund.created" | "refund.updated" | "charge.refund.updated", Some("succeeded")) => {
            WebhookKind::RefundSucceeded
        }
        ("refund.failed", _)
        | (
            "refund.created" | "refund.updated" | "charge.refund.updated",
            Some("failed" | "canceled"),
        ) => WebhookKind::RefundFailed,
        ("charge.dispute.created", Some(status)) if takes_no_money(status) => WebhookKind::Other,
        ("charge.dispute.created" | "charge.dispute.funds_withdrawn", _) => {
            WebhookKind::DisputeOpened
        }
        ("charge.dispute.closed", Some("won" | "warning_closed" | "prevented"))
        | ("charge.dispute.funds_reinstated", _) => WebhookKind::DisputeWon,
        ("charge.dispute.closed", Some("lost")) => WebhookKind::DisputeLost,
        _ => WebhookKind::Other,
    }
}

/// Whether a dispute of this status was settled, or asked about, before money was withdrawn.
fn takes_no_money(status: &str) -> bool {
    status.starts_with("warning_") || status == "prevented"
}

fn about(object: &Value, kind: WebhookKind) -> About {
    let metadata = &object["metadata"];
    // A refund of ours carries the reference with its number behind it.
    let ours = metadata["holdfast_reference"]
        .as_str()
        .or_else(|| refund_of(object).map(|(reference, _)| reference));
    if let Some(text) = ours {
        return Reference::parse(text).map_or(About::Nothing, About::Reference);
    }
    if !kind.is_after_capture() {
        return About::Nothing;
    }
    // Its name, or, where it was expanded, all of it.
    let intent = match &object["payment_intent"] {
        whole @ Value::Object(_) => &whole["id"],
        name => name,
    };
    let intent = intent.as_str().and_then(AuthorizationId::parse);
    intent.map_or(About::Nothing, About::Authorization)
}

/// The reference and the number that a refund of ours carries.
fn refund_of(object: &Value) -> Option<(&str, &str)> {
    let name = object["metadata"]["holdfast_refund"].as_str()?;
    name.rsplit_once(':')
}

/// Stripe writes currencies in small letters.
fn currency(object: &Value) -> NamedCurrency {
    let named = object["currency"].as_str();
    named.map_or(NamedCurrency::None, |word| {
        let known = Currency::parse(&word.to_ascii_uppercase());
        known.map_or(NamedCurrency::Unknown, NamedCurrency::Known)
    })
}

fn dispute_of(object: &Value, kind: WebhookKind) -> Option<DisputeId> {
    let name = object["id"].as_str().filter(|_| kind.is_dispute());
    name.and_then(DisputeId::parse)
}

fn code(object: &Value) -> Option<GatewayCode> {
    let places = [
        &object["last_payment_error"]["code"],
        &object["failure_reason"],
        &object["reason"],
        &object["cancellation_reason"],
    ];
    let mut words = places.into_iter().filter_map(Value::as_str);
    words.next().and_then(GatewayCode::parse)
}
