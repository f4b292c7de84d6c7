//! Risk over HTTP: rules put in force and refused, who is blocked and told so again, what the audit
//! trail and the metrics say, pauses, files and SIGHUP, restarts.

use serde_json::{Value, json};
use std::path::Path;
use support::{ADMIN, Request, Response, SHOP, Server, Setup, binary, rating_terms, until};

const TESTING: &str = "# three declines are enough\n[[rule]]\nname = \"card testing\"\nwhen = \"count(declined by card_token last 10m) >= 2\"\nthen = \"block\"\n";

fn rules(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/admin/risk/rules").key(ADMIN));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn put(server: &Server, kind: &str, body: &str) -> Response {
    let mut request = Request::put("/admin/risk/rules").key(ADMIN);
    request.body = body.as_bytes().to_vec();
    server.ask(&request.header("content-type", kind))
}

fn put_toml(server: &Server, body: &str) -> Value {
    let answer = put(server, "application/toml", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn buy(server: &Server, user: &str, card: &str, key: &str) -> (u16, String) {
    let answer = server.ask(&Request::buy(user, "drop-1", card, key));
    (answer.status, answer.reason())
}

fn blocked() -> (u16, String) {
    (403, "risk_blocked".to_owned())
}

fn declined() -> (u16, String) {
    (402, "payment_declined".to_owned())
}

#[test]
fn a_rule_blocks_and_the_answer_the_audit_trail_and_the_metrics_say_so() {
    let server = Setup::demo().start();
    assert_eq!(rules(&server)["version"], Value::Null, "the demo has none");
    let told = put_toml(
        &server,
        &format!(
            "{TESTING}\n[[rule]]\nname = \"all\"\nwhen = \"quantity >= 1\"\nthen = \"observe\"\n"
        ),
    );
    assert_eq!(told["source"], "administration");
    assert_eq!(told["set_by"], "demo-admin");
    assert_eq!(told["rules"][0]["name"], "card testing");
    assert_eq!(
        told["rules"][0]["warms_up_until"],
        Value::Null,
        "nothing was there before"
    );
    for (user, key) in [("ana", "key-a-001"), ("bo", "key-b-001")] {
        assert_eq!(buy(&server, user, "tok_declined", key), declined());
    }
    assert_eq!(buy(&server, "cy", "tok_declined", "key-c-001"), blocked());
    // Remembered: lifting the rule changes nothing under this key.
    let emptied = put(&server, "application/toml", "# nothing\n");
    assert_eq!(emptied.status, 400, "{emptied:?}");
    let lenient = TESTING.replace("\"block\"", "\"observe\"");
    put_toml(&server, &lenient);
    let again = server.ask(&Request::buy("cy", "drop-1", "tok_declined", "key-c-001"));
    assert_eq!((again.status, again.reason()), blocked());
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(buy(&server, "cy", "tok_declined", "key-c-002"), declined());

    let events = server.ask(&Request::get("/admin/audit?limit=1000").key(ADMIN));
    let events = events.json()["events"].clone();
    let events = events.as_array().unwrap();
    let of = |kind: &str| {
        let of_kind = events.iter().filter(|event| event["kind"] == kind);
        of_kind.cloned().collect::<Vec<_>>()
    };
    let refused = of("attempt_refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["reason"], "risk_blocked");
    assert_eq!(
        refused[0]["risk"],
        json!([{"rule": "card testing", "then": "block"}, {"rule": "all", "then": "observe"}])
    );
    let observed = json!([{"rule": "all", "then": "observe"}]);
    assert_eq!(of("hold_placed")[0]["risk"], observed);
    assert_eq!(of("payment_started")[0]["risk"], observed);
    assert_eq!(of("payment_started")[0]["review"], json!([]));
    assert_eq!(
        of("payment_declined")[0]["whence"]["card_token"],
        "tok_declined"
    );
    assert_eq!(of("risk_rules_set").len(), 2);
}

#[test]
fn hits_are_counted_by_rule_and_a_review_is_wanted_of_the_payment() {
    let server = Setup::demo().start();
    put_toml(
        &server,
        "[[rule]]\nname = \"look\"\nwhen = \"amount >= 1999\"\nthen = \"review\"\n[[rule]]\nname = \"never\"\nwhen = \"amount < 1\"\nthen = \"block\"\n",
    );
    let hold = server.ask(&Request::hold("ana", "drop-1", 1, "key-h-001"));
    assert_eq!(hold.status, 201, "{hold:?}");
    let status = server.ask(&Request::buy("bo", "drop-1", "tok_ok", "key-b-001"));
    assert!(matches!(status.status, 201 | 202), "{status:?}");
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    for line in [
        "holdfast_risk_hits_total{rule=\"look\",outcome=\"review\"} 2",
        "holdfast_risk_hits_total{rule=\"never\",outcome=\"block\"} 0",
        "holdfast_velocity_keys_given_up_total 0",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    let path = "/admin/audit?kind=payment_started";
    let events = server.ask(&Request::get(path).key(ADMIN)).json();
    let started = &events["events"][0];
    assert_eq!(started["review"], json!(["look"]));
    assert_eq!(started["risk"], json!([{"rule": "look", "then": "review"}]));
}

#[test]
fn rules_that_do_not_parse_change_nothing_and_say_where() {
    let server = Setup::demo().start();
    put_toml(&server, TESTING);
    let before = rules(&server);
    let cases = [
        (
            "application/toml",
            "[[rule]]\nname = \"a\"\nwhen = \"cuont(attempt by user last 1h) > 1\"\nthen = \"block\"",
            (3, 9),
            "did you mean `count`?",
        ),
        (
            "application/toml",
            "[[rule]]\nname = \"a",
            (2, 10),
            "not TOML",
        ),
        (
            "application/json",
            "{\"rule\": [{\"name\": \"a\",\n \"when\": \"currency == \\\"USD\\\" adn amount > 1\", \"then\": \"block\"}]}",
            (2, 31),
            "did you mean `and`?",
        ),
        (
            "application/json",
            "{\"rule\": 1}",
            (1, 10),
            "another shape",
        ),
    ];
    for (kind, body, (line, column), words) in cases {
        let answer = put(&server, kind, body);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "invalid_request")
        );
        let error = answer.json()["errors"][0].clone();
        let place = (&error["line"], &error["column"]);
        assert_eq!(place, (&json!(line), &json!(column)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(put(&server, "text/plain", TESTING).status, 415);
    assert_eq!(rules(&server), before);
    let shop = Request::get("/admin/risk/rules").key(SHOP);
    assert_eq!(server.ask(&shop).status, 403);
    assert_eq!(buy(&server, "ana", "tok_declined", "key-a-001"), declined());
    assert_eq!(buy(&server, "ana", "tok_declined", "key-a-002"), declined());
    assert_eq!(buy(&server, "ana", "tok_declined", "key-a-003"), blocked());
}

#[test]
fn json_is_taken_too_and_what_is_in_force_outlives_a_restart_with_the_set_before() {
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::demo().data_dir(directory.path()).start();
    put_toml(&server, TESTING);
    let body = json!({"rule": [{
        "name": "dollars", "when": "currency == \"USD\" and quantity >= 1", "then": "block",
    }]});
    let answer = put(&server, "application/json", &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let before = rules(&server);
    assert_eq!(before["previous"]["text"], TESTING);
    assert_eq!(
        before["rules"][0]["when"],
        "currency == \"USD\" and quantity >= 1"
    );
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-001"), blocked());
    server.stop();
    let server = Setup::demo().data_dir(directory.path()).start();
    let after = rules(&server);
    assert_eq!(after, before);
    assert_eq!(buy(&server, "bo", "tok_ok", "key-b-001"), blocked());
    server.stop();
    let log = binary().arg("log").arg(directory.path()).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<_> = lines
        .filter(|line| line["kind"] == "attempt_refused")
        .collect();
    assert_eq!(refused.len(), 2);
    assert!(
        refused
            .iter()
            .all(|it| it["risk"] == json!([{"rule": "dollars", "then": "block"}]))
    );
}

/// An IPv4 address is counted as itself however it is written, and one of IPv6 with all of its /64.
#[test]
fn addresses_are_counted_in_their_canonical_form() {
    let server = Setup::demo().start();
    put_toml(
        &server,
        "[[rule]]\nname = \"one address\"\nwhen = \"count(attempt by ip last 1h) >= 2\"\nthen = \"block\"\n",
    );
    let mut number = 0;
    let mut buys_from = |address: &str| {
        number += 1;
        let mut buy = Request::buy(
            &format!("user-{number}"),
            "drop-1",
            "tok_ok",
            "key-of-buy-1",
        );
        let mut body: Value = serde_json::from_slice(&buy.body).unwrap();
        body["ip"] = json!(address);
        buy.body = body.to_string().into_bytes();
        server.ask(&buy).status
    };
    for (addresses, other) in [
        (
            ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"],
            "192.0.2.2",
        ),
        (
            [
                "2001:db8:1:2::1",
                "2001:db8:1:2:ffff::",
                "2001:db8:1:2:8000::7",
            ],
            "2001:db8:1:3::1",
        ),
    ] {
        let [first, second, third] = addresses.map(&mut buys_from);
        assert_eq!((first, second, third), (201, 201, 403), "{addresses:?}");
        assert_eq!(buys_from(other), 201, "{other}");
    }
    // What is kept is the address as it was given.
    let audit = server.ask(&Request::get("/admin/audit?kind=payment_started").key(ADMIN));
    assert!(
        audit.text().contains("\"::ffff:192.0.2.1\""),
        "{}",
        audit.text()
    );
}

#[test]
fn a_paused_buyer_is_refused_until_the_pause_ends_or_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::demo().data_dir(directory.path()).start();
    let pause = |server: &Server, body: Value| {
        server.ask(
            &Request::post("/admin/users/ana/pause")
                .key(ADMIN)
                .json(&body),
        )
    };
    for (body, field) in [
        (
            json!({"until": "2001-01-01T00:00:00Z", "reason": "x"}),
            "until",
        ),
        (json!({"until": "2999-01-01T00:00:00Z"}), "reason"),
        (
            json!({"until": "2999-01-01T00:00:00Z", "reason": ""}),
            "reason",
        ),
        (
            json!({"until": "2999-01-01T00:00:00Z", "reason": "card 4111 1111 1111 1111"}),
            "reason",
        ),
    ] {
        let answer = pause(&server, body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.json()["errors"][0]["field"], field);
        assert!(!support::shows_card_number(&answer.text()));
    }
    let paused = pause(
        &server,
        json!({"until": "2999-01-01T00:00:00Z", "reason": "resale"}),
    );
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(
        paused.json()["pause"],
        json!({"until": "2999-01-01T00:00:00.000Z", "reason": "resale"})
    );
    let held = server.ask(&Request::hold("ana", "drop-1", 1, "key-h-001"));
    assert_eq!((held.status, held.reason()), blocked());
    server.stop();
    let server = Setup::demo().data_dir(directory.path()).start();
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-001"), blocked());
    assert_eq!(buy(&server, "bo", "tok_ok", "key-b-001").0, 201);
    let lifted = server.ask(&Request::delete("/admin/users/ana/pause").key(ADMIN));
    assert_eq!(
        (lifted.status, &lifted.json()["pause"]),
        (200, &Value::Null)
    );
    assert_eq!(
        buy(&server, "ana", "tok_ok", "key-a-001"),
        blocked(),
        "remembered"
    );
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-002").0, 201);
}

#[test]
fn rules_use_the_rating_of_a_buyer() {
    let server = Setup::demo().start();
    put_toml(
        &server,
        "[[rule]]\nname = \"r\"\nwhen = \"segment == 'resale' and risk_score >= 700\"\nthen = \"block\"\n",
    );
    let rate = |body: Value| {
        server.ask(
            &Request::put("/admin/users/ana/rating")
                .key(ADMIN)
                .json(&rating_terms(&body)),
        )
    };
    let partly = Request::put("/admin/users/ana/rating").key(ADMIN);
    let partly = server.ask(&partly.json(&json!({"risk_score": 7})));
    assert_eq!(partly.status, 400, "{partly:?}");
    assert_eq!(rate(json!({"risk_score": 1001})).status, 400);
    assert_eq!(rate(json!({"segment": "a b"})).status, 400);
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-001").0, 201);
    let rated = rate(json!({"segment": "resale", "risk_score": 700}));
    assert_eq!(rated.status, 200, "{rated:?}");
    let shown = server.ask(&Request::get("/admin/users/ana/rating").key(ADMIN));
    assert_eq!(shown.json(), rated.json());
    assert_eq!(shown.json()["risk_score"], 700);
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-002"), blocked());
    assert_eq!(rate(json!({"segment": "resale"})).status, 200);
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-003").0, 201);
}

fn with_file(directory: &Path, file: &Path) -> Setup {
    let config = format!("[risk]\nrules_file = \"{}\"\n", file.display());
    Setup::demo().data_dir(directory).config(&config)
}

fn named(server: &Server) -> Vec<String> {
    let rules = rules(server)["rules"].clone();
    let names = rules.as_array().unwrap().iter();
    names
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

fn rule(name: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nwhen = \"quantity > 900\"\nthen = \"block\"\n")
}

#[test]
fn of_a_file_and_the_log_the_newest_wins_at_start_and_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("rules.toml");
    std::fs::write(&file, rule("one")).unwrap();
    let server = with_file(&data, &file).start();
    assert_eq!(named(&server), ["one"]);
    assert_eq!(rules(&server)["source"], "file");
    put_toml(&server, &rule("two"));
    // The file has not changed since: what was put later stays, over a restart and a SIGHUP.
    server.stop();
    let server = with_file(&data, &file).start();
    assert_eq!(named(&server), ["two"]);
    server.hang_up();
    until("the configuration was read again", || {
        server
            .log
            .lines()
            .iter()
            .any(|it| it.contains("\"reloaded\""))
            .then_some(())
    });
    assert_eq!(named(&server), ["two"]);
    // A file that is wrong changes nothing.
    std::fs::write(&file, "[[rule]]\nname = 7\n").unwrap();
    server.hang_up();
    let said = server.log.wait_for("reload_failed").unwrap();
    let said = said["message"].as_str().unwrap_or_default().to_owned()
        + said["fields"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("line 2, column 8"), "{said}");
    assert_eq!(named(&server), ["two"]);
    server.stop();
    let server = with_file(&data, &file).start();
    assert_eq!(named(&server), ["two"], "nor does it stop a restart");
    std::fs::write(&file, rule("three")).unwrap();
    server.hang_up();
    until("the file's rules are in force", || {
        (named(&server) == ["three"]).then_some(())
    });
    assert_eq!(rules(&server)["previous"]["text"], rule("two"));
    server.stop();
    std::fs::write(&file, rule("four")).unwrap();
    let server = with_file(&data, &file).start();
    assert_eq!(named(&server), ["four"], "changed while nothing ran");
    server.stop();
    // With nothing in force to fall back on, a wrong file stops the start.
    std::fs::write(&file, "[[rule]]\nname = 7\n").unwrap();
    let (status, log) = with_file(&directory.path().join("other"), &file)
        .try_start()
        .err()
        .expect("it does not start");
    assert_eq!(status.code(), Some(1), "{log:?}");
    assert!(
        log.iter().any(|it| it.contains("line 2, column 8")),
        "{log:?}"
    );
}

#[test]
fn the_shipped_rules_are_in_force_unless_switched_off_or_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let demo = |default_rules: bool| {
        let config = format!("[risk]\ndefault_rules = {default_rules}\n");
        Setup::demo().data_dir(directory.path()).config(&config)
    };
    let server = demo(true).start();
    assert_eq!(rules(&server)["source"], "shipped");
    assert!(named(&server).contains(&"card testing".to_owned()));
    let version = rules(&server)["version"].clone();
    server.stop();
    let server = demo(true).start();
    assert_eq!(rules(&server)["version"], version, "not set twice");
    server.stop();
    let server = demo(false).start();
    assert_eq!(rules(&server)["rules"], json!([]), "switched off");
    put_toml(&server, &rule("mine"));
    server.stop();
    let server = demo(true).start();
    assert_eq!(named(&server), ["mine"], "what the operator set stays");
}

#[test]
fn a_rule_counts_expired_holds_of_a_hoarder() {
    let server = Setup::demo().start();
    let terms = json!({"name": "watch", "price": {"USD": 1999}, "stock": 100, "hold_ttl_s": 1});
    let put = Request::put("/admin/products/watch").key(ADMIN);
    let put = server.ask(&put.json(&support::product_terms(&terms)));
    assert!(matches!(put.status, 200 | 201), "{put:?}");
    let rule = |by: &str| {
        format!(
            "[[rule]]\nname = \"hoarding by {by}\"\nwhen = \"count(expired by {by} last 1h) >= 2\"\nthen = \"observe\"\n"
        )
    };
    let rules = ["user", "ip", "device", "product", "card_token"].map(rule);
    put_toml(&server, &rules.concat());
    let hold = |user: &str, ip: &str, device: &str, key: &str| {
        let mut body = json!({"user_id": user, "product_id": "watch", "quantity": 1});
        body["ip"] = ip.into();
        body["device_id"] = device.into();
        let request = Request::post("/limited/holds").key(SHOP).once(key);
        let held = server.ask(&request.json(&body));
        assert_eq!(held.status, 201, "{held:?}");
        held.json()["hold_id"].as_str().unwrap().to_owned()
    };
    let events = |kind: &str| {
        let path = format!("/admin/audit?kind={kind}");
        let page = server.ask(&Request::get(&path).key(ADMIN)).json();
        page["events"].as_array().unwrap().clone()
    };
    hold("ana", "192.0.2.7", "dev-1", "key-e-001");
    let released = hold("ana", "192.0.2.7", "dev-1", "key-e-002");
    let path = format!("/limited/holds/{released}");
    assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    let tried = hold("ana", "192.0.2.7", "dev-2", "key-e-003");
    let mut pays =
        json!({"user_id": "ana", "product_id": "watch", "quantity": 1, "currency": "USD"});
    pays["card_token"] = "tok_declined".into();
    pays["hold_id"] = tried.as_str().into();
    let request = Request::post("/limited/buy").key(SHOP).once("key-e-004");
    assert_eq!(server.ask(&request.json(&pays)).status, 402);
    let expired = until("two holds run out, the third was given up", || {
        let expired = events("hold_expired");
        (expired.len() == 2).then_some(expired)
    });
    for (event, card, device) in [
        (&expired[0], Value::Null, "dev-1"),
        (&expired[1], "tok_declined".into(), "dev-2"),
    ] {
        assert_eq!(event["product_id"], "watch");
        assert_eq!(event["quantity"], 1);
        assert_eq!(event["ip"], "192.0.2.7");
        assert_eq!(event["device_id"], device);
        assert_eq!(event["card_token"], card);
    }
    hold("bo", "192.0.2.7", "dev-1", "key-e-005");
    hold("ana", "198.51.100.1", "dev-3", "key-e-006");
    let placed = events("hold_placed");
    let met = |event: &Value| -> Vec<String> {
        let met = event["risk"].as_array().unwrap().iter();
        met.map(|it| it["rule"].as_str().unwrap().to_owned())
            .collect()
    };
    let [.., bo, ana] = &placed[..] else {
        panic!("{placed:?}")
    };
    assert_eq!(met(&placed[0]), [""; 0], "nothing had run out");
    assert_eq!(met(bo), ["hoarding by ip", "hoarding by product"]);
    assert_eq!(met(ana), ["hoarding by user", "hoarding by product"]);
}

#[test]
fn an_account_is_not_rated_as_made_in_the_future() {
    let server = Setup::demo().start();
    let rate = |since: &str| {
        let terms = json!({"segment": null, "risk_score": null, "account_since": since});
        let put = Request::put("/admin/users/ana/rating").key(ADMIN);
        server.ask(&put.json(&terms))
    };
    let refused = rate("2999-01-01T00:00:00Z");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "invalid_request")
    );
    let error = &refused.json()["errors"][0];
    assert_eq!(error["field"], "account_since", "{error}");
    // The bound is the instant of the request, by the core's clock.
    let message = error["message"].as_str().unwrap();
    let bound = message.strip_prefix("must be at most now, ").unwrap();
    assert_eq!(rate(bound).status, 200, "{message}");
    let rating = server.ask(&Request::get("/admin/users/ana/rating").key(ADMIN));
    assert!(rating.text().contains(bound), "{}", rating.text());
}
