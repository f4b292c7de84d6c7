//! Owns the signatures: the headers of each format, what is signed, and verification.
//!
//! | format | headers | signed |
//! |---|---|---|
//! | holdfast | `X-Timestamp`, `X-Nonce`, `X-Signature: sha256=HEX[,sha256=HEX]` | `TIMESTAMP.NONCE.BODY` |
//! | Standard Webhooks | `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64[ v1,…]` | `ID.TIMESTAMP.BODY` |
//! | Stripe | `Stripe-Signature: t=TIMESTAMP,v1=HEX[,v1=HEX]` | `TIMESTAMP.BODY` |
//!
//! Invariants: a timestamp has digits without leading zeroes; nonce and id have no full stop, so a
//! signed text has only one interpretation; a repeated header counts as missing. Malformed
//! signatures, and those of other versions, are ignored: they do not invalidate a genuine one
//! beside them.

use super::secrets::Secrets;
use crate::engine::event::WebhookFormat;
use crate::engine::refusal::Refusal;
use crate::ids::{WebhookEventId, WebhookSecretId};
use crate::time::UnixMs;
use base64ct::{Base64, Encoding};
use hyper::header::HeaderMap;
use std::borrow::Cow;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The most well-formed signatures that one delivery may bring: one for each secret of its sender.
pub const SIGNATURES_MAX: usize = 8;

/// The longest nonce, in characters.
const NONCE_CHARS_MAX: usize = 128;

/// Where a webhook came in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/webhooks/payment`: holdfast's own form and Standard Webhooks.
    Payment,
    /// `/webhooks/stripe`.
    Stripe,
}

/// A webhook whose signature and timestamp are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genuine {
    /// What its headers say.
    pub delivery: Delivery,
    /// The secret that it was signed with.
    pub secret: WebhookSecretId,
}

/// What the headers of a delivery say under its signature, beside the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// holdfast's own form.
    Holdfast {
        /// Used once.
        nonce: String,
    },
    /// Standard Webhooks.
    Standard {
        /// The event, the same however often it is delivered.
        event_id: WebhookEventId,
        /// Unix seconds; another one for each delivery.
        timestamp_s: u64,
    },
    /// Stripe's form.
    Stripe {
        /// Unix seconds; another one for each delivery.
        timestamp_s: u64,
    },
}

impl Delivery {
    /// Its form.
    pub const fn format(&self) -> WebhookFormat {
        match self {
            Self::Holdfast { .. } => WebhookFormat::Holdfast,
            Self::Standard { .. } => WebhookFormat::Standard,
            Self::Stripe { .. } => WebhookFormat::Stripe,
        }
    }
}

/// What a delivery's headers claim: to be read before its body is.
#[derive(Clone, Debug)]
pub struct WebhookClaim {
    delivery: Delivery,
    timestamp_s: u64,
    /// What is signed before the body.
    prefix: String,
    signatures: Vec<[u8; 32]>,
}

impl WebhookClaim {
    /// [`Refusal::InvalidSignature`] if the headers have no signature that could be valid for any body.
    pub fn read(endpoint: Endpoint, headers: &HeaderMap) -> Result<Self, Refusal> {
        let claim = match endpoint {
            Endpoint::Payment => payment(headers),
            Endpoint::Stripe => stripe(headers),
        };
        claim.ok_or(Refusal::InvalidSignature)
    }

    /// Whether the delivery is genuine and of now: [`Refusal::InvalidSignature`] or, where the
    /// signature is good, [`Refusal::StaleTimestamp`].
    pub fn verify(
        self,
        secrets: &Secrets,
        tolerance_ms: u64,
        body: &[u8],
        now: UnixMs,
    ) -> Result<Genuine, Refusal> {
        let secret = self.signer(secrets, body);
        let secret = secret.ok_or(Refusal::InvalidSignature)?;
        // In whole seconds, as timestamps are: one that is as old as is allowed is good for all of
        // its second.
        if self.timestamp_s.abs_diff(now.get() / 1_000) > tolerance_ms / 1_000 {
            return Err(Refusal::StaleTimestamp);
        }
        Ok(Genuine {
            delivery: self.delivery,
            secret,
        })
    }

