//! Running the real binary: log lines, metrics, roles, draining, HTTP/2, TLS, the commands.

use holdfast::engine::event::{Actor, ActorRole, AdminActed};
use holdfast::ids::{KeyOwner, RequestId};
use holdfast::journal::{Journal, JournalOptions, Sync};
use holdfast::telemetry::families;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use support::{
    ADMIN, Client, KEYS_OF_EACH_ROLE, READER, Request, SCRAPER, SHOP, Setup, binary, check_table,
    free_port, product_terms, until,
};

#[test]
fn each_role_may_do_what_it_is_for() {
    let server = Setup::demo().config(KEYS_OF_EACH_ROLE).start();
    let product = product_terms(&json!({"name": "n", "price": {"USD": 1}, "stock": 1}));
    let requests = [
        Request::get("/limited/products/drop-1"),
        Request::hold("ana", "drop-1", 1, "key-role-1"),
        Request::get("/admin/status"),
        Request::get("/admin/audit"),
        Request::get("/admin/config"),
        Request::put("/admin/products/n").json(&product),
        Request::post("/admin/snapshot"),
        Request::get("/metrics"),
    ];
    let expected = [
        (SHOP, [200, 201, 403, 403, 403, 403, 403, 403]),
        (ADMIN, [200, 403, 200, 200, 200, 201, 200, 200]),
        (READER, [403, 403, 200, 200, 200, 403, 403, 200]),
        (SCRAPER, [403, 403, 403, 403, 403, 403, 403, 200]),
        ("a-key-of-nobody", [401; 8]),
    ];
    for (key, statuses) in expected {
        let told: Vec<u16> = requests
            .iter()
            .map(|request| {
                let mut request = request.clone();
                request.headers.retain(|(name, _)| name != "authorization");
                server.ask(&request.key(key)).status
            })
            .collect();
        assert_eq!(told, statuses, "{key}");
    }
    for open in ["/livez", "/readyz"] {
        assert_eq!(server.ask(&Request::get(open)).status, 200);
    }
    assert_eq!(server.ask(&Request::get("/metrics")).status, 401);
    // What was done is in the trail, with the name of the key.
    let audit = server.ask(&Request::get("/admin/audit").key(READER)).text();
    assert!(
        audit.contains("\"boss\"") && audit.contains("snapshot"),
        "{audit}"
    );
    let config = server
        .ask(&Request::get("/admin/config").key(READER))
        .text();
    assert!(
        ![SHOP, ADMIN, READER, SCRAPER]
            .iter()
            .any(|key| config.contains(*key))
            && config.contains("***"),
        "{config}"
    );
}

#[test]
fn every_log_line_keeps_the_schema_and_holds_no_secret() {
    let server = Setup::demo().config("[telemetry]\nlog = \"trace\"").start();
    server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-log-01"));
    server.ask(&Request::buy(
        "ana",
        "drop-1",
        "4111111111111111",
        "key-log-02",
    ));
    server.ask(&Request::get("/admin/status").key("a-key-of-nobody"));
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0));
    let mut events = BTreeSet::new();
    for line in &lines {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let object = object.as_object().unwrap();
        let text = |name: &str| {
            object[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {line}"))
        };
        let at: jiff::Timestamp = text("ts").parse().unwrap();
        assert_eq!(format!("{at:.3}"), text("ts"), "{line}");
        assert!(
            ["error", "warn", "info", "debug", "trace"].contains(&text("level")),
            "{line}"
        );
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(
            !text("event").is_empty() && text("event").bytes().all(word),
            "{line}"
        );
        text("message");
        for (name, value) in object {
            assert!(!value.is_object() && !value.is_array(), "{name}: {line}");
        }
        for secret in [
            "4111111111111111",
            SHOP,
            ADMIN,
            "a-key-of-nobody",
            "key-log-01",
        ] {
            assert!(!line.contains(secret), "{line}");
        }
        events.insert(text("event").to_owned());
    }
    for event in ["recovered", "listening", "stopping", "stopped"] {
        assert!(events.contains(event), "{event} of {events:?}");
    }
}

