//! Owns the keys that seal receipts: making a receipt from a captured purchase, and verifying one.
//!
//! Invariants: the HMAC covers the integrity hash and the key's id, each of fixed or told length;
//! secrets have at least [`SECRET_BYTES_MIN`] bytes, are kept only as prepared HMAC states, which
//! are wiped when dropped, and are never printed; comparisons take the same time wherever they
//! differ. Deliberately absent: key generation and rotation, which are the operator's.

use crate::engine::view::PurchaseView;
use crate::ids::{PurchaseId, ReceiptKeyId};
use crate::receipts::{Finding, Receipt, Verdict};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// The fewest bytes that a sealing key's secret may have: the length of the hash.
pub const SECRET_BYTES_MIN: usize = 32;

/// The most sealing keys, retired ones included.
pub const KEYS_MAX: usize = 32;

/// A key that seals receipts and does nothing else.
pub struct ReceiptKey {
    id: ReceiptKeyId,
    prepared: Hmac<Sha256>,
}

impl ReceiptKey {
    /// The key named `id`. The caller wipes its copy of `secret`.
    pub fn new(id: ReceiptKeyId, secret: &[u8]) -> Result<Self, SealerError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SealerError::SecretTooShort(id));
        }
        let prepared = Hmac::new_from_slice(secret).expect("HMAC takes keys of every length");
        Ok(Self { id, prepared })
    }

    fn mac(&self, integrity_hash: &[u8; 32]) -> [u8; 32] {
        let mut mac = self.prepared.clone();
        mac.update(b"holdfast-receipt-seal-v1\n");
        mac.update(integrity_hash);
        mac.update(self.id.as_str().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ReceiptKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// All sealing keys, newest first.
#[derive(Debug)]
pub struct Sealer {
    keys: Vec<ReceiptKey>,
}

impl Sealer {
    /// A sealer with these keys, newest first: the first one seals, the others only verify and
    /// show what they sealed.
    pub fn new(keys: Vec<ReceiptKey>) -> Result<Self, SealerError> {
        if keys.is_empty() {
            return Err(SealerError::NoKey);
        }
        if keys.len() > KEYS_MAX {
            return Err(SealerError::TooManyKeys);
        }
        for (place, key) in keys.iter().enumerate() {
            if keys[..place].iter().any(|earlier| earlier.id == key.id) {
                return Err(SealerError::SameName(key.id.clone()));
            }
        }
        Ok(Self { keys })
    }

    /// The key that seals from now on; a capture writes it down.
    pub fn newest(&self) -> &ReceiptKeyId {
        &self.keys[0].id
    }

    /// The receipt of `purchase`; `None` where it was not captured. The same whenever it is asked.
    pub fn receipt(&self, purchase: &PurchaseView) -> Result<Option<Receipt>, UnknownKey> {
        let (Some(captured_at), Some(key_id)) =
            (purchase.captured_at(), purchase.receipt_key.as_ref())
        else {
            return Ok(None);
        };
        let Some(key) = self.find(key_id) else {
            return Err(UnknownKey {
                purchase: purchase.purchase,
                key_id: key_id.clone(),
            });
        };
        let mut receipt = Receipt {
            receipt: purchase.purchase,
            purchase: purchase.purchase,
            user: purchase.user.clone(),
            product: purchase.product.clone(),
            quantity: purchase.quantity,
            amount: purchase.quote.amount,
            currency: purchase.quote.currency,
            captured_at,
            integrity_hash: [0; 32],
            key_id: key_id.clone(),
            hmac: [0; 32],
        };
        receipt.integrity_hash = receipt.computed_hash();
        receipt.hmac = key.mac(&receipt.integrity_hash);
        Ok(Some(receipt))
    }

    /// Whether `receipt` is exactly as it was sealed here.
    pub fn verify(&self, receipt: &Receipt) -> Verdict {
        let reason = self
            .find(&receipt.key_id)
            .map_or(Finding::UnknownKey, |key| {
                let hash = receipt.computed_hash();
                let same_hash = hash.ct_eq(&receipt.integrity_hash);
                let same_seal = key.mac(&receipt.integrity_hash).ct_eq(&receipt.hmac);
                match (bool::from(same_hash), bool::from(same_seal)) {
                    (true, true) => Finding::Genuine,
                    (false, _) => Finding::HashMismatch,
                    (true, false) => Finding::SealMismatch,
                }
            });
        Verdict {
            valid: reason == Finding::Genuine,
            key_id: Some(receipt.key_id.clone()),
            reason,
        }
    }

    /// Whether these bytes are the JSON of a receipt that is exactly as it was sealed here.
    pub fn verify_json(&self, bytes: &[u8]) -> Verdict {
        match Receipt::from_json(bytes) {
            Ok(receipt) => self.verify(&receipt),
            Err(malformed) => Verdict {
                valid: false,
                key_id: None,
                reason: malformed.finding(),
            },
        }
    }

    fn find(&self, id: &ReceiptKeyId) -> Option<&ReceiptKey> {
        self.keys.iter().find(|key| key.id == *id)
    }
}

/// What is wrong with the sealing keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    /// There is none.
    #[error("no receipt key is configured: add one to receipts.hmac_keys")]
    NoKey,
    /// There are more than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} receipt keys are configured: drop the oldest")]
    TooManyKeys,
    /// A secret has fewer than [`SECRET_BYTES_MIN`] bytes.
    #[error("receipt key {0} has fewer than {SECRET_BYTES_MIN} bytes: make it longer")]
    SecretTooShort(ReceiptKeyId),
    /// Two keys have one name.
    #[error("two receipt keys are named {0}: a key's name is never used again")]
    SameName(ReceiptKeyId),
}

/// A receipt was sealed with a key that is not configured any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the receipt of {purchase} was sealed with key {key_id}, which is not configured: put it back \
     at the end of receipts.hmac_keys"
)]
pub struct UnknownKey {
    /// Whose receipt.
    pub purchase: PurchaseId,
    /// The key that its capture named.
    pub key_id: ReceiptKeyId,
}
