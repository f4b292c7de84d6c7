//! Scores over HTTP: a model is loaded at start and on SIGHUP, rules speak of its scores, events
//! have them with the features, and what is wrong with a file is said; what is known of a buyer;
//! and from a log by way of the sample trainer to a model that blocks.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use support::signing::{Own, SECRETS, event, tell};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, binary, rating_terms, until};

/// Scores a buyer's first attempt in an hour 269, the second 500, the third 731.
const BY_ATTEMPTS: &str = r#"{
 "format": "holdfast-risk-model/1", "features": 1, "kind": "logistic", "name": "by attempts",
 "intercept": -1.0,
 "inputs": [{"feature": "attempts_user_1h", "weight": 1, "mean": 0, "scale": 1, "missing": 0}]
}"#;

/// Scores everything 982.
const ALL_BAD: &str = r#"{
 "format": "holdfast-risk-model/1", "features": 1, "kind": "gradient_boosted_trees",
 "base_score": 4.0, "trees": [[{"leaf": 0}]]
}"#;

const BLOCK: &str = "[[rule]]\nname = \"scored\"\nwhen = \"risk_score >= 700\"\nthen = \"block\"\n";

fn with_model(data: &Path, model: &Path) -> Setup {
    let config = format!("[risk]\nmodel_file = \"{}\"\n", model.display());
    Setup::demo().data_dir(data).config(&config)
}

