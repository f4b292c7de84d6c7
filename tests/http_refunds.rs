//! Money after the purchase, over HTTP: refunds, voids, reward tokens, and what the operator sees
//! of them; the sandbox's books and `holdfast check` have to agree afterwards.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::{ADMIN, Request, Response, SHOP, Server, Setup, binary, until};

const USD: &str = r#"[drop]
currencies = ["USD", "KRW"]"#;

fn buy(server: &Server, user: &str, product: &str, key: &str) -> Value {
    let bought = server.ask(&Request::buy(user, product, "tok_ok", key));
    assert_eq!(bought.status, 201, "{bought:?}");
    bought.json()
}

fn id_of(purchase: &Value) -> String {
    purchase["purchase_id"].as_str().unwrap().to_owned()
}

fn refunds_of(purchase: &str) -> String {
    format!("/admin/purchases/{purchase}/refunds")
}

fn refund(purchase: &str, key: &str, body: &Value) -> Request {
    let request = Request::post(&refunds_of(purchase)).key(ADMIN);
    request.once(key).json(body)
}

fn part(amount: u64, before: u64) -> Value {
    json!({"amount": amount, "previously_refunded": before, "reason": "arrived scratched"})
}

fn spend(user: &str, tokens: u64, key: &str) -> Request {
    let path = format!("/limited/rewards/{user}/spend");
    let request = Request::post(&path).key(SHOP).once(key);
    request.json(&json!({ "tokens": tokens }))
}

fn rewards(server: &Server, user: &str) -> [u64; 2] {
    let path = format!("/limited/rewards/{user}");
    let body = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(body["user_id"], user);
    ["balance", "debt"].map(|name| body[name].as_u64().unwrap())
}

fn admin(server: &Server, path: &str) -> Response {
    server.ask(&Request::get(path).key(ADMIN))
}

/// The status, and the reason where it is a refusal.
fn told(answer: &Response) -> (u16, String) {
    let refused = answer.status >= 400;
    (
        answer.status,
        refused.then(|| answer.reason()).unwrap_or_default(),
    )
}

/// State, captured and refunded of each charge.
fn charges(server: &Server) -> Vec<(String, u64, u64)> {
    let body = admin(server, "/admin/sandbox/charges").json();
    let of = |charge: &Value| {
        let sum = |name: &str| charge[name].as_u64().unwrap();
        let state = charge["state"].as_str().unwrap().to_owned();
        (state, sum("captured"), sum("refunded"))
    };
    body["charges"].as_array().unwrap().iter().map(of).collect()
}

fn events_of(purchase: &Value) -> Vec<&str> {
    let history = purchase["history"].as_array().unwrap();
    let word = |entry| <&Value>::clone(&entry)["event"].as_str().unwrap();
    history.iter().map(word).collect()
}

fn assert_checks_clean(data_dir: &Path) {
    let checked = binary().arg("check").arg(data_dir).output().unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    let err = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{out}{err}");
}

