//! Owns the bodies of requests to Stripe and the parts of its responses that are read.
//!
//! Invariants: only fields in use are read, so additions by Stripe change nothing; an unknown word
//! reads as `Other`, never as an error or as a known one; an intent's name is an id, so it can be
//! part of a path.

use crate::ids::AuthorizationId;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;

/// The key of our reference in an intent's metadata.
pub(super) const REFERENCE: &str = "holdfast_reference";

/// The key of a refund's reference and number in its metadata.
pub(super) const REFUND: &str = "holdfast_refund";

/// The encoded fields of a request, in order.
#[derive(Default)]
pub(super) struct FormFields(String);

impl FormFields {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn with(self, name: &str, value: &str) -> Self {
        let mut writer = form_urlencoded::Serializer::new(self.0);
        writer.append_pair(name, value);
        Self(writer.finish())
    }

    pub(super) fn into_encoded(self) -> String {
        self.0
    }
}

/// A payment intent.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Intent {
    #[serde(deserialize_with = "id")]
    pub(super) id: AuthorizationId,
    pub(super) status: IntentStatus,
    pub(super) amount: i64,
    pub(super) currency: String,
    #[serde(default)]
    pub(super) amount_capturable: Option<i64>,
    #[serde(default)]
    pub(super) amount_received: Option<i64>,
    #[serde(default)]
    pub(super) latest_charge: Option<Expandable>,
    #[serde(default)]
    pub(super) last_payment_error: Option<ApiError>,
    /// Why it was canceled, if whoever canceled it said so.
    #[serde(default)]
    pub(super) cancellation_reason: Option<String>,
    #[serde(default)]
    pub(super) metadata: HashMap<String, String>,
}

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<AuthorizationId, D::Error> {
    let text = String::deserialize(from)?;
    AuthorizationId::parse(&text).ok_or_else(|| D::Error::custom("no id"))
}

/// The status of an intent.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    RequiresCapture,
    Processing,
    Canceled,
    Succeeded,
    #[serde(other)]
    Other,
}

/// A charge, by its id only or complete.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Expandable {
    Name(String),
    Whole(Box<StripeCharge>),
}

/// The outcome of a card's charge.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StripeCharge {
    pub(super) id: String,
    #[serde(default)]
    pub(super) captured: bool,
    #[serde(default)]
    pub(super) amount_captured: Option<i64>,
    #[serde(default)]
    pub(super) amount_refunded: Option<i64>,
    #[serde(default)]
    pub(super) payment_method_details: Option<Details>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Details {
    #[serde(default)]
    pub(super) card: Option<CardDetails>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct CardDetails {
    /// In seconds since the epoch.
    #[serde(default)]
    pub(super) capture_before: Option<u64>,
}

impl Intent {
    /// The charge, if the response contains it.
    pub(super) fn charge(&self) -> Option<&StripeCharge> {
        match &self.latest_charge {
            Some(Expandable::Whole(charge)) => Some(charge),
            Some(Expandable::Name(_)) | None => None,
        }
    }

    pub(super) fn charge_id(&self) -> Option<&str> {
        match &self.latest_charge {
            Some(Expandable::Whole(charge)) => Some(&charge.id),
            Some(Expandable::Name(id)) => Some(id),
            None => None,
        }
    }
}

/// Why Stripe refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ApiError {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
}

/// A refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusing {
    pub(super) error: ApiError,
}

/// A refund.
#[derive(Debug, Deserialize)]
pub(super) struct RefundMade {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: Option<StripeRefundState>,
    #[serde(default)]
    pub(super) failure_reason: Option<String>,
    #[serde(default)]
    pub(super) metadata: HashMap<String, String>,
}

/// The status of a refund.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StripeRefundState {
    Succeeded,
    Pending,
    RequiresAction,
    Failed,
    Canceled,
    #[serde(other)]
    Other,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct StripePage<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
}