#[test]
fn metrics_count_attempts_and_stages() {
    let server = Setup::demo().start();
    server.ask(&Request::hold("ana", "drop-1", 1, "key-met-01"));
    server.ask(&Request::buy("bo", "drop-1", "tok_ok", "key-met-02"));
    server.ask(&Request::buy("bo", "drop-1", "tok_declined", "key-met-03"));
    server.ask(&Request::buy("bo", "none", "tok_ok", "key-met-04"));
    server.ask(&Request::buy("bo", "drop-1", "tok ok", "key-met-05"));
    for (method, path, status) in [
        ("HEAD", "/livez", 200),
        ("BREW", "/livez", 405),
        ("GET", "/admin/status", 401),
    ] {
        let request = Request::new(method, path);
        assert_eq!(server.ask(&request).status, status, "{method} {path}");
    }
    let text = server.ask(&Request::get("/metrics")).text();
    for line in [
        r#"purchase_attempt_total{flow="hold",result="success",reason="none"} 1"#,
        r#"purchase_attempt_total{flow="buy",result="success",reason="none"} 1"#,
        r#"purchase_attempt_total{flow="buy",result="failed",reason="payment_declined"} 1"#,
        r#"purchase_attempt_total{flow="buy",result="refused",reason="product_not_found"} 1"#,
        r#"purchase_attempt_total{flow="buy",result="refused",reason="invalid_card_token"} 1"#,
        r#"holdfast_stage_seconds_count{stage="shard"} 4"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/limited/buy",http_response_status_code="404"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="HEAD",http_response_status_code="200"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="405"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/admin/status",http_response_status_code="401"} 1"#,
        r#"holdfast_units{state="sold"} 1"#,
        "holdfast_ready 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
    }
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                families.insert(rest.split(' ').next().unwrap()),
                "twice: {line}"
            );
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(families.contains(family.unwrap_or(name)), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let prefixes = [
                "holdfast_",
                "process_",
                "http_server_",
                "purchase_attempt_total",
            ];
            assert!(prefixes.iter().any(|it| name.starts_with(it)), "{line}");
            assert!(!line.contains("drop-1") && !line.contains("tok_"), "{line}");
        }
    }
}

/// The words in the first cell of each row of the table of log lines in `docs/operations.md`.
fn documented_words() -> Vec<Vec<String>> {
    let text = include_str!("../../docs/operations.md");
    let (_, below) = text.split_once("## Logs").expect("the heading is there");
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|row| {
            let cell = row.split('|').nth(1).expect("a row has cells");
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// `docs/operations.md` has a row for each metric, with its text, and for nothing else.
#[test]
fn the_documentation_has_every_metric_with_its_text() {
    let rows: Vec<String> = families::ALL
        .iter()
        .map(|it| {
            let kind = it.kind.as_str();
            format!("| `{}` | {kind} | {} | {} |", it.name, it.labels, it.help)
        })
        .collect();
    check_table("docs/operations.md", "### Metrics", &rows);
}

#[test]
fn every_family_of_the_table_is_rendered_with_its_labels() {
    let dir = tempfile::tempdir().unwrap();
    // Everything that has metrics of its own; nothing listens where PostgreSQL should.
    let config = format!(
        "[risk]\ndefault_rules = true\n[report.jsonl]\npath = {:?}\n\
         [report.postgres]\nurl = \"postgres://nobody@127.0.0.1:{}/nothing?sslmode=disable\"\n\
         [backup]\nto = \"file://{}\"",
        dir.path().join("events"),
        support::free_port(),
        dir.path().join("backup").display(),
    );
    let server = Setup::demo().config(&config).start();
    let bought = server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-buy-01"));
    assert_eq!(bought.status, 201, "{bought:?}");
    let compared = server.ask(&Request::post("/admin/reconcile").key(ADMIN));
    assert_eq!(compared.status, 202, "{compared:?}");
    let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(taken.status, 200, "{taken:?}");
    let text = until("a comparison is counted", || {
        let text = server.ask(&Request::get("/metrics")).text();
        let done = "holdfast_reconcile_differences{";
        text.contains(done).then_some(text)
    });

    let mut exposed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            exposed
                .entry(family.split(' ').next().unwrap().to_owned())
                .or_default();
        } else if let Some((name, rest)) = line.split_once('{') {
            let (labels, _) = rest.rsplit_once('}').unwrap();
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            let names = names
                .map(|(name, _)| name.to_owned())
                .filter(|it| it != "le");
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| {
                    name.strip_suffix(end)
                        .filter(|it| exposed.contains_key(*it))
                })
                .unwrap_or(name)
                .to_owned();
            exposed
                .get_mut(&family)
                .expect("its type is above")
                .extend(names);
        }
    }
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in families::ALL {
        let labels = family.labels.split('`').skip(1).step_by(2);
        let twice = rows.insert(family.name.to_owned(), labels.map(str::to_owned).collect());
        assert!(twice.is_none(), "a metric has one row");
    }
    // Without TLS there is no certificate; the test of its reload has it.
    rows.remove(families::CERTIFICATE_EXPIRY.name);
    assert_eq!(exposed, rows, "every family is rendered, with its labels");
}

