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

/// Keys that are tried one after the other where Stripe broke under each.
pub(super) const KEYS_MAX: u32 = 32;

/// Stripe keeps keys for 24 hours at least; an hour less, for clocks that differ.
const KEYS_KEPT_MS: u64 = 23 * 3_600_000;

/// A card is asked no later than this after the payment's start: what Stripe's search shows is up
/// to an hour behind.
const ASKED_UNTIL_MS: u64 = 22 * 3_600_000;

/// Intents of a reference are made between its start and when keys are too old to make one; and
/// for clocks that differ.
const CLOCKS_DIFFER_MS: u64 = 3_600_000;

/// Pages of 100 that are read to find one intent.
const PAGES_MAX: u32 = 100;

/// What is paid, as every call has it: the same each time, or Stripe refuses the key.
pub(super) struct PaymentDetails {
    pub(super) reference: Reference,
    pub(super) amount: Amount,
    pub(super) currency: Currency,
    pub(super) card: CardToken,
    pub(super) started_at: UnixMs,
}

/// What came of going by key.
pub(super) enum KeyLookup {
    /// The intent of this reference; `ResendAllowed` as it was then.
    Intent(Box<Intent>, ResponseOrigin),
    /// Stripe refuses to make one, so there is none.
    Refused(Decline),
    /// Not known now.
    Trouble(Classification),
    /// Keys do not lead to it, today or ever.
    NotByKey,
}

/// How long ago a payment was started.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Its card may be asked.
    Fresh,
    /// Its card may not be asked any more; keys still lead to what was made under them.
    KeysKept,
    /// Keys may be forgotten.
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

/// Makes the intent of `payment`, not confirmed, or reaches the one that was made.
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

/// The intent as it is now.
pub(super) async fn by_id(api: &Api, id: &str) -> Result<Intent, Classification> {
    let form = FormFields::new().with("expand[]", "latest_charge");
    api.get(&format!("/v1/payment_intents/{id}"), form).await
}

/// Every intent of `payment`'s reference, as it is now, what there is most to know of first.
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
        // What was searched is as it was when it was indexed, and may match in part only.
        let intent = by_id(api, intent.id.as_str()).await?;
        if intent::reference(&intent) == Some(payment.reference) {
            found.push(intent);
        }
    }
    Ok(found)
}

/// Every intent of `payment`'s reference that the list has from the time in which one can have
/// been made.
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
