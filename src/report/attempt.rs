//! Owns the JSON of attempts and payments, which are most events of a drop and are written directly.

use super::risk::{put_appraisal, put_hits};
use super::{put_origin, put_sum};
use crate::engine::event::{
    AttemptRefused, CaptureDiffered, HeldQuote, HoldExpired, HoldPlaced, PaymentAuthorized,
    PaymentCaptured, PaymentDeclined, PaymentSource, PaymentStarted, PaymentVoided, PaysFor, Quote,
    VoidStuck,
};
use crate::engine::metadata::Metadata;
use crate::engine::rejection::{Fact, RefusalFacts};
use crate::ids::CardToken;
use crate::json::Object;
use serde_json::{Value, json};

pub(super) fn hold(object: &mut Object<'_>, placed: &HoldPlaced) {
    object
        .text("hold_id", placed.purchase.hold())
        .put("flow", placed.flow.as_str())
        .put("product_id", placed.product.as_str())
        .put("quantity", &placed.quantity)
        .text_or_null("promotion_code", placed.promotion.as_ref())
        .text("expires_at", placed.expires_at);
    put_hits(object, &placed.hits);
    put_appraisal(object, &placed.appraisal);
    put_quote(object, &placed.quote);
    object
        .put("other_quotes", &others(&placed.other_quotes))
        .put("reward_tokens", &placed.reward_tokens);
    put_metadata(object, &placed.metadata);
    put_origin(object, &placed.origin);
}

pub(super) fn payment(object: &mut Object<'_>, started: &PaymentStarted) {
    let pays_for = match started.pays_for {
        PaysFor::OwnHold => "own_hold",
        PaysFor::EarlierHold => "earlier_hold",
    };
    object
        .put("card_token", started.card.as_str())
        .put("pays_for", pays_for)
        .put("review", &started.review);
    put_hits(object, &started.hits);
    put_appraisal(object, &started.appraisal);
    put_quote(object, &started.quote);
    put_metadata(object, &started.metadata);
    put_origin(object, &started.origin);
}

pub(super) fn authorization(object: &mut Object<'_>, authorized: &PaymentAuthorized) {
    object
        .put("authorization_id", authorized.authorization.as_str())
        .text_or_null("capture_before", authorized.capture_before);
}

pub(super) fn decline(object: &mut Object<'_>, declined: &PaymentDeclined) {
    object
        .put("reason", declined.cause.as_str())
        .text_or_null("code", declined.code.as_ref())
        .put("retry_advice", declined.advice.as_str())
        .put("hold", declined.hold.as_str());
    put_payment_source(object, &declined.payment_source);
}

pub(super) fn capture(object: &mut Object<'_>, captured: &PaymentCaptured) {
    object
        .put("product_id", captured.payment_source.product.as_str())
        .put("quantity", &captured.quantity)
        .put("currency", captured.quote.currency.as_str());
    put_quote(object, &captured.quote);
    put_metadata(object, &captured.metadata);
    object
        .put("capture_id", captured.capture.as_str())
        .text("receipt_id", captured.purchase.receipt())
        .put("receipt_key_id", captured.receipt_key.as_str())
        .text_or_null(
            "signing_key_id",
            captured.signing_key.as_ref().map(|it| &it.key),
        )
        .put("reward_tokens", &captured.tokens.get())
        .put("reward_debt_paid", &captured.debt_paid.get());
    put_payment_source(object, &captured.payment_source);
}

/// In the gateway's currency; `null` if that is not in ISO 4217.
pub(super) fn difference(object: &mut Object<'_>, differed: &CaptureDiffered) {
    let currency = differed.currency.as_ref();
    object
        .put("reason", differed.difference.as_str())
        .put("capture_id", differed.capture.as_str())
        .put("captured", &differed.captured.get())
        .put("refunded", &differed.refunded.get())
        .put("currency", &currency.map(crate::money::Currency::as_str));
}