#[test]
fn the_documentation_has_exactly_the_log_events_there_are() {
    let mut logged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for call in text.split("tracing::").skip(1) {
            let Some((level, fields)) = call.split_once("!(") else {
                continue;
            };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            let word = fields.trim_start().strip_prefix("event = \"");
            let word = word.and_then(|it| it.split_once('"'));
            let Some((word, _)) = word else {
                panic!("{}: a line without its event: {fields:.80}", path.display())
            };
            logged
                .entry(word.to_owned())
                .or_default()
                .insert(level.to_owned());
        }
    }
    assert!(logged.len() > 40, "{logged:?}");
    let text = include_str!("../../docs/operations.md");
    let mut rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for words in documented_words() {
        let row = format!(
            "| {} |",
            words
                .iter()
                .map(|it| format!("`{it}`"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let line = text
            .lines()
            .find(|line| line.starts_with(&row))
            .expect("a row lists words");
        let levels: BTreeSet<String> = line[row.len()..]
            .split('|')
            .next()
            .unwrap()
            .split(',')
            .map(|level| level.trim().to_owned())
            .collect();
        let used: BTreeSet<String> = words
            .iter()
            .filter_map(|it| logged.get(it))
            .flatten()
            .cloned()
            .collect();
        assert_eq!(levels, used, "{row}");
        for word in words {
            let twice = rows.insert(word, levels.clone());
            assert!(twice.is_none(), "an event has one row");
        }
    }
    let names = |of: &BTreeMap<String, _>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&logged), names(&rows));
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn on_shutdown_it_completes_requests_in_flight_and_accepts_no_new_ones() {
    let server = Setup::demo()
        .config("[server]\nheader_read_timeout_ms = 60000")
        .start();
    let mut idle = server.connect();
    assert_eq!(idle.ask(&Request::get("/livez")).status, 200);
    let mut busy = server.connect();
    busy.send(&Request::buy("ana", "drop-1", "tok_slow_400", "key-drain1").bytes())
        .unwrap();
    until("the payment has begun", || {
        (server.stock("drop-1")[1] == 1).then_some(())
    });
    server.terminate();
    let answer = busy.receive().unwrap();
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (201, &json!("captured"))
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(busy.is_closed() && idle.is_closed());
    let mut server = server;
    assert_eq!(server.wait().code(), Some(0));
    assert!(support::Client::try_connect(server.address).is_err());
    // And the directory is as it was answered.
    let checked = binary()
        .arg("check")
        .arg(&server.data_dir)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let figures = String::from_utf8(checked.stdout).unwrap();
    let figures: Value = serde_json::from_str(figures.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&figures["clean"], &figures["products"][0]["sold"]),
        (&json!(true), &json!(1))
    );
}

#[test]
fn status_and_check_name_the_log_and_its_generation() {
    let mut server = Setup::demo().start();
    let log = server.ask(&Request::get("/admin/status").key(ADMIN)).json()["log"].clone();
    assert_eq!(log["generation"]["number"], 1);
    assert_eq!(log["generation"]["tag"].as_str().map(str::len), Some(16));
    assert_eq!(log["accepted"], true);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let checked = binary()
        .arg("check")
        .arg(&server.data_dir)
        .output()
        .unwrap();
    let figures = String::from_utf8(checked.stdout).unwrap();
    let figures: Value = serde_json::from_str(figures.lines().last().unwrap()).unwrap();
    assert_eq!(figures["log_id"], log["id"]);
    assert_eq!(figures["generation"], log["generation"]);
}

