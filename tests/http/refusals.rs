//! What a refusal is about stands in its answer, as fields: the same when it is told again under its
//! key, whatever changed meanwhile, after `kill -9`, and from a snapshot; the trail has it, too.

use serde_json::{Value, json};
use std::path::Path;
use support::money::{id_of, part, put_rewarded, refund, spend};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, product_terms, promotion_terms};

fn start(data_dir: &Path) -> Server {
    let config = "[limits]\nrate = { count = 1000, per_s = 10 }\n\
                  daily = { USD = 5000 }\nlifetime = { KRW = 30000 }\n\
                  by = [\"user\", \"device\"]\n";
    Setup::demo().data_dir(data_dir).config(config).start()
}

fn put(server: &Server, path: &str, body: &Value) {
    let put = server.ask(&Request::put(path).key(ADMIN).json(body));
    assert!(matches!(put.status, 200 | 201), "{path}: {put:?}");
}

/// The drop: one product for each refusal, and the promotions.
fn put_terms(server: &Server) {
    let product = |id: &str, given: &Value| {
        let mut terms = json!({"name": id, "price": {"USD": 1999, "KRW": 25000}, "stock": 50});
        for (name, value) in given.as_object().expect("an object") {
            terms[name] = value.clone();
        }
        let path = format!("/admin/products/{id}");
        put(server, &path, &product_terms(&terms));
    };
    let (past, future) = ("2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z");
    product("open", &json!({}));
    product("few", &json!({"stock": 2}));
    product("one-each", &json!({"per_user_limit": 3}));
    product("early", &json!({"starts_at": future}));
    product(
        "late",
        &json!({"starts_at": "2025-01-01T00:00:00Z", "ends_at": past}),
    );
    product("off", &json!({"active": false, "ends_at": future}));
    let promotion = |code: &str, given: &Value| {
        let mut terms = json!({"percent_off": 10, "uses_max": 5});
        for (name, value) in given.as_object().expect("an object") {
            terms[name] = value.clone();
        }
        let path = format!("/admin/promotions/{code}");
        put(server, &path, &promotion_terms(&terms));
    };
    promotion("ONCE", &json!({"uses_max": 1}));
    promotion("EACH", &json!({"uses_per_user_max": 1}));
    promotion("OTHER", &json!({"product_ids": ["few"]}));
    promotion("VIP", &json!({"segments": ["vip"]}));
    promotion("SOON", &json!({"starts_at": future}));
    promotion("OVER", &json!({"ends_at": past}));
    promotion("STOP", &json!({"active": false}));
    put_rewarded(server, 5);
}

fn hold(user: &str, product: &str, quantity: u64, code: Option<&str>, key: &str) -> Request {
    let body = json!({
        "user_id": user, "product_id": product, "quantity": quantity, "promotion_code": code,
    });
    Request::post("/limited/holds")
        .key(SHOP)
        .once(key)
        .json(&body)
}

fn buy(user: &str, quantity: u64, currency: &str, device: Option<&str>, key: &str) -> Request {
    let body = json!({
        "user_id": user, "product_id": "open", "quantity": quantity, "currency": currency,
        "card_token": "tok_ok", "device_id": device,
    });
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&body)
}

fn pay(hold: &str, user: &str, code: Option<&str>, key: &str) -> Request {
    let body = json!({
        "user_id": user, "product_id": "open", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok", "hold_id": hold, "promotion_code": code,
    });
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&body)
}

/// The answer's fields beyond those that every problem has.
fn facts(answer: &Response) -> Value {
    let mut body = answer.json();
    let fields = body.as_object_mut().expect("a problem");
    for common in ["type", "title", "status", "reason", "detail", "request_id"] {
        assert!(fields.remove(common).is_some(), "{common}: {answer:?}");
    }
    body
}

