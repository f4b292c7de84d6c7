//! Purchases that wait for a person, over HTTP: the queue, the decisions, deadlines over `kill -9`;
//! the sandbox's books and `holdfast check` have to agree afterwards.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, binary, until};

const AUDITOR: &str = "an-auditor-who-only-reads";

fn config(more: &str) -> String {
    format!(
        r#"
        [review]
        amount_over = {{ USD = 2000 }}
        {more}
        [limits.rate]
        count = 1000
        [[auth.keys]]
        name = "demo-shop"
        role = "shop"
        key = "{SHOP}"
        [[auth.keys]]
        name = "demo-admin"
        role = "admin"
        key = "{ADMIN}"
        [[auth.keys]]
        name = "books"
        role = "auditor"
        key = "{AUDITOR}"
        "#
    )
}

fn start(data_dir: &Path, more: &str) -> Server {
    let server = Setup::demo()
        .data_dir(data_dir)
        .config(&config(more))
        .start();
    server.put_product("watch", 100);
    server
}

/// Two units are above the threshold, one is not.
fn buy_two(user: &str, card: &str, key: &str) -> Request {
    let body = json!({
        "user_id": user, "product_id": "watch", "quantity": 2, "currency": "USD",
        "card_token": card,
    });
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&body)
}

fn reviewed(server: &Server, user: &str, card: &str, key: &str) -> String {
    let bought = server.ask(&buy_two(user, card, key));
    assert_eq!(bought.status, 202, "{bought:?}");
    let body = bought.json();
    assert_eq!(body["status"], "under_review");
    assert_eq!(body["receipt"], Value::Null);
    let id = body["purchase_id"].as_str().unwrap().to_owned();
    let location = bought.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/limited/purchases/{id}"));
    id
}

fn decision(id: &str, verdict: &str, note: &str) -> Request {
    let path = format!("/admin/reviews/{id}/{verdict}");
    Request::post(&path)
        .key(ADMIN)
        .json(&json!({ "note": note }))
}

fn get(server: &Server, path: &str, key: &str) -> Response {
    server.ask(&Request::get(path).key(key))
}

fn purchase(server: &Server, id: &str) -> Value {
    get(server, &format!("/limited/purchases/{id}"), SHOP).json()
}

fn steps(purchase: &Value) -> Vec<&str> {
    let history = purchase["history"].as_array().unwrap();
    history
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect()
}

/// The state of each charge, by purchase.
fn charges(server: &Server) -> BTreeSet<(String, String)> {
    let body = get(server, "/admin/sandbox/charges", ADMIN).json();
    let charges = body["charges"].as_array().unwrap().iter();
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    charges
        .map(|it| (text(it, "purchase_id"), text(it, "state")))
        .collect()
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = get(server, "/metrics", ADMIN).text();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn assert_checks_clean(data_dir: &Path) {
    let checked = binary().arg("check").arg(data_dir).output().unwrap();
    let out = String::from_utf8_lossy(&checked.stdout);
    let err = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{out}{err}");
}

#[test]
fn above_the_threshold_a_person_decides_and_the_key_answers_as_they_did() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = start(&data_dir, "");
    let plain = server.ask(&Request::buy("ana", "watch", "tok_ok", "key-one-unit"));
    assert_eq!(plain.status, 201, "one unit is below: {plain:?}");

    let yes = reviewed(&server, "bo", "tok_ok", "key-approved");
    let no = reviewed(&server, "cho", "tok_ok", "key-rejected");
    assert_eq!(server.stock("watch"), [100, 4, 1, 95]);
    assert_eq!(metric(&server, "holdfast_reviews_open"), 2);
    let waits = server.ask(&buy_two("bo", "tok_ok", "key-approved"));
    assert_eq!(
        (waits.status, waits.reason()),
        (409, "idempotency_in_flight".into())
    );
    assert_eq!(waits.json()["purchase_id"], yes);
    let at = format!("/limited/purchases/{yes}");
    assert_eq!(waits.header("location"), Some(at.as_str()));

    let approved = server.ask(&decision(&yes, "approve", "called the buyer"));
    assert_eq!(approved.status, 200, "{approved:?}");
    let body = approved.json();
    assert_eq!(body["status"], "captured");
    assert_eq!(body["receipt"]["purchase_id"], yes.as_str());
    assert_eq!(
        steps(&body),
        [
            "hold_placed",
            "payment_started",
            "payment_authorized",
            "review_opened",
            "review_approved",
            "payment_captured"
        ]
    );
    let replayed = server.ask(&buy_two("bo", "tok_ok", "key-approved"));
    assert_eq!(replayed.status, 201);
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!(replayed.json(), body);

    let rejected = server.ask(&decision(&no, "reject", "three accounts, one card"));
    assert_eq!(rejected.status, 200, "{rejected:?}");
    let body = rejected.json();
    let told = (&body["status"], &body["reason"], &body["receipt"]);
    assert_eq!(
        told,
        (&json!("voided"), &json!("review_rejected"), &Value::Null)
    );
    let replayed = server.ask(&buy_two("cho", "tok_ok", "key-rejected"));
    assert_eq!(
        (replayed.status, replayed.reason()),
        (402, "payment_declined".into())
    );
    assert_eq!(server.stock("watch"), [100, 0, 3, 97]);
    assert_eq!(metric(&server, "holdfast_reviews_open"), 0);
    assert_eq!(metric(&server, "holdfast_reviews_oldest_age_seconds"), 0);

    for verdict in ["approve", "reject"] {
        for id in [&yes, &no] {
            let again = server.ask(&decision(id, verdict, "again"));
            assert_eq!((again.status, again.reason()), (409, "wrong_state".into()));
        }
    }
    let page = get(&server, "/admin/audit?kind=review_decided", AUDITOR).json();
    let events = page["events"].as_array().unwrap();
    let told = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        ["purchase_id", "verdict", "decided_by", "key_owner", "note"].map(text)
    };
    let expected = [
        [
            yes.as_str(),
            "approved",
            "person",
            "demo-admin",
            "called the buyer",
        ],
        [
            no.as_str(),
            "rejected",
            "person",
            "demo-admin",
            "three accounts, one card",
        ],
    ];
    let found: Vec<_> = events.iter().map(told).collect();
    assert_eq!(found, expected.map(|row| row.map(str::to_owned)));
    server.stop();
    assert_checks_clean(&data_dir);
}

