//! Receipts: one a purchase, the same whenever it is shown, and nothing passes that was changed.

use holdfast::engine::event::Quote;
use holdfast::engine::lifecycle::{PurchaseState, Step};
use holdfast::engine::view::{HistoryEntry, PurchaseView};
use holdfast::ids::{Lsn, ProductId, PurchaseId, ReceiptKeyId, ShardId, UserId};
use holdfast::money::{Amount, Currency, Price};
use holdfast::receipts::{
    Finding, KEYS_MAX, RECEIPT_BYTES_MAX, Receipt, ReceiptKey, Sealer, SealerError,
};
use holdfast::time::UnixMs;

type Change = fn(&mut Receipt);

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &[u8] = b"fedcba9876543210fedcba9876543210";

fn key_id(text: &str) -> ReceiptKeyId {
    ReceiptKeyId::parse(text).unwrap()
}

fn key(id: &str, secret: &[u8]) -> ReceiptKey {
    ReceiptKey::new(key_id(id), secret).unwrap()
}

fn sealer() -> Sealer {
    Sealer::new(vec![key("r1", SECRET)]).unwrap()
}

fn captured() -> PurchaseView {
    let steps = [
        Step::HoldPlaced,
        Step::PaymentStarted,
        Step::PaymentCaptured,
    ];
    PurchaseView {
        purchase: PurchaseId::new(ShardId::new(7), 300),
        user: UserId::parse("ana").unwrap(),
        product: ProductId::parse("drop-1").unwrap(),
        quantity: 2,
        quote: Quote {
            currency: Currency::parse("KRW").unwrap(),
            unit_price: Price::new(25_000).unwrap(),
            discount: Amount::ZERO,
            amount: Amount::new(50_000).unwrap(),
        },
        refunded: Amount::ZERO,
        promotion: None,
        state: PurchaseState::Captured,
        reason: None,
        expires_at: UnixMs::new(0),
        card: None,
        authorization: None,
        capture_before: None,
        capture: None,
        receipt_key: Some(key_id("r1")),
        history: steps
            .into_iter()
            .map(|step| HistoryEntry {
                at: UnixMs::new(1_795_305_600_001),
                step,
                lsn: Lsn(64),
            })
            .collect(),
    }
}

fn receipt() -> Receipt {
    sealer().receipt(&captured()).unwrap().unwrap()
}

fn json(receipt: &Receipt) -> String {
    let mut out = Vec::new();
    receipt.write_json(&mut out);
    String::from_utf8(out).unwrap()
}

/// Computed with Python's hashlib and hmac from the documented text.
const GOLDEN: &str = concat!(
    r#"{"receipt_id":"r_0000000000012c07","purchase_id":"p_0000000000012c07","user_id":"ana","#,
    r#""product_id":"drop-1","quantity":2,"amount":{"value":50000,"currency":"KRW"},"#,
    r#""captured_at":"2026-11-22T00:00:00.001Z","#,
    r#""integrity_hash":"1656bff870a8a411ed6c6df2ae6c949f3afeb757e14de5f6b3edf074eec6bf24","#,
    r#""key_id":"r1","#,
    r#""hmac":"c3a31461baffb80b0b376c45dc8bdde168d6c8dad256c763a071be6968d10e2b"}"#,
);

#[test]
fn the_golden_receipt_is_written_read_and_genuine() {
    assert_eq!(json(&receipt()), GOLDEN);
    assert_eq!(Receipt::from_json(GOLDEN.as_bytes()), Ok(receipt()));
    let verdict = sealer().verify_json(GOLDEN.as_bytes());
    assert!(verdict.valid);
    assert_eq!(verdict.key_id, Some(key_id("r1")));
    assert_eq!(verdict.reason, Finding::Genuine);
}

#[test]
fn what_became_of_the_money_later_changes_no_receipt() {
    let mut later = captured();
    later.state = PurchaseState::PartiallyRefunded;
    later.refunded = Amount::new(10_000).unwrap();
    later.history.push(HistoryEntry {
        at: UnixMs::new(1_795_400_000_000),
        step: Step::PartRefunded,
        lsn: Lsn(4_096),
    });
    assert_eq!(sealer().receipt(&later), Ok(Some(receipt())));
}

#[test]
fn what_was_not_captured_has_no_receipt() {
    let mut open = captured();
    open.history.pop();
    open.receipt_key = None;
    assert_eq!(sealer().receipt(&open), Ok(None));
}

#[test]
fn a_change_of_any_field_is_found() {
    let cases: [(&str, Finding, Change); 11] = [
        ("receipt_id", Finding::HashMismatch, |r| {
            r.receipt = PurchaseId::new(ShardId::new(7), 301);
        }),
        ("purchase_id", Finding::HashMismatch, |r| {
            r.purchase = PurchaseId::new(ShardId::new(8), 300);
        }),
        ("user_id", Finding::HashMismatch, |r| {
            r.user = UserId::parse("bo").unwrap();
        }),
        ("product_id", Finding::HashMismatch, |r| {
            r.product = ProductId::parse("drop-2").unwrap();
        }),
        ("quantity", Finding::HashMismatch, |r| r.quantity = 3),
        ("amount", Finding::HashMismatch, |r| {
            r.amount = Amount::new(1).unwrap();
        }),
        ("currency", Finding::HashMismatch, |r| {
            r.currency = Currency::parse("USD").unwrap();
        }),
        ("captured_at", Finding::HashMismatch, |r| {
            r.captured_at = r.captured_at.plus_ms(1);
        }),
        ("integrity_hash", Finding::HashMismatch, |r| {
            r.integrity_hash[31] ^= 1;
        }),
        ("hmac", Finding::SealMismatch, |r| r.hmac[0] ^= 0x80),
        ("key_id", Finding::UnknownKey, |r| r.key_id = key_id("r2")),
    ];
    for (field, finding, change) in cases {
        let mut changed = receipt();
        change(&mut changed);
        let verdict = sealer().verify(&changed);
        assert_eq!((verdict.valid, verdict.reason), (false, finding), "{field}");
        // And whoever fixes the hash too still has not the seal.
        changed.integrity_hash = changed.computed_hash();
        let restored = changed == receipt();
        assert_eq!(sealer().verify(&changed).valid, restored, "{field}");
    }
}