#[test]
fn money_goes_back_in_parts_until_none_is_left() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = Setup::demo().data_dir(&data_dir).start();
    let bought = buy(&server, "ana", "drop-1", "key-part-buy");
    let id = id_of(&bought);
    let receipt = bought["receipt"].clone();

    let first = server.ask(&refund(&id, "key-part-1", &part(500, 0)));
    assert_eq!(first.status, 201, "{first:?}");
    let body = first.json();
    let request_id = first.header("x-request-id").unwrap();
    let expected = json!({
        "refund_id": format!("f_{}-1", &id[2..]),
        "purchase_id": id,
        "number": 1,
        "amount": 500,
        "currency": "USD",
        "status": "succeeded",
        "previously_refunded": 0,
        "refunded_amount": 500,
        "reason": "arrived scratched",
        "code": null,
        "clawback": {"requested": 0, "recovered": 0, "shortfall": 0},
        "created_at": body["created_at"],
        "settled_at": body["settled_at"],
        "request_id": request_id,
    });
    assert_eq!(body, expected);
    assert!(body["created_at"].as_str() <= body["settled_at"].as_str());
    let seen = admin(&server, &format!("{}/1", refunds_of(&id)));
    assert_eq!((seen.status, &seen.body), (200, &first.body));

    let purchase = |server: &Server| {
        let path = format!("/limited/purchases/{id}");
        server.ask(&Request::get(&path).key(SHOP)).json()
    };
    let after = purchase(&server);
    assert_eq!(after["status"], "partially_refunded");
    assert_eq!(
        after["refunded_amount"],
        json!({"value": 500, "currency": "USD"})
    );
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 500)]);

    // Without an amount, all that is left.
    let rest = json!({"previously_refunded": 500, "reason": "the rest"});
    let second = server.ask(&refund(&id, "key-part-2", &rest));
    assert_eq!(second.status, 201, "{second:?}");
    assert_eq!(second.json()["amount"], 1499);
    assert_eq!(second.json()["refunded_amount"], 1999);
    let after = purchase(&server);
    assert_eq!(after["status"], "refunded");
    assert_eq!(after["refunded_amount"]["value"], 1999);
    assert_eq!(after["receipt"], receipt);
    assert_eq!(
        events_of(&after)[4..],
        [
            "payment_captured",
            "refund_started",
            "refund_succeeded",
            "refund_started",
            "refund_succeeded"
        ],
        "{after}"
    );
    assert_eq!(charges(&server), [("refunded".to_owned(), 1999, 1999)]);
    // What is sold stays sold.
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);

    let listed = admin(&server, &refunds_of(&id)).json();
    assert_eq!(listed["refunds"], json!([first.json(), second.json()]));
    let whole = admin(&server, &format!("/admin/purchases/{id}")).json();
    assert_eq!(whole["refunds"], listed["refunds"]);
    for (name, value) in after.as_object().unwrap() {
        assert_eq!(&whole[name], value, "{name}");
    }
    let reference = whole["gateway_reference"].as_str().unwrap();
    let books = admin(&server, "/admin/sandbox/charges").json();
    assert_eq!(books["charges"][0]["reference"], reference);

    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = r#"purchase_attempt_total{flow="refund",result="success",reason="none"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
    let trail = admin(&server, "/admin/audit?kind=refund_started").json();
    assert_eq!(trail["events"][0]["reason"], "arrived scratched");
    assert_eq!(trail["events"][0]["request_id"], request_id);

    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn of_many_who_refund_at_once_exactly_one_does() {
    let server = Setup::demo().start();
    let id = id_of(&buy(&server, "ana", "drop-1", "key-race-buy"));
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|place| {
                let request = refund(&id, &format!("key-race-{place}"), &part(700, 0));
                let server = &server;
                scope.spawn(move || server.ask(&request))
            })
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    });
    let won = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(won.count(), 1);
    let lost = answers.iter().filter(|answer| answer.status != 201);
    for answer in lost {
        assert_eq!(told(answer), (409, "refund_conflict".to_owned()));
    }
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 700)]);
}

