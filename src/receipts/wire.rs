//! Owns the JSON of a receipt: writing it without a serializer on the hot path, and reading it
//! strictly.
//!
//! Invariants: a written receipt reads back as the same; JSON that is accepted means the same
//! receipt, for any spacing, order or escapes and any offset or precision of `captured_at`.
//! No unknown, missing or repeated field, and only one way to write a number, an id or a digest.
//! Deliberately absent: whether it is genuine (`seal`).

use crate::ids::{ProductId, PurchaseId, ReceiptKeyId, UserId};
use crate::json::Object;
use crate::money::{Amount, Currency};
use crate::receipts::{Receipt, Signed};
use crate::time::UnixMs;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// The most bytes that are read as a receipt.
pub const RECEIPT_BYTES_MAX: usize = 4_096;

/// Why bytes are not a receipt.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReceipt {
    /// More than [`RECEIPT_BYTES_MAX`] bytes.
    #[error("a receipt has at most {RECEIPT_BYTES_MAX} bytes")]
    TooLarge,
    /// Not an object of JSON with a receipt's fields, each of its type and once.
    #[error("not a receipt's JSON object")]
    Shape,
    /// A field does not read; its name.
    #[error("the field {0} is missing or invalid")]
    Field(&'static str),
}

/// A text, copied only where it has escapes: .NET writes a `+` as `\u002B`.
#[derive(Deserialize)]
#[serde(transparent)]
struct ReceiptText<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    #[serde(borrow)]
    receipt_id: ReceiptText<'a>,
    purchase_id: ReceiptText<'a>,
    user_id: ReceiptText<'a>,
    product_id: ReceiptText<'a>,
    quantity: u32,
    #[serde(borrow)]
    amount: WireAmount<'a>,
    captured_at: ReceiptText<'a>,
    integrity_hash: ReceiptText<'a>,
    key_id: ReceiptText<'a>,
    hmac: ReceiptText<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    ed25519: Option<WireSigned<'a>>,
}

/// What stands there must be a signature: `null` is no way to write that there is none.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WireSigned<'de>>, D::Error> {
    WireSigned::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSigned<'a> {
    #[serde(borrow)]
    key_id: ReceiptText<'a>,
    signature: ReceiptText<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAmount<'a> {
    value: i64,
    #[serde(borrow)]
    currency: ReceiptText<'a>,
}

impl Receipt {
    /// Appends the receipt as one JSON object, without white space. Nothing in it needs escaping:
    /// ids are of `[A-Za-z0-9_.:-]`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(768);
        Object::write(out, |object| {
            object
                .purchase("receipt_id", "r_", self.receipt)
                .purchase("purchase_id", "p_", self.purchase)
                .id("user_id", self.user.as_str())
                .id("product_id", self.product.as_str())
                .number("quantity", self.quantity)
                .money("amount", self.amount.get(), self.currency)
                .instant("captured_at", self.captured_at)
                .hex("integrity_hash", &self.integrity_hash)
                .id("key_id", self.key_id.as_str())
                .hex("hmac", &self.hmac);
            if let Some(Signed { key_id, signature }) = &self.ed25519 {
                object.object("ed25519", |seal| {
                    seal.id("key_id", key_id.as_str())
                        .hex("signature", signature);
                });
            }
        });
    }

    /// Reads a receipt from at most [`RECEIPT_BYTES_MAX`] bytes of JSON.
    pub fn from_json(bytes: &[u8]) -> Result<Self, MalformedReceipt> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            return Err(MalformedReceipt::TooLarge);
        }
        // Serde reads a struct from an array too; no value of a receipt can hold a bracket.
        if bytes.contains(&b'[') {
            return Err(MalformedReceipt::Shape);
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|_| MalformedReceipt::Shape)?;
        let field = MalformedReceipt::Field;
        let receipt = Self {
            receipt: PurchaseId::parse_receipt(&wire.receipt_id.0).ok_or(field("receipt_id"))?,
            purchase: PurchaseId::parse_purchase(&wire.purchase_id.0)
                .ok_or(field("purchase_id"))?,
            user: UserId::parse(&wire.user_id.0).ok_or(field("user_id"))?,
            product: ProductId::parse(&wire.product_id.0).ok_or(field("product_id"))?,
            quantity: wire.quantity,
            amount: Amount::new(wire.amount.value).ok_or(field("amount.value"))?,
            currency: Currency::parse(&wire.amount.currency.0).ok_or(field("amount.currency"))?,
            captured_at: UnixMs::parse_exact(&wire.captured_at.0).ok_or(field("captured_at"))?,
            integrity_hash: parse_hex(&wire.integrity_hash.0).ok_or(field("integrity_hash"))?,
            key_id: ReceiptKeyId::parse(&wire.key_id.0).ok_or(field("key_id"))?,
            hmac: parse_hex(&wire.hmac.0).ok_or(field("hmac"))?,
            ed25519: wire.ed25519.as_ref().map(parse_signed).transpose()?,
        };
        Ok(receipt)
    }
}

fn parse_signed(wire: &WireSigned<'_>) -> Result<Signed, MalformedReceipt> {
    let field = MalformedReceipt::Field;
    Ok(Signed {
        key_id: ReceiptKeyId::parse(&wire.key_id.0).ok_or(field("ed25519.key_id"))?,
        signature: parse_hex(&wire.signature.0).ok_or(field("ed25519.signature"))?,
    })
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    text.bytes().all(lower).then_some(())?;
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}
