//! Owns verifying: which seals of a receipt are checked with the keys at hand, and what follows.
//!
//! Invariant: a receipt is valid exactly where its hash is that of its fields, at least one seal is
//! genuine and none is a mismatch. A key that is not here proves nothing, for or against: a region
//! that has the public keys only verifies as well.
//! Deliberately absent: where keys come from.

use crate::ids::ReceiptKeyId;
use crate::receipts::seal::ReceiptKey;
use crate::receipts::signature::PublicKey;
use crate::receipts::{MalformedReceipt, Receipt};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

/// Verifies receipts with the keys at hand. `None` in place of a list: that seal is not looked at.
#[derive(Copy, Clone, Debug)]
pub struct Verifier<'a> {
    pub hmac: Option<&'a [ReceiptKey]>,
    /// The public keys of the signature.
    pub ed25519: Option<&'a [PublicKey]>,
}

/// Whether a receipt is genuine, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptVerdict {
    /// Whether it is exactly as it was sealed.
    pub valid: bool,
    /// The key of the HMAC that it names, where it could be read.
    pub key_id: Option<ReceiptKeyId>,
    /// What was found.
    pub reason: Finding,
    /// What its HMAC was found to be.
    pub hmac: SealCheck,
    /// What its signature was found to be.
    pub ed25519: SealCheck,
    /// Keys that it names and that are not listed here.
    pub missing_keys: Vec<ReceiptKeyId>,
}

/// What checking one seal gave.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SealCheck {
    /// It was not looked at.
    NotChecked,
    /// The receipt does not have it.
    Absent,
    /// It names a key that is not listed here.
    UnknownKey,
    /// It was not made with the key it names for the hash that the receipt tells.
    Mismatch,
    /// It was made with the key it names for the hash that the receipt tells.
    Genuine,
}

impl SealCheck {
    /// The word for it, as `/receipts/verify` and `holdfast receipt verify` say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotChecked => "not_checked",
            Self::Absent => "absent",
            Self::UnknownKey => "unknown_key",
            Self::Mismatch => "mismatch",
            Self::Genuine => "genuine",
        }
    }
}

/// What verifying a receipt found.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Everything is as it was sealed.
    Genuine,
    /// It has more than [`crate::receipts::RECEIPT_BYTES_MAX`] bytes.
    TooLarge,
    /// It is not a receipt's JSON.
    Malformed,
    /// Its HMAC names a key that is not listed here.
    UnknownKey,
    /// Its fields are not those that were hashed.
    HashMismatch,
    /// The hash was not sealed with the key that its HMAC names.
    SealMismatch,
    /// It has no signature, and its HMAC was not checked.
    Unsigned,
    /// Its signature names a key that is not listed here.
    UnknownSigningKey,
    /// The hash was not signed with the key that its signature names.
    SignatureMismatch,
}

impl Finding {
    /// The word for it, as `/receipts/verify` and `holdfast receipt verify` say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Genuine => "genuine",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::HashMismatch => "hash_mismatch",
            Self::SealMismatch => "seal_mismatch",
            Self::Unsigned => "unsigned",
            Self::UnknownSigningKey => "unknown_signing_key",
            Self::SignatureMismatch => "signature_mismatch",
        }
    }
}

impl ReceiptVerdict {
    /// Of bytes that are no receipt.
    pub const fn of_malformed(malformed: MalformedReceipt) -> Self {
        Self {
            valid: false,
            key_id: None,
            reason: malformed.finding(),
            hmac: SealCheck::NotChecked,
            ed25519: SealCheck::NotChecked,
            missing_keys: Vec::new(),
        }
    }

