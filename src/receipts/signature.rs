//! Owns the Ed25519 keys that sign receipts: reading them, signing, verifying.
//!
//! Invariants: the signature covers a text that says what it is for, the integrity hash and the
//! key's id, so that no other signature passes for it and no key's for another's; it is
//! deterministic (RFC 8032); verifying is strict, so one message has one signature that passes; a
//! secret is wiped when dropped, along with the copies it was read from, and never printed; a secret
//! signs with the public key that was derived from it, and with no other.
//! Deliberately absent: making keys and rotating them, which are the operator's.

use crate::ids::ReceiptKeyId;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use sha2::Sha512;
use smallvec::SmallVec;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a secret seed and of a public key.
pub const ED25519_KEY_BYTES: usize = 32;

/// A signature on a receipt, with the name of the key that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub key_id: ReceiptKeyId,
    /// The Ed25519 signature of the integrity hash and the key's id.
    pub signature: [u8; 64],
}

/// A public key that verifies signatures of receipts.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: ReceiptKeyId,
    key: VerifyingKey,
}

impl PublicKey {
    /// The key named `id`, from its 32 bytes as RFC 8032 writes them.
    pub fn from_bytes(
        id: ReceiptKeyId,
        bytes: &[u8; ED25519_KEY_BYTES],
    ) -> Result<Self, KeyUnread> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyUnread::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyUnread::NotAPoint);
        }
        Ok(Self { id, key })
    }

    /// The key named `id`, from text: 32 bytes in hexadecimal, base64 or base64url, or the PEM
    /// that `openssl pkey -pubout` writes.
    pub fn from_text(id: ReceiptKeyId, text: &str) -> Result<Self, KeyUnread> {
        let text = text.trim();
        if text.starts_with(PEM) {
            let key = VerifyingKey::from_public_key_pem(text).map_err(|_| KeyUnread::Pem)?;
            return Self::from_bytes(id, key.as_bytes());
        }
        Self::from_bytes(id, &*thirty_two_bytes(text)?)
    }

    pub fn id(&self) -> &ReceiptKeyId {
        &self.id
    }

    /// Its 32 bytes, as RFC 8032 writes them.
    pub fn as_bytes(&self) -> &[u8; ED25519_KEY_BYTES] {
        self.key.as_bytes()
    }

    /// Whether `signed`, which names this key, is this key's signature of `integrity_hash`.
    pub(super) fn made(&self, signed: &Signed, integrity_hash: &[u8; 32]) -> bool {
        let signature = Signature::from_bytes(&signed.signature);
        let message = message(integrity_hash, &signed.key_id);
        signed.key_id == self.id && self.key.verify_strict(&message, &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PublicKey")
            .field("id", &self.id)
            .field("key", &hex::encode(self.key.as_bytes()))
            .finish()
    }
}

/// A key that signs receipts, or, where its secret is not here any more, only verifies them.
pub struct Ed25519Key {
    public: PublicKey,
    /// What signs, derived from the secret once; deriving it anew costs each signature a SHA-512.
    secret: Option<ExpandedSecretKey>,
}

impl Ed25519Key {
    /// The key named `id` with this secret seed. The caller wipes its copy.
    pub fn from_seed(id: ReceiptKeyId, seed: &[u8; ED25519_KEY_BYTES]) -> Result<Self, KeyUnread> {
        Self::from_secret(id, &SigningKey::from_bytes(seed))
    }

    /// The key named `id` from its secret as text: the 32 bytes of its seed in hexadecimal, base64
    /// or base64url, or the PEM that `openssl genpkey -algorithm ed25519` writes. The caller wipes
    /// its copy.
    pub fn from_secret_text(id: ReceiptKeyId, text: &str) -> Result<Self, KeyUnread> {
        let text = text.trim();
        let secret = if text.starts_with(PEM) {
            SigningKey::from_pkcs8_pem(text).map_err(|_| KeyUnread::Pem)?
        } else {
            SigningKey::from_bytes(&*thirty_two_bytes(text)?)
        };
        Self::from_secret(id, &secret)
    }

    /// A retired key: it verifies what it signed and signs no more.
    pub const fn retired(public: PublicKey) -> Self {
        Self {
            public,
            secret: None,
        }
    }

    fn from_secret(id: ReceiptKeyId, secret: &SigningKey) -> Result<Self, KeyUnread> {
        let public = PublicKey::from_bytes(id, secret.verifying_key().as_bytes())?;
        Ok(Self {
            public,
            secret: Some(ExpandedSecretKey::from(secret.as_bytes())),
        })
    }

    /// Its public half, with its name.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether its secret is here.
    pub const fn signs(&self) -> bool {
        self.secret.is_some()
    }

    /// The signature of `integrity_hash`; `None` where the secret is not here.
    pub(super) fn sign(&self, integrity_hash: &[u8; 32]) -> Option<Signed> {
        let secret = self.secret.as_ref()?;
        let key_id = self.public.id.clone();
        let message = message(integrity_hash, &key_id);
        // RFC 8032's own: SHA-512, and the public half of this very secret. A signature made with
        // any other public key would reveal the secret.
        let signature = raw_sign::<Sha512>(secret, &message, &self.public.key);
        Some(Signed {
            key_id,
            signature: signature.to_bytes(),
        })
    }
}

impl fmt::Debug for Ed25519Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ed25519Key")
            .field("public", &self.public)
            .field("signs", &self.signs())
            .finish_non_exhaustive()
    }
}

/// What is signed. The longest has 121 bytes, and stays on the stack.
fn message(integrity_hash: &[u8; 32], key_id: &ReceiptKeyId) -> SmallVec<[u8; 128]> {
    let mut message = SmallVec::new();
    message.extend_from_slice(b"holdfast-receipt-sign-v1\n");
    message.extend_from_slice(integrity_hash);
    message.extend_from_slice(key_id.as_str().as_bytes());
    message
}

const PEM: &str = "-----BEGIN ";

/// 32 bytes from hexadecimal, base64 or base64url; which one follows from the length.
fn thirty_two_bytes(text: &str) -> Result<Zeroizing<[u8; ED25519_KEY_BYTES]>, KeyUnread> {
    let mut bytes = Zeroizing::new([0; ED25519_KEY_BYTES]);
    let read = match text.len() {
        64 => hex::decode_to_slice(text, &mut *bytes).is_ok(),
        44 => decodes::<Base64>(text, &mut bytes),
        43 => {
            decodes::<Base64UrlUnpadded>(text, &mut bytes)
                || decodes::<base64ct::Base64Unpadded>(text, &mut bytes)
        }
        _ => false,
    };
    read.then_some(bytes).ok_or(KeyUnread::Form)
}

fn decodes<E: Encoding>(text: &str, bytes: &mut [u8; ED25519_KEY_BYTES]) -> bool {
    E::decode(text, bytes).is_ok_and(|read| read.len() == ED25519_KEY_BYTES)
}

/// Why a text or bytes are no Ed25519 key. It holds nothing of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyUnread {
    /// Neither PEM nor 32 bytes in a known form.
    #[error("is neither 32 bytes in hexadecimal or base64 nor a PEM file of OpenSSL")]
    Form,
    /// PEM, but not of an Ed25519 key of the kind asked for.
    #[error("is PEM, but not of an Ed25519 key of this kind")]
    Pem,
    /// 32 bytes that are no public key, or one whose signatures prove nothing.
    #[error("is not an Ed25519 public key")]
    NotAPoint,
}
