//! Owns the public keys as a JSON Web Key Set (RFC 7517, RFC 8037): written for
//! `/.well-known/jwks.json`, for verification offline.
//!
//! Invariant: a written set reads back as the same keys. As RFC 7517 asks, members and keys that
//! are not known are passed over; a key of ours that does not read, or a name that stands twice,
//! is an error. Deliberately absent: fetching and caching.

use crate::ids::ReceiptKeyId;
use crate::receipts::signature::{KeyUnread, PublicKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::{Value, json};

/// The set of these keys.
pub fn write<'a>(keys: impl Iterator<Item = &'a PublicKey>) -> Value {
    let keys: Vec<Value> = keys.map(key).collect();
    json!({ "keys": keys })
}

fn key(key: &PublicKey) -> Value {
    json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": key.id().as_str(),
        "x": Base64UrlUnpadded::encode_string(key.as_bytes()),
        "use": "sig",
        "alg": "EdDSA",
    })
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    x: String,
    #[serde(rename = "use", default = "sig")]
    purpose: String,
}

fn sig() -> String {
    "sig".to_owned()
}

/// The Ed25519 keys for signatures in a set.
pub fn read_set(bytes: &[u8]) -> Result<Vec<PublicKey>, JwkUnread> {
    let set: KeySet = serde_json::from_slice(bytes).map_err(|_| JwkUnread::Set)?;
    let mut keys: Vec<PublicKey> = Vec::new();
    for value in set.keys {
        let Some(key) = read(value)? else { continue };
        if keys.iter().any(|other| other.id() == key.id()) {
            return Err(JwkUnread::SameName(key.id().clone()));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// One key, which must be an Ed25519 key for signatures.
pub fn read_key(bytes: &[u8]) -> Result<PublicKey, JwkUnread> {
    let value = serde_json::from_slice(bytes).map_err(|_| JwkUnread::Key)?;
    read(value)?.ok_or(JwkUnread::Key)
}

/// `None`: a key of another kind or for another use.
fn read(value: Value) -> Result<Option<PublicKey>, JwkUnread> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| JwkUnread::Key)?;
    if (jwk.kty.as_str(), jwk.crv.as_str(), jwk.purpose.as_str()) != ("OKP", "Ed25519", "sig") {
        return Ok(None);
    }
    let id = ReceiptKeyId::parse(&jwk.kid).ok_or(JwkUnread::Name)?;
    let mut bytes = [0; 32];
    let decoded = Base64UrlUnpadded::decode(&jwk.x, &mut bytes);
    if !decoded.is_ok_and(|decoded| decoded.len() == 32) {
        return Err(JwkUnread::Unread(id, KeyUnread::Form));
    }
    let read = PublicKey::from_bytes(id.clone(), &bytes);
    read.map(Some).map_err(|why| JwkUnread::Unread(id, why))
}

/// Why a set or a key does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkUnread {
    #[error("is not a JSON Web Key Set")]
    Set,
    /// Not an Ed25519 key for signatures.
    #[error("is not a JSON Web Key with kty OKP and crv Ed25519")]
    Key,
    /// A key without a name that a receipt could hold.
    #[error("has a key without a usable kid")]
    Name,
    /// A key that does not read.
    #[error("has the key {0}, whose x {1}")]
    Unread(ReceiptKeyId, KeyUnread),
    /// Two keys have one name.
    #[error("has two keys named {0}")]
    SameName(ReceiptKeyId),
}