/// How a sentence says the numbers and the instant that it is about.
fn figures_of(about: &Value) -> Vec<String> {
    let money = [
        "limit",
        "used",
        "amount",
        "captured",
        "left",
        "refunded_amount",
    ];
    let shown = |(name, value): (&String, &Value)| {
        let number = match value {
            Value::String(at) if at.ends_with('Z') => return Some(at.clone()),
            value => value.as_u64()?,
        };
        let currency = about["currency"].as_str().unwrap_or_default();
        Some(match (money.contains(&name.as_str()), currency) {
            (true, "USD") => format!("{}.{:02}", number / 100, number % 100),
            _ => number.to_string(),
        })
    };
    let fields = about.as_object().expect("an object");
    fields.iter().filter_map(shown).collect()
}

fn held(server: &Server, request: &Request) -> String {
    let held = server.ask(request);
    assert_eq!(held.status, 201, "{held:?}");
    held.json()["hold_id"].as_str().expect("an id").to_owned()
}

fn paid(server: &Server, request: &Request) -> String {
    let paid = server.ask(request);
    assert_eq!(paid.status, 201, "{paid:?}");
    id_of(&paid.json())
}

type RefusalCase = (Request, &'static str, Value);

fn refusals_of_holds(server: &Server) -> Vec<RefusalCase> {
    held(server, &hold("ana", "few", 1, None, "key-made-1"));
    held(server, &hold("ana", "one-each", 2, None, "key-made-2"));
    held(server, &hold("bo", "open", 1, Some("ONCE"), "key-made-3"));
    held(server, &hold("ana", "open", 1, Some("EACH"), "key-made-4"));
    let cases = [
        (
            "few",
            2,
            None,
            "sold_out",
            json!({"available": 1, "requested": 2}),
        ),
        (
            "one-each",
            2,
            None,
            "per_user_limit",
            json!({"limit": 3, "used": 2, "requested": 2}),
        ),
        (
            "early",
            1,
            None,
            "sale_not_started",
            json!({"starts_at": "2999-01-01T00:00:00.000Z", "ends_at": null}),
        ),
        (
            "late",
            1,
            None,
            "sale_ended",
            json!({
                "starts_at": "2025-01-01T00:00:00.000Z", "ends_at": "2026-01-01T00:00:00.000Z",
            }),
        ),
        (
            "off",
            1,
            None,
            "sale_inactive",
            json!({"starts_at": null, "ends_at": "2999-01-01T00:00:00.000Z"}),
        ),
        (
            "open",
            1,
            Some("ONCE"),
            "promotion_exhausted",
            json!({"scope": "promotion", "uses": 1, "uses_max": 1}),
        ),
        (
            "open",
            1,
            Some("EACH"),
            "promotion_exhausted",
            json!({"scope": "user", "uses": 1, "uses_max": 1}),
        ),
    ];
    let barred = [
        ("OTHER", json!({"cause": "product"})),
        ("VIP", json!({"cause": "segment"})),
        ("STOP", json!({"cause": "inactive"})),
        (
            "SOON",
            json!({"cause": "not_started", "starts_at": "2999-01-01T00:00:00.000Z"}),
        ),
        (
            "OVER",
            json!({"cause": "ended", "ends_at": "2026-01-01T00:00:00.000Z"}),
        ),
    ];
    let barred = barred
        .map(|(code, about)| ("open", 1, Some(code), "promotion_not_applicable", about))
        .into_iter();
    let all = cases.into_iter().chain(barred).zip(1..);
    all.map(|((product, quantity, code, reason, about), number)| {
        let key = format!("key-hold-{number}");
        let request = hold("ana", product, quantity, code, &key);
        (request, reason, about)
    })
    .collect()
}

fn refusals_of_money(server: &Server) -> Vec<RefusalCase> {
    let earlier = held(server, &hold("cy", "open", 1, None, "key-made-5"));
    let closed = held(server, &hold("cy", "open", 1, None, "key-made-6"));
    paid(server, &pay(&closed, "cy", None, "key-made-7"));
    paid(server, &buy("di", 1, "USD", Some("phone"), "key-made-8"));
    paid(server, &buy("di", 1, "KRW", None, "key-made-9"));
    let refunded = paid(server, &buy("ed", 1, "USD", None, "key-made-10"));
    let back = server.ask(&refund(&refunded, "key-made-11", &part(500, 0)));
    assert_eq!(back.status, 201, "{back:?}");
    let whole = json!({"previously_refunded": 0, "reason": "unwanted"});
    let gone = paid(server, &buy("fay", 1, "USD", None, "key-made-12"));
    let back = server.ask(&refund(&gone, "key-made-13", &whole));
    assert_eq!(back.status, 201, "{back:?}");
    vec![
        (
            buy("di", 2, "USD", None, "key-money-1"),
            "daily_limit",
            json!({
                "scope": "user", "currency": "USD", "limit": 5000, "used": 1999, "amount": 3998,
            }),
        ),
        (
            buy("gus", 2, "USD", Some("phone"), "key-money-2"),
            "daily_limit",
            json!({
                "scope": "device", "currency": "USD", "limit": 5000, "used": 1999,
                "amount": 3998,
            }),
        ),
        (
            buy("di", 1, "KRW", None, "key-money-3"),
            "lifetime_limit",
            json!({
                "scope": "user", "currency": "KRW", "limit": 30000, "used": 25000,
                "amount": 25000,
            }),
        ),
        (
            pay(&earlier, "cy", Some("EACH"), "key-money-4"),
            "promotion_not_applicable",
            json!({"cause": "hold"}),
        ),
        (
            pay(&closed, "cy", None, "key-money-5"),
            "hold_closed",
            json!({"hold_id": closed, "state": "captured"}),
        ),
        (
            refund(&refunded, "key-money-6", &part(1500, 500)),
            "refund_exceeds_captured",
            json!({
                "currency": "USD", "captured": 1999, "refunded_amount": 500, "left": 1499,
                "amount": 1500,
            }),
        ),
        (
            refund(&refunded, "key-money-7", &part(100, 0)),
            "refund_conflict",
            json!({
                "conflict": "previously_refunded", "currency": "USD", "refunded_amount": 500,
                "left": 1499,
            }),
        ),
        (
            refund(&refunded, "key-money-9", &{
                let mut order = part(100, 500);
                order["restock"] = true.into();
                order
            }),
            "refund_conflict",
            json!({
                "conflict": "restock", "currency": "USD", "refunded_amount": 500, "left": 1499,
            }),
        ),
        (
            spend("ed", 7, "key-money-8"),
            "not_enough_tokens",
            json!({"balance": 0, "requested": 7}),
        ),
    ]
}

#[test]
fn a_refusal_has_its_figures_and_is_replayed_byte_for_byte() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let mut server = start(&data_dir);
    put_terms(&server);
    let mut cases = refusals_of_holds(&server);
    cases.extend(refusals_of_money(&server));

    let mut first = Vec::new();
    for (request, reason, about) in &cases {
        let answer = server.ask(request);
        assert_eq!((answer.status, answer.reason().as_str()), (409, *reason));
        assert_eq!(facts(&answer), *about, "{reason}");
        assert_eq!(answer.header("idempotent-replayed"), None);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let missing = figures_of(about).into_iter();
        let missing: Vec<_> = missing.filter(|it| !detail.contains(it)).collect();
        assert!(missing.is_empty(), "{reason}: {detail} lacks {missing:?}");
        first.push(answer);
    }

    // What changes afterwards changes nothing of what was told.
    server.put_product("few", 40);
    server.put_product("early", 40);
    let again = |server: &Server| {
        for ((request, reason, _), first) in cases.iter().zip(&first) {
            let again = server.ask(request);
            assert_eq!(
                again.header("idempotent-replayed"),
                Some("true"),
                "{reason}"
            );
            assert_eq!(
                (again.status, again.text()),
                (first.status, first.text()),
                "{reason}"
            );
        }
    };
    again(&server);
    server.kill();
    let mut server = start(&data_dir);
    again(&server);
    let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(taken.status, 200, "{taken:?}");
    server.kill();
    let server = start(&data_dir);
    again(&server);

    // The trail has them under the same names.
    let trail = Request::get("/admin/audit?kind=attempt_refused&limit=100").key(ADMIN);
    let trail = server.ask(&trail).json();
    let events = trail["events"].as_array().expect("a list");
    assert_eq!(events.len(), cases.len(), "{trail}");
    for (request, reason, about) in &cases {
        let found = events
            .iter()
            .filter(|event| event["reason"] == *reason && event["facts"] == *about);
        assert_eq!(found.count(), 1, "{reason} of {request:?}: {trail}");
    }
}

