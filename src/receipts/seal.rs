//! Owns the keys that seal receipts: making a receipt from a captured purchase.
//!
//! Invariants: the HMAC covers the integrity hash and the key's id, each of fixed or told length;
//! secrets have at least [`SECRET_BYTES_MIN`] bytes, are kept only as prepared HMAC states, which
//! are wiped when dropped, and are never printed; comparisons take the same time wherever they
//! differ. Which keys seal a purchase's receipt its capture says, never the order of the keys now.
//! Deliberately absent: key generation and rotation, which are the operator's; what a signature is
//! (`signature`) and what verifying finds (`verify`).

use crate::engine::event::{ReceiptSigner, SignWhen};
use crate::engine::view::PurchaseView;
use crate::ids::{PurchaseId, ReceiptKeyId};
use crate::receipts::Receipt;
use crate::receipts::jwks;
use crate::receipts::signature::{Ed25519Key, PublicKey};
use crate::receipts::verify::{ReceiptVerdict, Verifier};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;

/// The fewest bytes that a sealing key's secret may have: the length of the hash.
pub const SECRET_BYTES_MIN: usize = 32;

/// The most keys of a kind, retired ones included.
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

    pub fn id(&self) -> &ReceiptKeyId {
        &self.id
    }

    /// Whether `hmac` is this key's seal of `integrity_hash`.
    pub(super) fn made(&self, hmac: &[u8; 32], integrity_hash: &[u8; 32]) -> bool {
        self.mac(integrity_hash).ct_eq(hmac).into()
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

/// The keys that a capture writes down: those that its receipt is sealed with, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureKeys {
    /// The key of the HMAC.
    pub seal: ReceiptKeyId,
    /// What signs; `None`: receipts are not signed.
    pub sign: Option<ReceiptSigner>,
}

/// Sealed and not signed.
impl From<ReceiptKeyId> for CaptureKeys {
    fn from(seal: ReceiptKeyId) -> Self {
        Self { seal, sign: None }
    }
}

/// All keys of receipts, newest first.
#[derive(Debug)]
pub struct Sealer {
    keys: Vec<ReceiptKey>,
    signing: Vec<Ed25519Key>,
    public: Vec<PublicKey>,
    sign: SignWhen,
}

impl Sealer {
    /// A sealer with these keys, newest first: the first one seals, the others only verify and
    /// show what they sealed. Receipts are not signed.
    pub fn new(keys: Vec<ReceiptKey>) -> Result<Self, SealerError> {
        if keys.is_empty() {
            return Err(SealerError::NoKey);
        }
        check_names(keys.iter().map(ReceiptKey::id))?;
        Ok(Self {
            keys,
            signing: Vec::new(),
            public: Vec::new(),
            sign: SignWhen::default(),
        })
    }

    /// The same with these Ed25519 keys, newest first: the first one signs, the others show and
    /// verify what they signed, or, where they are retired, only verify it. Receipts are not signed
    /// where there is none, or none with a secret: public keys of another region only verify.
    pub fn with_signatures(self, signing: Vec<Ed25519Key>) -> Result<Self, SealerError> {
        check_names(signing.iter().map(|key| key.public().id()))?;
        if let Some(first) = signing.first()
            && !first.signs()
            && signing.iter().any(Ed25519Key::signs)
        {
            return Err(SealerError::FirstIsRetired(first.public().id().clone()));
        }
        let public = signing.iter().map(|key| key.public().clone()).collect();
        Ok(Self {
            signing,
            public,
            ..self
        })
    }

    /// The same, signing at this time.
    #[must_use]
    pub fn signing_when(self, sign: SignWhen) -> Self {
        Self { sign, ..self }
    }

    /// The key that seals from now on.
    pub fn newest(&self) -> &ReceiptKeyId {
        &self.keys[0].id
    }

    /// The keys that seal and sign from now on; a capture writes them down.
    pub fn capture_keys(&self) -> CaptureKeys {
        CaptureKeys {
            seal: self.newest().clone(),
            sign: self
                .signing
                .first()
                .filter(|key| key.signs())
                .map(|key| ReceiptSigner {
                    key: key.public().id().clone(),
                    when: self.sign,
                }),
        }
    }