#[test]
fn a_change_of_any_single_byte_is_found() {
    let genuine = json(&receipt()).into_bytes();
    for place in 0..genuine.len() {
        for bit in 0..8 {
            let mut changed = genuine.clone();
            changed[place] ^= 1 << bit;
            let verdict = sealer().verify_json(&changed);
            assert!(!verdict.valid, "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn the_seal_of_another_key_under_the_same_name_does_not_pass() {
    let other = Sealer::new(vec![key("r1", OTHER_SECRET)]).unwrap();
    let verdict = other.verify(&receipt());
    assert_eq!(
        (verdict.valid, verdict.reason),
        (false, Finding::SealMismatch)
    );
    // Nor one key's seal under another key's name.
    let both = Sealer::new(vec![key("r2", SECRET), key("r1", SECRET)]).unwrap();
    let mut renamed = receipt();
    renamed.key_id = key_id("r2");
    assert_eq!(both.verify(&renamed).reason, Finding::SealMismatch);
}

#[test]
fn a_retired_key_still_shows_and_verifies_what_it_sealed() {
    let rotated = Sealer::new(vec![key("r2", OTHER_SECRET), key("r1", SECRET)]).unwrap();
    assert_eq!(rotated.newest(), &key_id("r2"));
    assert_eq!(rotated.receipt(&captured()), Ok(Some(receipt())));
    assert!(rotated.verify(&receipt()).valid);

    let forgotten = Sealer::new(vec![key("r2", OTHER_SECRET)]).unwrap();
    let unknown = forgotten.receipt(&captured()).unwrap_err();
    assert_eq!(unknown.key_id, key_id("r1"));
    assert_eq!(forgotten.verify(&receipt()).reason, Finding::UnknownKey);
}

#[test]
fn only_a_receipts_own_json_is_read() {
    let genuine = json(&receipt());
    let padded = format!(" {}\n", genuine.replace(",\"", " , \""));
    assert!(sealer().verify_json(padded.as_bytes()).valid, "{padded}");
    let cases = [
        ("nothing", String::new()),
        ("no object", "[]".to_owned()),
        ("an array", r#"["r_0000000000012c07"]"#.to_owned()),
        ("something after", format!("{genuine} x")),
        (
            "an unknown field",
            genuine.replace("{\"receipt_id", "{\"note\":1,\"receipt_id"),
        ),
        (
            "a field twice",
            genuine.replace("\"quantity\":2", "\"quantity\":2,\"quantity\":2"),
        ),
        ("a field less", genuine.replace("\"quantity\":2,", "")),
        (
            "a fraction",
            genuine.replace("\"quantity\":2", "\"quantity\":2.0"),
        ),
        ("a number as text", genuine.replace(":50000", ":\"50000\"")),
        ("below zero", genuine.replace(":50000", ":-50000")),
        (
            "beyond 64 bits",
            genuine.replace(":50000", ":99999999999999999999"),
        ),
        ("an escape", genuine.replace("\"ana\"", "\"\\u0061na\"")),
        (
            "an amount as an array",
            genuine.replace("{\"value\":50000,\"currency\":\"KRW\"}", "[50000,\"KRW\"]"),
        ),
        (
            "another form of time",
            genuine.replace(".001Z", ".001+00:00"),
        ),
        ("a time without its zone", genuine.replace(".001Z", ".001")),
        (
            "capital digits",
            genuine.replace("r_0000000000012c07", "r_0000000000012C07"),
        ),
    ];
    for (what, text) in cases {
        let verdict = sealer().verify_json(text.as_bytes());
        assert_eq!(verdict.reason, Finding::Malformed, "{what}: {text}");
        assert!(!verdict.valid && verdict.key_id.is_none(), "{what}");
    }
    let long = format!("{genuine}{}", " ".repeat(RECEIPT_BYTES_MAX));
    assert_eq!(
        sealer().verify_json(long.as_bytes()).reason,
        Finding::TooLarge
    );
    assert_eq!(sealer().verify_json(&[0xff; 64]).reason, Finding::Malformed);
}

#[test]
fn keys_are_checked_once_and_never_printed() {
    let short = ReceiptKey::new(key_id("r1"), &SECRET[..31]).unwrap_err();
    assert_eq!(short, SealerError::SecretTooShort(key_id("r1")));
    assert_eq!(Sealer::new(vec![]).unwrap_err(), SealerError::NoKey);
    let twice = Sealer::new(vec![key("r1", SECRET), key("r1", OTHER_SECRET)]);
    assert_eq!(twice.unwrap_err(), SealerError::SameName(key_id("r1")));
    let many = (0..=KEYS_MAX)
        .map(|n| key(&format!("r{n}"), SECRET))
        .collect();
    assert_eq!(Sealer::new(many).unwrap_err(), SealerError::TooManyKeys);
    let printed = format!("{:?}", key("r1", SECRET));
    assert_eq!(printed, "ReceiptKey { id: r1, .. }");
}