    /// The secret of one of the signatures. Every secret of the form is compared with every signature,
    /// even after a match, so that the time does not depend on the secrets.
    fn signer(&self, secrets: &Secrets, body: &[u8]) -> Option<WebhookSecretId> {
        let known = secrets.known();
        let format = self.delivery.format();
        let mut found = u32::MAX;
        for (place, secret) in (0_u32..).zip(known.iter()) {
            if secret.key.format() != format {
                continue;
            }
            let expected = secret.key.sign(&[self.prefix.as_bytes(), body]);
            let mut same = Choice::from(0);
            for signature in &self.signatures {
                same |= expected[..].ct_eq(&signature[..]);
            }
            found.conditional_assign(&place, same);
        }
        let secret = known.get(usize::try_from(found).ok()?)?;
        Some(secret.id.clone())
    }
}

/// What a delivery to `/webhooks/payment` claims: in one of two forms, not in both.
fn payment(headers: &HeaderMap) -> Option<WebhookClaim> {
    match (
        headers.contains_key("x-signature"),
        headers.contains_key("webhook-signature"),
    ) {
        (true, false) => holdfast(headers),
        (false, true) => standard(headers),
        (true, true) | (false, false) => None,
    }
}

fn holdfast(headers: &HeaderMap) -> Option<WebhookClaim> {
    let timestamp = single(headers, "x-timestamp")?;
    let nonce = single(headers, "x-nonce").filter(|text| is_part(text))?;
    let listed = signature_header(headers, "x-signature")?;
    let signatures = listed.split([',', ' ', '\t']);
    let signatures = signatures.filter_map(|it| hex_signature(it.strip_prefix("sha256=")?));
    Some(WebhookClaim {
        timestamp_s: seconds(timestamp)?,
        prefix: format!("{timestamp}.{nonce}."),
        signatures: bounded(signatures)?,
        delivery: Delivery::Holdfast {
            nonce: nonce.to_owned(),
        },
    })
}

fn standard(headers: &HeaderMap) -> Option<WebhookClaim> {
    let id = single(headers, "webhook-id").filter(|text| is_part(text))?;
    let timestamp = single(headers, "webhook-timestamp")?;
    let timestamp_s = seconds(timestamp)?;
    // Other versions are for others: `v1a` is asymmetric.
    let listed = signature_header(headers, "webhook-signature")?;
    let signatures = listed
        .split([' ', '\t'])
        .filter_map(|it| it.strip_prefix("v1,"))
        .filter_map(|text| Base64::decode_vec(text).ok()?.try_into().ok());
    Some(WebhookClaim {
        timestamp_s,
        prefix: format!("{id}.{timestamp}."),
        signatures: bounded(signatures)?,
        delivery: Delivery::Standard {
            event_id: WebhookEventId::parse(id)?,
            timestamp_s,
        },
    })
}

fn stripe(headers: &HeaderMap) -> Option<WebhookClaim> {
    let header = signature_header(headers, "stripe-signature")?;
    let named = |wanted: &'static str| {
        let items = header.split(',').filter_map(|item| item.split_once('='));
        items.filter_map(move |(name, value)| (name.trim() == wanted).then_some(value.trim()))
    };
    let mut times = named("t");
    let timestamp = times.next()?;
    times.next().is_none().then_some(())?;
    let timestamp_s = seconds(timestamp)?;
    Some(WebhookClaim {
        timestamp_s,
        prefix: format!("{timestamp}."),
        // Other schemes are for others: `v0` is of test mode.
        signatures: bounded(named("v1").filter_map(hex_signature))?,
        delivery: Delivery::Stripe { timestamp_s },
    })
}

/// All signatures, where there is one and there are not too many.
fn bounded(signatures: impl Iterator<Item = [u8; 32]>) -> Option<Vec<[u8; 32]>> {
    let signatures: Vec<_> = signatures.take(SIGNATURES_MAX + 1).collect();
    (1..=SIGNATURES_MAX)
        .contains(&signatures.len())
        .then_some(signatures)
}

/// The one value of a header.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The one value of a header that lists signatures. Bytes that are no text are malformed signatures
/// as others are.
fn signature_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<Cow<'h, str>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.as_bytes();
    (values.next().is_none()).then(|| String::from_utf8_lossy(value))
}

/// Unix seconds, written as numbers are.
fn seconds(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then_some(())?;
    text.parse().ok()
}

/// Whether `text` may stand between the full stops of what is signed.
fn is_part(text: &str) -> bool {
    (1..=NONCE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'.')
}

fn hex_signature(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}