fn put_rules(server: &Server, text: &str) {
    let mut request = Request::put("/admin/risk/rules").key(ADMIN);
    request.body = text.as_bytes().to_vec();
    let answer = server.ask(&request.header("content-type", "application/toml"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn scoring(server: &Server) -> Value {
    let answer = server.ask(&Request::get("/admin/risk/rules").key(ADMIN));
    answer.json()["scoring"].clone()
}

fn events(server: &Server, kind: &str) -> Vec<Value> {
    let path = format!("/admin/audit?limit=1000&kind={kind}");
    let events = server.ask(&Request::get(&path).key(ADMIN)).json();
    events["events"].as_array().unwrap().clone()
}

fn buyer(server: &Server, user: &str) -> Value {
    let answer = server.ask(&Request::get(&format!("/admin/users/{user}")).key(ADMIN));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn buy(server: &Server, user: &str, card: &str, key: &str) -> Response {
    server.ask(&Request::buy(user, "drop-1", card, key))
}

#[test]
fn rules_use_the_models_score_and_events_have_its_features() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (
        directory.path().join("data"),
        directory.path().join("m.json"),
    );
    std::fs::write(&file, BY_ATTEMPTS).unwrap();
    let server = with_model(&data, &file).start();
    // The operator's word counts for nothing beside a model's.
    let rated = Request::put("/admin/users/ana/rating").key(ADMIN);
    let rated = server.ask(&rated.json(&rating_terms(
        &json!({"risk_score": 1000, "segment": "vip"}),
    )));
    assert_eq!(rated.status, 200, "{rated:?}");
    // No rule asks for the score yet, so the model is not asked.
    assert_eq!(buy(&server, "bo", "tok_ok", "key-b-001").status, 201);
    put_rules(&server, BLOCK);
    for number in 1..=2 {
        let bought = buy(&server, "ana", "tok_ok", &format!("key-a-00{number}"));
        assert_eq!(bought.status, 201, "{bought:?}");
    }
    let refused = buy(&server, "ana", "tok_ok", "key-a-003");
    assert_eq!(
        (refused.status, refused.reason()),
        (403, "risk_blocked".to_owned())
    );

    let started = events(&server, "payment_started");
    let scores: Vec<_> = started
        .iter()
        .map(|it| it["score"]["value"].clone())
        .collect();
    assert_eq!(scores, [Value::Null, json!(269), json!(500)]);
    assert_eq!(started[0]["features"], Value::Null);
    let features = &started[2]["features"];
    assert_eq!(features["version"], 1);
    assert_eq!(features["attempts_user_1h"], 1);
    assert_eq!(features["purchases_before"], 1);
    assert_eq!(features["account_age_s"], Value::Null, "not known");
    assert_eq!(features["attempts_ip_1h"], Value::Null, "not named");
    let refusal = &events(&server, "attempt_refused")[0];
    assert_eq!(refusal["score"]["value"], 731);
    let digest = scoring(&server)["model"]["digest"].clone();
    assert_eq!(refusal["score"]["model"], digest);
    let placed = events(&server, "hold_placed");
    assert!(
        placed.iter().all(|it| it["features"].is_null()),
        "its payment says it"
    );
    let set = &events(&server, "risk_scoring_set")[0];
    assert_eq!(
        set["model"],
        json!({"digest": digest, "kind": "logistic", "name": "by attempts"})
    );
    assert_eq!(set["features"], Value::Null);

    let shown = buyer(&server, "ana");
    assert_eq!(shown["risk"]["score"], 731);
    assert_eq!(shown["risk"]["score_source"], "model");
    assert_eq!(shown["segment"], "vip");
    let decision = &shown["risk"]["profile"]["decisions"][0];
    assert_eq!(decision["outcome"], "refused");
    assert_eq!(decision["reason"], "risk_blocked");
    assert_eq!(decision["score"], 731);
    assert_eq!(decision["rules"], json!(["scored"]));
    // The same model again is no news.
    let version = scoring(&server)["version"].clone();
    server.stop();
    let server = with_model(&data, &file).start();
    assert_eq!(scoring(&server)["version"], version);
    assert_eq!(
        buyer(&server, "ana")["risk"],
        shown["risk"],
        "over a restart"
    );
    // Without a model the operator's word counts again.
    server.stop();
    let server = Setup::demo().data_dir(&data).start();
    assert_eq!(scoring(&server)["model"], Value::Null);
    let rated = buy(&server, "ana", "tok_ok", "key-a-004");
    assert_eq!(rated.reason(), "risk_blocked");
    assert_eq!(events(&server, "attempt_refused")[1]["score"], Value::Null);
    assert_eq!(buy(&server, "cy", "tok_ok", "key-c-001").status, 201);
}

#[test]
fn a_wrong_model_stops_a_start_and_changes_nothing_later() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (
        directory.path().join("data"),
        directory.path().join("m.json"),
    );
    std::fs::write(&file, BY_ATTEMPTS.replace("attempts_user", "atempts_user")).unwrap();
    let failed = |data: &Path, file: &Path| {
        let (status, log) = with_model(data, file).try_start().err().expect("no start");
        assert_eq!(status.code(), Some(1));
        log.join("\n")
    };
    let said = failed(&data, &file);
    for part in [
        "m.json` is wrong at inputs[0].feature: expected one of `amount`",
        "did you mean `attempts_user_1h`?",
        "remove risk.model_file",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = failed(&data, &directory.path().join("none.json"));
    assert!(
        said.contains("cannot read") && said.contains("check risk.model_file"),
        "{said}"
    );

    std::fs::write(&file, BY_ATTEMPTS).unwrap();
    let server = with_model(&data, &file).start();
    put_rules(&server, BLOCK);
    assert_eq!(buy(&server, "ana", "tok_ok", "key-a-001").status, 201);
    std::fs::write(&file, "{").unwrap();
    server.hang_up();
    let refused = server.log.wait_for("reload_failed").expect("it is said");
    assert!(
        refused.to_string().contains("line 1, column 1"),
        "{refused}"
    );
    assert_eq!(scoring(&server)["model"]["name"], "by attempts");
    assert_eq!(buy(&server, "bo", "tok_ok", "key-b-001").status, 201);
    std::fs::write(&file, ALL_BAD).unwrap();
    server.hang_up();
    until("the other model is in force", || {
        (scoring(&server)["model"]["kind"] == "gradient_boosted_trees").then_some(())
    });
    assert_eq!(
        buy(&server, "cy", "tok_ok", "key-c-001").reason(),
        "risk_blocked"
    );
    assert_eq!(events(&server, "attempt_refused")[0]["score"]["value"], 982);
}

#[test]
fn what_is_known_of_a_buyer_is_limits_velocity_profile_segment_and_tokens() {
    let server = Setup::demo().config(SECRETS).start();
    put_rules(
        &server,
        "[[rule]]\nname = \"twice\"\nwhen = \"count(attempt by user last 1h) >= 1\"\nthen = \"observe\"\n\
         [[rule]]\nname = \"more\"\nwhen = \"count(attempt by user last 1h) >= 9 or distinct(card_token by user last 1d) > 3 or count(declined by ip last 1h) > 1\"\nthen = \"review\"\n",
    );
    let unknown = server.ask(&Request::get("/admin/users/ana").key(ADMIN));
    assert_eq!(unknown.status, 404);
    let bought = buy(&server, "ana", "tok_ok", "key-a-001").json();
    assert_eq!(buy(&server, "ana", "tok_declined", "key-a-002").status, 402);
    let id = bought["purchase_id"].as_str().unwrap();
    for (number, kind) in [(1, "dispute.opened"), (2, "dispute.lost")] {
        let body = event(&format!("e-{number}"), kind, id, 2 - number);
        let own = Own::new(&format!("n-{number}"), &body).request();
        assert_eq!(tell(&server, &own), "processed");
    }
    let shown = buyer(&server, "ana");
    let counts = json!([
        {"counter": "count(attempt by user)", "last_s": 3_600, "count": 2, "counted_up_to": 9},
        {"counter": "distinct(card_token by user)", "last_s": 86_400, "count": 2, "counted_up_to": 4},
    ]);
    assert_eq!(shown["velocity"], counts);
    assert_eq!(shown["segment"], Value::Null);
    assert_eq!(shown["risk"]["score"], Value::Null);
    let profile = &shown["risk"]["profile"];
    for (field, expected) in [
        ("attempts", 2),
        ("refused", 0),
        ("purchases", 1),
        ("declines", 1),
        ("blocked", 0),
        ("reviews_approved", 0),
        ("reviews_rejected", 0),
        ("disputes", 1),
        ("chargebacks", 1),
    ] {
        assert_eq!(profile[field], expected, "{field} of {profile}");
    }
    let decisions = profile["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 1, "the first met no rule: {decisions:?}");
    assert_eq!(decisions[0]["outcome"], "passed");
    assert_eq!(decisions[0]["reason"], Value::Null);
    assert_eq!(decisions[0]["rules"], json!(["twice"]));
    for known in [
        "attempts_in_window",
        "committed",
        "spending",
        "tokens",
        "purchases",
    ] {
        assert!(!shown[known].is_null(), "{known}");
    }
}

/// A buy with all that a shop can say of where it comes from.
fn buy_from(server: &Server, user: &str, card: &str, device: &str, key: &str) -> Response {
    let body = json!({
        "user_id": user, "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": card, "device_id": device, "ip": "192.0.2.7",
    });
    server.ask(
        &Request::post("/limited/buy")
            .key(SHOP)
            .once(key)
            .json(&body),
    )
}

#[test]
fn from_the_log_the_sample_trainer_makes_a_model_that_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let (data, file) = (
        directory.path().join("data"),
        directory.path().join("m.json"),
    );
    let setup = || Setup::demo().data_dir(&data);
    let server = setup().config("[risk]\nfeatures = true\n").start();
    // Buyers with a card and a device of their own; and one device from which one card is tried
    // under many names.
    for number in 0..24 {
        let (user, card) = (
            format!("buyer-{number}"),
            format!("tok_slow_{}", number + 1),
        );
        let key = format!("key-good-{number}");
        let bought = buy_from(&server, &user, &card, &format!("own-{number}"), &key);
        assert_eq!(bought.status, 201, "{bought:?}");
        let (user, key) = (format!("name-{number}"), format!("key-bad-{number}"));
        let declined = buy_from(&server, &user, "tok_declined", "farm", &key);
        assert_eq!(declined.status, 402, "{declined:?}");
    }
    server.stop();

    let log = binary().arg("log").arg(&data).output().unwrap();
    assert!(log.status.success());
    let events = directory.path().join("events.jsonl");
    std::fs::write(&events, &log.stdout).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let trained = Command::new("python3")
        .arg(root.join("docs/examples/train_risk_model.py"))
        .args(["--name", "from the log", "--rounds", "300", "--out"])
        .arg(&file)
        .stdin(Stdio::from(std::fs::File::open(&events).unwrap()))
        .output()
        .expect("python3 is there");
    let told = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(trained.status.success(), "{told}");
    assert!(told.contains("48 payments, 24 bad"), "{told}");

    let server = with_model(&data, &file).start();
    assert_eq!(scoring(&server)["model"]["name"], "from the log");
    put_rules(&server, BLOCK);
    let blocked = buy_from(&server, "eve", "tok_declined", "farm", "key-eve-1");
    assert_eq!(blocked.reason(), "risk_blocked", "{blocked:?}");
    let passed = buy_from(&server, "fay", "tok_slow_90", "own-fay", "key-fay-1");
    assert_eq!(passed.status, 201, "{passed:?}");

    // A log with nothing to learn from is said to be one.
    let trained = Command::new("python3")
        .arg(root.join("docs/examples/train_risk_model.py"))
        .args(["--out", "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(trained.status.code(), Some(1));
    let told = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(
        told.contains("of 0 payments with features 0 are bad"),
        "{told}"
    );
}
