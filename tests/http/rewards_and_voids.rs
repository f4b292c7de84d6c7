//! Reward tokens and voids over HTTP, and what the operator sees of money; the sandbox's books and
//! `holdfast check` have to agree afterwards.

use serde_json::{Value, json};
use support::money::{
    NOBODY, OFTEN, RARELY, admin, asked, assert_checks_clean, buy, charges, id_of,
    paid_and_declined, part, put_rewarded, refund, refunds_of, rewards, spend, told,
};
use support::{ADMIN, KEYS_OF_EACH_ROLE, READER, Request, SHOP, Setup, until};

#[test]
fn only_authorized_purchases_can_be_voided() {
    let server = Setup::demo().start();
    let (paid, declined) = paid_and_declined(&server);
    let void = |id: &str| Request::post(&format!("/admin/purchases/{id}/void")).key(ADMIN);
    let held = server.ask(&Request::hold("di", "drop-1", 1, "key-no-hold"));
    let held = held.json()["hold_id"].as_str().unwrap().replace("h_", "p_");
    for (id, status, reason) in [
        (NOBODY, 404, "purchase_not_found"),
        (&paid, 409, "wrong_state"),
        (&declined, 409, "wrong_state"),
        (&held, 409, "wrong_state"),
    ] {
        let answer = server.ask(&void(id).json(&json!({})));
        assert_eq!(told(&answer), (status, reason.to_owned()), "{id}");
    }
    let told_why = server.ask(&void(&paid).json(&json!({"why": 1})));
    assert_eq!(told(&told_why), (400, "invalid_request".to_owned()));

    assert_eq!(server.stock("drop-1"), [100, 1, 1, 98]);
}

#[test]
fn each_refusal_of_a_spending_or_an_inquiry_has_its_status_and_reason() {
    let server = Setup::demo().start();
    let (paid, _) = paid_and_declined(&server);
    let keyless = json!({"tokens": 1});
    for (request, status, reason) in [
        (spend("ana", 1, "key-no-tokens"), 409, "not_enough_tokens"),
        (spend("a%20b", 1, "key-no-user"), 400, "invalid_request"),
        (spend("ana", 0, "key-no-none"), 400, "invalid_request"),
        (
            Request::post("/limited/rewards/ana/spend")
                .key(SHOP)
                .json(&keyless),
            400,
            "idempotency_key_missing",
        ),
    ] {
        assert_eq!(told(&server.ask(&request)), (status, reason.to_owned()));
    }
    for (path, status, reason) in [
        (refunds_of(NOBODY), 404, "purchase_not_found"),
        (
            format!("{}/1", refunds_of(NOBODY)),
            404,
            "purchase_not_found",
        ),
        (format!("{}/1", refunds_of(&paid)), 404, "refund_not_found"),
        (format!("{}/x", refunds_of(&paid)), 404, "refund_not_found"),
        (
            format!("/admin/purchases/{NOBODY}"),
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
    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = r#"{flow="reward",result="refused",reason="not_enough_tokens"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn reward_tokens_are_granted_spent_clawed_back_and_owed() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = Setup::demo().data_dir(&data_dir).start();
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
        json!([{"product_id": "gift", "units": 1}])
    );
    assert_eq!(user["attempts_in_window"], 2);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn an_auditor_reads_and_changes_nothing() {
    let server = Setup::demo().config(KEYS_OF_EACH_ROLE).start();
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
        assert_eq!(ask(READER), 200, "{path}");
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
        let answer = server.ask(&request.clone().key(READER));
        assert_eq!(answer.status, 403, "{}", request.path);
    }
    for request in [&refund, &void] {
        assert_eq!(server.ask(&request.clone().key(SHOP)).status, 403);
    }
    assert_eq!(server.ask(&spend.key(ADMIN)).status, 403);
    assert_eq!(charges(&server), [("captured".to_owned(), 1999, 1)]);
}

#[test]
fn an_authorized_purchase_is_voided_when_the_operator_orders_it() {
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

#[test]
fn stuck_voids_come_first_and_are_retried_when_the_operator_orders_it() {
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