#[test]
fn the_queue_shows_what_a_person_needs_and_takes_decisions_from_administrators_only() {
    let kept = tempfile::tempdir().unwrap();
    let server = start(&kept.path().join("data"), "");
    let first = server.ask(&Request::buy("bo", "watch", "tok_ok", "key-queue-0"));
    assert_eq!(first.status, 201);
    let ids: Vec<_> = (1..4)
        .map(|it| reviewed(&server, "bo", "tok_ok", &format!("key-queue-{it}")))
        .collect();
    let queue = get(&server, "/admin/reviews?limit=2", AUDITOR);
    assert_eq!(queue.status, 200);
    let queue = queue.json();
    assert_eq!((&queue["total"], &queue["more"]), (&json!(3), &json!(true)));
    let shown = queue["reviews"].as_array().unwrap();
    let found: Vec<_> = shown
        .iter()
        .map(|it| it["purchase_id"].as_str().unwrap())
        .collect();
    assert_eq!(found, [&ids[0], &ids[1]], "the oldest deadline first");
    let one = &shown[0];
    assert_eq!(one["amount"], 3_998);
    assert_eq!(one["currency"], "USD");
    assert_eq!(one["reasons"], json!(["amount_over"]));
    assert!(one["age_s"].as_u64().unwrap() < 60);
    assert!(one["deadline"].as_str().unwrap() > one["opened_at"].as_str().unwrap());
    assert_eq!(one["buyer"]["user_id"], "bo");
    assert_eq!(one["buyer"]["purchases"], 4);
    assert_eq!(one["buyer"]["attempts_in_window"], 4);
    let committed = json!([{"product_id": "watch", "units": 7}]);
    assert_eq!(one["buyer"]["committed"], committed);
    let shown = get(&server, &format!("/admin/purchases/{}", ids[0]), ADMIN).json();
    assert_eq!(shown["review"]["reasons"], json!(["amount_over"]));
    assert_eq!(shown["review"]["deadline"], one["deadline"]);

    let path = format!("/admin/reviews/{}/approve", ids[0]);
    let note = json!({"note": "fine"});
    for key in [AUDITOR, SHOP] {
        let answer = server.ask(&Request::post(&path).key(key).json(&note));
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    assert_eq!(get(&server, "/admin/reviews", SHOP).status, 403);
    for (body, reason) in [
        (json!({}), "invalid_request"),
        (json!({"note": ""}), "invalid_request"),
        (
            json!({"note": "card 4111 1111 1111 1111"}),
            "invalid_request",
        ),
    ] {
        let answer = server.ask(&Request::post(&path).key(ADMIN).json(&body));
        assert_eq!((answer.status, answer.reason().as_str()), (400, reason));
    }
    for (id, status) in [("p_00000000000fff005a17c0de5a17c0de", 404), ("h_0", 404)] {
        assert_eq!(server.ask(&decision(id, "approve", "x")).status, status);
    }
    let bought = first.json()["purchase_id"].as_str().unwrap().to_owned();
    let answer = server.ask(&decision(&bought, "reject", "late"));
    assert_eq!(
        (answer.status, answer.reason()),
        (409, "wrong_state".into())
    );
    assert_eq!(get(&server, "/admin/reviews?limit=0", ADMIN).status, 400);
    // The operator's void needs no note, and is no decision.
    let voided =
        server.ask(&Request::post(&format!("/admin/purchases/{}/void", ids[2])).key(ADMIN));
    assert_eq!(
        (voided.status, &voided.json()["reason"]),
        (200, &json!("operator"))
    );
}

#[test]
fn of_many_who_decide_at_once_each_purchase_has_one_decision() {
    const PURCHASES: usize = 24;
    const THREADS: usize = 20;
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let server = start(&data_dir, "");
    let ids: Vec<_> = (0..PURCHASES)
        .map(|it| {
            reviewed(
                &server,
                &format!("buyer-{it}"),
                "tok_ok",
                &format!("key-race-{it}"),
            )
        })
        .collect();
    let decide = |thread: usize| {
        let mut client = server.connect();
        let mut won = Vec::new();
        for place in 0..PURCHASES {
            let place = (place + thread / 2) % PURCHASES;
            let verdict = if thread.is_multiple_of(2) {
                "approve"
            } else {
                "reject"
            };
            let answer = client.ask(&decision(&ids[place], verdict, "at once"));
            match answer.status {
                200 | 202 => won.push((place, verdict)),
                _ => assert_eq!(
                    (answer.status, answer.reason()),
                    (409, "wrong_state".into())
                ),
            }
        }
        won
    };
    let won: Vec<(usize, &str)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|it| scope.spawn(move || decide(it)))
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert_eq!(won.len(), PURCHASES, "each was decided once");
    let mut expected = BTreeSet::new();
    let mut sold = 0;
    for (place, verdict) in won {
        let id = &ids[place];
        let (end, state) = if verdict == "approve" {
            sold += 2;
            ("captured", "captured")
        } else {
            ("voided", "voided")
        };
        until("each is at its end", || {
            (purchase(&server, id)["status"] == end).then_some(())
        });
        expected.insert((id.clone(), state.to_owned()));
    }
    assert_eq!(charges(&server), expected);
    assert_eq!(server.stock("watch"), [100, 0, sold, 100 - sold]);
    let page = get(
        &server,
        "/admin/audit?kind=review_decided&limit=1000",
        ADMIN,
    )
    .json();
    assert_eq!(page["events"].as_array().unwrap().len(), PURCHASES);
    server.stop();
    assert_checks_clean(&data_dir);
}

