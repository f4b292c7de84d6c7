//! `request_parser`: input from clients: bodies, an idempotency key, a path with its query, a
//! receipt to verify.
//!
//! Input: a byte that selects one of these, then its bytes. An accepted value is accepted again in
//! its canonical form, as the same value; a refusal says why, and repeats no card number.

use crate::{take, within};
use holdfast::engine::event::AdminAct;
use holdfast::engine::payable::AmountRules;
use holdfast::engine::refusal::Refusal;
use holdfast::http::admin::terms::{self, PriceRules};
use holdfast::http::admin::written::{Terms, Written};
use holdfast::http::route;
use holdfast::http::shop::orders::{BuyOrder, HoldOrder, Malformed, Order};
use holdfast::http::wire::idempotency::{IDEMPOTENCY_KEY, digests, key_in};
use holdfast::http::wire::percent::decoded;
use holdfast::http::wire::problem::FieldError;
use holdfast::http::wire::query::Query;
use holdfast::ids::{KeyOwner, ProductId, PromotionCode, RequestId, holds_card_number};
use holdfast::money::Currency;
use holdfast::receipts::Receipt;
use hyper::header::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What parsing takes beside a few times its input.
const SLACK_BYTES: usize = 64 << 10;

/// The target.
pub fn run(mut input: &[u8]) {
    let [which] = take(&mut input);
    // A field that is not known costs a message with the names of all that are.
    within(512 * input.len() + SLACK_BYTES, || match which % 8 {
        0 => hold(input),
        1 => buy(input),
        2 => product(input),
        3 => promotion(input),
        4 => key(input),
        5 => query(input),
        6 => path(input),
        _ => receipt(input),
    });
}