#[test]
fn what_stands_under_a_key_is_told_again_after_a_crash() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    put_rewarded(&server, 10);
    let id = id_of(&buy(&server, "ana", "gift", "key-again-buy"));
    let requests = [
        refund(&id, "key-again-1", &part(500, 0)),
        refund(&id, "key-again-2", &part(1500, 500)),
        refund(&id, "key-again-3", &part(1, 0)),
        spend("ana", 3, "key-again-4"),
        spend("ana", 100, "key-again-5"),
    ];
    let expected = [
        (201, ""),
        (409, "refund_exceeds_captured"),
        (409, "refund_conflict"),
        (200, ""),
        (409, "not_enough_tokens"),
    ];
    let first: Vec<_> = requests.iter().map(|request| server.ask(request)).collect();
    for (answer, (status, reason)) in first.iter().zip(expected) {
        assert_eq!(told(answer), (status, reason.to_owned()), "{answer:?}");
        assert_eq!(answer.header("idempotent-replayed"), None);
    }
    // What comes after changes nothing of what was told.
    let more = server.ask(&spend("ana", 1, "key-again-6"));
    assert_eq!(
        more.json(),
        json!({"user_id": "ana", "spent": 1, "balance": 4})
    );
    let more = server.ask(&refund(&id, "key-again-7", &part(100, 500)));
    assert_eq!(more.status, 201, "{more:?}");
    let again = |server: &Server| {
        for (request, first) in requests.iter().zip(&first) {
            let again = server.ask(request);
            assert_eq!((again.status, again.text()), (first.status, first.text()));
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
        }
    };
    again(&server);
    server.kill();
    let mut server = start();
    again(&server);
    // And from a snapshot.
    let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(taken.status, 200);
    server.kill();
    let server = start();
    again(&server);
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 600)]);

    // Another request under the key, and one of another purchase of the buyer.
    let other = server.ask(&refund(&id, "key-again-1", &part(501, 0)));
    assert_eq!(told(&other), (422, "idempotency_key_reused".to_owned()));
    let second = id_of(&buy(&server, "ana", "gift", "key-again-8"));
    let other = server.ask(&refund(&second, "key-again-1", &part(500, 0)));
    assert_eq!(told(&other), (422, "idempotency_key_reused".to_owned()));
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn each_refusal_has_its_status_and_reason() {
    let server = Setup::demo().start();
    let paid = id_of(&buy(&server, "ana", "drop-1", "key-no-buy"));
    let declined = server.ask(&Request::buy(
        "cy",
        "drop-1",
        "tok_declined",
        "key-no-declined",
    ));
    assert_eq!(declined.status, 402);
    let trail = admin(&server, "/admin/audit?kind=payment_declined").json();
    let declined = id_of(&trail["events"][0]);
    let nobody = "p_00000000000fff00";
    let body = |amount: Value, reason: &str| json!({"amount": amount, "previously_refunded": 0, "reason": reason});
    let fine = body(json!(1), "r");
    let cases = [
        (nobody, fine.clone(), 404, "purchase_not_found"),
        ("nonsense", fine.clone(), 404, "purchase_not_found"),
        (&declined, fine.clone(), 409, "wrong_state"),
        (&paid, part(2000, 0), 409, "refund_exceeds_captured"),
        (&paid, part(1, 1), 409, "refund_conflict"),
        (&paid, body(json!(1.0), "r"), 400, "invalid_request"),
        (
            &paid,
            body(json!({"value": 1}), "r"),
            400,
            "invalid_request",
        ),
        (&paid, body(json!(0), "r"), 400, "invalid_request"),
        (&paid, body(json!(1), ""), 400, "invalid_request"),
        (&paid, body(json!(1), "a\nb"), 400, "invalid_request"),
        (&paid, json!({"reason": "r"}), 400, "invalid_request"),
        (
            &paid,
            body(json!(1), "card 4111-1111-1111-1111"),
            400,
            "invalid_card_token",
        ),
    ];
    for (place, (purchase, body, status, reason)) in cases.into_iter().enumerate() {
        let key = format!("key-refused-{place}");
        let answer = server.ask(&refund(purchase, &key, &body));
        assert_eq!(told(&answer), (status, reason.to_owned()), "{body}");
        assert!(!answer.text().contains("4111"), "{}", answer.text());
    }
    let keyless = Request::post(&refunds_of(&paid)).key(ADMIN).json(&fine);
    let keyless = server.ask(&keyless);
    assert_eq!(told(&keyless), (400, "idempotency_key_missing".to_owned()));

    let void = |id: &str| Request::post(&format!("/admin/purchases/{id}/void")).key(ADMIN);
    let held = server.ask(&Request::hold("di", "drop-1", 1, "key-no-hold"));
    let held = held.json()["hold_id"].as_str().unwrap().replace("h_", "p_");
    for (id, status, reason) in [
        (nobody, 404, "purchase_not_found"),
        (&paid, 409, "wrong_state"),
        (&declined, 409, "wrong_state"),
        (&held, 409, "wrong_state"),
    ] {
        let answer = server.ask(&void(id).json(&json!({})));
        assert_eq!(told(&answer), (status, reason.to_owned()), "{id}");
    }
    let told_why = server.ask(&void(&paid).json(&json!({"why": 1})));
    assert_eq!(told(&told_why), (400, "invalid_request".to_owned()));

    let many = json!({"tokens": 0});
    for (request, status, reason) in [
        (spend("ana", 1, "key-no-tokens"), 409, "not_enough_tokens"),
        (spend("a%20b", 1, "key-no-user"), 400, "invalid_request"),
        (spend("ana", 0, "key-no-none"), 400, "invalid_request"),
        (
            Request::post("/limited/rewards/ana/spend")
                .key(SHOP)
                .json(&many),
            400,
            "invalid_request",
        ),
    ] {
        assert_eq!(told(&server.ask(&request)), (status, reason.to_owned()));
    }
    for (path, status, reason) in [
        (refunds_of(nobody), 404, "purchase_not_found"),
        (
            format!("{}/1", refunds_of(nobody)),
            404,
            "purchase_not_found",
        ),
        (format!("{}/1", refunds_of(&paid)), 404, "refund_not_found"),
        (format!("{}/x", refunds_of(&paid)), 404, "refund_not_found"),
        (
            format!("/admin/purchases/{nobody}"),
            404,
            "purchase_not_found",
        ),
        ("/admin/users/nobody".to_owned(), 404, "user_not_found"),
        ("/admin/users/a%20b".to_owned(), 400, "invalid_request"),
        (
            "/admin/payments?state=captured".to_owned(),
            400,
            "invalid_request",
        ),
        ("/admin/payments?limit=0".to_owned(), 400, "invalid_request"),
    ] {
        assert_eq!(
            told(&admin(&server, &path)),
            (status, reason.to_owned()),
            "{path}"
        );
    }
    // Nothing moved, and no card number was kept.
    assert_eq!(charges(&server)[0].2 + charges(&server)[1].2, 0);
    let trail = admin(&server, "/admin/audit?kind=attempt_refused&limit=1000");
    assert!(trail.text().contains("refund_exceeds_captured") && !trail.text().contains("4111"));
    let metrics = server.ask(&Request::get("/metrics")).text();
    for counted in [
        r#"{flow="refund",result="refused",reason="refund_conflict"} 1"#,
        r#"{flow="reward",result="refused",reason="not_enough_tokens"} 1"#,
    ] {
        assert!(metrics.contains(counted), "{counted}\n{metrics}");
    }
}

