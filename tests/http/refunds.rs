//! Refunds over HTTP: in parts, at once, under keys, refused, waiting; the sandbox's books and
//! `holdfast check` have to agree afterwards.

mod standing;

use serde_json::{Value, json};
use support::money::{
    NOBODY, OFTEN, RARELY, admin, asked, assert_checks_clean, bought_with, buy, charges, events_of,
    id_of, paid_and_declined, part, put_rewarded, refund, refunds_of, spend, told,
};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, until};

#[test]
fn however_many_refunds_there_were_all_that_is_left_can_go_back() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = Setup::demo().data_dir(&data_dir).start();
    let id = id_of(&buy(&server, "ana", "drop-1", "key-many-buy"));
    let mut client = server.connect();
    for before in 0..100 {
        let one = client.ask(&refund(
            &id,
            &format!("key-many-{before}"),
            &part(1, before),
        ));
        assert_eq!(one.status, 201, "{one:?}");
    }
    let more = server.ask(&refund(&id, "key-many-more", &part(1, 100)));
    assert_eq!(told(&more), (409, "refund_conflict".to_owned()));
    assert_eq!(more.json()["conflict"], "too_many");
    assert_eq!(more.json()["left"], 1899);
    let rest = json!({"previously_refunded": 100, "reason": "all of it"});
    let rest = server.ask(&refund(&id, "key-many-rest", &rest));
    assert_eq!(rest.status, 201, "{rest:?}");
    assert_eq!(charges(&server), [("refunded".to_owned(), 1999, 1999)]);
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
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
        "refund_id": format!("f_{}", &request_id[4..]),
        "purchase_id": id,
        "number": 1,
        "amount": 500,
        "currency": "USD",
        "status": "succeeded",
        "previously_refunded": 0,
        "refunded_amount": 500,
        "reason": "arrived scratched",
        "restock": false,
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
fn the_outcome_of_a_key_is_replayed_after_a_crash() {
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
fn each_refusal_of_a_refund_has_its_status_and_reason() {
    let server = Setup::demo().start();
    let (paid, declined) = paid_and_declined(&server);
    let body = |amount: Value, reason: &str| json!({"amount": amount, "previously_refunded": 0, "reason": reason});
    let fine = body(json!(1), "r");
    let cases = [
        (NOBODY, fine.clone(), 404, "purchase_not_found"),
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
            "invalid_request",
        ),
    ];
    for (place, (purchase, body, status, reason)) in cases.into_iter().enumerate() {
        let key = format!("key-refused-{place}");
        let answer = server.ask(&refund(purchase, &key, &body));
        assert_eq!(told(&answer), (status, reason.to_owned()), "{body}");
        assert!(
            !support::shows_card_number(&answer.text()),
            "{}",
            answer.text()
        );
    }
    let keyless = Request::post(&refunds_of(&paid)).key(ADMIN).json(&fine);
    let keyless = server.ask(&keyless);
    assert_eq!(told(&keyless), (400, "idempotency_key_missing".to_owned()));

    // Nothing moved, and no card number was kept.
    assert_eq!(charges(&server)[0].2 + charges(&server)[1].2, 0);
    let trail = admin(&server, "/admin/audit?kind=attempt_refused&limit=1000");
    assert!(trail.text().contains("refund_exceeds_captured"));
    assert!(!support::shows_card_number(&trail.text()));
    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = r#"{flow="refund",result="refused",reason="refund_conflict"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_refused_refund_moves_no_money_and_is_stored_under_its_key() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    let id = bought_with(&server, "tok_refund_refused", "key-refuse-buy");
    let request = refund(&id, "key-refuse-1", &part(500, 0));
    let refused = server.ask(&request);
    assert_eq!(told(&refused), (409, "refund_failed".to_owned()));
    let request_id = refused.header("x-request-id").unwrap().to_owned();
    let body = refused.json();
    assert_eq!(body["request_id"], request_id.as_str());
    assert_eq!(
        (&body["purchase_id"], &body["number"]),
        (&json!(id), &json!(1))
    );
    assert_eq!(
        (&body["amount"], &body["currency"]),
        (&json!(500), &json!("USD"))
    );
    assert_eq!(body["code"], Value::Null, "this gateway has no word for it");
    let detail = "The gateway refused to refund 5.00 USD. Nothing was refunded.";
    assert_eq!(body["detail"], detail);

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
    assert_eq!(again.json()["purchase_id"], id);
    assert_eq!(again.header("location"), Some(at.as_str()));
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
fn with_an_open_circuit_no_refund_starts_and_finished_ones_are_replayed() {
    let circuit = "[payments.circuit]\nfailures = 1\nopen_ms = 600000";
    let config = format!("[payments]\nretries_max = 0\n{circuit}");
    let server = Setup::demo().config(&config).start();
    let id = bought_with(&server, "tok_ok", "key-open-buy");
    let ended = refund(&id, "key-open-1", &part(500, 0));
    let first = server.ask(&ended);
    assert_eq!(first.status, 201, "{first:?}");
    let down = server.ask(&Request::buy(
        "bo",
        "drop-1",
        "tok_auth_unknown",
        "key-open-2",
    ));
    assert_eq!(down.status, 202, "{down:?}");

    let refused = server.ask(&refund(&id, "key-open-3", &part(1, 500)));
    assert_eq!(told(&refused), (503, "gateway_unavailable".to_owned()));
    assert!(refused.header("retry-after").is_some());
    let again = server.ask(&ended);
    assert_eq!((again.status, again.text()), (201, first.text()));
    let listed = admin(&server, &refunds_of(&id)).json();
    assert_eq!(listed["refunds"].as_array().unwrap().len(), 1);
}
