//! Owns parsing the body of a genuine webhook.
//!
//! Invariants: only a body with a verified signature is parsed; only the fields that the journal
//! needs are kept, and nothing is repeated. An unknown type of event is not an error: gateways have
//! many.

use super::scheme::Delivery;
use super::stripe;
use crate::engine::command::NamedCurrency;
use crate::engine::event::WebhookKind;
use crate::ids::{AuthorizationId, DisputeId, GatewayCode, PurchaseId, WebhookEventId};
use crate::journal::fingerprint_of;
use crate::money::{Amount, Currency};
use crate::payments::gateway::Reference;
use crate::time::UnixMs;
use serde::Deserialize;

/// What a webhook reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookMessage {
    /// The gateway's name for what it reports.
    pub event_id: WebhookEventId,
    pub kind: WebhookKind,
    /// When the gateway says that it happened.
    pub happened_at: UnixMs,
    pub about: About,
    /// An amount that it names, in minor units.
    pub amount: Option<Amount>,
    pub currency: NamedCurrency,
    /// The dispute that it is about, where the gateway names it.
    pub dispute: Option<DisputeId>,
    /// The gateway's word for why.
    pub code: Option<GatewayCode>,
    /// The number of the refund that it is about, where it names one of ours.
    pub refund: Option<u32>,
    /// Stands for this delivery and no other.
    pub nonce: u64,
}

/// What a webhook is about, as it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Purchase(PurchaseId),
    /// A payment by our name for it.
    Reference(Reference),
    /// A payment by the gateway's name for it.
    Authorization(AuthorizationId),
    /// Nothing that could be one of ours.
    Nothing,
    /// An object by its id only (a thin event of Stripe's).
    NamedOnly,
}

/// What is wrong with a body; never what stands in it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct MalformedWebhook {
    pub field: &'static str,
    /// What it should be.
    pub message: &'static str,
}

pub(super) const fn malformed(field: &'static str, message: &'static str) -> MalformedWebhook {
    MalformedWebhook { field, message }
}

pub(super) const ID_FORM: &str = "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";

/// What the body of a delivery says. What it says to have happened may lie ahead of `now` by
/// `tolerance_ms`, as clocks do, and no more: the last word on a dispute is the latest one.
pub fn read(
    delivery: &Delivery,
    body: &[u8],
    tolerance_ms: u64,
    now: UnixMs,
) -> Result<WebhookMessage, MalformedWebhook> {
    let message = match delivery {
        Delivery::Holdfast { .. } => own(body, None, delivery)?,
        Delivery::Standard { event_id, .. } => own(body, Some(event_id), delivery)?,
        Delivery::Stripe { .. } => stripe::read(body, delivery)?,
    };
    if message.happened_at > now.plus_ms(tolerance_ms) {
        return Err(malformed("created_at", "must not be in the future"));
    }
    Ok(message)
}

impl Delivery {
    /// Stands for the nonce, where the form has one.
    pub fn nonce(&self) -> Option<u64> {
        match self {
            Self::Holdfast { nonce } => Some(fingerprint_of(&format!("nonce/{nonce}")).get()),
            Self::Standard { .. } | Self::Stripe { .. } => None,
        }
    }

    /// Stands for this delivery of `event_id` and no other.
    pub(super) fn nonce_of(&self, event_id: &WebhookEventId) -> u64 {
        let text = match self {
            Self::Holdfast { nonce } => format!("nonce/{nonce}"),
            Self::Standard { timestamp_s, .. } => format!("standard/{timestamp_s}/{event_id}"),
            Self::Stripe { timestamp_s } => format!("stripe/{timestamp_s}/{event_id}"),
        };
        fingerprint_of(&text).get()
    }
}

/// The body of holdfast's own form, which Standard Webhooks carry here, too.
#[derive(Deserialize)]
struct Body {
    event_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    created_at: Option<String>,
    timestamp: Option<String>,
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
struct Data {
    purchase_id: Option<String>,
    amount: Option<MoneyFields>,
    currency: Option<String>,
    reason: Option<String>,
    dispute_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MoneyFields {
    MinorUnits(i64),
    InCurrency { value: i64, currency: String },
}

impl MoneyFields {
    fn amount(&self) -> Option<Amount> {
        match self {
            Self::MinorUnits(value) => Amount::new(*value),
            Self::InCurrency { value, currency } => {
                Currency::parse(currency).and_then(|_| Amount::new(*value))
            }
        }
    }

    fn currency(&self) -> Option<&str> {
        match self {
            Self::MinorUnits(_) => None,
            Self::InCurrency { currency, .. } => Some(currency),
        }
    }
}

impl Data {
    /// The one currency that it names, beside the amount or with it.
    fn currency(&self) -> Result<NamedCurrency, MalformedWebhook> {
        const WRONG: MalformedWebhook =
            malformed("data.currency", "must be an ISO 4217 currency code");
        let with = self.amount.as_ref().and_then(MoneyFields::currency);
        let named = match (self.currency.as_deref(), with) {
            (None, None) => return Ok(NamedCurrency::None),
            (Some(one), Some(other)) if one != other => return Err(WRONG),
            (Some(one), _) | (None, Some(one)) => one,
        };
        let known = Currency::parse(named).ok_or(WRONG)?;
        Ok(NamedCurrency::Known(known))
    }
}

fn own(
    body: &[u8],
    event_id: Option<&WebhookEventId>,
    delivery: &Delivery,
) -> Result<WebhookMessage, MalformedWebhook> {
    let body: Body = serde_json::from_slice(body).map_err(|_| {
        malformed(
            "body",
            "must be {event_id, type, created_at, data: {purchase_id, amount?, currency?, reason?, dispute_id?}}, each field once",
        )
    })?;
    let event_id = match event_id {
        Some(event_id) => event_id.clone(),
        None => body
            .event_id
            .and_then(|text| WebhookEventId::parse(&text))
            .ok_or(malformed("event_id", ID_FORM))?,
    };
    let happened_at = body.created_at.or(body.timestamp);
    let happened_at = happened_at
        .and_then(|text| UnixMs::parse(&text))
        .ok_or(malformed(
            "created_at",
            "must be an RFC 3339 time, such as 2026-11-22T10:00:00.000Z",
        ))?;
    let kind = WebhookKind::parse(&body.kind);
    let data = body.data.unwrap_or_default();
    let about = match &data.purchase_id {
        // A text that is not the id of a purchase is not about one of ours.
        Some(text) => PurchaseId::parse_purchase(text).map_or(About::Nothing, About::Purchase),
        None if kind == WebhookKind::Other => About::Nothing,
        None => return Err(malformed("data.purchase_id", "is missing")),
    };
    let amount = data.amount.as_ref().map(|money| {
        money.amount().ok_or(malformed(
            "data.amount",
            "must be {value, currency}, with a whole number of minor units",
        ))
    });
    let amount = amount.transpose()?;
    let dispute = data
        .dispute_id
        .as_deref()
        .map(|text| DisputeId::parse(text).ok_or(malformed("data.dispute_id", ID_FORM)));
    let dispute = dispute.transpose()?;
    Ok(WebhookMessage {
        nonce: delivery.nonce_of(&event_id),
        event_id,
        kind,
        happened_at,
        about,
        amount,
        currency: data.currency()?,
        dispute: dispute.filter(|_| kind.is_dispute()),
        code: data.reason.and_then(|text| GatewayCode::parse(&text)),
        refund: None,
    })
}