/// Puts the product `gift` on sale, of which each unit grants so many tokens.
fn put_rewarded(server: &Server, tokens: u64) {
    let body = json!({
        "name": "gift", "price": {"USD": 1999}, "stock": 100, "reward_tokens": tokens,
    });
    let put = Request::put("/admin/products/gift").key(ADMIN).json(&body);
    assert_eq!(server.ask(&put).status, 201);
    let seen = admin(server, "/admin/products/gift").json();
    assert_eq!(seen["reward_tokens"], tokens);
}

#[test]
fn reward_tokens_are_granted_spent_clawed_back_and_owed() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = Setup::demo().config(USD).data_dir(&data_dir).start();
    put_rewarded(&server, 10);
    assert_eq!(rewards(&server, "ana"), [0, 0]);
    let id = id_of(&buy(&server, "ana", "gift", "key-token-buy"));
    assert_eq!(rewards(&server, "ana"), [10, 0]);

    let spent = server.ask(&spend("ana", 8, "key-token-spend"));
    assert_eq!(spent.status, 200, "{spent:?}");
    assert_eq!(
        spent.json(),
        json!({"user_id": "ana", "spent": 8, "balance": 2})
    );
    let more = server.ask(&spend("ana", 3, "key-token-more"));
    assert_eq!(told(&more), (409, "not_enough_tokens".to_owned()));

    // Half of the money asks half of the tokens back, rounded down; two are there.
    let half = server.ask(&refund(&id, "key-token-half", &part(1000, 0)));
    assert_eq!(
        half.json()["clawback"],
        json!({"requested": 5, "recovered": 2, "shortfall": 3}),
        "{half:?}"
    );
    assert_eq!(rewards(&server, "ana"), [0, 3]);
    let rest = server.ask(&refund(&id, "key-token-rest", &part(999, 1000)));
    assert_eq!(
        rest.json()["clawback"],
        json!({"requested": 5, "recovered": 0, "shortfall": 5}),
        "{rest:?}"
    );
    assert_eq!(rewards(&server, "ana"), [0, 8]);

    // The next tokens pay the debt off first.
    buy(&server, "ana", "gift", "key-token-next");
    assert_eq!(rewards(&server, "ana"), [2, 0]);
    let whole = admin(&server, &format!("/admin/purchases/{id}")).json();
    assert_eq!(
        whole["reward_tokens"],
        json!({"granted": 10, "asked_back": 10})
    );
    let user = admin(&server, "/admin/users/ana").json();
    assert_eq!(user["tokens"], json!({"balance": 2, "debt": 0}));
    assert_eq!(
        user["committed"],
        json!([{"product_id": "gift", "units": 2}])
    );
    assert_eq!(user["attempts_in_window"], 2);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn an_auditor_reads_and_changes_nothing() {
    let roles = r#"
        [[auth.keys]]
        name = "shop"
        role = "shop"
        key = "demo-shop-key"
        [[auth.keys]]
        name = "boss"
        role = "admin"
        key = "demo-admin-key"
        [[auth.keys]]
        name = "reader"
        role = "auditor"
        key = "a-key-of-a-reader"
    "#;
    let server = Setup::demo().config(roles).start();
    let id = id_of(&buy(&server, "ana", "drop-1", "key-role-buy"));
    let made = server.ask(&refund(&id, "key-role-1", &part(1, 0)));
    assert_eq!(made.status, 201);
    let reads = [
        refunds_of(&id),
        format!("{}/1", refunds_of(&id)),
        format!("/admin/purchases/{id}"),
        "/admin/payments".to_owned(),
        "/admin/users/ana".to_owned(),
    ];
    for path in reads {
        let request = Request::get(&path);
        let ask = |key| server.ask(&request.clone().key(key)).status;
        assert_eq!(ask("a-key-of-a-reader"), 200, "{path}");
        assert_eq!(ask(SHOP), 403, "{path}");
    }
    let body = part(1, 1);
    let refund = Request::post(&refunds_of(&id))
        .once("key-role-2")
        .json(&body);
    let void = Request::post(&format!("/admin/purchases/{id}/void"));
    let spend = Request::post("/limited/rewards/ana/spend").once("key-role-3");
    let spend = spend.json(&json!({"tokens": 1}));
    for request in [&refund, &void, &spend] {
        let answer = server.ask(&request.clone().key("a-key-of-a-reader"));
        assert_eq!(answer.status, 403, "{}", request.path);
    }
    for request in [&refund, &void] {
        assert_eq!(server.ask(&request.clone().key(SHOP)).status, 403);
    }
    assert_eq!(server.ask(&spend.key(ADMIN)).status, 403);
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 1)]);
}

