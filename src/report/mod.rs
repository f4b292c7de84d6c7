//! Owns how events look outside: one JSON object each, for `holdfast log`, the audit endpoint and
//! whoever reads the log downstream.
//!
//! Invariants: every field of an event is shown, none is made up; a card is shown as its token,
//! which is no card number; idempotency keys are shown as the digests that the log has.
//! Deliberately absent: where the objects go: that is the feed's and its sinks'.

mod aftermath;
mod audited;
pub mod feed;
mod imported;
pub mod jsonl;
pub mod kafka;
pub mod postgres;
mod review;
mod risk;
pub mod types;

pub use aftermath::clawback;

use crate::engine::event::{
    Active, AdminAct, AttemptRefused, Discount, Event, HoldPlaced, Origin, PaymentAuthorized,
    PaymentStarted, PaysFor, ProductSet, PromotionSet, Quote, RetryAdvice,
};
use crate::ids::{GatewayCode, PurchaseId, ReceiptKeyId};
use crate::journal::AuditEntry;
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use serde_json::{Map, Value, json};

/// The event at its place as one JSON object: `lsn`, `at`, `kind`, then what the kind has.
pub fn event_json(entry: &AuditEntry) -> Value {
    let mut object = Map::new();
    object.insert("lsn".to_owned(), json!(entry.lsn.0));
    object.insert("at".to_owned(), json!(entry.at.to_string()));
    object.insert("kind".to_owned(), json!(entry.event.kind()));
    if let Some((purchase, _)) = entry.event.step() {
        object.insert("purchase_id".to_owned(), json!(purchase.to_string()));
    }
    if let Some(user) = entry.event.user() {
        object.insert("user_id".to_owned(), json!(user.as_str()));
    }
    if let Value::Object(fields) = fields_of(&entry.event) {
        object.extend(fields);
    }
    Value::Object(object)
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
        Event::HoldPlaced(placed) => hold(placed),
        Event::HoldReleased(released) => origin(&released.origin),
        Event::HoldExpired(_)
        | Event::CaptureStarted(_)
        | Event::PaymentVoided(_)
        | Event::VoidStuck(_) => json!({}),
        Event::PaymentStarted(started) => payment(started),
        Event::ReviewOpened(_) | Event::ReviewDecided(_) => review::fields_of(event),
        Event::PaymentAuthorized(authorized) => authorization(authorized),
        Event::PaymentDeclined(declined) => merged(
            risk::whence(declined.whence.as_ref()),
            json!({
                "reason": declined.cause.as_str(),
                "code": declined.code.as_ref().map(GatewayCode::as_str),
                "retry_advice": match declined.advice {
                    RetryAdvice::Free => "free",
                    RetryAdvice::Limited => "limited",
                    RetryAdvice::Never => "never",
                },
            }),
        ),
        Event::PaymentCaptured(captured) => merged(
            risk::whence(captured.whence.as_ref()),
            json!({
                "capture_id": captured.capture.as_str(),
                "receipt_id": captured.purchase.receipt().to_string(),
                "receipt_key_id": captured.receipt_key.as_str(),
                "signing_key_id": captured.signing_key.as_ref().map(ReceiptKeyId::as_str),
                "reward_tokens": captured.tokens.get(),
                "reward_debt_paid": captured.debt_paid.get(),
            }),
        ),
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
        Event::AttemptRefused(refused) => refusal(refused),
        Event::RiskRulesSet(_)
        | Event::RiskScoringSet(_)
        | Event::BuyerPaused(_)
        | Event::BuyerRated(_) => risk::fields_of(event),
        Event::StockImported(_)
        | Event::PromotionUsesImported(_)
        | Event::HoldingsImported(_)
        | Event::KeyImported(_)
        | Event::NoncesImported(_) => imported::fields_of(event),
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
        "starts_at": instant(set.starts_at),
        "ends_at": instant(set.ends_at),
        "active": set.active == Active::Yes,
    });
    merged(fields, by(&set.by))
}

fn hold(placed: &HoldPlaced) -> Value {
    let fields = json!({
        "hold_id": hold_id(placed.purchase),
        "flow": placed.flow.as_str(),
        "product_id": placed.product.as_str(),
        "quantity": placed.quantity,
        "promotion_code": placed.promotion.as_ref().map(crate::ids::PromotionCode::as_str),
        "expires_at": placed.expires_at.to_string(),
    });
    let fields = merged(fields, risk::hits(&placed.hits));
    let fields = merged(fields, risk::appraisal(&placed.appraisal));
    merged(merged(fields, quote(&placed.quote)), origin(&placed.origin))
}

fn payment(started: &PaymentStarted) -> Value {
    let pays_for = match started.pays_for {
        PaysFor::OwnHold => "own_hold",
        PaysFor::EarlierHold => "earlier_hold",
    };
    let fields = json!({
        "card_token": started.card.as_str(),
        "pays_for": pays_for,
        "review": started.review,
    });
    let fields = merged(fields, risk::hits(&started.hits));
    let fields = merged(fields, risk::appraisal(&started.appraisal));
    merged(
        merged(fields, quote(&started.quote)),
        origin(&started.origin),
    )
}

fn authorization(authorized: &PaymentAuthorized) -> Value {
    json!({
        "authorization_id": authorized.authorization.as_str(),
        "capture_before": instant(authorized.capture_before),
    })
}

fn refusal(refused: &AttemptRefused) -> Value {
    let fields = json!({
        "flow": refused.flow.as_str(),
        "reason": refused.reason.reason(),
        "product_id": refused.product.as_ref().map(crate::ids::ProductId::as_str),
        "quantity": refused.quantity,
        "card_token": refused.card.as_ref().map(crate::ids::CardToken::as_str),
    });
    let fields = merged(fields, risk::hits(&refused.hits));
    let fields = merged(fields, risk::appraisal(&refused.appraisal));
    merged(fields, origin(&refused.origin))
}

fn origin(origin: &Origin) -> Value {
    json!({
        "request_id": origin.request.to_string(),
        "key_owner": origin.owner.as_str(),
        "idempotency": origin.key.map(|key| json!({
            "scope": hex::encode(key.scope.0),
            "fingerprint": hex::encode(key.fingerprint.0),
        })),
        "ip": origin.ip.map(|ip| ip.to_string()),
        "device_id": origin.device.as_ref().map(crate::ids::DeviceId::as_str),
    })
}

fn by(act: &AdminAct) -> Value {
    json!({ "request_id": act.request.to_string(), "key_owner": act.owner.as_str() })
}

fn quote(quote: &Quote) -> Value {
    json!({
        "unit_price": money(quote.unit_price.get(), quote.currency),
        "discount": sum(quote.discount, quote.currency),
        "amount": sum(quote.amount, quote.currency),
    })
}

fn sum(amount: Amount, currency: Currency) -> Value {
    money(amount.get(), currency)
}

fn money(minor_units: i64, currency: Currency) -> Value {
    json!({ "value": minor_units, "currency": currency.as_str() })
}

fn instant(at: Option<UnixMs>) -> Value {
    at.map_or(Value::Null, |at| json!(at.to_string()))
}

fn hold_id(purchase: PurchaseId) -> String {
    purchase.hold().to_string()
}

fn merged(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}