    /// The public keys as a JSON Web Key Set, newest first.
    pub fn jwks(&self) -> serde_json::Value {
        jwks::write(self.public.iter())
    }

    /// The receipt of `purchase`; `None` where it was not captured. The same whenever it is asked,
    /// but that it stands without its signature where the secret that signed it is not here.
    pub fn receipt(&self, purchase: &PurchaseView) -> Result<Option<Receipt>, UnknownKey> {
        let Some(sealed) = self.sealed(purchase)? else {
            return Ok(None);
        };
        Ok(Some(self.signed(sealed, purchase)))
    }

    /// The same as the answer to the buy and its replays carry it: signed where its capture says so.
    pub fn receipt_of_buy(&self, purchase: &PurchaseView) -> Result<Option<Receipt>, UnknownKey> {
        match purchase.signing_key.as_ref().map(|it| it.when) {
            Some(SignWhen::AtCapture) => self.receipt(purchase),
            Some(SignWhen::WhenRead) | None => self.sealed(purchase),
        }
    }

    /// With its HMAC alone.
    fn sealed(&self, purchase: &PurchaseView) -> Result<Option<Receipt>, UnknownKey> {
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
            ed25519: None,
        };
        receipt.integrity_hash = receipt.computed_hash();
        receipt.hmac = key.mac(&receipt.integrity_hash);
        Ok(Some(receipt))
    }

    /// With the signature of the key that its capture names.
    fn signed(&self, sealed: Receipt, purchase: &PurchaseView) -> Receipt {
        let named = purchase.signing_key.as_ref();
        let key = named.and_then(|it| self.signing.iter().find(|key| *key.public().id() == it.key));
        Receipt {
            ed25519: key.and_then(|key| key.sign(&sealed.integrity_hash)),
            ..sealed
        }
    }

    /// What verifies receipts with all keys that are here.
    pub fn verifier(&self) -> Verifier<'_> {
        Verifier {
            hmac: Some(&self.keys),
            ed25519: Some(&self.public),
        }
    }

    /// Whether `receipt` is exactly as it was sealed here.
    pub fn verify(&self, receipt: &Receipt) -> ReceiptVerdict {
        self.verifier().verify(receipt)
    }

    /// Whether these bytes are the JSON of a receipt that is exactly as it was sealed here.
    pub fn verify_json(&self, bytes: &[u8]) -> ReceiptVerdict {
        self.verifier().verify_json(bytes)
    }

    fn find(&self, id: &ReceiptKeyId) -> Option<&ReceiptKey> {
        self.keys.iter().find(|key| key.id == *id)
    }
}

/// Each name once, and not too many.
fn check_names<'a>(
    names: impl ExactSizeIterator<Item = &'a ReceiptKeyId>,
) -> Result<(), SealerError> {
    if names.len() > KEYS_MAX {
        return Err(SealerError::TooManyKeys);
    }
    let mut seen: Vec<&ReceiptKeyId> = Vec::with_capacity(names.len());
    for name in names {
        if seen.contains(&name) {
            return Err(SealerError::SameName(name.clone()));
        }
        seen.push(name);
    }
    Ok(())
}

/// What is wrong with the keys of receipts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    #[error("no receipt key is configured; add one to receipts.hmac_keys")]
    NoKey,
    /// There are more than [`KEYS_MAX`] of a kind.
    #[error("more than {KEYS_MAX} receipt keys of one kind are configured; remove the oldest")]
    TooManyKeys,
    /// A secret has fewer than [`SECRET_BYTES_MIN`] bytes.
    #[error("the receipt key {0} has fewer than {SECRET_BYTES_MIN} bytes; use a longer one")]
    SecretTooShort(ReceiptKeyId),
    /// The first Ed25519 key has no secret, but another one has.
    #[error(
        "the first of receipts.ed25519_keys, {0}, has no secret, but another one has: put the key \
         that signs first"
    )]
    FirstIsRetired(ReceiptKeyId),
    /// Two keys of a kind have one name.
    #[error("two receipt keys are named {0}; give each key a new name")]
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