fn hold(body: &[u8]) {
    match HoldOrder::parse(body, &currencies()) {
        Ok(order) => {
            let mut plain = String::from("{");
            plain_order(&order.order, &mut plain);
            if let Some(currency) = order.currency {
                let _ = write!(plain, r#","currency":"{currency}""#);
            }
            plain.push('}');
            assert_eq!(
                HoldOrder::parse(plain.as_bytes(), &currencies()).ok(),
                Some(order)
            );
        }
        Err(malformed) => refused(&malformed),
    }
}

fn buy(body: &[u8]) {
    match BuyOrder::parse(body, &currencies()) {
        Ok(order) => {
            let mut plain = String::from("{");
            plain_order(&order.order, &mut plain);
            let (currency, card) = (order.currency.as_str(), order.card.as_str());
            let _ = write!(plain, r#","currency":"{currency}","card_token":"{card}""#);
            assert!(!holds_card_number(card), "no card number is a token");
            if let Some(hold) = order.pays_for {
                let _ = write!(plain, r#","hold_id":"{}""#, hold.hold());
            }
            plain.push('}');
            let again = BuyOrder::parse(plain.as_bytes(), &currencies());
            assert_eq!(again.ok(), Some(order));
        }
        Err(malformed) => refused(&malformed),
    }
}

fn plain_order(order: &Order, into: &mut String) {
    let Order {
        user,
        product,
        quantity,
        promotion,
        ip,
        device,
        metadata,
    } = order;
    let _ = write!(
        into,
        r#""user_id":"{user}","product_id":"{product}","quantity":{quantity}"#
    );
    if let Some(code) = promotion {
        let _ = write!(into, r#","promotion_code":"{code}""#);
    }
    if let Some(ip) = ip {
        let _ = write!(into, r#","ip":"{ip}""#);
    }
    if let Some(device) = device {
        let _ = write!(into, r#","device_id":"{device}""#);
    }
    if !metadata.is_empty() {
        let pairs = metadata.pairs();
        let pairs: BTreeMap<&str, &str> = pairs.collect();
        let _ = write!(into, r#","metadata":{}"#, serde_json::json!(pairs));
        for (key, value) in pairs {
            assert!(!holds_card_number(key) && !holds_card_number(value));
        }
    }
}

fn refused(malformed: &Malformed) {
    told(malformed.reason, &malformed.errors);
}

fn told(reason: Refusal, errors: &[FieldError]) {
    let shape = reason == Refusal::InvalidRequest;
    assert!(!shape || !errors.is_empty(), "a wrong shape is explained");
    for error in errors {
        assert!(!holds_card_number(&error.message), "{}", error.field);
    }
}

fn product(body: &[u8]) {
    let id = ProductId::parse("drop-1").expect("an id");
    let (currencies, payable) = (currencies(), AmountRules::default());
    let money = PriceRules {
        currencies: &currencies,
        payable: &payable,
    };
    let written = Written::whole(body, Terms::Product);
    match terms::product(written, (&id, None), money, admin()) {
        Ok(set) => {
            assert!(set.stock <= holdfast::engine::cells::UNITS_MAX);
            assert!(set.prices.is_sorted() && !set.prices.is_empty());
            assert!(set.hold_ttl_ms != Some(0) && set.per_user_limit != Some(0));
        }
        Err((reason, errors)) => told(reason, &errors),
    }
}

fn promotion(body: &[u8]) {
    let code = PromotionCode::parse("EARLY").expect("an id");
    let (currencies, payable) = (currencies(), AmountRules::default());
    let money = PriceRules {
        currencies: &currencies,
        payable: &payable,
    };
    let written = Written::whole(body, Terms::Promotion);
    let read = terms::promotion(written, (&code, None), money, admin());
    if let Err((reason, errors)) = read {
        told(reason, &errors);
    }
}

fn key(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, value);
    let Ok(key) = key_in(&headers) else {
        return;
    };
    assert!((8..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic));
    let mut quoted = vec![b'"'];
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    let mut again = HeaderMap::new();
    let quoted = HeaderValue::from_bytes(&quoted).expect("it is visible ASCII");
    again.insert(IDEMPOTENCY_KEY, quoted);
    assert_eq!(key_in(&again), Ok(key), "quotes are no part of a key");
    let owner = KeyOwner::parse("shop").expect("an id");
    let order = HoldOrder::parse(
        br#"{"user_id":"u","product_id":"p","quantity":1}"#,
        &currencies(),
    );
    let canonical = || {
        order
            .as_ref()
            .expect("an order")
            .canonical("POST", "/limited/holds")
    };
    let of = |key: &[u8]| digests(&owner, "u", key, canonical());
    assert_eq!(of(key), of(key));
    assert_ne!(of(key).scope, of(&key[1..]).scope);
}

fn query(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut query = Query::of(Some(text), &["from", "kind", "user_id", "limit"]);
    let _ = query.text("kind");
    let limit = query.integer("limit", 1, 1_000);
    assert!(limit.is_none_or(|limit| (1..=1_000).contains(&limit)));
    for error in query.into_errors() {
        assert!(!holds_card_number(&error.message), "{}", error.field);
    }
}

fn path(text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        let _ = decoded(text);
        let _ = route::resolve(text);
    }
}

fn receipt(json: &[u8]) {
    if let Ok(receipt) = Receipt::from_json(json) {
        let mut plain = Vec::new();
        receipt.write_json(&mut plain);
        assert_eq!(Receipt::from_json(&plain), Ok(receipt));
    }
}

fn currencies() -> Vec<Currency> {
    let listed = |code| Currency::parse(code).expect("ISO 4217 lists it");
    ["EUR", "KRW", "USD"].map(listed).to_vec()
}

fn admin() -> AdminAct {
    AdminAct {
        request: RequestId(1),
        owner: KeyOwner::parse("admin").expect("an id"),
    }
}

/// One of each, fine, and a few that are not.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let digest = "5f".repeat(32);
    let receipt = format!(
        r#"{{"receipt_id":"r_00000000000001075a17c0de5a17c0de","purchase_id":"p_00000000000001075a17c0de5a17c0de","user_id":"ana","product_id":"drop-1","quantity":2,"amount":{{"value":50000,"currency":"KRW"}},"captured_at":"2026-11-22T00:00:00.001Z","integrity_hash":"{digest}","key_id":"r1","hmac":"{digest}"}}"#
    );
    let seeds: [(&str, u8, &str); 13] = [
        (
            "hold",
            0,
            r#"{"user_id":"ana","product_id":"drop-1","quantity":2,"promotion_code":"EARLY"}"#,
        ),
        (
            "hold-escapes",
            0,
            r#" { "quantity" : 1, "user_id":"\u0061na", "product_id":"drop-1","promotion_code":null } "#,
        ),
        (
            "hold-twice",
            0,
            r#"{"user_id":"ana","user_id":"bo","product_id":"drop-1","quantity":1.0}"#,
        ),
        (
            "buy",
            1,
            r#"{"user_id":"ana","product_id":"drop-1","quantity":1,"currency":"USD","card_token":"tok_ok","hold_id":"h_00000000000001075a17c0de5a17c0de","ip":"2001:db8::7","device_id":"d-1"}"#,
        ),
        (
            "buy-card",
            1,
            r#"{"user_id":"ana","product_id":"drop-1","quantity":1,"currency":"USD","card_token":"4111 1111 1111 1111","4111111111111111":1}"#,
        ),
        (
            "product",
            2,
            r#"{"name":"Schuhe","price":{"USD":1999,"KRW":25000},"stock":100,"per_user_limit":2,"starts_at":"2026-11-22T10:00:00.000Z","ends_at":"2026-11-23T10:00:00+09:00","active":true,"hold_ttl_s":300,"reward_tokens":7}"#,
        ),
        (
            "promotion",
            3,
            r#"{"percent_off":10,"uses_max":100,"uses_per_user_max":1,"product_ids":["drop-1","drop-2"],"starts_at":null,"ends_at":null,"active":false}"#,
        ),
        (
            "promotion-sums",
            3,
            r#"{"amount_off":{"USD":100,"EUR":90},"uses_max":100,"uses_per_user_max":null,"starts_at":null,"ends_at":null,"active":true}"#,
        ),
        ("key", 4, "0f9d7c1e-5b1a-4a57-9a55-0123456789ab"),
        ("key-quoted", 4, "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""),
        (
            "query",
            5,
            "from=0&kind=hold_placed&user_id=an%61&limit=100",
        ),
        (
            "path",
            6,
            "/limited/holds/h_00000000000001075a17c0de5a17c0de%C3%A9",
        ),
        ("receipt", 7, &receipt),
    ];
    let seed = |(name, which, text): (&str, u8, &str)| {
        let mut bytes = vec![which];
        bytes.extend_from_slice(text.as_bytes());
        (name.to_owned(), bytes)
    };
    seeds.into_iter().map(seed).collect()
}
