//! A refusal says as fields what it is about: the id that was asked for, what would do, the bound, the role.

use serde_json::{Value, json};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, product_terms};

fn euro_and_dollar() -> Server {
    Setup::demo()
        .config("[drop]\ncurrencies = [\"USD\", \"EUR\"]\n")
        .start()
}

/// Asks, and compares status, reason and these fields.
fn refused(
    server: &Server,
    request: &Request,
    status: u16,
    reason: &str,
    facts: &Value,
) -> Response {
    let answer = server.ask(request);
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{answer:?}"
    );
    let body = answer.json();
    for (name, value) in facts.as_object().expect("an object") {
        assert_eq!(&body[name], value, "{name} of {body}");
    }
    answer
}

fn order(given: &Value) -> Value {
    let mut body = json!({
        "user_id": "ana", "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok",
    });
    for (name, value) in given.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn buy(given: &Value, key: &str) -> Request {
    let request = Request::post("/limited/buy").key(SHOP).once(key);
    request.json(&order(given))
}

#[test]
fn a_currency_says_whose_it_is_not_and_which_would_do() {
    let server = euro_and_dollar();
    let terms = product_terms(&json!({"name": "lamp", "price": {"USD": 1999}, "stock": 5}));
    let put = Request::put("/admin/products/lamp").key(ADMIN).json(&terms);
    assert_eq!(server.ask(&put).status, 201);
    let not_ours = json!({"cause": "shop", "currencies": ["USD", "EUR"]});
    let yen = json!({"currency": "JPY"});
    let reason = "currency_not_allowed";
    refused(&server, &buy(&yen, "key-facts-01"), 400, reason, &not_ours);
    let hold = json!({"user_id": "ana", "product_id": "lamp", "quantity": 1, "currency": "JPY"});
    let hold = Request::post("/limited/holds")
        .key(SHOP)
        .once("key-facts-02")
        .json(&hold);
    refused(&server, &hold, 400, reason, &not_ours);
    let unpriced = json!({"cause": "product", "currencies": ["USD"]});
    let euro = json!({"product_id": "lamp", "currency": "EUR"});
    refused(&server, &buy(&euro, "key-facts-03"), 400, reason, &unpriced);
}

/// Whatever the product's terms are by now, a hold is paid by its own.
#[test]
fn a_hold_says_in_which_currencies_it_can_be_paid() {
    let server = euro_and_dollar();
    let put = |price: Value| {
        let terms = product_terms(&json!({"name": "lamp", "price": price, "stock": 5}));
        let put = Request::put("/admin/products/lamp").key(ADMIN).json(&terms);
        assert!(server.ask(&put).status < 300);
    };
    put(json!({"USD": 1999}));
    let held = server
        .ask(&Request::hold("ana", "lamp", 1, "key-facts-81"))
        .json();
    put(json!({"USD": 1999, "EUR": 1899}));
    let euro = json!({
        "product_id": "lamp", "currency": "EUR", "hold_id": held["hold_id"],
    });
    let answer = refused(
        &server,
        &buy(&euro, "key-facts-82"),
        400,
        "currency_not_allowed",
        &json!({"cause": "hold", "currencies": ["USD"]}),
    );
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("It has one in USD."), "{detail}");
}

#[test]
fn a_promotion_says_in_which_currencies_it_gives_something() {
    let server = euro_and_dollar();
    let terms = json!({
        "amount_off": {"EUR": 100}, "uses_max": 10, "uses_per_user_max": null, "active": true,
        "starts_at": null, "ends_at": null,
    });
    let put = Request::put("/admin/promotions/HALLO").key(ADMIN);
    assert_eq!(server.ask(&put.json(&terms)).status, 201);
    let would_do = json!({"cause": "currency", "currencies": ["EUR"]});
    let reason = "promotion_not_applicable";
    let dollar = buy(&json!({"promotion_code": "HALLO"}), "key-facts-91");
    let first = refused(&server, &dollar, 409, reason, &would_do);
    // Under its key it is the same again, whatever became of the promotion.
    let other = json!({"amount_off": {"USD": 100}});
    let patch = Request::new("PATCH", "/admin/promotions/HALLO").key(ADMIN);
    assert_eq!(server.ask(&patch.json(&other)).status, 200);
    let again = refused(&server, &dollar, 409, reason, &would_do);
    assert_eq!(first.text(), again.text());
}

/// A card with limited tries says how many were used, and from when it may be tried again.
#[test]
fn a_card_with_limited_tries_says_how_many_and_until_when() {
    let server = Setup::demo()
        .config("[payments.scheme]\nlimited_max = 2\nwindow_s = 86400\n")
        .start();
    for key in ["key-facts-a1", "key-facts-a2"] {
        let poor = buy(&json!({"card_token": "tok_insufficient_funds"}), key);
        let later = json!({"retry_advice": "later"});
        refused(&server, &poor, 402, "payment_declined", &later);
    }
    let poor = buy(
        &json!({"card_token": "tok_insufficient_funds"}),
        "key-facts-a3",
    );
    let bar =
        json!({"retry_advice": "later", "declines": 2, "declines_max": 2, "window_s": 86_400});
    let first = refused(&server, &poor, 402, "card_retry_forbidden", &bar);
    let at: jiff::Timestamp = first.json()["retry_at"].as_str().unwrap().parse().unwrap();
    let wait_s = at.as_second() - jiff::Timestamp::now().as_second();
    assert!((86_300..=86_400).contains(&wait_s), "{wait_s} s");
    let again = refused(&server, &poor, 402, "card_retry_forbidden", &bar);
    assert_eq!(first.text(), again.text());
}

