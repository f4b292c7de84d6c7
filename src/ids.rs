//! Owns the names that things go by, each a type of its own so that none stands for another.
//!
//! Invariants: a text id is 1 to 64 characters of `[A-Za-z0-9_.:-]`; a [`CardToken`] is such a
//! text that does not look like a card number; a [`PurchaseId`] carries the shard of its buyer,
//! so that a hold or purchase is found without asking whose it is, and a random tag.
//! Deliberately absent: making ids up (the shard counts, the front end draws request ids).

mod card_number;
mod digits;
mod issuers;
mod shapes;

pub use card_number::holds_card_number;

use compact_str::CompactString;
use std::fmt;
use std::hash::{Hash, Hasher};
use subtle::ConstantTimeEq;

/// The longest text id, in characters.
pub const ID_CHARS_MAX: usize = 64;

/// Shards that buyers are spread over. Part of every purchase id, hence of the log's format.
pub const SHARD_COUNT: usize = 256;

/// Whether `text` is 1 to [`ID_CHARS_MAX`] characters of `[A-Za-z0-9_.:-]`.
pub fn is_id(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
}

/// Whether `text` has the form of an id, and holds no card number.
fn is_word(text: &str) -> bool {
    is_id(text) && !holds_card_number(text)
}

/// Text newtypes, each with the check of its text.
macro_rules! texts {
    ($check:path => $($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash,
            rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
        )]
        pub struct $name(CompactString);

        impl $name {
            /// The id written as `text`; `None` if it is malformed.
            pub fn parse(text: &str) -> Option<Self> {
                $check(text).then(|| Self(CompactString::new(text)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )*};
}

texts! { is_id =>
    /// A buyer, as the shop names them.
    UserId;
    /// A product, as the operator names it.
    ProductId;
    /// A buyer's device, as the shop names it.
    DeviceId;
    /// The gateway's id of an authorization.
    AuthorizationId;
    /// The gateway's id of a capture.
    CaptureId;
    /// The gateway's id of a dispute.
    DisputeId;
    /// The gateway's id of an event that it reports by webhook.
    WebhookEventId;
}

// Texts that people choose, or that a gateway returns: they are searched for card numbers.
texts! { is_word =>
    /// The name of the API key that a request came with (never the key itself).
    KeyOwner;
    /// The name of a receipt's sealing key.
    ReceiptKeyId;
    /// The gateway's reason code.
    GatewayCode;
    /// The name of a secret that verifies webhooks.
    WebhookSecretId;
    /// A group of buyers, as the operator names it.
    Segment;
}

/// A promotion's code. Two codes that differ in the case of ASCII letters only are the same code;
/// the text is the one that was given.
#[derive(Clone, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct PromotionCode(CompactString);

impl PromotionCode {
    /// The code written as `text`; `None` if it is malformed or holds a card number.
    pub fn parse(text: &str) -> Option<Self> {
        is_word(text).then(|| Self(CompactString::new(text)))
    }

    /// The code as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text that all spellings of the code share.
    pub fn folded(&self) -> String {
        self.0.as_str().to_ascii_lowercase()
    }
}

impl PartialEq for PromotionCode {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for PromotionCode {}

impl Hash for PromotionCode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        // No id has this byte: it ends the text, as with `str`.
        state.write_u8(0xff);
    }
}

impl fmt::Display for PromotionCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for PromotionCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The gateway's stand-in for a card, never a card number: see [`CardToken::parse`].
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct CardToken(CompactString);

impl CardToken {
    /// The token written as `text`; `None` if it is malformed or [`holds_card_number`].
    pub fn parse(text: &str) -> Option<Self> {
        is_word(text).then(|| Self(CompactString::new(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CardToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One request, drawn at random by the front end; written `req_` and 16 hexadecimal digits.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "req_{:016x}", self.0)
    }
}

/// The shard that a buyer's state lives in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u8);

impl ShardId {
    /// The shard with this number, 0 to 255.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The shard of `user`: FNV-1a over the id, because it must be the same for ever.
    pub fn of(user: &UserId) -> Self {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self((hash ^ (hash >> 32)).to_le_bytes()[0])
    }

    /// The shard's place, 0 to [`SHARD_COUNT`] − 1.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

/// The random part of a purchase's id, so that nobody can guess it: drawn when the hold is placed.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct PurchaseTag(pub u64);

impl PurchaseTag {
    /// Whether it equals `other`, compared in constant time.
    pub fn is(self, other: Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A purchase, from its hold on: one number, written `h_…` as a hold, `p_…` as a purchase and `r_…`
/// as its receipt.
///
/// The text has the place (the shard's count, then the shard in the lowest byte) in 16 hexadecimal
/// digits and the tag in 16 more. The place finds the purchase; the tag must match, too. So nobody
/// can guess one id from another.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct PurchaseId {
    place: u64,
    tag: PurchaseTag,
}

impl PurchaseId {
    /// The purchase numbered `sequence` in `shard`; sequences stay below 2⁵⁶.
    pub fn new(shard: ShardId, sequence: u64, tag: PurchaseTag) -> Self {
        assert!(
            sequence < 1 << 56,
            "a shard's sequence outlives 2^56 purchases"
        );
        Self {
            place: sequence << 8 | u64::from(shard.0),
            tag,
        }
    }

    /// The shard of the buyer.
    pub const fn shard(self) -> ShardId {
        ShardId(self.place.to_le_bytes()[0])
    }

    /// The place in the shard's count.
    pub const fn sequence(self) -> u64 {
        self.place >> 8
    }

    /// The number that finds it: its sequence, then its shard.
    pub const fn place(self) -> u64 {
        self.place
    }

    /// Its random part.
    pub const fn tag(self) -> PurchaseTag {
        self.tag
    }

    /// The 32 hexadecimal digits that all three forms share.
    pub fn digits(self) -> [u8; PURCHASE_DIGITS] {
        let mut digits = [0; PURCHASE_DIGITS];
        let (place, tag) = digits.split_at_mut(PURCHASE_DIGITS / 2);
        let whole = "eight bytes are 16 hexadecimal digits";
        hex::encode_to_slice(self.place.to_be_bytes(), place).expect(whole);
        hex::encode_to_slice(self.tag.0.to_be_bytes(), tag).expect(whole);
        digits
    }

    /// `h_` and 32 hexadecimal digits.
    pub fn hold(self) -> impl fmt::Display {
        Prefixed("h_", self)
    }

    /// `r_` and 32 hexadecimal digits.
    pub fn receipt(self) -> impl fmt::Display {
        Prefixed("r_", self)
    }

    /// The purchase behind a hold's id.
    pub fn parse_hold(text: &str) -> Option<Self> {
        parse_prefixed("h_", text)
    }

    /// The purchase behind a purchase's id.
    pub fn parse_purchase(text: &str) -> Option<Self> {
        parse_prefixed("p_", text)
    }

    /// The purchase behind a receipt's id.
    pub fn parse_receipt(text: &str) -> Option<Self> {
        parse_prefixed("r_", text)
    }
}

/// Hexadecimal digits in a purchase's id.
pub const PURCHASE_DIGITS: usize = 32;

impl fmt::Display for PurchaseId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Prefixed("p_", *self).fmt(out)
    }
}

struct Prefixed(&'static str, PurchaseId);

impl fmt::Display for Prefixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.1.digits();
        out.write_str(self.0)?;
        out.write_str(std::str::from_utf8(&digits).expect("hexadecimal digits are ASCII"))
    }
}

fn parse_prefixed(prefix: &str, text: &str) -> Option<PurchaseId> {
    let digits = text.strip_prefix(prefix)?;
    let lower = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (digits.len() == PURCHASE_DIGITS && lower).then_some(())?;
    let (place, tag) = digits.split_at(PURCHASE_DIGITS / 2);
    Some(PurchaseId {
        place: u64::from_str_radix(place, 16).ok()?,
        tag: PurchaseTag(u64::from_str_radix(tag, 16).ok()?),
    })
}

/// A position in the log: the byte at which a record begins, or the end that must be durable before
/// a response may reveal the record.
#[derive(
    Copy,
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The first half of a SHA-256 digest, of an idempotency key in its scope or of a request.
#[derive(
    Copy,
    Clone,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
pub struct Digest16(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_no_card_tokens() {
        let refused = ["4111111111111111", "4111.1111:1111_1111", "", "tok ok"];
        for text in refused {
            assert!(CardToken::parse(text).is_none(), "{text}");
        }
        for text in ["tok_ok", "4111111111111112", "pm_1N2x"] {
            assert!(CardToken::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_purchase_is_read_back_under_each_of_its_names() {
        let id = PurchaseId::new(ShardId::new(7), 300, PurchaseTag(0xa5));
        assert_eq!(id.to_string(), "p_0000000000012c0700000000000000a5");
        assert_eq!(PurchaseId::parse_purchase(&id.to_string()), Some(id));
        assert_eq!(PurchaseId::parse_hold(&id.hold().to_string()), Some(id));
        assert_eq!(
            PurchaseId::parse_receipt(&id.receipt().to_string()),
            Some(id)
        );
        assert_eq!((id.shard(), id.sequence()), (ShardId::new(7), 300));
        for bad in [
            "p_12c07",
            "p_0000000000012c07",
            "p_0000000000012C0700000000000000a5",
            "0000000000012c0700000000000000a5",
            "p_+000000000012c0700000000000000a5",
            "p_0000000000012c070000000000000é5",
        ] {
            assert_eq!(PurchaseId::parse_purchase(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_code_is_the_same_in_every_case_and_shown_as_given() {
        use std::hash::{BuildHasher, RandomState};
        let code = |text: &str| PromotionCode::parse(text).unwrap();
        let hashes = RandomState::new();
        for text in ["early-Bird", "EARLY-BIRD", "Early-bird"] {
            assert_eq!(code(text), code("early-bird"), "{text}");
            let (one, other) = (code(text), code("early-bird"));
            assert_eq!(hashes.hash_one(&one), hashes.hash_one(&other), "{text}");
            assert_eq!((one.as_str(), one.folded()), (text, other.folded()));
        }
        assert_ne!(code("early_bird"), code("early-bird"));
        assert_ne!(code("early"), code("early1"));
    }

    #[test]
    fn ids_keep_to_their_alphabet_and_length() {
        assert!(is_id(&"a".repeat(64)) && !is_id(&"a".repeat(65)) && !is_id(""));
        assert!(is_id("A-z_0.9:") && !is_id("a b") && !is_id("é") && !is_id("a/b"));
    }
}