#[test]
fn a_second_server_takes_neither_the_directory_nor_the_port() {
    let scratch = tempfile::tempdir().unwrap();
    let lines = scratch.path().join("events.jsonl");
    let jsonl = format!("[report.jsonl]\npath = {lines:?}");
    let server = Setup::demo().config(&jsonl).start();
    // The cursors are read once the directory is taken: until then another process moves them.
    let cursor = server.data_dir.join("sinks/jsonl.cursor");
    std::fs::write(cursor, "half of it").unwrap();
    let second = Setup::demo().config(&jsonl).data_dir(&server.data_dir);
    let ended = second.run();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("in use by another process"), "{said}");
    let listen = format!("[server]\nlisten = \"{}\"", server.address);
    let ended = Setup::demo().config(&listen).run();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("cannot listen on"));
}

#[test]
fn told_to_stop_it_is_not_ready_at_once_and_takes_requests_until_balancers_noticed() {
    let leaving = |leave_s: u32| {
        let server = Setup::demo().config(&format!("[server]\nleave_s = {leave_s}"));
        let server = server.start();
        server.terminate();
        assert_eq!(server.log.wait_for("leaving").unwrap()["leave_s"], leave_s);
        let ready = server.ask(&Request::get("/readyz"));
        let told = (ready.status, ready.json()["reason"].clone());
        assert_eq!(told, (503, json!("stopping")));
        let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
        assert_eq!(status["readiness"]["reason"], "stopping");
        let bought = server.ask(&Request::buy("ana", "drop-1", "tok_ok", "key-leave1"));
        assert_eq!(bought.status, 201, "{bought:?}");
        // Until the drain, a connection is as good as a new one would be.
        assert_eq!(bought.header("connection"), None);
        server
    };
    // The time passes by itself,
    let mut server = leaving(1);
    assert_eq!(server.wait().code(), Some(0));
    // or a second signal ends it. What is under way then is answered.
    let mut server = leaving(3_600);
    let mut busy = server.connect();
    busy.send(&Request::buy("bo", "drop-1", "tok_slow_400", "key-leave2").bytes())
        .unwrap();
    until("the payment has begun", || {
        (server.stock("drop-1")[1] == 1).then_some(())
    });
    server.terminate();
    let answer = busy.receive().unwrap();
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (201, &json!("captured"))
    );
    assert_eq!(server.wait().code(), Some(0));
    let lines = server.log.all_lines().join("\n");
    assert!(lines.contains("\"stopped\""), "{lines}");
}

/// Reading a long log takes minutes: what would end the start after it ends it before.
#[test]
fn a_taken_port_and_a_wrong_certificate_end_the_start_before_the_log_is_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[server]\nlisten = \"{}\"", taken.local_addr().unwrap());
    let unread = "[server.tls]\ncert = \"Cargo.toml\"\nkey = \"Cargo.toml\"";
    for (config, told) in [
        (listen.as_str(), "cannot listen on"),
        (unread, "cannot use the TLS file `Cargo.toml`"),
    ] {
        let (status, log) = Setup::demo().config(config).data_dir(&data_dir).refused();
        assert_eq!(status.code(), Some(1));
        assert!(log.last().unwrap().contains(told), "{log:?}");
        assert!(!data_dir.exists(), "the log was opened before: {told}");
    }
}

/// A log that takes a while to read, whatever the machine: of acts, which are quick to write.
fn write_long_log(data_dir: &Path) {
    const EVENTS: usize = 200_000;
    let mut options = JournalOptions::new(data_dir);
    options.log.sync = Sync::Interval { interval_ms: 100 };
    options.log.disk_free_bytes_min = 0;
    let journal = Journal::open(options, &mut |_| {}).unwrap();
    let acted = AdminActed {
        act: "snapshot".to_owned(),
        target: None,
        before: None,
        after: None,
        by: Actor {
            request: RequestId(1),
            owner: KeyOwner::parse("boss").unwrap(),
            role: ActorRole::Admin,
        },
    };
    for _ in 0..EVENTS {
        journal.trail().admin_acted(acted.clone()).unwrap();
    }
    journal.close();
}