#[test]
fn an_expired_hold_has_its_time_and_a_released_one_its_state() {
    let server = Setup::demo().start();
    let terms = product_terms(&json!({
        "name": "Short", "price": {"USD": 1999}, "stock": 5, "hold_ttl_s": 1,
    }));
    put(&server, "/admin/products/short", &terms);
    server.put_product("open", 5);
    let placed = server.ask(&hold("ana", "short", 1, None, "key-ran-out-1"));
    let expires_at = placed.json()["expires_at"].clone();
    let id = placed.json()["hold_id"].as_str().unwrap().to_owned();
    let path = format!("/limited/holds/{id}");
    support::until("the hold runs out", || {
        let seen = server.ask(&Request::get(&path).key(SHOP)).json();
        (seen["status"] == "expired").then_some(())
    });
    let released = server.ask(&Request::delete(&path).key(SHOP));
    let about = json!({"hold_id": id, "expires_at": expires_at});
    assert_eq!(released.reason(), "hold_expired");
    assert_eq!(facts(&released), about);

    let id = held(&server, &hold("ana", "open", 1, None, "key-ran-out-2"));
    let purchase = paid(&server, &pay(&id, "ana", None, "key-ran-out-3"));
    let path = format!("/limited/holds/{id}");
    let released = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!(released.reason(), "hold_closed");
    assert_eq!(
        facts(&released),
        json!({"hold_id": id, "state": "captured"})
    );

    // The operator's calls say where the purchase is.
    let about = json!({"purchase_id": purchase, "state": "captured"});
    let note = json!({"note": "looked at"});
    let settle = json!({"as": "voided", "note": "looked at"});
    assert_eq!(
        server
            .ask(&Request::post("/admin/segments").key(ADMIN))
            .json()["configured"],
        false
    );
    for (path, body) in [
        (format!("/admin/reviews/{purchase}/approve"), &note),
        (format!("/admin/reviews/{purchase}/reject"), &note),
        (format!("/admin/purchases/{purchase}/settle"), &settle),
    ] {
        let answer = server.ask(&Request::post(&path).key(ADMIN).json(body));
        assert_eq!(answer.reason(), "wrong_state", "{path}: {answer:?}");
        assert_eq!(facts(&answer), about, "{path}");
    }
    let path = format!("/admin/purchases/{purchase}/void");
    let answer = server.ask(&Request::post(&path).key(ADMIN));
    assert_eq!(
        (answer.reason().as_str(), facts(&answer)),
        ("wrong_state", about)
    );
}

#[test]
fn a_rate_limit_says_what_it_is() {
    let config = "[limits]\nrate = { count = 2, per_s = 600 }\n";
    let server = Setup::demo().config(config).start();
    server.put_product("open", 5);
    for number in 1..=2 {
        let key = format!("key-rate-{number}");
        held(&server, &hold("ana", "open", 1, None, &key));
    }
    let answer = server.ask(&hold("ana", "open", 1, None, "key-rate-3"));
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let about = json!({"scope": "attempts", "limit": 2, "window_s": 600});
    assert_eq!(facts(&answer), about);
    let trail = Request::get("/admin/audit?kind=attempt_refused").key(ADMIN);
    support::until("the trail has it, too", || {
        (server.ask(&trail).json()["events"][0]["facts"] == about).then_some(())
    });
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"attempts\";q=2;w=600")
    );
    let remaining = format!("\"attempts\";r=0;t={wait}");
    assert_eq!(answer.header("ratelimit"), Some(remaining.as_str()));
}
