//! Receipts: one a purchase, the same whenever it is shown, and nothing passes that was changed.

use holdfast::engine::event::{Quote, ReceiptSigner};
use holdfast::engine::lifecycle::{PaidState, PurchaseState, Step};
use holdfast::engine::metadata::Metadata;
use holdfast::engine::view::{HistoryEntry, PurchaseView};
use holdfast::ids::{Lsn, ProductId, PurchaseId, PurchaseTag, ReceiptKeyId, ShardId, UserId};
use holdfast::money::{Amount, Currency, Price};
use holdfast::receipts::{
    CaptureKeys, Ed25519Key, Finding, KEYS_MAX, KeyUnread, PublicKey, RECEIPT_BYTES_MAX, Receipt,
    ReceiptKey, SealCheck, Sealer, SealerError, Verifier, jwks,
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
        purchase: PurchaseId::new(ShardId::new(7), 300, PurchaseTag(0x5a17_c0de_5a17_c0de)),
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
        charged_back: Amount::ZERO,
        disputes: Vec::new(),
        promotion: None,
        state: PurchaseState::Captured,
        reason: None,
        expires_at: UnixMs::new(0),
        card: None,
        authorization: None,
        capture_before: None,
        capture: None,
        captured: None,
        receipt_key: Some(key_id("r1")),
        signing_key: Some(ReceiptSigner::at_capture(key_id("e1"))),
        request: None,
        declines: Vec::new(),
        review: None,
        void_deadline: None,
        refunds: 0,
        pending_refund: None,
        history: steps
            .into_iter()
            .map(|step| HistoryEntry {
                at: UnixMs::new(1_795_305_600_001),
                today: UnixMs::new(1_795_305_600_001),
                step,
                lsn: Lsn(64),
            })
            .collect(),
        metadata: Metadata::default(),
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
    r#"{"receipt_id":"r_0000000000012c075a17c0de5a17c0de","purchase_id":"p_0000000000012c075a17c0de5a17c0de","user_id":"ana","#,
    r#""product_id":"drop-1","quantity":2,"amount":{"value":50000,"currency":"KRW"},"#,
    r#""captured_at":"2026-11-22T00:00:00.001Z","#,
    r#""integrity_hash":"4eb2eb175363b63861f0de53c5a6e8da7d4445aac50a46f3c2d77a000e564249","#,
    r#""key_id":"r1","#,
    r#""hmac":"b724beba15af94d659d644011d9eaca22c72c5e5c3b761b60c5f1e790102c91d"}"#,
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
fn later_refunds_and_disputes_change_no_receipt() {
    let mut later = captured();
    later.state = PurchaseState::PartiallyRefunded;
    later.refunded = Amount::new(10_000).unwrap();
    later.history.push(HistoryEntry {
        at: UnixMs::new(1_795_400_000_000),
        today: UnixMs::new(1_795_400_000_000),
        step: Step::Refunded(PaidState::PartiallyRefunded),
        lsn: Lsn(4_096),
    });
    assert_eq!(sealer().receipt(&later), Ok(Some(receipt())));
}

#[test]
fn an_uncaptured_purchase_has_no_receipt() {
    let mut open = captured();
    open.history.pop();
    open.receipt_key = None;
    assert_eq!(sealer().receipt(&open), Ok(None));
}

#[test]
fn a_change_of_any_field_is_found() {
    let cases: [(&str, Finding, Change); 11] = [
        ("receipt_id", Finding::HashMismatch, |r| {
            r.receipt = PurchaseId::new(ShardId::new(7), 301, PurchaseTag(0x5a17_c0de_5a17_c0de));
        }),
        ("purchase_id", Finding::HashMismatch, |r| {
            r.purchase = PurchaseId::new(ShardId::new(8), 300, PurchaseTag(0x5a17_c0de_5a17_c0de));
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
            // `t` for `T` and `z` for `Z` write the same instant.
            let same = Receipt::from_json(&changed) == Ok(receipt());
            assert_eq!(verdict.valid, same, "byte {place}, bit {bit}");
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
        (
            "an array",
            r#"["r_0000000000012c075a17c0de5a17c0de"]"#.to_owned(),
        ),
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
        (
            "an amount as an array",
            genuine.replace("{\"value\":50000,\"currency\":\"KRW\"}", "[50000,\"KRW\"]"),
        ),
        ("no RFC 3339", genuine.replace("T00:00", " 00:00")),
        (
            "finer than milliseconds",
            genuine.replace(".001Z", ".0010001Z"),
        ),
        ("a time without its zone", genuine.replace(".001Z", ".001")),
        (
            "capital digits",
            genuine.replace(
                "r_0000000000012c075a17c0de5a17c0de",
                "r_0000000000012C075a17c0de5a17c0de",
            ),
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

/// Secret and public keys of RFC 8032, section 7.1, tests 1 and 2.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const OTHER_SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const OTHER_PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

/// The golden receipt's signature with [`SEED`] as key `e1`, made with Python's `cryptography`
/// from the documented text.
const GOLDEN_SIGNATURE: &str = concat!(
    "180e76c462dadb59c2a2d9873c22e69564c466236c878ad1745e7033f21f7fe1",
    "1889e4f31a1dcea48c978d55ad89b67dd3e066bef4f6183f95bc2a2587266603",
);

fn signing(id: &str, seed: &str) -> Ed25519Key {
    Ed25519Key::from_secret_text(key_id(id), seed).unwrap()
}

fn public(id: &str, text: &str) -> PublicKey {
    PublicKey::from_text(key_id(id), text).unwrap()
}

fn signer() -> Sealer {
    sealer().with_signatures(vec![signing("e1", SEED)]).unwrap()
}

fn signed() -> Receipt {
    signer().receipt(&captured()).unwrap().unwrap()
}

fn offline(keys: &[PublicKey]) -> Verifier<'_> {
    Verifier {
        hmac: None,
        ed25519: Some(keys),
    }
}

#[test]
fn the_golden_signature_is_made_written_read_and_genuine() {
    let text = GOLDEN.strip_suffix('}').unwrap();
    let ed25519 = format!(r#""ed25519":{{"key_id":"e1","signature":"{GOLDEN_SIGNATURE}"}}"#);
    let golden = format!("{text},{ed25519}}}");
    assert_eq!(json(&signed()), golden);
    assert_eq!(Receipt::from_json(golden.as_bytes()), Ok(signed()));
    let by_us = signer().verify_json(golden.as_bytes());
    let anybody = [public("e1", PUBLIC)];
    let by_anybody = offline(&anybody).verify_json(golden.as_bytes());
    for (verdict, hmac) in [
        (by_us, SealCheck::Genuine),
        (by_anybody, SealCheck::NotChecked),
    ] {
        let found = (verdict.valid, verdict.hmac, verdict.ed25519);
        assert_eq!(found, (true, hmac, SealCheck::Genuine));
        assert_eq!(verdict.reason, Finding::Genuine);
    }
}

#[test]
fn public_keys_are_those_of_rfc_8032_in_every_form() {
    let pem = "-----BEGIN PRIVATE KEY-----\n\
               MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
               -----END PRIVATE KEY-----\n";
    for secret in [
        SEED,
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        pem,
    ] {
        assert_eq!(signing("e1", secret).public(), &public("e1", PUBLIC));
    }
    let other = signing("e1", OTHER_SEED);
    assert_eq!(other.public(), &public("e1", OTHER_PUBLIC));
    let pem = "-----BEGIN PUBLIC KEY-----\n\
               MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
               -----END PUBLIC KEY-----\n";
    assert_eq!(public("e1", pem), public("e1", PUBLIC));
    for (text, why) in [
        ("", KeyUnread::Form),
        (&SEED[1..], KeyUnread::Form),
        (&"g".repeat(64), KeyUnread::Form),
        (pem, KeyUnread::Pem),
        ("-----BEGIN PRIVATE KEY-----\n", KeyUnread::Pem),
    ] {
        let read = Ed25519Key::from_secret_text(key_id("e1"), text);
        assert_eq!(read.unwrap_err(), why, "{text}");
    }
    // The neutral element: everything would be signed by it.
    let weak = format!("01{}", "0".repeat(62));
    let read = PublicKey::from_text(key_id("e1"), &weak);
    assert_eq!(read, Err(KeyUnread::NotAPoint));
    let printed = format!("{:?}", signing("e1", SEED));
    assert!(
        printed.contains(PUBLIC) && !printed.contains(SEED),
        "{printed}"
    );
}

#[test]
fn public_keys_alone_detect_a_change_of_any_field() {
    let keys = [public("e1", PUBLIC), public("e2", OTHER_PUBLIC)];
    let cases: [(&str, Finding, Change); 11] = [
        ("receipt_id", Finding::HashMismatch, |r| {
            r.receipt = PurchaseId::new(ShardId::new(7), 301, PurchaseTag(0x5a17_c0de_5a17_c0de));
        }),
        ("purchase_id", Finding::HashMismatch, |r| {
            r.purchase = PurchaseId::new(ShardId::new(8), 300, PurchaseTag(0x5a17_c0de_5a17_c0de));
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
        ("signature", Finding::SignatureMismatch, |r| {
            r.ed25519.as_mut().unwrap().signature[63] ^= 1;
        }),
        ("another's name", Finding::SignatureMismatch, |r| {
            r.ed25519.as_mut().unwrap().key_id = key_id("e2");
        }),
        ("nobody's name", Finding::UnknownSigningKey, |r| {
            r.ed25519.as_mut().unwrap().key_id = key_id("e3");
        }),
    ];
    for (field, finding, change) in cases {
        let mut changed = signed();
        change(&mut changed);
        let verdict = offline(&keys).verify(&changed);
        assert_eq!((verdict.valid, verdict.reason), (false, finding), "{field}");
        // And whoever fixes the hash too still has not the signature.
        changed.integrity_hash = changed.computed_hash();
        assert!(!offline(&keys).verify(&changed).valid, "{field}");
        // Nor does a genuine HMAC carry a signature that is not.
        if finding != Finding::HashMismatch {
            let verdict = signer().verify(&changed);
            assert_eq!(verdict.hmac, SealCheck::Genuine);
            // A key that is not here proves nothing, against it neither.
            let unknown = verdict.ed25519 == SealCheck::UnknownKey;
            assert_eq!(verdict.valid, unknown, "{field}");
        }
    }
    // The HMAC is none of their business: it is not covered by the signature.
    let mut resealed = signed();
    resealed.hmac[0] ^= 1;
    assert!(offline(&keys).verify(&resealed).valid);
    assert_eq!(signer().verify(&resealed).reason, Finding::SealMismatch);
}

#[test]
fn a_change_of_any_single_byte_of_a_signed_receipt_is_found() {
    let genuine = json(&signed()).into_bytes();
    let signer = signer();
    for place in 0..genuine.len() {
        for bit in 0..8 {
            let mut changed = genuine.clone();
            changed[place] ^= 1 << bit;
            if !signer.verify_json(&changed).valid {
                continue;
            }
            // Only the names of the keys may differ: the seal of an unknown key proves nothing,
            // and the other one proves the rest.
            let mut read = Receipt::from_json(&changed).unwrap();
            read.key_id = key_id("r1");
            read.ed25519.as_mut().unwrap().key_id = key_id("e1");
            assert_eq!(read, signed(), "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn a_receipt_without_its_signature_is_proven_by_its_hmac_only() {
    let mut stripped = signed();
    stripped.ed25519 = None;
    assert_eq!(stripped, receipt(), "the signature changes nothing else");
    let by_us = signer().verify(&stripped);
    let found = (by_us.valid, by_us.hmac, by_us.ed25519);
    assert_eq!(found, (true, SealCheck::Genuine, SealCheck::Absent));
    let keys = [public("e1", PUBLIC)];
    let by_anybody = offline(&keys).verify(&stripped);
    let found = (by_anybody.valid, by_anybody.reason);
    assert_eq!(found, (false, Finding::Unsigned));
    // A secret alone does not look at the signature, and says so.
    let seal = [key("r1", SECRET)];
    let by_secret = Verifier {
        hmac: Some(&seal),
        ed25519: None,
    };
    let verdict = by_secret.verify(&signed());
    let found = (verdict.valid, verdict.ed25519);
    assert_eq!(found, (true, SealCheck::NotChecked));
    for absent in ["null", "[]", "{}", r#"{"key_id":"e1"}"#] {
        let text = json(&stripped);
        let text = format!("{},\"ed25519\":{absent}}}", text.strip_suffix('}').unwrap());
        let verdict = signer().verify_json(text.as_bytes());
        assert_eq!(verdict.reason, Finding::Malformed, "{absent}");
    }
}

#[test]
fn the_capture_names_the_key_that_signs_and_a_new_one_changes_nothing() {
    let rotated = sealer()
        .with_signatures(vec![signing("e2", OTHER_SEED), signing("e1", SEED)])
        .unwrap();
    let keys = CaptureKeys {
        seal: key_id("r1"),
        sign: Some(ReceiptSigner::at_capture(key_id("e2"))),
    };
    assert_eq!(rotated.capture_keys(), keys);
    assert_eq!(rotated.receipt(&captured()), Ok(Some(signed())));
    assert!(rotated.verify(&signed()).valid);
    // Captured before there were signing keys: never signed.
    let mut before = captured();
    before.signing_key = None;
    assert_eq!(rotated.receipt(&before), Ok(Some(receipt())));

    // Without its secret it verifies what it signed, and signs nothing again.
    let retired = Ed25519Key::retired(public("e1", PUBLIC));
    let retired = sealer()
        .with_signatures(vec![signing("e2", OTHER_SEED), retired])
        .unwrap();
    assert!(retired.verify(&signed()).valid);
    assert_eq!(retired.receipt(&captured()), Ok(Some(receipt())));

    let forgotten = sealer().with_signatures(vec![signing("e2", OTHER_SEED)]);
    let verdict = forgotten.unwrap().verify(&signed());
    let found = (verdict.valid, verdict.ed25519);
    assert_eq!(found, (true, SealCheck::UnknownKey));
}

#[test]
fn signing_keys_are_checked_once() {
    let with = |keys| sealer().with_signatures(keys).unwrap_err();
    let twice = vec![signing("e1", SEED), signing("e1", OTHER_SEED)];
    assert_eq!(with(twice), SealerError::SameName(key_id("e1")));
    let retired_first = vec![
        Ed25519Key::retired(public("e2", OTHER_PUBLIC)),
        signing("e1", SEED),
    ];
    assert_eq!(
        with(retired_first),
        SealerError::FirstIsRetired(key_id("e2"))
    );
    let many = (0..=KEYS_MAX).map(|n| signing(&format!("e{n}"), SEED));
    assert_eq!(with(many.collect()), SealerError::TooManyKeys);
    // Public keys alone verify what another region signed.
    let retired = Ed25519Key::retired(public("e1", PUBLIC));
    let verifying = sealer().with_signatures(vec![retired]).unwrap();
    assert_eq!(verifying.capture_keys(), CaptureKeys::from(key_id("r1")));
    assert!(verifying.verify(&signed()).valid);
    let none = sealer().with_signatures(vec![]).unwrap();
    assert_eq!(none.capture_keys(), CaptureKeys::from(key_id("r1")));
}

#[test]
fn the_key_set_reads_back_and_passes_over_what_is_not_ours() {
    let rotated = sealer()
        .with_signatures(vec![signing("e2", OTHER_SEED), signing("e1", SEED)])
        .unwrap();
    let set = rotated.jwks();
    // RFC 8037, appendix A.2, is the public key of the same test vector.
    assert_eq!(
        set["keys"][1],
        serde_json::json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "e1", "use": "sig", "alg": "EdDSA",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        })
    );
    let keys = jwks::read_set(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys, [public("e2", OTHER_PUBLIC), public("e1", PUBLIC)]);
    assert_eq!(sealer().jwks().to_string(), r#"{"keys":[]}"#);

    let ours = &set["keys"][1].to_string();
    let cases = [
        (r#"{"kty":"EC","crv":"P-256","x":"a","y":"b"}"#, Ok(0)),
        (r#"{"kty":"RSA","n":"a","e":"AQAB"}"#, Ok(0)),
        (&ours.replace("\"sig\"", "\"enc\""), Ok(0)),
        (&ours.replace('{', "{\"key_ops\":[\"verify\"],"), Ok(1)),
        (&format!("{ours},{ours}"), Err("two keys named e1")),
        (&ours.replace("\"e1\"", "\"\""), Err("without a usable kid")),
        (&ours.replace("11qY", "1"), Err("the key e1")),
        ("1", Err("not a JSON Web Key")),
    ];
    for (keys, wanted) in cases {
        let read = jwks::read_set(format!(r#"{{"keys":[{keys}]}}"#).as_bytes());
        match (read, wanted) {
            (Ok(read), Ok(count)) => assert_eq!(read.len(), count, "{keys}"),
            (Err(why), Err(wanted)) => assert!(why.to_string().contains(wanted), "{why}"),
            (read, wanted) => panic!("{keys}: {read:?}, not {wanted:?}"),
        }
    }
}

#[test]
fn a_receipt_is_valid_where_one_seal_is_genuine_and_none_is_forged() {
    let mut forged_seal = signed();
    forged_seal.hmac[0] ^= 1;
    let mut forged_signature = signed();
    forged_signature.ed25519.as_mut().unwrap().signature[0] ^= 1;
    let (ours, elsewhere) = ([key("r1", SECRET)], [key("r9", OTHER_SECRET)]);
    let (signing, other) = ([public("e1", PUBLIC)], [public("e9", OTHER_PUBLIC)]);
    let of = |seal: &str| match seal {
        "here" => Some(ours.as_slice()),
        "elsewhere" => Some(elsewhere.as_slice()),
        _ => None,
    };
    let by = |signature: &str| match signature {
        "here" => Some(signing.as_slice()),
        "elsewhere" => Some(other.as_slice()),
        _ => None,
    };
    let stripped = receipt();
    let cases = [
        (&signed(), "here", "here", "genuine genuine → genuine"),
        (
            &signed(),
            "here",
            "elsewhere",
            "genuine unknown_key → genuine",
        ),
        (
            &signed(),
            "elsewhere",
            "here",
            "unknown_key genuine → genuine",
        ),
        (&signed(), "none", "here", "not_checked genuine → genuine"),
        (&signed(), "here", "none", "genuine not_checked → genuine"),
        (
            &signed(),
            "elsewhere",
            "elsewhere",
            "unknown_key unknown_key → unknown_key",
        ),
        (
            &signed(),
            "none",
            "elsewhere",
            "not_checked unknown_key → unknown_signing_key",
        ),
        (&stripped, "here", "here", "genuine absent → genuine"),
        (
            &stripped,
            "elsewhere",
            "here",
            "unknown_key absent → unknown_key",
        ),
        (&stripped, "none", "here", "not_checked absent → unsigned"),
        (
            &forged_seal,
            "here",
            "here",
            "mismatch genuine → seal_mismatch",
        ),
        (
            &forged_seal,
            "elsewhere",
            "here",
            "unknown_key genuine → genuine",
        ),
        (
            &forged_signature,
            "here",
            "here",
            "genuine mismatch → signature_mismatch",
        ),
        (
            &forged_signature,
            "elsewhere",
            "here",
            "unknown_key mismatch → signature_mismatch",
        ),
    ];
    for (receipt, seal, signature, expected) in cases {
        let verifier = Verifier {
            hmac: of(seal),
            ed25519: by(signature),
        };
        let verdict = verifier.verify(receipt);
        let (hmac, ed25519) = (verdict.hmac.as_str(), verdict.ed25519.as_str());
        let found = format!("{hmac} {ed25519} → {}", verdict.reason.as_str());
        assert_eq!(found, expected);
        assert_eq!(verdict.valid, expected.ends_with("→ genuine"), "{expected}");
        // Whatever the keys, the fields must be those that were sealed.
        let mut changed = receipt.clone();
        changed.quantity = 1;
        let verdict = verifier.verify(&changed);
        assert_eq!(
            (verdict.valid, verdict.reason),
            (false, Finding::HashMismatch)
        );
    }
}

#[test]
fn a_receipt_is_the_same_however_its_instant_and_its_text_are_spelled() {
    let genuine = json(&signed());
    assert!(
        genuine.contains("\"2026-11-22T00:00:00.001Z\""),
        "{genuine}"
    );
    for spelled in [
        "2026-11-22T00:00:00.001+00:00",
        "2026-11-22T00:00:00.001000Z",
        "2026-11-22t00:00:00.001000000z",
        "2026-11-22T09:00:00.001+09:00",
        "2026-11-21T16:30:00.001-07:30",
        "2026-11-22T00:00:00.001\\u002B00:00",
    ] {
        let text = genuine.replace("2026-11-22T00:00:00.001Z", spelled);
        let verdict = signer().verify_json(text.as_bytes());
        assert_eq!(verdict.reason, Finding::Genuine, "{spelled}");
    }
    for other in ["2026-11-22T00:00:00Z", "2026-11-22T00:00:00.001+09:00"] {
        let text = genuine.replace("2026-11-22T00:00:00.001Z", other);
        let verdict = signer().verify_json(text.as_bytes());
        assert_eq!(verdict.reason, Finding::HashMismatch, "{other}");
    }
    let escaped = genuine.replace("\"ana\"", "\"\\u0061na\"");
    assert!(signer().verify_json(escaped.as_bytes()).valid);
}
