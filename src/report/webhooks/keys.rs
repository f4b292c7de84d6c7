//! Owns the keys that sign deliveries: their text forms, and signing with them.
//!
//! Invariants: what is signed is `ID.TIMESTAMP.BODY`, and neither id nor timestamp has a full stop;
//! a key is never printed. Deliberately absent: keys that verify what comes in (`webhooks` of the
//! crate).

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use std::fmt;

const HMAC_PREFIX: &str = "whsec_";
const ED25519_PREFIX: &str = "whsk_";

/// Bytes of an HMAC secret, as Standard Webhooks has them.
const HMAC_BYTES_MIN: usize = 24;
const HMAC_BYTES_MAX: usize = 64;
const SEED_BYTES: usize = 32;

/// A key that signs deliveries.
#[derive(Clone)]
pub enum OutgoingKey {
    /// `v1`.
    Hmac(Hmac<Sha256>),
    /// `v1a`.
    Ed25519(Box<SigningKey>),
}

/// Why a text is no such key. Never holds the text.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOutgoingKey {
    #[error("must be `whsec_` (HMAC) or `whsk_` (Ed25519) followed by base64")]
    Form,
    #[error("must have {HMAC_BYTES_MIN} to {HMAC_BYTES_MAX} bytes after `whsec_`, in base64")]
    Length,
    #[error(
        "must have the {SEED_BYTES} bytes of the seed after `whsk_`, in base64, or the seed followed by its public key"
    )]
    Seed,
}

impl OutgoingKey {
    pub fn parse(text: &str) -> Result<Self, BadOutgoingKey> {
        let decoded = |text: &str| {
            let bytes = Base64::decode_vec(text).map_err(|_| BadOutgoingKey::Form)?;
            Ok(SecretSlice::from(bytes))
        };
        if let Some(text) = text.strip_prefix(HMAC_PREFIX) {
            let bytes = decoded(text)?;
            let bytes = bytes.expose_secret();
            if !(HMAC_BYTES_MIN..=HMAC_BYTES_MAX).contains(&bytes.len()) {
                return Err(BadOutgoingKey::Length);
            }
            let prepared = Hmac::new_from_slice(bytes).expect("HMAC takes keys of every length");
            return Ok(Self::Hmac(prepared));
        }
        let text = text.strip_prefix(ED25519_PREFIX);
        let bytes = decoded(text.ok_or(BadOutgoingKey::Form)?)?;
        let (seed, public) = bytes
            .expose_secret()
            .split_first_chunk::<SEED_BYTES>()
            .ok_or(BadOutgoingKey::Seed)?;
        let key = SigningKey::from_bytes(seed);
        let fits = public.is_empty() || public == key.verifying_key().as_bytes();
        fits.then(|| Self::Ed25519(Box::new(key)))
            .ok_or(BadOutgoingKey::Seed)
    }

    /// `v1,…` or `v1a,…`.
    fn signature(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut signed = format!("{id}.{timestamp_s}.").into_bytes();
        signed.extend_from_slice(body);
        match self {
            Self::Hmac(prepared) => {
                let mut mac = prepared.clone();
                mac.update(&signed);
                let digest = mac.finalize().into_bytes();
                format!("v1,{}", Base64::encode_string(&digest))
            }
            Self::Ed25519(key) => {
                let signature = key.sign(&signed).to_bytes();
                format!("v1a,{}", Base64::encode_string(&signature))
            }
        }
    }

    /// The same for the same key only.
    pub(super) fn proof(&self) -> String {
        self.signature("", 0, b"")
    }

    /// What verifies its signatures, where that is no secret: `whpk_…`.
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(key) => {
                let public = Base64::encode_string(key.verifying_key().as_bytes());
                Some(format!("whpk_{public}"))
            }
        }
    }
}

/// The value of `webhook-signature`: a signature by each key.
pub(super) fn signatures(keys: &[OutgoingKey], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let each = keys.iter().map(|key| key.signature(id, timestamp_s, body));
    each.collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for OutgoingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Hmac(_) => "Hmac",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification of Standard Webhooks.
    #[test]
    fn the_published_example_has_the_published_signature() {
        let key = OutgoingKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signatures(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn keys_of_another_form_are_refused() {
        use BadOutgoingKey::{Form, Length, Seed};
        let base64 = |count| Base64::encode_string(&vec![7; count]);
        for (text, expected) in [
            (format!("whsec_{}", base64(23)), Length),
            (format!("whsec_{}", base64(65)), Length),
            ("whsec_%".to_owned(), Form),
            (format!("whsk_{}", base64(31)), Seed),
            (format!("whsk_{}", base64(64)), Seed),
            (base64(32), Form),
        ] {
            assert_eq!(OutgoingKey::parse(&text).err(), Some(expected), "{text}");
        }
        let whole = [
            vec![7; 32],
            SigningKey::from_bytes(&[7; 32])
                .verifying_key()
                .as_bytes()
                .to_vec(),
        ];
        let texts = [base64(32), Base64::encode_string(&whole.concat())];
        for text in texts {
            let key = OutgoingKey::parse(&format!("whsk_{text}")).unwrap();
            assert!(key.public().unwrap().starts_with("whpk_"));
        }
    }
}