#[test]
fn deadlines_are_kept_over_kill_9_and_decided_as_the_configuration_says() {
    for (word, end, reason) in [
        ("approve", "captured", Value::Null),
        ("reject", "voided", json!("review_timed_out")),
    ] {
        let kept = tempfile::tempdir().unwrap();
        let data_dir = kept.path().join("data");
        let more = format!(
            "on_deadline = \"{word}\"\n[payments]\nreview_deadline_s = 3\ngateway = \"sandbox\""
        );
        let mut server = start(&data_dir, &more);
        let ids: Vec<_> = (0..5)
            .map(|it| {
                reviewed(
                    &server,
                    &format!("buyer-{it}"),
                    "tok_ok",
                    &format!("key-late-{it}"),
                )
            })
            .collect();
        server.kill();
        let began = Instant::now();
        let server = start(&data_dir, &more);
        for id in &ids {
            let ended = until("its deadline comes", || {
                let purchase = purchase(&server, id);
                (purchase["status"] == end).then_some(purchase)
            });
            assert_eq!(ended["reason"], reason);
        }
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "{word}: decided in time, not after {took:?}"
        );
        let page = get(&server, "/admin/audit?kind=review_decided", ADMIN).json();
        let events = page["events"].as_array().unwrap();
        assert_eq!(events.len(), ids.len());
        assert!(events.iter().all(|event| event["decided_by"] == "deadline"));
        let before = get(&server, "/admin/status", ADMIN).json();
        assert_eq!(before["reviews"], 0);
        server.stop();
        assert_checks_clean(&data_dir);
    }
}