#[test]
fn while_it_recovers_it_answers_probes_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("data");
    write_long_log(&data_dir);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = format!("[server]\nlisten = \"{address}\"\n");
    let setup = Setup::demo().config(&listen).data_dir(&data_dir);
    let starting = std::thread::spawn(move || setup.start());
    let mut connection = until("it can be connected to", || {
        Client::try_connect(address).ok()
    });
    let ready = connection.ask(&Request::get("/readyz"));
    let told = ready.json();
    let words = (ready.status, &told["status"], &told["reason"]);
    assert_eq!(
        words,
        (503, &json!("not_ready"), &json!("recovering")),
        "{told}"
    );
    assert_eq!(connection.ask(&Request::get("/livez")).status, 200);
    let hold = Request::hold("ana", "drop-1", 1, "key-too-early");
    let early = connection.ask(&hold);
    let told = (early.status, early.reason());
    assert_eq!(told, (503, "storage_unavailable".to_owned()), "{early:?}");
    assert!(early.header("retry-after").is_some(), "{early:?}");
    until("how far it has come is told", || {
        let told = connection.ask(&Request::get("/readyz")).json();
        let detail = told["detail"].as_str().unwrap();
        let (done, total) = detail.split_once("the log: ")?.1.split_once(" of ")?;
        let total = total.strip_suffix(" bytes.")?.parse::<u64>().ok()?;
        (done.parse::<u64>().ok()? <= total).then_some(())
    });
    // No connection is refused from then on, and this one ends.
    let server = starting.join().unwrap();
    assert!(connection.is_closed());
    assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
    assert_eq!(server.ask(&hold).status, 201, "the key is not used up");
}

#[test]
fn told_to_end_while_it_recovers_it_ends_at_once_and_the_next_start_recovers() {
    let scratch = tempfile::tempdir().unwrap();
    let data_dir = scratch.path().join("data");
    write_long_log(&data_dir);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = format!("[server]\nlisten = \"{address}\"\n");
    let setup = || Setup::demo().config(&listen).data_dir(&data_dir);
    let launched = setup().launch();
    until("it recovers", || {
        let mut connection = Client::try_connect(address).ok()?;
        let ready = connection.try_ask(&Request::get("/readyz")).ok()?;
        (ready.json()["reason"] == "recovering").then_some(())
    });
    launched.terminate();
    let Err((status, log)) = launched.listening() else {
        panic!("it went on to listen");
    };
    let log = log.join("\n");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped during recovery"), "{log}");
    assert!(
        !log.contains("the data directory is open and recovered"),
        "{log}"
    );
    let again = setup().start();
    assert_eq!(again.ask(&Request::get("/readyz")).status, 200);
}

#[test]
fn the_commands_read_a_stopped_directory() {
    let server = Setup::demo().start();
    let bought = server
        .ask(&Request::buy("ana", "drop-1", "tok_ok", "key-cmd-01"))
        .json();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = server;
    server.terminate();
    server.wait();
    std::fs::rename(&server.data_dir, &data).unwrap();

    let log = |arguments: &[&str]| {
        let ended = binary()
            .arg("log")
            .arg(&data)
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let text = String::from_utf8(ended.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let all = log(&[]);
    let captured = log(&["--kind", "payment_captured"]);
    assert_eq!(captured.len(), 1);
    assert_eq!(captured[0]["purchase_id"], bought["purchase_id"]);
    let from = all[2]["lsn"].to_string();
    let to = all[4]["lsn"].to_string();
    assert_eq!(log(&["--from", &from, "--to", &to]), all[2..4]);

    let receipt = dir.path().join("receipt.json");
    std::fs::write(&receipt, bought["receipt"].to_string()).unwrap();
    let verify = |arguments: &[&str]| {
        let mut command = binary();
        command
            .args(["receipt", "verify"])
            .arg(&receipt)
            .args(arguments);
        command.stderr(Stdio::piped()).output().unwrap()
    };
    let genuine = verify(&["--demo"]);
    assert_eq!(genuine.status.code(), Some(0), "{genuine:?}");
    assert!(String::from_utf8_lossy(&genuine.stdout).contains("\"valid\":true"));
    let key = dir.path().join("key");
    std::fs::write(&key, "demo-receipt-key-that-everybody-knows\n").unwrap();
    assert_eq!(
        verify(&["--key-file", key.to_str().unwrap()]).status.code(),
        Some(0)
    );
    std::fs::write(&key, "another-key-that-never-sealed-anything\n").unwrap();
    assert_eq!(
        verify(&["--key-file", key.to_str().unwrap()]).status.code(),
        Some(1)
    );
    assert_eq!(verify(&[]).status.code(), Some(2), "bad usage");

    let nothing = binary().args(["check", "/nonexistent"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&nothing.stderr).lines().count(), 1);
}

/// Many requests over one HTTP/2 connection, in the clear and by TLS.
#[test]
fn http2_in_the_clear_and_by_tls() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Setup::demo().start();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        many_over_http2(TokioIo::new(stream)).await;
    });
    assert_eq!(server.stock("drop-1"), [100, 50, 0, 50]);

    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "[server.tls]\ncert = {cert:?}\nkey = {key:?}\n[server]\nheader_read_timeout_ms = 500"
    );
    let server = Setup::demo().config(&config).start();
    for protocol in ["h2", "http/1.1"] {
        runtime.block_on(async {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certified.cert.der().clone()).unwrap();
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            let mut tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            let stream = tokio::net::TcpStream::connect(server.address)
                .await
                .unwrap();
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
            let stream = connector
                .connect("localhost".try_into().unwrap(), stream)
                .await
                .unwrap();
            if protocol == "h2" {
                many_over_http2(TokioIo::new(stream)).await;
            } else {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .unwrap();
                tokio::spawn(connection);
                let request = hyper::Request::get("/livez").header("host", "h");
                let request = request.body(Full::<bytes::Bytes>::default()).unwrap();
                assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
            }
        });
    }
    // Who does not speak TLS is cut off in time.
    let mut silent = server.connect();
    assert!(silent.is_closed());
}

