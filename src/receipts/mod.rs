//! Receipts: what a buyer keeps, and how anyone can verify one.
//!
//! A receipt is not stored: it follows from the captured purchase and the key named in the capture,
//! so a purchase has exactly one, whenever it is shown (`seal`). It has an HMAC, which proves it to
//! us, and, if a signing key is configured, a signature, which proves it to anyone (`signature`).
//! `wire` is its JSON, `verify` checks it, [`jwks`] has the public keys.
//! Invariants: [`Receipt::canonical`] is unambiguous (one `name=value` per line, and no value can
//! contain a line end); the keys here are used for receipts only; a retired key stays listed, so
//! that its receipts can still be verified.
//! Deliberately absent: where keys come from, HTTP, files.

pub mod jwks;
mod seal;
mod signature;
mod verify;
mod wire;

pub use crate::engine::event::SignWhen;
pub use seal::{
    CaptureKeys, KEYS_MAX, ReceiptKey, SECRET_BYTES_MIN, Sealer, SealerError, UnknownKey,
};
pub use signature::{ED25519_KEY_BYTES, Ed25519Key, KeyUnread, PublicKey, Signed};
pub use verify::{Finding, ReceiptVerdict, SealCheck, Verifier};
pub use wire::{MalformedReceipt, RECEIPT_BYTES_MAX};

use crate::ids::{ProductId, PurchaseId, ReceiptKeyId, UserId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use sha2::{Digest, Sha256};

/// What a buyer has bought, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The receipt's own name is this purchase's, written `r_…`.
    pub receipt: PurchaseId,
    pub purchase: PurchaseId,
    pub user: UserId,
    pub product: ProductId,
    /// How many units.
    pub quantity: u32,
    /// What was captured, in minor units.
    pub amount: Amount,
    pub currency: Currency,
    pub captured_at: UnixMs,
    /// SHA-256 of [`Receipt::canonical`].
    pub integrity_hash: [u8; 32],
    /// The key that sealed it.
    pub key_id: ReceiptKeyId,
    /// HMAC-SHA-256 of the integrity hash and the key's id.
    pub hmac: [u8; 32],
    /// The signature, where the capture named a key for it whose secret is here.
    pub ed25519: Option<Signed>,
}

impl Receipt {
    /// The text that the integrity hash is taken of. Anybody can write it down from a receipt's
    /// JSON and check the hash with `sha256sum`:
    ///
    /// ```text
    /// holdfast-receipt-v1
    /// receipt_id=r_00000000000001075a17c0de5a17c0de
    /// purchase_id=p_00000000000001075a17c0de5a17c0de
    /// user_id=ana
    /// product_id=drop-1
    /// quantity=2
    /// amount=50000
    /// currency=KRW
    /// captured_at=2026-11-22T00:00:00.001Z
    /// ```
    ///
    /// Every line ends with one line feed, the last one too.
    pub fn canonical(&self) -> String {
        let mut text = Vec::with_capacity(320);
        let mut line = |name: &str, prefix: &str, value: &[u8]| {
            for part in [name.as_bytes(), prefix.as_bytes(), value, b"\n"] {
                text.extend_from_slice(part);
            }
        };
        line("holdfast-receipt-v1", "", b"");
        line("receipt_id=", "r_", &self.receipt.digits());
        line("purchase_id=", "p_", &self.purchase.digits());
        line("user_id=", "", self.user.as_str().as_bytes());
        line("product_id=", "", self.product.as_str().as_bytes());
        let mut number = itoa::Buffer::new();
        line("quantity=", "", number.format(self.quantity).as_bytes());
        line("amount=", "", number.format(self.amount.get()).as_bytes());
        line("currency=", "", self.currency.as_str().as_bytes());
        line("captured_at=", "", &self.captured_at.text());
        String::from_utf8(text).expect("ids, numbers and instants are ASCII")
    }

    /// SHA-256 of [`Receipt::canonical`].
    pub fn computed_hash(&self) -> [u8; 32] {
        Sha256::digest(self.canonical().as_bytes()).into()
    }
}
