//! Owns one webhook secret: its text form, and signing with it.
//!
//! Invariants: it is valid for one format of webhook, has at least [`SECRET_BYTES_MIN`] bytes, is
//! kept only as a prepared HMAC state, which is wiped when dropped, and is never printed. Nothing
//! else is derived from it, not even a digest.

use crate::engine::event::WebhookFormat;
use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// The fewest bytes of a secret, as Standard Webhooks has it.
pub const SECRET_BYTES_MIN: usize = 24;

/// What the secrets of Standard Webhooks begin with, and Stripe's.
const STANDARD_PREFIX: &str = "whsec_";

/// A secret, ready to sign.
#[derive(Clone)]
pub struct WebhookKey {
    format: WebhookFormat,
    prepared: Hmac<Sha256>,
}

/// Why a text is no secret. Never holds the text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("must have at least {SECRET_BYTES_MIN} bytes")]
    TooShort,
    /// A secret of Standard Webhooks that is not base64 behind its prefix.
    #[error("must be `whsec_` followed by base64")]
    NotBase64,
    /// It may have two formats, and the configuration does not say which.
    #[error(
        "is missing, and the secret begins with `whsec_`, which two formats use: set format = \"stripe\" for a Stripe endpoint's signing secret (used unchanged), or format = \"standard\" for Standard Webhooks (base64 after the prefix)"
    )]
    FormatMissing,
}

impl WebhookKey {
    /// The secret written `text`, for webhooks of `format`: bytes of the text as they are, or, for
    /// Standard Webhooks, what stands in base64 behind `whsec_`. A secret of holdfast's own form
    /// needs no format; one that begins with `whsec_` does, for Stripe's begin so, too, and one
    /// that is read in the wrong way takes no webhook.
    pub fn parse(text: &str, format: Option<WebhookFormat>) -> Result<Self, BadKey> {
        let format = match format {
            Some(format) => format,
            None if text.trim_start().starts_with(STANDARD_PREFIX) => {
                return Err(BadKey::FormatMissing);
            }
            None => WebhookFormat::Holdfast,
        };
        match format {
            WebhookFormat::Holdfast | WebhookFormat::Stripe => Self::new(format, text.as_bytes()),
            WebhookFormat::Standard => {
                let text = text.strip_prefix(STANDARD_PREFIX);
                let bytes = text.and_then(|text| Base64::decode_vec(text).ok());
                let bytes = SecretSlice::from(bytes.ok_or(BadKey::NotBase64)?);
                Self::new(format, bytes.expose_secret())
            }
        }
    }

    /// The secrets that `text` could mean, of any length. `text` serves another purpose; compare a new
    /// secret with it.
    pub fn readings(text: &str) -> Vec<Self> {
        let standard = text.strip_prefix(STANDARD_PREFIX);
        let standard = standard.and_then(|text| Base64::decode_vec(text).ok());
        let standard = standard.map(SecretSlice::from);
        let standard =
            standard.map(|it| Self::prepared(WebhookFormat::Standard, it.expose_secret()));
        let as_it_stands = Self::prepared(WebhookFormat::Holdfast, text.as_bytes());
        std::iter::once(as_it_stands).chain(standard).collect()
    }

    fn new(format: WebhookFormat, secret: &[u8]) -> Result<Self, BadKey> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(BadKey::TooShort);
        }
        Ok(Self::prepared(format, secret))
    }

    fn prepared(format: WebhookFormat, secret: &[u8]) -> Self {
        Self {
            format,
            prepared: Hmac::new_from_slice(secret).expect("HMAC takes keys of every length"),
        }
    }

    /// The form of webhook that it is good for.
    pub const fn format(&self) -> WebhookFormat {
        self.format
    }

    /// Whether the secret is the same, in any format.
    pub fn is_same(&self, other: &Self) -> bool {
        let [this, that] = [self, other].map(|key| key.sign(&[b"the same key?"]));
        this[..].ct_eq(&that[..]).into()
    }

    /// HMAC-SHA-256 over `parts`, one behind the other.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.prepared.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Key")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