#[test]
fn what_was_not_found_is_named() {
    let server = Setup::demo().start();
    let none = json!({"product_id": "none"});
    let product = "product_not_found";
    refused(&server, &buy(&none, "key-facts-11"), 404, product, &none);
    // Under its key it is the same again.
    refused(&server, &buy(&none, "key-facts-11"), 404, product, &none);
    let code = json!({"promotion_code": "NONE"});
    refused(
        &server,
        &buy(&code, "key-facts-12"),
        404,
        "promotion_not_found",
        // Codes match in every case.
        &json!({"promotion_code": "none"}),
    );
    let hold = json!({"hold_id": "h_00000000000000000000000000000000"});
    refused(
        &server,
        &buy(&hold, "key-facts-13"),
        404,
        "hold_not_found",
        &hold,
    );
}

#[test]
fn what_was_not_found_at_a_path_is_named() {
    let server = Setup::demo().start();
    let product = "product_not_found";
    let (none, code) = (
        json!({"product_id": "none"}),
        json!({"promotion_code": "NONE"}),
    );
    let hold = json!({"hold_id": "h_00000000000000000000000000000000"});
    let purchase = "p_00000000000000000000000000000000";
    let get = |path: &str| Request::get(path).key(ADMIN);
    for (request, reason, facts) in [
        (get("/limited/products/none"), product, none),
        (
            get("/admin/products/none"),
            product,
            json!({"product_id": "none"}),
        ),
        (
            get("/limited/holds/h_1"),
            "hold_not_found",
            json!({"hold_id": "h_1"}),
        ),
        (
            Request::delete("/limited/holds/h_00000000000000000000000000000000").key(SHOP),
            "hold_not_found",
            hold,
        ),
        (
            get(&format!("/limited/purchases/{purchase}")),
            "purchase_not_found",
            json!({"purchase_id": purchase}),
        ),
        (
            get(&format!("/admin/purchases/{purchase}/refunds/3")),
            "purchase_not_found",
            json!({"purchase_id": purchase}),
        ),
        (get("/admin/promotions/NONE"), "promotion_not_found", code),
        (
            get("/admin/users/nobody"),
            "user_not_found",
            json!({"user_id": "nobody"}),
        ),
        (
            get("/limited/receipts/r_1"),
            "receipt_not_found",
            json!({"receipt_id": "r_1"}),
        ),
        (
            Request::post("/admin/sinks/none/pause").key(ADMIN),
            "not_found",
            json!({"id": "none"}),
        ),
        // A card number is not repeated, whatever field it stands in.
        (
            get("/limited/products/4111111111111111"),
            product,
            json!({"product_id": null}),
        ),
    ] {
        refused(&server, &request, 404, reason, &facts);
    }
}

#[test]
fn a_hold_for_something_else_says_for_what() {
    let server = Setup::demo().start();
    let placed = server.ask(&Request::hold("ana", "drop-1", 2, "key-facts-21"));
    assert_eq!(placed.status, 201, "{placed:?}");
    let hold = placed.json()["hold_id"].clone();
    let other = json!({"hold_id": hold, "quantity": 1});
    let facts = json!({
        "hold_id": hold,
        "held": {"product_id": "drop-1", "quantity": 2},
        "product_id": "drop-1",
        "quantity": 1,
    });
    let answer = refused(
        &server,
        &buy(&other, "key-facts-22"),
        400,
        "invalid_request",
        &facts,
    );
    assert_eq!(answer.json()["errors"][0]["field"], "hold_id");
}

#[test]
fn a_role_that_may_not_is_told_which_may() {
    let server = Setup::demo().start();
    let admin = Request::get("/admin/status").key(SHOP);
    let facts = json!({"role": "shop", "roles_needed": ["admin", "auditor"]});
    refused(&server, &admin, 403, "forbidden", &facts);
    let mut buying = buy(&json!({}), "key-facts-31");
    buying.headers.retain(|(name, _)| name != "authorization");
    let facts = json!({"role": "admin", "roles_needed": ["shop"]});
    refused(&server, &buying.key(ADMIN), 403, "forbidden", &facts);
}

#[test]
fn a_body_that_is_too_large_or_coded_says_what_is_taken() {
    let server = Setup::demo().start();
    let large = buy(&json!({"pad": "x".repeat(17_000)}), "key-facts-41");
    refused(
        &server,
        &large,
        413,
        "body_too_large",
        &json!({"bytes_max": 16_384}),
    );
    let coded = buy(&json!({}), "key-facts-42").header("content-encoding", "gzip");
    let facts = json!({"accept_encoding": ["identity"]});
    let answer = refused(&server, &coded, 415, "unsupported_media_type", &facts);
    assert_eq!(answer.header("accept-encoding"), Some("identity"));
    let plain = buy(&json!({}), "key-facts-43").header("content-encoding", "identity");
    assert_eq!(server.ask(&plain).status, 201);
}

