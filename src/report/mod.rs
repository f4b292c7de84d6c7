//! Owns the external form of events: one JSON object each, for `holdfast log`, the audit endpoint
//! and everything downstream.
//!
//! Invariants: every field of an event is shown, and nothing else; a card is shown as its token,
//! which is not a card number; idempotency keys are shown as the digests in the log.
//! Deliberately absent: where the objects go; the feed and its sinks own that.

mod attempt;
mod audited;
pub mod feed;
mod imported;
pub mod jsonl;
pub mod kafka;
mod post_capture;
pub mod postgres;
mod review;
mod risk;
pub mod types;
pub mod webhooks;

pub use post_capture::clawback;

use crate::engine::event::{
    Active, AdminAct, ClockCorrected, Discount, Event, HistoryAccepted, IdempotencyKey, LimitsSet,
    Origin, ProductSet, PromotionSet,
};
use crate::ids::{ProductId, Segment};
use crate::journal::AuditEntry;
use crate::json::Object;
use crate::money::Currency;
use crate::time::UnixMs;
use serde_json::{Map, Value, json};

/// Appends the event as one JSON object to `into`: `lsn`, `at`, `kind`, whom it is about, the trace
/// that it came by if there is one, then the fields of the kind.
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
        if let Some(trace) = entry.trace {
            object.text("traceparent", trace);
        }
        put_fields(object, &entry.event);
    });
}

/// The same as a vector.
pub fn event_bytes(entry: &AuditEntry) -> Vec<u8> {
    // Large enough for most events.
    let mut bytes = Vec::with_capacity(640);
    write_event(entry, &mut bytes);
    bytes
}

/// The same as a value.
pub fn event_json(entry: &AuditEntry) -> Value {
    serde_json::from_slice(&event_bytes(entry)).expect("it was written as JSON just now")
}

/// Writes the fields of the kind of `event`. The most frequent kinds are written directly, without
/// a tree of values.
fn put_fields(object: &mut Object<'_>, event: &Event) {
    let fields = match event {
        Event::HoldPlaced(it) => return attempt::hold(object, it),
        Event::HoldReleased(it) => return put_origin(object, &it.origin),
        Event::PaymentStarted(it) => return attempt::payment(object, it),
        Event::PaymentAuthorized(it) => return attempt::authorization(object, it),
        Event::PaymentDeclined(it) => return attempt::decline(object, it),
        Event::PaymentCaptured(it) => return attempt::capture(object, it),
        Event::CaptureDiffered(it) => return attempt::difference(object, it),
        Event::VoidStuck(it) => return attempt::stuck(object, it),
        Event::AttemptRefused(it) => return attempt::refusal(object, it),
        Event::PaymentVoided(it) => return attempt::voided(object, it),
        // Purchase and buyer are all their fields.
        Event::CaptureStarted(_) => return,
        Event::HoldExpired(it) => return attempt::expiry(object, it),
        Event::ProductSet(it) => product(it),
        Event::PromotionSet(it) => promotion(it),
        Event::LimitsSet(it) => limits(it),
        Event::ClockCorrected(it) => correction(it),
        Event::HistoryAccepted(it) => history(it),
        Event::AdminActed(it) => audited::acted(it),
        Event::AdminRefused(it) => audited::refused(it),
        Event::ReviewOpened(it) => review::opened(it),
        Event::ReviewDecided(it) => review::decided(it),
        Event::VoidStarted(it) => post_capture::void_started(it),
        Event::RefundStarted(it) => post_capture::refund_started(it),
        Event::RefundSucceeded(it) => post_capture::refund_succeeded(it),
        Event::RefundFailed(it) => post_capture::refund_failed(it),
        Event::RefundFound(it) => post_capture::refund_found(it),
        Event::RefundReturned(it) => post_capture::refund_returned(it),
        Event::DisputeOpened(it) => post_capture::dispute_opened(it),
        Event::DisputeClosed(it) => post_capture::dispute_closed(it),
        Event::TokensSpent(it) => post_capture::tokens_spent(it),
        Event::WebhookReceived(it) => post_capture::webhook(it),
        Event::RiskRulesSet(it) => risk::rules(it),
        Event::RiskScoringSet(it) => risk::scoring(it),
        Event::BuyerPaused(it) => risk::pause(it),
        Event::BuyerRated(it) => risk::rating(it),
        Event::BuyerSegmented(it) => risk::segmented(it),
        Event::StockImported(it) => imported::stock(it),
        Event::PromotionUsesImported(it) => imported::uses(it),
        Event::HoldingsImported(it) => imported::holdings(it),
        Event::KeyImported(it) => imported::key(it),
        Event::NoncesImported(it) => imported::nonces(it),
    };
    if let Value::Object(fields) = fields {
        for (name, value) in &fields {
            object.put(name, value);
        }
    }
}

fn limits(set: &LimitsSet) -> Value {
    json!({
        "rate_count": set.limits.rate_count,
        "idempotency_retention_ms": set.limits.idempotency_retention_ms,
        "ended_keep_ms": set.limits.ended_keep_ms,
        "declines_keep_ms": set.limits.declines_keep_ms,
    })
}

fn correction(corrected: &ClockCorrected) -> Value {
    json!({
        "before": corrected.before.to_string(),
        "after": corrected.after.to_string(),
        "offset_ms": corrected.offset_ms(),
        "by": corrected.by.as_str(),
    })
}

fn history(accepted: &HistoryAccepted) -> Value {
    let fields = json!({
        "generation": {
            "number": accepted.generation.number,
            "tag": format!("{:016x}", accepted.generation.tag),
        },
        "first_lsn": accepted.first.0,
    });
    merged(fields, by(&accepted.by))
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
        "product_ids": restriction(&set.products, ProductId::as_str),
        "segments": restriction(&set.segments, Segment::as_str),
        "starts_at": instant(set.starts_at),
        "ends_at": instant(set.ends_at),
        "active": set.active == Active::Yes,
    });
    merged(fields, by(&set.by))
}

/// A list of what something is restricted to; null: no restriction.
fn restriction<T>(entries: &[T], text: impl Fn(&T) -> &str) -> Option<Vec<&str>> {
    (!entries.is_empty()).then(|| entries.iter().map(text).collect())
}

/// The request, key and addresses of an attempt.
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
        .hex("scope", &key.scope.0)
        .hex("fingerprint", &key.fingerprint.0);
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