    /// As `/receipts/verify` and `holdfast receipt verify` show it.
    pub fn to_json(&self) -> Value {
        let mut shown = json!({
            "valid": self.valid,
            "key_id": self.key_id.as_ref().map(ReceiptKeyId::as_str),
            "reason": self.reason.as_str(),
            "seals": { "hmac": self.hmac.as_str(), "ed25519": self.ed25519.as_str() },
        });
        // One genuine seal is enough, whatever other keys it names.
        if !self.valid && !self.missing_keys.is_empty() {
            let missing = self.missing_keys.iter().map(ReceiptKeyId::as_str);
            shown["missing_keys"] = missing.collect();
        }
        shown
    }
}

impl Verifier<'_> {
    /// Whether `receipt` is exactly as it was sealed.
    pub fn verify(&self, receipt: &Receipt) -> ReceiptVerdict {
        let hash = receipt.computed_hash();
        let same_hash = bool::from(hash.ct_eq(&receipt.integrity_hash));
        let hmac = self.check_hmac(receipt);
        let ed25519 = self.check_signature(receipt);
        let reason = finding(same_hash, hmac, ed25519);
        let signed_with = receipt.ed25519.as_ref().map(|it| &it.key_id);
        let seals = [(hmac, Some(&receipt.key_id)), (ed25519, signed_with)];
        let missing = seals
            .into_iter()
            .filter(|(it, _)| *it == SealCheck::UnknownKey);
        ReceiptVerdict {
            valid: reason == Finding::Genuine,
            key_id: Some(receipt.key_id.clone()),
            reason,
            hmac,
            ed25519,
            missing_keys: missing.filter_map(|(_, key)| key.cloned()).collect(),
        }
    }

    /// Whether these bytes are the JSON of a receipt that is exactly as it was sealed.
    pub fn verify_json(&self, bytes: &[u8]) -> ReceiptVerdict {
        match Receipt::from_json(bytes) {
            Ok(receipt) => self.verify(&receipt),
            Err(malformed) => ReceiptVerdict::of_malformed(malformed),
        }
    }

    fn check_hmac(&self, receipt: &Receipt) -> SealCheck {
        let Some(keys) = self.hmac else {
            return SealCheck::NotChecked;
        };
        match keys.iter().find(|key| *key.id() == receipt.key_id) {
            None => SealCheck::UnknownKey,
            Some(key) if key.made(&receipt.hmac, &receipt.integrity_hash) => SealCheck::Genuine,
            Some(_) => SealCheck::Mismatch,
        }
    }

    fn check_signature(&self, receipt: &Receipt) -> SealCheck {
        let Some(signed) = &receipt.ed25519 else {
            return SealCheck::Absent;
        };
        let Some(keys) = self.ed25519 else {
            return SealCheck::NotChecked;
        };
        match keys.iter().find(|key| *key.id() == signed.key_id) {
            None => SealCheck::UnknownKey,
            Some(key) if key.made(signed, &receipt.integrity_hash) => SealCheck::Genuine,
            Some(_) => SealCheck::Mismatch,
        }
    }
}

/// The first thing wrong, of all that was looked at.
const fn finding(same_hash: bool, hmac: SealCheck, ed25519: SealCheck) -> Finding {
    use SealCheck::{Absent, Genuine, Mismatch, NotChecked, UnknownKey};
    match (same_hash, hmac, ed25519) {
        (false, _, _) => Finding::HashMismatch,
        (true, Mismatch, _) => Finding::SealMismatch,
        (true, _, Mismatch) => Finding::SignatureMismatch,
        (true, Genuine, _) | (true, _, Genuine) => Finding::Genuine,
        (true, UnknownKey, _) => Finding::UnknownKey,
        (true, Absent | NotChecked, UnknownKey) => Finding::UnknownSigningKey,
        (true, Absent | NotChecked, Absent | NotChecked) => Finding::Unsigned,
    }
}

impl MalformedReceipt {
    /// What verifying makes of it.
    pub const fn finding(self) -> Finding {
        match self {
            Self::TooLarge => Finding::TooLarge,
            Self::Shape | Self::Field(_) => Finding::Malformed,
        }
    }
}
