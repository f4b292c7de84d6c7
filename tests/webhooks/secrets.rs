//! Changing the secrets that webhooks are signed with, while webhooks come in.

use serde_json::{Value, json};
use support::signing::{NEW, OLD, Own, SECRETS, STANDARD_SECRET, event, now_s, stripe};
use support::{ADMIN, Request, Server, Setup, until};

const ADDED: &str = "a-secret-that-is-added-while-running";
const UNKNOWN: &str = "p_00000000000fff075a17c0de5a17c0de";

/// Whether webhooks signed with `secret` are taken; each call is an event of its own.
fn is_good(server: &Server, secret: &str) -> bool {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let body = event(&format!("e-{number}"), "payment.captured", UNKNOWN, 0);
    let own = Own::new(&format!("n-{number}"), &body).signed_with(secret);
    let answer = server.ask(&own.request());
    match answer.status {
        200 => true,
        401 => {
            assert_eq!(answer.reason(), "invalid_signature");
            false
        }
        status => panic!("{status}: {answer:?}"),
    }
}

fn known(server: &Server) -> Vec<String> {
    let answer = server.ask(&Request::get("/admin/webhooks/secrets").key(ADMIN));
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let secrets = body["secrets"].as_array().unwrap().iter();
    let shown = |secret: &Value| {
        let text = |name: &str| secret[name].as_str().unwrap();
        let at: jiff::Timestamp = text("added_at").parse().unwrap();
        assert!(at.as_second().abs_diff(i64::try_from(now_s()).unwrap()) < 300);
        assert_eq!(secret["persisted"], text("source") == "configuration");
        assert_eq!(secret.as_object().unwrap().len(), 5, "{secret}");
        format!("{} {} {}", text("id"), text("format"), text("source"))
    };
    secrets.map(shown).collect()
}

fn add(server: &Server, body: &Value) -> (u16, Value) {
    let request = Request::post("/admin/webhooks/secrets")
        .key(ADMIN)
        .json(body);
    let answer = server.ask(&request);
    (answer.status, answer.json())
}

fn retire(server: &Server, id: &str) -> u16 {
    let path = format!("/admin/webhooks/secrets/{id}");
    server.ask(&Request::delete(&path).key(ADMIN)).status
}

