//! Owns how the one intent of a reference is found: created or found again by idempotency key, and,
//! when the keys are too old for that, found in the list by metadata.
//!
//! Invariants:
//! 1. Walking the keys `REFERENCE:create:1`, `:2`, … reaches the same intent each time, as long as
//!    Stripe stores keys: the next key is used only if Stripe answers from storage that the request
//!    under this one failed internally.
//! 2. An intent created here is not confirmed: no card is charged.
//! 3. "Nothing" is answered only after every candidate was checked. Stripe's search is delayed, so it
//!    is used only an hour or more after the last confirmation; before that, if the keys do not lead
//!    to the intent, the list is read.
//!
//! Deliberately absent: confirming (`flow`).

use super::api::Api;
use super::classify::{Classification, Moves};
use super::client::ResponseOrigin;
use super::intent::{self, IntentStage};
use super::wire::{FormFields, Intent, REFERENCE, StripePage};
use crate::ids::CardToken;
use crate::money::{Amount, Currency};
use crate::payments::gateway::{
    AuthorizationClaim, AuthorizeRequest, Decline, Inquiry, Reference, Trouble,
};
use crate::time::UnixMs;
use std::cmp::Reverse;

/// Maximum number of keys to try if Stripe failed internally under each.
pub(super) const KEYS_MAX: u32 = 32;

/// Stripe stores keys for at least 24 hours; one hour less, in case clocks differ.
const KEYS_KEPT_MS: u64 = 23 * 3_600_000;

/// A card is not charged later than this after the payment's start, because Stripe's search is up
/// to an hour behind.
const ASKED_UNTIL_MS: u64 = 22 * 3_600_000;

/// Intents of a reference are created between its start and the age at which keys are too old; this
/// allows for different clocks.
const CLOCKS_DIFFER_MS: u64 = 3_600_000;

/// Maximum number of pages of 100 to read for one intent.
const PAGES_MAX: u32 = 100;

/// The payment as every call has it: always the same, otherwise Stripe refuses the key.
pub(super) struct PaymentDetails {
    pub(super) reference: Reference,
    pub(super) amount: Amount,
    pub(super) currency: Currency,
    pub(super) card: CardToken,
    pub(super) started_at: UnixMs,
}

/// The result of a look-up by key.
pub(super) enum KeyLookup {
    /// The intent of this reference, and whether the response is a stored one.
    Intent(Box<Intent>, ResponseOrigin),
    /// Stripe refuses to create one, so there is none.
    Refused(Decline),
    /// Unknown for now.
    Trouble(Classification),
    /// Keys do not lead to it, now or ever.
    NotByKey,
}

/// The age of a payment.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Its card may be charged.
    Fresh,
    /// Its card may not be charged any more; keys still lead to its intent.
    KeysKept,
    /// Stripe may have forgotten the keys.
    TooOld,
}

impl PaymentDetails {
    pub(super) fn age(&self, now: UnixMs) -> Age {
        match now.since_ms(self.started_at) {
            ..ASKED_UNTIL_MS => Age::Fresh,
            ASKED_UNTIL_MS..KEYS_KEPT_MS => Age::KeysKept,
            KEYS_KEPT_MS.. => Age::TooOld,
        }
    }

    fn form(&self) -> FormFields {
        FormFields::new()
            .with("amount", &self.amount.get().to_string())
            .with("currency", &self.currency.as_str().to_ascii_lowercase())
            .with("capture_method", "manual")
            .with("payment_method", self.card.as_str())
            .with("payment_method_types[]", "card")
            .with(
                &format!("metadata[{REFERENCE}]"),
                &self.reference.to_string(),
            )
    }
}

/// Creates the unconfirmed intent of `payment`, or finds the existing one.
pub(super) async fn by_key(api: &Api, payment: &PaymentDetails) -> KeyLookup {
    for n in 1..=KEYS_MAX {
        let key = format!("{}:create:{n}", payment.reference);
        let made = api
            .post(
                "/v1/payment_intents",
                payment.form(),
                Some(&key),
                Moves::Nothing,
            )
            .await;
        match made {
            Ok((intent, told)) => return KeyLookup::Intent(Box::new(intent), told),
            Err(Classification::KeySpent) => {}
            Err(Classification::Declined(decline)) => return KeyLookup::Refused(decline),
            Err(Classification::KeyMismatch) => return KeyLookup::NotByKey,
            Err(verdict) => return KeyLookup::Trouble(verdict),
        }
    }
    KeyLookup::NotByKey
}

