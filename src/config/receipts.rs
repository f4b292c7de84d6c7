//! Owns the section `receipts`: the keys that seal receipts, those that sign them, and when they do.
//!
//! Invariants: there is a key to seal with; secrets are long enough, and shown as `***`.

use super::read::{ConfigReader, entry_text, invalid};
use super::{ConfigError, HIDDEN, ID_FORM};
use crate::ids::ReceiptKeyId;
use crate::receipts::SignWhen;
use secrecy::SecretString;

const RECEIPT_KEY_CHARS_MIN: usize = crate::receipts::SECRET_BYTES_MIN;
/// 32 bytes in base64, without padding.
const SEED_CHARS_MIN: usize = 43;

/// A key that seals receipts.
#[derive(Debug)]
pub struct ReceiptKeySettings {
    pub id: ReceiptKeyId,
    pub secret: SecretString,
}

/// A current or former key that signs receipts.
#[derive(Debug)]
pub struct SigningKey {
    pub id: ReceiptKeyId,
    pub half: KeyHalf,
}

/// The configured half of a signing key, as text.
#[derive(Debug)]
pub enum KeyHalf {
    /// The secret half: it signs and verifies.
    Secret(SecretString),
    /// The public half: it verifies.
    Public(String),
}

pub(super) fn sealing(
    reader: &mut ConfigReader<'_>,
) -> Result<Vec<ReceiptKeySettings>, ConfigError> {
    let path = "receipts.hmac_keys[].id";
    let mut keys: Vec<ReceiptKeySettings> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry("receipts.hmac_keys", |reader, entry| {
        let name = entry_text(path, entry, "id")?;
        let id = ReceiptKeyId::parse(name).ok_or_else(|| invalid(path, ID_FORM))?;
        if keys.iter().any(|other| other.id == id) {
            return Err(invalid(path, "is the same for two keys"));
        }
        let secret = reader.secret("receipts.hmac_keys[].key", entry, RECEIPT_KEY_CHARS_MIN)?;
        shown.push(vec![("id", name.to_owned())]);
        keys.push(ReceiptKeySettings { id, secret });
        Ok(())
    })?;
    if keys.is_empty() {
        return Err(invalid(
            "receipts.hmac_keys",
            "has no entry, so no receipt could be sealed; add [[receipts.hmac_keys]] with id and key, or start with --demo",
        ));
    }
    reader.show_entries("receipts.hmac_keys", shown);
    Ok(keys)
}

pub(super) fn signing(reader: &mut ConfigReader<'_>) -> Result<Vec<SigningKey>, ConfigError> {
    let (named, secret) = ("receipts.ed25519_keys[].id", "receipts.ed25519_keys[].key");
    let public = "receipts.ed25519_keys[].public";
    let mut keys: Vec<SigningKey> = Vec::new();
    let mut shown = Vec::new();
    reader.each_entry("receipts.ed25519_keys", |reader, entry| {
        let name = entry_text(named, entry, "id")?;
        let id = ReceiptKeyId::parse(name).ok_or_else(|| invalid(named, ID_FORM))?;
        let half = match (entry.contains_key("key"), entry.contains_key("public")) {
            (true, true) => {
                return Err(invalid(
                    public,
                    "is set together with `key`; set only one of them",
                ));
            }
            (false, true) => {
                let text = entry_text(public, entry, "public")?;
                shown.push(serde_json::json!({ "id": name, "public": text }));
                KeyHalf::Public(text.to_owned())
            }
            (true | false, false) => {
                shown.push(serde_json::json!({ "id": name, "key": HIDDEN }));
                KeyHalf::Secret(reader.secret(secret, entry, SEED_CHARS_MIN)?)
            }
        };
        keys.push(SigningKey { id, half });
        Ok(())
    })?;
    reader.show("receipts.ed25519_keys", shown.into());
    Ok(keys)
}

pub(super) fn sign_when(reader: &mut ConfigReader<'_>) -> Result<SignWhen, ConfigError> {
    match reader.text("receipts.sign")?.as_str() {
        "at_capture" => Ok(SignWhen::AtCapture),
        "when_read" => Ok(SignWhen::WhenRead),
        _ => Err(invalid("receipts.sign", "must be at_capture or when_read")),
    }
}