#[test]
fn what_is_only_set_aside_is_given_back_when_the_operator_says_so() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = Setup::demo()
        .config("[payments]\nanswer_within_ms = 50\nretries_max = 1")
        .data_dir(&data_dir)
        .start();
    // Captures are lost for longer than anybody waits.
    let request = Request::buy("ana", "drop-1", "tok_capture_busy_99", "key-void-buy");
    let answer = server.ask(&request);
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = id_of(&answer.json());

    let open = until("it is seen to be open", || {
        let open = admin(&server, "/admin/payments").json();
        (open["total"] == 1 && open["payments"][0]["state"] == "capturing").then_some(open)
    });
    let entry = &open["payments"][0];
    assert_eq!(entry["purchase_id"], id.as_str());
    assert_eq!(entry["user_id"], "ana");
    assert_eq!(entry["stuck"], false);
    assert_eq!(
        (&entry["amount"], &entry["currency"]),
        (&json!(1999), &json!("USD"))
    );
    assert_eq!(
        admin(&server, "/admin/payments?state=stuck").json()["total"],
        0
    );

    let path = format!("/admin/purchases/{id}/void");
    let voided = server.ask(&Request::post(&path).key(ADMIN));
    assert!(matches!(voided.status, 200 | 202), "{voided:?}");
    if voided.status == 202 {
        let at = format!("/admin/purchases/{id}");
        assert_eq!(voided.header("location"), Some(at.as_str()));
    }
    let purchase = until("it is voided", || {
        let now = admin(&server, &format!("/admin/purchases/{id}")).json();
        (now["status"] == "voided").then_some(now)
    });
    assert_eq!(purchase["reason"], "operator");
    assert_eq!(charges(&server), [("voided".to_owned(), 0, 0)]);
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    assert_eq!(admin(&server, "/admin/payments").json()["total"], 0);
    let trail = admin(&server, "/admin/audit?kind=void_started").json();
    assert_eq!(trail["events"][0]["key_owner"], "demo-admin", "{trail}");

    // Again, the same; what was asked for first is told to be declined.
    let again = server.ask(&Request::post(&path).key(ADMIN).json(&json!({})));
    assert_eq!(
        (again.status, &again.json()["status"]),
        (200, &json!("voided"))
    );
    assert_eq!(
        told(&server.ask(&request)),
        (402, "payment_declined".to_owned())
    );
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

