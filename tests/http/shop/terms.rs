//! What a hold fixes, and what is attached to it: prices in every currency, the promotion, reward
//! tokens, metadata.

use serde_json::{Value, json};
use support::money::{admin, id_of, told};
use support::{ADMIN, Request, SHOP, Server, Setup, shows_card_number};

fn currencies() -> Setup {
    Setup::demo().config("[drop]\ncurrencies = [\"USD\", \"EUR\", \"KRW\"]")
}

/// Puts the product `coat` on sale in three currencies.
fn put(server: &Server, prices: [u64; 3], active: bool, tokens: u64) {
    let [usd, eur, krw] = prices;
    let body = json!({
        "name": "Coat", "price": {"USD": usd, "EUR": eur, "KRW": krw}, "stock": 100,
        "per_user_limit": null, "starts_at": null, "ends_at": null, "active": active,
        "reward_tokens": tokens,
    });
    let answer = server.ask(&Request::put("/admin/products/coat").key(ADMIN).json(&body));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

fn promote(server: &Server, code: &str, off: &Value, active: bool) {
    let mut body = json!({
        "uses_max": 10, "uses_per_user_max": null, "starts_at": null, "ends_at": null,
        "active": active,
    });
    for (name, value) in off.as_object().unwrap() {
        body[name] = value.clone();
    }
    let path = format!("/admin/promotions/{code}");
    let answer = server.ask(&Request::put(&path).key(ADMIN).json(&body));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

fn hold(user: &str, key: &str, more: &Value) -> Request {
    let mut body = json!({"user_id": user, "product_id": "coat", "quantity": 2});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post("/limited/holds")
        .key(SHOP)
        .once(key)
        .json(&body)
}

fn pay(user: &str, hold: &Value, key: &str, more: &Value) -> Request {
    let mut body = json!({
        "user_id": user, "product_id": "coat", "quantity": 2, "currency": "USD",
        "card_token": "tok_ok", "hold_id": hold["hold_id"],
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&body)
}

#[test]
fn a_hold_fixes_the_terms_in_every_currency() {
    let dir = tempfile::tempdir().unwrap();
    let server = currencies().data_dir(dir.path()).start();
    put(&server, [1_000, 1_899, 13_000], true, 7);
    promote(&server, "TEN", &json!({"percent_off": 10}), true);
    let mut holds = Vec::new();
    for (place, user) in ["ana", "bo", "cy"].iter().enumerate() {
        let promotion = if *user == "cy" {
            json!("TEN")
        } else {
            Value::Null
        };
        let request = hold(
            user,
            &format!("key-fix-{place}"),
            &json!({"promotion_code": promotion}),
        );
        let answer = server.ask(&request);
        assert_eq!(answer.status, 201, "{answer:?}");
        holds.push(answer.json());
    }
    assert_eq!(
        holds[0]["amount"],
        json!({"value": 2_000, "currency": "USD"})
    );
    assert_eq!(
        holds[2]["amount"],
        json!({"value": 1_800, "currency": "USD"})
    );

    // Everything is changed and stopped; then the state is read back from a snapshot.
    put(&server, [9_999, 99_999, 99_000], false, 0);
    promote(&server, "TEN", &json!({"percent_off": 90}), false);
    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(snapshot.status, 200, "{snapshot:?}");
    assert_eq!(server.stop().0.code(), Some(0));
    let server = currencies().data_dir(dir.path()).start();

    for (place, (user, currency, unit, discount, amount)) in [
        ("ana", "KRW", 13_000, 0, 26_000),
        ("bo", "EUR", 1_899, 0, 3_798),
        ("cy", "KRW", 13_000, 2_600, 23_400),
    ]
    .into_iter()
    .enumerate()
    {
        let request = pay(
            user,
            &holds[place],
            &format!("key-pay-{place}"),
            &json!({"currency": currency}),
        );
        let paid = server.ask(&request);
        assert_eq!(paid.status, 201, "{paid:?}");
        let paid = paid.json();
        let sum = |value: u64| json!({"value": value, "currency": currency});
        assert_eq!(paid["unit_price"], sum(unit), "{user}");
        assert_eq!(paid["discount"], sum(discount), "{user}");
        assert_eq!(paid["amount"], sum(amount), "{user}");
        let seen = admin(&server, &format!("/admin/users/{user}")).json();
        assert_eq!(seen["tokens"]["balance"], 14, "{seen}");
    }
    let charged = admin(&server, "/admin/sandbox/charges").json();
    let captured = charged["charges"].as_array().unwrap().iter();
    let mut captured: Vec<_> = captured
        .map(|it| it["captured"].as_u64().unwrap())
        .collect();
    captured.sort_unstable();
    assert_eq!(captured, [3_798, 23_400, 26_000]);
}

#[test]
fn the_currency_of_a_hold_is_one_that_its_promotion_applies_to() {
    let server = currencies().start();
    put(&server, [1_000, 1_899, 13_000], true, 0);
    promote(&server, "WON", &json!({"amount_off": {"KRW": 5_000}}), true);
    let with = |currency: Value| json!({"promotion_code": "WON", "currency": currency});

    let refused = server.ask(&hold("ana", "key-won-1", &with(json!("USD"))));
    assert_eq!(told(&refused), (409, "promotion_not_applicable".to_owned()));
    let unlisted = server.ask(&hold("ana", "key-won-2", &with(json!("JPY"))));
    assert_eq!(told(&unlisted), (400, "currency_not_allowed".to_owned()));
    let wrong = server.ask(&hold("ana", "key-won-3", &with(json!(7))));
    assert_eq!(told(&wrong), (400, "invalid_request".to_owned()));
    let plain = server.ask(&hold("ana", "key-won-4", &json!({"currency": "EUR"})));
    assert_eq!(
        plain.json()["amount"],
        json!({"value": 3_798, "currency": "EUR"})
    );

    // Without one, the first that the promotion gives something in.
    let held = server.ask(&hold("bo", "key-won-5", &with(Value::Null)));
    assert_eq!(held.status, 201, "{held:?}");
    let held = held.json();
    assert_eq!(held["amount"], json!({"value": 21_000, "currency": "KRW"}));

    // Paid in another one, the promotion would give nothing: the hold stays.
    for (key, currency) in [("key-won-6", "USD"), ("key-won-7", "EUR")] {
        let refused = server.ask(&pay("bo", &held, key, &json!({"currency": currency})));
        assert_eq!(told(&refused), (409, "promotion_not_applicable".to_owned()));
    }
    assert_eq!(server.stock("coat"), [100, 4, 0, 96]);
    let paid = server.ask(&pay("bo", &held, "key-won-8", &json!({"currency": "KRW"})));
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(
        paid.json()["amount"],
        json!({"value": 21_000, "currency": "KRW"})
    );
}

#[test]
fn metadata_is_kept_with_the_purchase_and_in_its_events() {
    let server = currencies().start();
    put(&server, [1_000, 1_899, 13_000], true, 0);
    let attached = json!({"order": "o-17", "ключ": "значение \"1\"\n", "empty": ""});
    let held = server.ask(&hold("ana", "key-meta-1", &json!({"metadata": attached})));
    assert_eq!(held.status, 201, "{held:?}");
    // The order of its keys makes no other request; a value does.
    let mut turned = serde_json::Map::new();
    for name in ["empty", "ключ", "order"] {
        turned.insert(name.to_owned(), attached[name].clone());
    }
    let again = server.ask(&hold("ana", "key-meta-1", &json!({"metadata": turned})));
    assert_eq!((again.status, &again.body), (201, &held.body));
    turned.insert("empty".to_owned(), json!("x"));
    let other = server.ask(&hold("ana", "key-meta-1", &json!({"metadata": turned})));
    assert_eq!(told(&other), (422, "idempotency_key_reused".to_owned()));

    let paid = server.ask(&pay("ana", &held.json(), "key-meta-2", &json!({})));
    let id = id_of(&paid.json());
    assert_eq!(paid.json()["metadata"], attached);
    let seen = server.ask(&Request::get(&format!("/limited/purchases/{id}")).key(SHOP));
    assert_eq!(seen.json()["metadata"], attached);
    let kinds = ["hold_placed", "payment_started", "payment_captured"];
    for kind in kinds {
        let trail = admin(&server, &format!("/admin/audit?kind={kind}")).json();
        assert_eq!(trail["events"][0]["metadata"], attached, "{kind}");
    }
    let captured = admin(&server, "/admin/audit?kind=payment_captured").json();
    let captured = &captured["events"][0];
    assert_eq!(captured["product_id"], "coat");
    assert_eq!(captured["quantity"], 2);
    assert_eq!(captured["currency"], "USD");
    assert_eq!(
        captured["amount"],
        json!({"value": 2_000, "currency": "USD"})
    );

    // What comes with the payment takes the place of what came with the hold.
    let held = server
        .ask(&hold("bo", "key-meta-3", &json!({"metadata": attached})))
        .json();
    let paid = server.ask(&pay(
        "bo",
        &held,
        "key-meta-4",
        &json!({"metadata": {"a": "b"}}),
    ));
    assert_eq!(paid.json()["metadata"], json!({"a": "b"}));
    let none = server.ask(&Request::buy("cy", "coat", "tok_ok", "key-meta-5"));
    assert_eq!(none.json()["metadata"], json!({}));
}

#[test]
fn metadata_keeps_its_bounds_and_no_card_number() {
    let server = currencies().start();
    put(&server, [1_000, 1_899, 13_000], true, 0);
    let most: Value = (0..10)
        .map(|number| {
            (
                format!("{number}{}", "ä".repeat(39)),
                json!("ö".repeat(200)),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let fine = server.ask(&hold("ana", "key-most-1", &json!({"metadata": most})));
    assert_eq!(fine.status, 201, "{fine:?}");
    let mut over = most;
    over["one"] = json!("more");
    let wrong = [
        over,
        json!({"": "no key"}),
        json!({"k".repeat(41): "long"}),
        json!({"k": "v".repeat(201)}),
        json!({"k": 1}),
        json!({"k": null}),
        json!(["k", "v"]),
        json!("k"),
        json!({"k": "a\u{0}b"}),
        json!({"note": "4111 1111 1111 1111"}),
        json!({"4111111111111111": "note"}),
    ];
    for (number, metadata) in wrong.iter().enumerate() {
        for request in [
            hold(
                "ana",
                &format!("key-wrong-h{number}"),
                &json!({"metadata": metadata}),
            ),
            Request::post("/limited/buy")
                .key(SHOP)
                .once(&format!("key-wrong-b{number}"))
                .json(&json!({
                    "user_id": "ana", "product_id": "coat", "quantity": 1, "currency": "USD",
                    "card_token": "tok_ok", "metadata": metadata,
                })),
        ] {
            let refused = server.ask(&request);
            assert_eq!(
                told(&refused),
                (400, "invalid_request".to_owned()),
                "{metadata}"
            );
            let errors = refused.json()["errors"].clone();
            assert_eq!(errors[0]["field"], "metadata", "{errors}");
            assert!(!shows_card_number(&refused.text()), "{errors}");
        }
    }
    let trail = admin(&server, "/admin/audit?user_id=ana").json();
    assert!(!shows_card_number(&trail.to_string()), "{trail}");
}