#[test]
fn fields_that_are_not_known_are_named() {
    let server = Setup::demo().start();
    let errors = |request: &Request| server.ask(request).json()["errors"].clone();
    let typo = errors(&buy(&json!({"quantty": 2}), "key-facts-51"));
    assert_eq!(typo[0]["field"], "quantty");
    assert_eq!(typo.as_array().map(Vec::len), Some(1), "{typo}");
    let void = "/admin/purchases/p_00000000000000000000000000000000/void";
    let note = Request::post(void).key(ADMIN).json(&json!({"note": "why"}));
    let expected =
        json!([{"field": "note", "message": "is not known; this request has no fields"}]);
    assert_eq!(errors(&note), expected);
    // Neither a card number nor any number of names is repeated.
    let card = errors(&buy(&json!({"4111111111111111": 1}), "key-facts-52"));
    assert_eq!(card[0]["field"], "body");
    let many: serde_json::Map<_, _> = (0..50).map(|at| (format!("f{at}"), Value::Null)).collect();
    let many = errors(&buy(&many.into(), "key-facts-53"));
    assert_eq!(many.as_array().map(Vec::len), Some(9), "{many}");
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let server = Setup::demo().start();
    let with = |key: &str| buy(&json!({}), key);
    for (request, why) in [
        (with("short"), "must have 8 to 255 characters"),
        (
            with("\"key-facts-61"),
            "begins with a quote and does not end with one",
        ),
        (
            with("key facts 61"),
            "must be of visible ASCII characters, without spaces and quotes inside",
        ),
        (
            with("key-facts-61").once("key-facts-62"),
            "was sent twice; send it once",
        ),
    ] {
        let facts = json!({
            "detail": format!("The header Idempotency-Key {why}."),
            "errors": [{"field": "Idempotency-Key", "message": why}],
        });
        refused(&server, &request, 400, "idempotency_key_missing", &facts);
    }
}

#[test]
fn a_card_number_in_a_note_is_a_wrong_field() {
    let server = Setup::demo().start();
    let path = "/admin/users/ana/pause";
    let body = json!({"until": "2999-01-01T00:00:00Z", "reason": "card 4111 1111 1111 1111"});
    let pause = Request::post(path).key(ADMIN).json(&body);
    let errors = json!([{"field": "reason", "message": "must not contain a card number"}]);
    refused(
        &server,
        &pause,
        400,
        "invalid_request",
        &json!({ "errors": errors }),
    );
    let code = Request::put("/admin/promotions/4111111111111111").key(ADMIN);
    let answer = server.ask(&code.json(&json!({})));
    let message = answer.json()["errors"][0]["message"].to_string();
    assert!(message.contains("without a card number"), "{message}");
}

#[test]
fn options_says_what_a_path_takes_and_needs_no_key() {
    let server = Setup::demo().start();
    for (path, allow) in [
        ("/limited/buy", "POST"),
        ("/limited/holds/h_1", "DELETE, GET, HEAD"),
        ("/admin/products/p", "GET, HEAD, PATCH, PUT"),
    ] {
        let options = Request::new("OPTIONS", path);
        let answer = refused(&server, &options, 405, "method_not_allowed", &json!({}));
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
}

#[test]
fn a_card_that_may_not_be_tried_again_leaves_its_hold() {
    let server = Setup::demo().start();
    let held = server.ask(&Request::hold("ana", "drop-1", 1, "key-facts-71"));
    let held = held.json();
    let stolen = json!({"hold_id": held["hold_id"], "card_token": "tok_stolen"});
    let declined = json!({"retry_advice": "never"});
    let first = buy(&stolen, "key-facts-72");
    refused(&server, &first, 402, "payment_declined", &declined);
    let lives = json!({
        "hold": {"hold_id": held["hold_id"], "expires_at": held["expires_at"]},
    });
    let again = buy(&stolen, "key-facts-73");
    let one = refused(&server, &again, 402, "card_retry_forbidden", &lives);
    let bar =
        json!({"retry_advice": "never", "declines": 1, "declines_max": 15, "window_s": 2_592_000});
    refused(&server, &again, 402, "card_retry_forbidden", &bar);
    let replayed = refused(&server, &again, 402, "card_retry_forbidden", &lives);
    assert_eq!(one.text(), replayed.text());
    let other = json!({"hold_id": held["hold_id"]});
    assert_eq!(server.ask(&buy(&other, "key-facts-74")).status, 201);
    // A buy without a hold of its own leaves none.
    let none = json!({"card_token": "tok_stolen"});
    let none = buy(&none, "key-facts-75");
    refused(
        &server,
        &none,
        402,
        "card_retry_forbidden",
        &json!({"hold": null}),
    );
}