fn bought_with(server: &Server, card: &str, key: &str) -> String {
    let bought = server.ask(&Request::buy("ana", "drop-1", card, key));
    assert_eq!(bought.status, 201, "{bought:?}");
    id_of(&bought.json())
}

#[test]
fn a_refund_that_the_gateway_refuses_moves_nothing_and_stands_under_its_key() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    let id = bought_with(&server, "tok_refund_refused", "key-refuse-buy");
    let request = refund(&id, "key-refuse-1", &part(500, 0));
    let refused = server.ask(&request);
    assert_eq!(told(&refused), (409, "refund_failed".to_owned()));
    let request_id = refused.header("x-request-id").unwrap().to_owned();
    assert_eq!(refused.json()["request_id"], request_id.as_str());

    // Nothing went back, so that another may be tried; it is refused for itself.
    let other = server.ask(&refund(&id, "key-refuse-2", &part(500, 0)));
    assert_eq!(told(&other), (409, "refund_failed".to_owned()));
    server.kill();
    let server = start();
    let again = server.ask(&request);
    assert_eq!((again.status, again.text()), (409, refused.text()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    let listed = admin(&server, &refunds_of(&id)).json();
    let listed = listed["refunds"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for entry in listed {
        assert_eq!(entry["status"], "failed");
        assert_eq!(entry["clawback"], Value::Null);
        assert_eq!(entry["refunded_amount"], 0);
    }
    assert_eq!(listed[0]["request_id"], request_id.as_str());
    let purchase = admin(&server, &format!("/admin/purchases/{id}")).json();
    assert_eq!(purchase["status"], "captured");
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 0)]);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

/// A gateway that is asked so rarely, or so often, that nobody waits for long in a test.
fn asked(pace: &str) -> String {
    let circuit = "[payments.circuit]\nfailures = 0";
    format!("[payments]\nanswer_within_ms = 50\nsweep_every_ms = 20\n{pace}\n{circuit}")
}

const RARELY: &str = "backoff_first_ms = 60000\nbackoff_max_ms = 60000";
const OFTEN: &str = "backoff_first_ms = 1\nbackoff_max_ms = 1\nretries_max = 100";