/// In the gateway's currency; `null` where that is none of ISO 4217, or nothing was captured.
pub(super) fn voided(object: &mut Object<'_>, voided: &PaymentVoided) {
    let returned = voided.returned.as_ref();
    let currency = returned.and_then(|it| it.currency.as_ref());
    object
        .put("hold", voided.hold.as_str())
        .put("returned", &returned.map(|it| it.amount.get()))
        .put("currency", &currency.map(crate::money::Currency::as_str));
}

pub(super) fn stuck(object: &mut Object<'_>, stuck: &VoidStuck) {
    object.put("reason", stuck.cause.as_str());
}

pub(super) fn refusal(object: &mut Object<'_>, refused: &AttemptRefused) {
    let card = refused.card.as_ref();
    object
        .put("flow", refused.flow.as_str())
        .put("reason", refused.reason.reason())
        .put("facts", &refused.facts.as_deref().map(facts))
        .text_or_null("product_id", refused.product.as_ref())
        .put("quantity", &refused.quantity)
        .put("card_token", &card.map(crate::ids::CardToken::as_str));
    put_hits(object, &refused.hits);
    put_appraisal(object, &refused.appraisal);
    object.put("left_out", &refused.left_out);
    put_origin(object, &refused.origin);
}

/// The figures of a refusal, by name.
fn facts(facts: &RefusalFacts) -> Value {
    let by_name = facts.fields().into_iter().map(|(name, fact)| {
        let shown = match fact {
            // Numbers of the log fit into JSON numbers.
            Fact::Number(number) => i64::try_from(number).map_or(Value::Null, Value::from),
            Fact::Word(word) => word.into(),
            Fact::Currency(currency) => currency.as_str().into(),
            Fact::Instant(at) => at.to_string().into(),
            Fact::Hold(hold) => hold.hold().to_string().into(),
            Fact::Purchase(purchase) => purchase.to_string().into(),
            Fact::Currencies(list) => list.iter().map(|it| it.as_str().to_owned()).collect(),
            Fact::Null => Value::Null,
        };
        (name.to_owned(), shown)
    });
    Value::Object(by_name.collect())
}

fn put_quote(object: &mut Object<'_>, quote: &Quote) {
    put_sum(object, "unit_price", quote.unit_price.get(), quote.currency);
    put_sum(object, "discount", quote.discount.get(), quote.currency);
    put_sum(object, "amount", quote.amount.get(), quote.currency);
}

/// The terms of a hold in the other currencies: amounts, or the reason why it cannot be paid in
/// that currency.
fn others(quotes: &[HeldQuote]) -> Value {
    let by_currency = quotes.iter().map(|held| {
        let shown = match held {
            HeldQuote::Payable(quote) => json!({
                "unit_price": quote.unit_price.get(),
                "discount": quote.discount.get(),
                "amount": quote.amount.get(),
            }),
            HeldQuote::Refused(_, reason) => json!({ "reason": reason.reason() }),
        };
        (held.currency().to_string(), shown)
    });
    Value::Object(by_currency.collect())
}

fn put_metadata(object: &mut Object<'_>, metadata: &Metadata) {
    object.put("metadata", &metadata_json(metadata));
}

/// The shop's metadata as an object.
pub(super) fn metadata_json(metadata: &Metadata) -> Value {
    let pairs = metadata.pairs();
    Value::Object(
        pairs
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect(),
    )
}

/// A hold that expired unpaid.
pub(super) fn expiry(object: &mut Object<'_>, expired: &HoldExpired) {
    object
        .put("product_id", expired.product.as_str())
        .put("quantity", &expired.quantity)
        .text_or_null("card_token", expired.card.as_ref().map(CardToken::as_str))
        .text_or_null("ip", expired.ip)
        .text_or_null("device_id", expired.device.as_ref());
}

fn put_payment_source(object: &mut Object<'_>, payment_source: &PaymentSource) {
    object.object("whence", |object| {
        object
            .put("card_token", payment_source.card.as_str())
            .put("product_id", payment_source.product.as_str())
            .text_or_null("ip", payment_source.ip)
            .text_or_null("device_id", payment_source.device.as_ref());
    });
}
