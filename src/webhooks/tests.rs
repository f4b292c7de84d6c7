//! Signatures against published vectors, or those of an independent implementation if there are
//! none, and timestamps at their limits. Tests over HTTP cover the responses.

use super::*;
use crate::engine::event::WebhookFormat;
use crate::engine::refusal::Refusal;
use crate::ids::WebhookSecretId;
use crate::time::UnixMs;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const TOLERANCE_MS: u64 = 300_000;

/// Published with Standard Webhooks.
const STANDARD: [(&str, &str); 3] = [
    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
    ("webhook-timestamp", "1614265330"),
    (
        "webhook-signature",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
];
const STANDARD_BODY: &str = r#"{"test": 2432232314}"#;
const STANDARD_AT_S: u64 = 1_614_265_330;

/// From Python's `hmac`.
const OWN: [(&str, &str); 3] = [
    ("x-timestamp", "1795305600"),
    ("x-nonce", "nonce-1"),
    (
        "x-signature",
        "sha256=65ed3db1bef21d73b42bb3b6919991a0eb4439b18bb77b804095c0ea365433c9",
    ),
];
const OWN_BODY: &str = r#"{"event_id":"evt_1","type":"payment.captured","created_at":"2026-11-22T00:00:00.001Z","data":{"purchase_id":"p_0000000000012c075a17c0de5a17c0de"}}"#;
const OWN_AT_S: u64 = 1_795_305_600;

/// From Python's `hmac`.
const STRIPE: [(&str, &str); 1] = [(
    "stripe-signature",
    "t=1492774577,v1=a7c6ea29aab87c497d509c9022e39a9b6759b8ffc3829d5d8e56ae62462ebf7e",
)];
const STRIPE_BODY: &str = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";
const STRIPE_AT_S: u64 = 1_492_774_577;

fn secrets() -> Secrets {
    let secret = |id: &str, text: &str, format| Secret {
        id: WebhookSecretId::parse(id).unwrap(),
        key: WebhookKey::parse(text, format).unwrap(),
        source: Source::Configuration,
        added_at: UnixMs::default(),
    };
    let stripe = Some(WebhookFormat::Stripe);
    Secrets::new(
        vec![
            secret("other", "a-secret-that-nobody-signs-with", None),
            secret("own", "a-secret-of-webhooks-that-is-new", None),
            secret(
                "standard",
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                Some(WebhookFormat::Standard),
            ),
            secret("stripe", "whsec_a-secret-of-stripe-0123456789", stripe),
        ],
        Vec::new(),
    )
}

fn verified(headers: &[(&str, &str)], body: &str, now_ms: u64) -> Result<Genuine, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let endpoint = if map.contains_key("stripe-signature") {
        Endpoint::Stripe
    } else {
        Endpoint::Payment
    };
    let now = UnixMs::new(now_ms);
    WebhookClaim::read(endpoint, &map)?.verify(&secrets(), TOLERANCE_MS, body.as_bytes(), now)
}

#[test]
fn known_signatures_are_good_and_by_the_secret_that_made_them() {
    for (headers, body, at_s, signer) in [
        (&STANDARD[..], STANDARD_BODY, STANDARD_AT_S, "standard"),
        (&OWN[..], OWN_BODY, OWN_AT_S, "own"),
        (&STRIPE[..], STRIPE_BODY, STRIPE_AT_S, "stripe"),
    ] {
        let genuine = verified(headers, body, at_s * 1_000).unwrap();
        assert_eq!(genuine.secret.as_str(), signer);
        let other = format!("{body} ");
        let refused = verified(headers, &other, at_s * 1_000);
        assert_eq!(refused, Err(Refusal::InvalidSignature), "{signer}");
    }
}

#[test]
fn a_timestamp_is_good_for_the_tolerance_both_ways_and_not_a_second_longer() {
    for (headers, body, at_s) in [
        (&STANDARD[..], STANDARD_BODY, STANDARD_AT_S),
        (&OWN[..], OWN_BODY, OWN_AT_S),
        (&STRIPE[..], STRIPE_BODY, STRIPE_AT_S),
    ] {
        for (now_ms, good) in [
            ((at_s - 301) * 1_000 + 999, false),
            ((at_s - 300) * 1_000, true),
            ((at_s + 300) * 1_000 + 999, true),
            ((at_s + 301) * 1_000, false),
        ] {
            let refusal = verified(headers, body, now_ms).err();
            let expected = (!good).then_some(Refusal::StaleTimestamp);
            assert_eq!(refusal, expected, "{at_s} at {now_ms}");
        }
    }
}

#[test]
fn secrets_are_read_by_their_form_and_never_printed() {
    let read = |text: &str, format| WebhookKey::parse(text, format).map(|key| key.format());
    let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (text, format, expected) in [
        (whsec, None, Err(BadKey::FormatMissing)),
        (
            whsec,
            Some(WebhookFormat::Standard),
            Ok(WebhookFormat::Standard),
        ),
        (
            whsec,
            Some(WebhookFormat::Stripe),
            Ok(WebhookFormat::Stripe),
        ),
        (&whsec[6..], None, Ok(WebhookFormat::Holdfast)),
        (
            &whsec[6..],
            Some(WebhookFormat::Standard),
            Err(BadKey::NotBase64),
        ),
        (
            "whsec_no base64, for sure it is none",
            Some(WebhookFormat::Standard),
            Err(BadKey::NotBase64),
        ),
        (
            "whsec_c2hvcnQ=",
            Some(WebhookFormat::Standard),
            Err(BadKey::TooShort),
        ),
        ("short", None, Err(BadKey::TooShort)),
    ] {
        assert_eq!(read(text, format), expected, "{text} as {format:?}");
    }
    let shown = format!("{:?}", secrets());
    assert!(
        shown.contains("standard") && !shown.contains("MfKQ"),
        "{shown}"
    );
}