#[test]
fn a_refund_without_an_answer_is_pending_until_there_is_one() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = |pace| {
        let setup = Setup::demo().config(&asked(pace));
        setup.data_dir(&data_dir).start()
    };
    let mut server = start(RARELY);
    let id = bought_with(&server, "tok_refund_busy_9", "key-wait-buy");
    let request = refund(&id, "key-wait-1", &part(500, 0));
    let pending = server.ask(&request);
    assert_eq!(pending.status, 202, "{pending:?}");
    let at = pending.header("location").unwrap().to_owned();
    assert_eq!(at, format!("{}/1", refunds_of(&id)));
    assert_eq!(pending.json()["status"], "pending");
    assert_eq!(pending.json()["refunded_amount"], 0);
    assert_eq!(admin(&server, &at).body, pending.body);

    // The key is taken, and so is the purchase.
    let again = server.ask(&request);
    assert_eq!(told(&again), (409, "idempotency_in_flight".to_owned()));
    let other = server.ask(&refund(&id, "key-wait-2", &part(1, 0)));
    assert_eq!(told(&other), (409, "refund_conflict".to_owned()));
    let open = admin(&server, "/admin/payments?state=refund_pending").json();
    assert_eq!(open["total"], 1);
    let entry = &open["payments"][0];
    assert_eq!(entry["purchase_id"], id.as_str());
    assert_eq!(
        (&entry["refund_number"], &entry["amount"]),
        (&json!(1), &json!(500))
    );
    assert_eq!(entry["reason"], "arrived scratched");
    assert_eq!(entry["since"], pending.json()["created_at"]);
    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = r#"{flow="refund",result="pending",reason="none"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");

    server.kill();
    let server = start(OFTEN);
    let done = until("the refund has succeeded", || {
        let now = admin(&server, &at);
        (now.json()["status"] == "succeeded").then_some(now)
    });
    let again = server.ask(&request);
    assert_eq!((again.status, again.text()), (201, done.text()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(done.json()["created_at"], pending.json()["created_at"]);
    assert_eq!(admin(&server, "/admin/payments").json()["total"], 0);
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 500)]);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn what_is_stuck_comes_first_and_is_tried_again_when_the_operator_says_so() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = |pace: &str| {
        let pace = format!("void_deadline_s = 1\n{pace}");
        let setup = Setup::demo().config(&asked(&pace));
        setup.data_dir(&data_dir).start()
    };
    let mut server = start(RARELY);
    // The older one waits for its capture, the other's capture is refused and its void fails.
    for (card, key) in [
        ("tok_capture_busy_9", "key-stuck-1"),
        ("tok_void_busy_9", "key-stuck-2"),
    ] {
        let answer = server.ask(&Request::buy("ana", "drop-1", card, key));
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let open = until("a void is stuck", || {
        let open = admin(&server, "/admin/payments").json();
        (open["payments"][0]["stuck"] == true).then_some(open)
    });
    let states = |open: &Value| {
        let entries = open["payments"].as_array().unwrap().iter();
        let word = |entry: &Value| entry["state"].as_str().unwrap().to_owned();
        entries.map(word).collect::<Vec<_>>()
    };
    assert_eq!(states(&open), ["stuck", "capturing"]);
    let entry = &open["payments"][0];
    assert_eq!(entry["reason"], "capture_refused");
    assert!(
        entry["void_deadline"].as_str() <= entry["since"].as_str(),
        "{entry}"
    );
    let only = admin(&server, "/admin/payments?state=stuck").json();
    assert_eq!(
        (states(&only), &only["total"]),
        (vec!["stuck".to_owned()], &json!(1))
    );
    let first = admin(&server, "/admin/payments?limit=1").json();
    assert_eq!(
        (states(&first).len(), &first["total"], &first["more"]),
        (1, &json!(2), &json!(true))
    );
    assert_eq!(server.stock("drop-1"), [100, 2, 0, 98]);

    let id = id_of(entry);
    let void = Request::post(&format!("/admin/purchases/{id}/void")).key(ADMIN);
    let answer = server.ask(&void);
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["status"], "voiding");
    server.kill();
    let server = start(OFTEN);
    until("nothing is open", || {
        (admin(&server, "/admin/payments").json()["total"] == 0).then_some(())
    });
    let answer = server.ask(&void);
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &json!("voided"))
    );
    let mut states = charges(&server);
    states.sort_unstable();
    let expected = [
        ("captured".to_owned(), 1999, 0),
        ("voided".to_owned(), 0, 0),
    ];
    assert_eq!(states, expected);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn while_the_gateway_is_not_asked_no_refund_begins_and_ended_ones_are_told() {
    let circuit = "[payments.circuit]\nfailures = 1\nopen_ms = 600000";
    let config = format!("[payments]\nretries_max = 0\n{circuit}");
    let server = Setup::demo().config(&config).start();
    let id = bought_with(&server, "tok_ok", "key-open-buy");
    let ended = refund(&id, "key-open-1", &part(500, 0));
    let first = server.ask(&ended);
    assert_eq!(first.status, 201, "{first:?}");
    let busy = server.ask(&Request::buy("bo", "drop-1", "tok_auth_busy", "key-open-2"));
    assert!(matches!(busy.status, 202 | 402), "{busy:?}");

    let refused = server.ask(&refund(&id, "key-open-3", &part(1, 500)));
    assert_eq!(told(&refused), (503, "gateway_unavailable".to_owned()));
    assert!(refused.header("retry-after").is_some());
    let again = server.ask(&ended);
    assert_eq!((again.status, again.text()), (201, first.text()));
    let listed = admin(&server, &refunds_of(&id)).json();
    assert_eq!(listed["refunds"].as_array().unwrap().len(), 1);
}