/// The current state of the intent.
pub(super) async fn by_id(api: &Api, id: &str) -> Result<Intent, Classification> {
    let form = FormFields::new().with("expand[]", "latest_charge");
    api.get(&format!("/v1/payment_intents/{id}"), form).await
}

/// Every intent of `payment`'s reference in its current state, the furthest one first.
pub(super) async fn by_metadata(
    api: &Api,
    payment: &PaymentDetails,
) -> Result<Vec<Intent>, Classification> {
    let mut found = match payment.age(api.now()) {
        Age::Fresh | Age::KeysKept => in_list(api, payment).await?,
        Age::TooOld => match in_search(api, payment).await {
            // Not every account has the search.
            Err(Classification::Declined(_)) => in_list(api, payment).await?,
            searched => searched?,
        },
    };
    found.sort_by_key(|it| Reverse(IntentStage::of(it).weight()));
    Ok(found)
}

async fn in_search(api: &Api, payment: &PaymentDetails) -> Result<Vec<Intent>, Classification> {
    let query = format!("metadata['{REFERENCE}']:'{}'", payment.reference);
    let form = FormFields::new().with("query", &query).with("limit", "100");
    let page: StripePage<Intent> = api.get("/v1/payment_intents/search", form).await?;
    if page.has_more {
        return Err(Classification::Retriable(Trouble::Internal));
    }
    let mut found = Vec::new();
    for intent in page.data {
        // The search shows the intent as it was when it was indexed, and also partial matches.
        let intent = by_id(api, intent.id.as_str()).await?;
        if intent::reference(&intent) == Some(payment.reference) {
            found.push(intent);
        }
    }
    Ok(found)
}

/// Every intent of `payment`'s reference in the list, from the time in which it can have been
/// created.
async fn in_list(api: &Api, payment: &PaymentDetails) -> Result<Vec<Intent>, Classification> {
    let from_s = payment.started_at.get().saturating_sub(CLOCKS_DIFFER_MS) / 1_000;
    let until = payment.started_at.plus_ms(KEYS_KEPT_MS + CLOCKS_DIFFER_MS);
    let until_s = until.get() / 1_000;
    let mut found: Vec<Intent> = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut form = FormFields::new()
            .with("limit", "100")
            .with("created[gte]", &from_s.to_string())
            .with("created[lte]", &until_s.to_string())
            .with("expand[]", "data.latest_charge");
        if let Some(after) = &after {
            form = form.with("starting_after", after);
        }
        let page: StripePage<Intent> = api.get("/v1/payment_intents", form).await?;
        after = page.data.last().map(|intent| intent.id.to_string());
        let ours = |it: &Intent| intent::reference(it) == Some(payment.reference);
        found.extend(page.data.into_iter().filter(ours));
        if !page.has_more || after.is_none() {
            return Ok(found);
        }
    }
    tracing::error!(
        event = "stripe_list_too_long",
        reference = %payment.reference,
        pages = PAGES_MAX,
        "the payment is not among the newest payments of its day; search for its reference at Stripe"
    );
    Err(Classification::Retriable(Trouble::Internal))
}

impl From<AuthorizeRequest> for PaymentDetails {
    fn from(order: AuthorizeRequest) -> Self {
        Self {
            reference: order.reference,
            amount: order.amount,
            currency: order.currency,
            card: order.card,
            started_at: order.started_at,
        }
    }
}

impl From<AuthorizationClaim> for PaymentDetails {
    fn from(claim: AuthorizationClaim) -> Self {
        Self {
            reference: claim.reference,
            amount: claim.amount,
            currency: claim.currency,
            card: claim.card,
            started_at: claim.started_at,
        }
    }
}

impl From<Inquiry> for PaymentDetails {
    fn from(inquiry: Inquiry) -> Self {
        Self {
            reference: inquiry.reference,
            amount: inquiry.amount,
            currency: inquiry.currency,
            card: inquiry.card,
            started_at: inquiry.started_at,
        }
    }
}