/// Of several that are added at once under one name, one is: the trail has that one and no other.
#[test]
fn the_trail_has_what_was_added_and_nothing_else() {
    let server = Setup::demo().config(SECRETS).start();
    let added = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for adder in 0..8 {
            let (server, added) = (&server, &added);
            scope.spawn(move || {
                for round in 0..4 {
                    let key = format!("a-secret-of-adder-{adder}-in-round-{round}");
                    let id = format!("same-{round}");
                    let (status, _) = add(server, &json!({"id": id, "key": key}));
                    assert!(matches!(status, 201 | 400), "{status}");
                    let one = usize::from(status == 201);
                    added.fetch_add(one, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    let audit = server.ask(&Request::get("/admin/audit?kind=admin_acted").key(ADMIN));
    let acts = audit.json();
    let acts = acts["events"].as_array().unwrap().len();
    assert_eq!((added.into_inner(), acts), (4, 4), "{}", audit.text());
}

/// Its sender may be gone by the time the act is durable.
#[test]
fn a_secret_whose_sender_went_away_is_added_all_the_same() {
    let server = Setup::demo().config(SECRETS).start();
    for number in 0..20 {
        let key = format!("a-secret-of-somebody-who-left-{number}");
        let body = json!({"id": format!("left-{number}"), "key": key});
        let request = Request::post("/admin/webhooks/secrets").key(ADMIN);
        let mut client = server.connect();
        client.send(&request.json(&body).bytes()).unwrap();
        drop(client);
    }
    let trail = Request::get("/admin/audit?kind=admin_acted").key(ADMIN);
    until("every act in the trail was done", || {
        let acts = server.ask(&trail).json();
        let acts = acts["events"].as_array().unwrap().len();
        let added = known(&server)
            .iter()
            .filter(|it| it.starts_with("left-"))
            .count();
        (acts > 0 && acts == added).then_some(())
    });
}

#[test]
fn secrets_are_added_and_retired_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let setup = || {
        Setup::demo()
            .config(SECRETS)
            .config("[telemetry]\nlog = \"trace\"")
            .data_dir(dir.path())
    };
    let server = setup().start();
    let configured = [
        "new holdfast configuration",
        "old holdfast configuration",
        "standard standard configuration",
        "stripe stripe configuration",
    ];
    assert_eq!(known(&server), configured);
    assert!(is_good(&server, NEW) && is_good(&server, OLD) && !is_good(&server, ADDED));
    let (status, told) = add(&server, &json!({"id": "added", "key": ADDED}));
    assert_eq!(status, 201);
    assert_eq!(
        (&told["persisted"], &told["source"], &told["format"]),
        (&json!(false), &json!("admin"), &json!("holdfast"))
    );
    assert!(is_good(&server, ADDED) && is_good(&server, OLD));
    assert_eq!(known(&server)[0], "added holdfast admin");
    let stripes = "whsec_no-base64-as-stripe-writes-them";
    let (status, _) = add(
        &server,
        &json!({"id": "s2", "key": stripes, "format": "stripe"}),
    );
    assert_eq!(status, 201);
    assert_eq!(
        (
            retire(&server, "old"),
            retire(&server, "old"),
            retire(&server, "none")
        ),
        (200, 404, 404)
    );
    assert!(!is_good(&server, OLD) && is_good(&server, NEW) && is_good(&server, ADDED));
    let (status, _) = add(&server, &json!({"id": "old", "key": OLD}));
    assert_eq!(status, 400, "a retired name is not given again");
    let keyless = Request::get("/admin/webhooks/secrets");
    assert_eq!(server.ask(&keyless).status, 401);
    let event = json!({
        "id": "evt_1", "type": "charge.updated", "created": now_s(), "data": {"object": {}},
    });
    assert_eq!(server.ask(&stripe(now_s(), &event)).status, 200);
    // The trail has the names, and nothing has the secrets.
    let audit = server.ask(&Request::get("/admin/audit?kind=admin_acted").key(ADMIN));
    let acts = audit.json();
    let acts: Vec<_> = acts["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it["act"], it["target"]).replace('"', ""))
        .collect();
    assert_eq!(
        acts,
        [
            "webhook_secret_added added",
            "webhook_secret_added s2",
            "webhook_secret_retired old"
        ]
    );
    let config = server.ask(&Request::get("/admin/config").key(ADMIN)).text();
    let everything = format!("{config}{}{}", audit.text(), server.log.lines().join("\n"));
    for secret in [NEW, OLD, ADDED, stripes] {
        assert!(!everything.contains(secret), "{everything}");
    }
    let (_, lines) = server.stop();
    assert!(lines.iter().all(|line| !line.contains(ADDED)));
    for file in std::fs::read_dir(dir.path().join("log")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let has = |secret: &str| {
            bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes())
        };
        assert!(
            ![NEW, OLD, ADDED].into_iter().any(has),
            "a secret stands in the log"
        );
    }
    // A restart goes back to the configuration, as the answers said.
    let server = setup().start();
    assert_eq!(known(&server), configured);
    assert!(!is_good(&server, ADDED) && is_good(&server, OLD));
}

#[test]
fn what_is_no_secret_of_its_own_is_not_added() {
    let server = Setup::demo().start();
    assert_eq!(add(&server, &json!({"id": "added", "key": ADDED})).0, 201);
    for (body, field) in [
        (
            json!({"id": "added", "key": "another-secret-that-is-long-enough"}),
            "id",
        ),
        (json!({"id": "again", "key": ADDED}), "key"),
        (json!({"id": "short", "key": "short"}), "key"),
        (
            json!({"id": "a b", "key": "another-secret-that-is-long-enough"}),
            "id",
        ),
        (
            json!({"id": "x", "key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}),
            "format",
        ),
        (
            json!({"id": "x", "key": "whsec_no-base64-as-stripe-writes-them", "format": "standard"}),
            "key",
        ),
        (
            json!({"id": "x", "key": ADDED, "format": "other"}),
            "format",
        ),
        (json!({"id": "x"}), "key"),
    ] {
        let (status, told) = add(&server, &body);
        assert_eq!(status, 400, "{body}");
        assert_eq!(told["errors"][0]["field"], field, "{told}");
    }
}

#[test]
fn no_more_secrets_are_added_than_there_is_a_bound_for() {
    let server = Setup::demo().start();
    let numbered =
        |number: usize| json!({"id": format!("a{number}"), "key": format!("{ADDED}-{number}")});
    for number in 0..16 {
        assert_eq!(add(&server, &numbered(number)).0, 201, "{number}");
    }
    let (status, told) = add(&server, &numbered(16));
    assert_eq!((status, &told["errors"][0]["field"]), (400, &json!("id")));
    assert_eq!(retire(&server, "a3"), 200);
    assert_eq!(add(&server, &numbered(16)).0, 201);
}

#[test]
fn the_demo_has_a_secret_that_everybody_knows() {
    let server = Setup::demo().start();
    assert_eq!(known(&server), ["demo-w1 holdfast configuration"]);
    assert!(is_good(&server, "demo-webhook-secret-that-everybody-knows"));
}

fn reloads(server: &Server) -> usize {
    let lines = server.log.lines();
    let done = ["\"event\":\"reloaded\"", "\"event\":\"reload_failed\""];
    lines
        .iter()
        .filter(|line| done.iter().any(|it| line.contains(it)))
        .count()
}

/// SIGHUP with this configuration, until it has been read.
fn reload(server: &Server, config: &str) {
    std::fs::write(&server.config, config).unwrap();
    let before = reloads(server);
    server.hang_up();
    until("the configuration is read again", || {
        (reloads(server) > before).then_some(())
    });
}

#[test]
fn on_sighup_the_secrets_of_the_configuration_are_read_again() {
    let one =
        |id: &str, key: &str| format!("[[webhooks.secrets]]\nid = \"{id}\"\nkey = \"{key}\"\n");
    let server = Setup::demo().config(&one("old", OLD)).start();
    assert!(is_good(&server, OLD) && !is_good(&server, NEW));
    let both = one("new", NEW) + &one("old", OLD);
    reload(&server, &both);
    assert!(is_good(&server, OLD) && is_good(&server, NEW));
    // What cannot be used changes nothing.
    for broken in [
        "[webhooks",
        "[webhooks]\nsecret = 1",
        &(both.clone() + &one("new", ADDED)),
    ] {
        reload(&server, broken);
        assert!(is_good(&server, OLD) && is_good(&server, NEW), "{broken}");
    }
    assert_eq!(
        server
            .log
            .lines()
            .iter()
            .filter(|line| line.contains("reload_failed"))
            .count(),
        3
    );
    // Other keys are named, and wait for a restart.
    let more = "[drop]\nhold_ttl_s = 9\n";
    reload(&server, &(one("new", NEW) + more));
    assert!(is_good(&server, NEW) && !is_good(&server, OLD));
    assert_eq!(known(&server), ["new holdfast configuration"]);
    // What was added stays, and what was retired does not come back.
    assert_eq!(add(&server, &json!({"id": "added", "key": ADDED})).0, 201);
    assert_eq!(retire(&server, "new"), 200);
    reload(&server, &both);
    assert!(is_good(&server, ADDED) && is_good(&server, OLD) && !is_good(&server, NEW));
    let retired = server.log.wait_for("webhook_secret_retired").unwrap();
    assert_eq!(retired["secrets"], "new");
    let lines = server.log.lines().join("\n");
    assert!(!lines.contains(OLD) && !lines.contains(NEW));
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
}

/// Stripe's secrets and those of Standard Webhooks begin alike: read in the wrong way, they would take
/// no webhook.
#[test]
fn a_secret_that_may_be_read_in_two_ways_has_to_say_which_it_is() {
    let config = |format: &str| {
        format!("[[webhooks.secrets]]\nid = \"w\"\nkey = \"{STANDARD_SECRET}\"\n{format}")
    };
    let (status, lines) = Setup::demo().config(&config("")).try_start().err().unwrap();
    let told = lines.join("\n");
    assert_eq!(status.code(), Some(1), "{told}");
    for part in ["webhooks.secrets[0].format", "Stripe", "Standard Webhooks"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains(STANDARD_SECRET), "{told}");
    for format in ["standard", "stripe"] {
        let server = Setup::demo()
            .config(&config(&format!("format = \"{format}\"")))
            .start();
        assert_eq!(known(&server), [format!("w {format} configuration")]);
    }
    let (status, told) = add(
        &Setup::demo().start(),
        &json!({"id": "w", "key": STANDARD_SECRET}),
    );
    let message = told["errors"][0]["message"].as_str().unwrap();
    assert_eq!(
        (status, &told["errors"][0]["field"]),
        (400, &json!("format"))
    );
    assert!(message.contains("Stripe") && message.contains("Standard Webhooks"));
}