async fn many_over_http2<T>(io: T)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut asked = Vec::new();
    for number in 0..50 {
        let hold = Request::hold(
            &format!("u{number}"),
            "drop-1",
            1,
            &format!("key-h2-{number:03}"),
        );
        let mut request = hyper::Request::post("http://holdfast/limited/holds");
        for (name, value) in &hold.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(bytes::Bytes::from(hold.body)))
            .unwrap();
        let mut sender = sender.clone();
        asked.push(tokio::spawn(async move {
            sender.send_request(request).await.unwrap()
        }));
    }
    for answer in asked {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 201);
        assert!(answer.headers().contains_key("x-request-id"));
        answer.into_body().collect().await.unwrap();
    }
    // Bounds hold here, too.
    let body = Full::new(bytes::Bytes::from(vec![b' '; 20_000]));
    let request = hyper::Request::post("http://holdfast/limited/buy")
        .header("authorization", format!("Bearer {SHOP}"))
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let answer = sender.clone().send_request(request).await.unwrap();
    assert_eq!(answer.status(), 413);
    let request = hyper::Request::get("http://holdfast/livez").header("x-wide", "w".repeat(40_000));
    let request = request.body(Full::default()).unwrap();
    if let Ok(answer) = sender.clone().send_request(request).await {
        assert_eq!(answer.status(), 431);
    }
}

#[test]
fn commands_name_what_they_cannot_work_with() {
    let empty = tempfile::tempdir().unwrap();
    let directory = empty.path().to_str().unwrap();
    let cases: [(&[&str], i32, &str); 3] = [
        (&["check", directory], 2, "name a data directory"),
        (&["log", directory], 1, "name a data directory"),
        (
            &["log", directory, "--kind", "nonsense"],
            1,
            "name a data directory",
        ),
    ];
    for (arguments, code, expected) in cases {
        let output = support::binary().args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    let server = Setup::demo().data_dir(empty.path()).start();
    assert_eq!(server.stop().0.code(), Some(0));
    let nonsense = ["log", directory, "--kind", "nonsense"];
    let output = support::binary().args(nonsense).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("hold_placed"), "it lists the kinds: {told}");
}

#[test]
fn attempts_whose_body_was_never_read_are_in_the_audit_trail_too() {
    let server = Setup::demo().start();
    let hold = Request::hold("ana", "drop-1", 1, "never-read-1");
    let mut as_text = hold.clone();
    as_text.headers.retain(|(name, _)| name != "content-type");
    let as_text = as_text.header("content-type", "text/plain");
    assert_eq!(server.ask(&as_text).status, 415);
    let mut large = hold;
    large.body = vec![b' '; 20_000];
    assert_eq!(server.ask(&large).status, 413);
    let trail = until("both are durable", || {
        let path = "/admin/audit?kind=attempt_refused&limit=10";
        let page = server.ask(&Request::get(path).key(ADMIN)).json();
        let events = page["events"].as_array().unwrap().clone();
        (events.len() == 2).then_some(events)
    });
    let reasons: Vec<_> = trail
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["unsupported_media_type", "body_too_large"]);
}
