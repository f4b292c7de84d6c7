//! Owns how events look outside: one JSON object each, for `holdfast log`, the audit endpoint and
//! whoever reads the log downstream.
//!
//! Invariants: every field of an event is shown, none is made up; a card is shown as its token,
//! which is no card number; idempotency keys are shown as the digests that the log has.
//! Deliberately absent: where the objects go: that is the feed's and its sinks'.

mod aftermath;
mod attempt;
mod audited;
pub mod feed;
mod imported;
mod json;
pub mod jsonl;
pub mod kafka;
pub mod postgres;
mod review;
mod risk;
pub mod types;

pub use aftermath::clawback;

use self::json::Object;

use crate::engine::event::{
    Active, AdminAct, Discount, Event, IdempotencyKey, Origin, ProductSet, PromotionSet,
};
use crate::journal::AuditEntry;
use crate::money::Currency;
use crate::time::UnixMs;
use serde_json::{Map, Value, json};

/// Writes the event at its place as one JSON object to the end of `into`: `lsn`, `at`, `kind`, then
/// what the kind has.
pub fn write_event(entry: &AuditEntry, into: &mut Vec<u8>) {
    Object::write(into, |object| {
        object
            .put("lsn", &entry.lsn.0)
            .text("at", entry.at)
            .put("kind", entry.event.kind());
        if let Some((purchase, _)) = entry.event.step() {
            object.text("purchase_id", purchase);
        }
        if let Some(user) = entry.event.user() {
            object.put("user_id", user.as_str());
        }
        if attempt::put(object, &entry.event) {
            return;
        }
        if let Value::Object(fields) = fields_of(&entry.event) {
            for (name, value) in &fields {
                object.put(name, value);
            }
        }
    });
}

/// The same bytes, alone.
pub fn event_bytes(entry: &AuditEntry) -> Vec<u8> {
    // What most events take.
    let mut bytes = Vec::with_capacity(640);
    write_event(entry, &mut bytes);
    bytes
}

/// The same as a value.
pub fn event_json(entry: &AuditEntry) -> Value {
    serde_json::from_slice(&event_bytes(entry)).expect("it was written as JSON just now")
}

fn fields_of(event: &Event) -> Value {
    match event {
        Event::ProductSet(set) => product(set),
        Event::PromotionSet(set) => promotion(set),
        Event::LimitsSet(set) => json!({
            "rate_count": set.limits.rate_count,
            "idempotency_retention_ms": set.limits.idempotency_retention_ms,
        }),
        Event::AdminActed(_) | Event::AdminRefused(_) => audited::fields_of(event),
        Event::ReviewOpened(_) | Event::ReviewDecided(_) => review::fields_of(event),
        Event::VoidStarted(voided) => {
            let fields = json!({
                "reason": voided.cause.as_str(),
                "deadline": voided.deadline.to_string(),
            });
            voided
                .by
                .as_ref()
                .map_or(fields.clone(), |act| merged(fields, by(act)))
        }
        Event::RefundStarted(_)
        | Event::RefundSucceeded(_)
        | Event::RefundFailed(_)
        | Event::DisputeOpened(_)
        | Event::DisputeClosed(_)
        | Event::TokensSpent(_)
        | Event::WebhookReceived(_) => aftermath::fields_of(event),
        Event::RiskRulesSet(_)
        | Event::BuyerPaused(_)
        | Event::BuyerRated(_)
        | Event::BuyerSegmented(_) => risk::fields_of(event),
        Event::StockImported(_)
        | Event::PromotionUsesImported(_)
        | Event::HoldingsImported(_)
        | Event::KeyImported(_)
        | Event::NoncesImported(_) => imported::fields_of(event),
        Event::HoldPlaced(_)
        | Event::HoldReleased(_)
        | Event::HoldExpired(_)
        | Event::PaymentStarted(_)
        | Event::PaymentAuthorized(_)
        | Event::PaymentDeclined(_)
        | Event::CaptureStarted(_)
        | Event::PaymentCaptured(_)
        | Event::PaymentVoided(_)
        | Event::VoidStuck(_)
        | Event::AttemptRefused(_) => unreachable!("`attempt` has put its fields"),
    }
}

fn product(set: &ProductSet) -> Value {
    let prices: Map<String, Value> = set
        .prices
        .iter()
        .map(|(currency, price)| (currency.to_string(), json!(price.get())))
        .collect();
    let fields = json!({
        "product_id": set.product.as_str(),
        "name": set.name,
        "price": prices,
        "stock": set.stock,
        "per_user_limit": set.per_user_limit,
        "starts_at": instant(set.starts_at),
        "ends_at": instant(set.ends_at),
        "active": set.active == Active::Yes,
        "hold_ttl_ms": set.hold_ttl_ms,
        "reward_tokens": set.reward_tokens,
    });
    merged(fields, by(&set.by))
}

fn promotion(set: &PromotionSet) -> Value {
    let (percent_off, amount_off) = match &set.discount {
        Discount::Percent(percent) => (Some(*percent), None),
        Discount::Fixed(sums) => {
            let sums = sums
                .iter()
                .map(|(currency, sum)| (currency.to_string(), json!(sum.get())));
            (None, Some(sums.collect::<Map<_, _>>()))
        }
    };
    let fields = json!({
        "promotion_code": set.code.as_str(),
        "percent_off": percent_off,
        "amount_off": amount_off,
        "uses_max": set.uses_max,
        "uses_per_user_max": set.uses_per_user_max,
        "product_ids": set.products.iter().map(crate::ids::ProductId::as_str).collect::<Vec<_>>(),
        "segments": set.segments.iter().map(crate::ids::Segment::as_str).collect::<Vec<_>>(),
        "starts_at": instant(set.starts_at),
        "ends_at": instant(set.ends_at),
        "active": set.active == Active::Yes,
    });
    merged(fields, by(&set.by))
}

/// Where something came from.
fn put_origin(object: &mut Object<'_>, origin: &Origin) {
    object
        .text("request_id", origin.request)
        .put("key_owner", origin.owner.as_str());
    match &origin.key {
        Some(key) => object.object("idempotency", |object| put_key(object, key)),
        None => object.put("idempotency", &()),
    };
    object
        .text_or_null("ip", origin.ip)
        .text_or_null("device_id", origin.device.as_ref());
}

fn put_key(object: &mut Object<'_>, key: &IdempotencyKey) {
    object
        .hex("scope", &key.scope)
        .hex("fingerprint", &key.fingerprint);
}

fn put_sum(object: &mut Object<'_>, name: &str, minor_units: i64, currency: Currency) {
    object.object(name, |object| {
        object
            .put("value", &minor_units)
            .put("currency", currency.as_str());
    });
}

fn origin(origin: &Origin) -> Value {
    let mut bytes = Vec::new();
    Object::write(&mut bytes, |object| put_origin(object, origin));
    serde_json::from_slice(&bytes).expect("it was written as JSON just now")
}

fn by(act: &AdminAct) -> Value {
    json!({ "request_id": act.request.to_string(), "key_owner": act.owner.as_str() })
}

fn instant(at: Option<UnixMs>) -> Value {
    at.map_or(Value::Null, |at| json!(at.to_string()))
}

fn merged(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}
