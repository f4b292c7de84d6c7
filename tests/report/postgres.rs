//! The PostgreSQL sink of the real program: what its tables say, who may change them, what it
//! refuses, how it is paused and how far the log is kept for it.

mod catalogue;
mod comments;
mod partitions;
mod plans;
mod queries;
mod refunds;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::postgres_server::Postgres;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::{ADMIN, Request, SHOP, Server, Setup, product_terms, until};

/// A demo with this sink, small segments and quick retries.
fn setup(url: &str) -> Setup {
    setup_with(url, "")
}

/// The same with more in the section `report`.
fn setup_with(url: &str, report: &str) -> Setup {
    Setup::demo().config(&format!(
        "[storage]\nsegment_bytes = 1_049_088\nsnapshot_every_bytes = 1_048_576\n\
         [limits.rate]\ncount = 1000\nper_s = 1\n\
         [report]\nbackoff_first_ms = 10\nbackoff_max_ms = 200\n{report}\n\
         [report.batch]\nwait_ms = 5\n\
         [report.postgres]\nurl = \"{url}\"\n"
    ))
}

fn sink(server: &Server) -> Value {
    let body = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
    let sinks = body["sinks"].as_array().unwrap();
    let found = sinks.iter().find(|it| it["name"] == "postgres");
    found.unwrap().clone()
}

/// Waits until everything that is durable now is delivered.
fn caught_up(server: &Server) -> Value {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    let durable = status["durable_lsn"].as_u64().unwrap();
    until("the sink has caught up", || {
        let sink = sink(server);
        (sink["cursor_lsn"].as_u64().unwrap() >= durable).then_some(sink)
    })
}

fn admin(server: &Server, path: &str, body: &Value) -> Value {
    let answer = server.ask(&Request::post(path).key(ADMIN).once(path).json(body));
    assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
    answer.json()
}

/// Everything a shop does, once or more; the ids of purchases by what became of them.
fn a_days_business(server: &Server) -> BTreeMap<&'static str, String> {
    let product = product_terms(&json!({
        "name": "Drop", "price": {"USD": 1999, "KRW": 25000}, "stock": 1000, "reward_tokens": 7,
    }));
    let put = Request::put("/admin/products/drop")
        .key(ADMIN)
        .json(&product);
    assert!(matches!(server.ask(&put).status, 200 | 201));
    let buy = |user: &str, card: &str, promotion: Option<&str>| {
        let mut body = json!({
            "user_id": user, "product_id": "drop", "quantity": 2, "currency": "USD",
            "card_token": card, "ip": "203.0.113.7", "device_id": "phone-1",
            "metadata": {"order": format!("of {user}")},
        });
        if let Some(code) = promotion {
            body["promotion_code"] = json!(code);
        }
        let key = format!("buy-{user}-key");
        server.ask(
            &Request::post("/limited/buy")
                .key(SHOP)
                .once(&key)
                .json(&body),
        )
    };
    let id = |answer: &support::Response| answer.json()["purchase_id"].as_str().unwrap().to_owned();
    let mut made = BTreeMap::new();
    made.insert("kept", id(&buy("ana", "tok_ok", None)));
    made.insert("refunded", id(&buy("bo", "tok_ok", None)));
    made.insert("part", id(&buy("cy", "tok_ok", None)));
    assert_eq!(buy("di", "tok_declined", None).status, 402);
    let hold =
        |user: &str, product: &str, key: &str| server.ask(&Request::hold(user, product, 1, key));
    assert_eq!(hold("ed", "nothing", "hold-ed-1").status, 404);
    let placed = hold("ed", "drop", "hold-ed-2").json();
    let path = format!("/limited/holds/{}", placed["hold_id"].as_str().unwrap());
    assert_eq!(server.ask(&Request::delete(&path).key(SHOP)).status, 200);
    for (which, amount) in [("refunded", 3998), ("part", 1500)] {
        let path = format!("/admin/purchases/{}/refunds", made[which]);
        let body = json!({"amount": amount, "previously_refunded": 0, "reason": "as asked"});
        admin(server, &path, &body);
    }
    made
}

#[test]
fn every_event_becomes_rows_exactly_once_and_the_ledger_balances() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    let made = a_days_business(&server);
    let sink = caught_up(&server);
    assert_eq!((&sink["up"], &sink["lag_bytes"]), (&json!(true), &json!(0)));

    let row = |id: &str, column: &str| -> String {
        postgres.value(&format!(
            "SELECT {column}::text FROM holdfast.shop_transactions WHERE purchase_id = '{id}'"
        ))
    };
    for (which, status, refunded) in [
        ("kept", "captured", "0"),
        ("refunded", "refunded", "3998"),
        ("part", "partially_refunded", "1500"),
    ] {
        assert_eq!(row(&made[which], "status"), status);
        assert_eq!(row(&made[which], "refunded_amount"), refunded);
    }
    assert_eq!(row(&made["kept"], "metadata"), r#"{"order": "of ana"}"#);
    let path = format!("/limited/purchases/{}", made["kept"]);
    let receipt = server.ask(&Request::get(&path).key(SHOP)).json()["receipt"].clone();
    assert_eq!(
        row(&made["kept"], "encode(integrity_hash, 'hex')"),
        receipt["integrity_hash"]
    );
    assert_eq!(
        row(&made["kept"], "encode(receipt_hmac, 'hex')"),
        receipt["hmac"]
    );

    let attempts: Vec<String> = postgres.column(
        "SELECT flow || ' ' || result || ' ' || coalesce(reason, '-') || ' ' || coalesce(user_id, '-')
            || ' ' || coalesce(ip, '-')
         FROM holdfast.purchase_attempts WHERE flow <> 'refund' ORDER BY lsn",
    );
    assert_eq!(
        attempts,
        [
            "buy success - ana 203.0.113.7",
            "buy success - bo 203.0.113.7",
            "buy success - cy 203.0.113.7",
            "buy failed declined_by_issuer di 203.0.113.7",
            "hold refused product_not_found ed -",
            "hold success - ed -",
        ]
    );
    let refunds: Vec<i64> = postgres.column(
        "SELECT amount FROM holdfast.purchase_attempts
         WHERE flow = 'refund' AND result = 'success' ORDER BY lsn",
    );
    assert_eq!(refunds, [3998, 1500]);
    let declines: i64 =
        postgres.value("SELECT declines FROM holdfast.risk_profiles WHERE user_id = 'di'");
    assert_eq!(declines, 1);
    let balance = |user: &str| -> (String, String) {
        let rows = postgres.query(&format!(
            "SELECT tokens::text, debt::text FROM holdfast.reward_balances WHERE user_id = '{user}'"
        ));
        (rows[0].get(0), rows[0].get(1))
    };
    assert_eq!(balance("ana"), ("14".to_owned(), "0".to_owned()));
    assert_eq!(balance("bo"), ("0".to_owned(), "0".to_owned()));

    let (status, _) = stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
    assert!(status.success());
}

/// Stops the server, then looks at its directory.
fn stopped(
    mut server: Server,
    look: impl FnOnce(&Server),
) -> (std::process::ExitStatus, Vec<String>) {
    server.terminate();
    let status = server.wait();
    look(&server);
    (status, server.log.lines())
}

/// The sink begins once everything has happened: each row says what was so then.
#[test]
fn each_payment_of_a_hold_is_an_attempt_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let small = "[storage]\nsegment_bytes = 1_049_088\n";
    let server = Setup::demo().config(small).data_dir(dir.path()).start();
    let promotion = json!({
        "percent_off": 50, "uses_max": 1, "uses_per_user_max": null, "starts_at": null,
        "ends_at": null, "active": true,
    });
    let put = Request::put("/admin/promotions/HALF")
        .key(ADMIN)
        .json(&promotion);
    assert!(matches!(server.ask(&put).status, 200 | 201));
    let hold = json!({
        "user_id": "ana", "product_id": "drop-1", "quantity": 1, "promotion_code": "HALF",
    });
    let place = Request::post("/limited/holds").key(SHOP).once("key-hold-1");
    let hold = server.ask(&place.json(&hold)).json();
    let id = hold["hold_id"].as_str().unwrap();
    let pay = |currency: &str, card: &str, key: &str| {
        let body = json!({
            "user_id": "ana", "product_id": "drop-1", "quantity": 1, "currency": currency,
            "card_token": card, "hold_id": id,
        });
        let request = Request::post("/limited/buy").key(SHOP).once(key);
        server.ask(&request.json(&body)).status
    };
    assert_eq!(pay("USD", "tok_declined_one", "key-pay-1"), 402);
    assert_eq!(pay("KRW", "tok_declined_two", "key-pay-2"), 402);
    assert_eq!(pay("USD", "tok_ok", "key-pay-3"), 201);
    server.stop();

    let postgres = Postgres::start();
    let server = setup(&postgres.url()).data_dir(dir.path()).start();
    caught_up(&server);
    let attempts: Vec<String> = postgres.column(
        "SELECT result || ' ' || coalesce(reason, '-') || ' ' || card_token || ' ' || currency
            || ' ' || (ended_lsn IS NOT NULL)::text
         FROM holdfast.purchase_attempts WHERE flow = 'buy' ORDER BY lsn",
    );
    assert_eq!(
        attempts,
        [
            "failed declined_by_issuer tok_declined_one USD true",
            "failed declined_by_issuer tok_declined_two KRW true",
            "success - tok_ok USD true",
        ]
    );
    let given_back = "SELECT count(*) FROM holdfast.promotion_uses WHERE given_back_at IS NOT NULL";
    let given_back: i64 = postgres.value(given_back);
    assert_eq!(given_back, 0);
    let declines = "SELECT declines FROM holdfast.risk_profiles WHERE user_id = 'ana'";
    let declines: i64 = postgres.value(declines);
    assert_eq!(declines, 2);
    let (status, _) = stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
    assert!(status.success());
}

#[test]
fn the_writer_deletes_nothing_and_changes_nothing_that_is_closed() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    a_days_business(&server);
    caught_up(&server);
    postgres.execute("CREATE ROLE sink LOGIN IN ROLE holdfast_writer");
    for (statement, state) in [
        ("DELETE FROM holdfast.audit_log", "42501"),
        ("DELETE FROM holdfast.ledger_entries", "42501"),
        ("TRUNCATE holdfast.purchase_attempts", "42501"),
        ("UPDATE holdfast.audit_log SET kind = 'x'", "42501"),
        ("UPDATE holdfast.ledger_entries SET amount = 1", "42501"),
        ("UPDATE holdfast.shop_transactions SET amount = 1", "42501"),
        (
            "UPDATE holdfast.purchase_attempts SET user_id = 'x'",
            "42501",
        ),
        (
            "UPDATE holdfast.purchase_attempts SET result = 'failed' WHERE result = 'success'",
            "23000",
        ),
        (
            "UPDATE holdfast.shop_transactions SET refunded_amount = 0 WHERE refunded_amount > 0",
            "23000",
        ),
        ("UPDATE holdfast.sink_cursor SET lsn = 0", "23000"),
        ("CREATE TABLE holdfast.mine (a int)", "42501"),
        ("CREATE TABLE public.mine (a int)", "42501"),
        ("DROP TABLE holdfast.audit_log", "42501"),
    ] {
        let refused = postgres
            .try_query_as("sink", statement)
            .expect_err(statement);
        assert_eq!(
            refused.code().unwrap().code(),
            state,
            "{statement}: {refused}"
        );
    }
    assert!(
        postgres
            .try_query_as("sink", "SELECT count(*) FROM holdfast.audit_log")
            .is_ok()
    );
    postgres.execute("CREATE ROLE analyst LOGIN IN ROLE holdfast_reader");
    assert!(
        postgres
            .try_query_as("analyst", "SELECT * FROM holdfast.ledger_revenue")
            .is_ok()
    );
    let refused = postgres.try_query_as("analyst", "DELETE FROM holdfast.audit_log");
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");
}

/// A trigger's words may be anything, and so may a value that does not fit: neither is repeated.
#[test]
fn rows_quoted_by_the_database_are_not_repeated() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    server.put_product("drop", 1_000);
    caught_up(&server);
    postgres.execute(
        "CREATE FUNCTION holdfast.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.user_id = 'eve' THEN RAISE EXCEPTION 'card 4539578763621486 of %', NEW.user_id; END IF; \
           IF NEW.user_id = 'mallory' THEN PERFORM NEW.user_id::integer; END IF; \
           RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON holdfast.audit_log \
           FOR EACH ROW EXECUTE FUNCTION holdfast.refuse()",
    );
    for user in ["ana", "eve", "mallory"] {
        let held = server.ask(&Request::hold(user, "drop", 1, "hold-key-1"));
        assert_eq!(held.status, 201, "{held:?}");
    }
    caught_up(&server);
    let listed = server
        .ask(&Request::get("/admin/dead-letters?sink=postgres").key(ADMIN))
        .json();
    let letters = listed["dead_letters"].as_array().unwrap().iter();
    let causes: Vec<&str> = letters.map(|it| it["cause"].as_str().unwrap()).collect();
    let told = format!("{causes:?} {}", server.log.lines().join("\n"));
    assert!(told.contains("P0001") && told.contains("22P02"), "{told}");
    for word in ["4539578763621486", "of eve", "\\\"mallory\\\"", "PL/pgSQL"] {
        assert!(!told.contains(word), "{word}: {told}");
    }
}

#[test]
fn rows_that_the_database_rejects_go_to_the_dead_letters_and_can_be_redriven() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    server.put_product("drop", 1_000);
    caught_up(&server);
    // `eve` cannot be written: neither what she does nor what is later known of it.
    postgres
        .execute("ALTER TABLE holdfast.audit_log ADD CONSTRAINT poison CHECK (user_id <> 'eve')");
    let mut connection = server.connect();
    for number in 0..60 {
        let user = if number == 30 {
            "eve".to_owned()
        } else {
            format!("user-{number}")
        };
        let key = format!("buy-key-{number}");
        let answer = connection.ask(&Request::buy(&user, "drop", "tok_ok", &key));
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let sink = caught_up(&server);
    assert_eq!(sink["up"], true);
    let listed = server
        .ask(&Request::get("/admin/dead-letters?sink=postgres").key(ADMIN))
        .json();
    let letters = listed["dead_letters"].as_array().unwrap();
    assert_eq!(
        listed["total"].as_u64().unwrap(),
        sink["rejected"].as_u64().unwrap()
    );
    assert!(letters.len() >= 4, "{listed}");
    assert_eq!(listed["next"], Value::Null);
    // In pages it is the same list, each letter once, and the last page says that it is the last.
    let mut paged = Vec::new();
    let mut after = String::new();
    for _ in 0..=letters.len() {
        let path = format!("/admin/dead-letters?sink=postgres&limit=3{after}");
        let page = server.ask(&Request::get(&path).key(ADMIN)).json();
        let shown = page["dead_letters"].as_array().unwrap();
        assert!((1..=3).contains(&shown.len()), "{page}");
        paged.extend(shown.iter().cloned());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    assert_eq!(&paged, letters);
    for wrong in ["limit=0", "limit=1001", "after=4096", "after=postgres:x"] {
        let path = format!("/admin/dead-letters?{wrong}");
        let answer = server.ask(&Request::get(&path).key(ADMIN));
        assert_eq!(answer.reason(), "invalid_request", "{wrong}");
    }
    for letter in letters {
        assert_eq!(letter["event"]["user_id"], "eve");
        let cause = letter["cause"].as_str().unwrap();
        assert!(cause.contains("poison"), "{letter}");
        assert!(!cause.contains("Failing row"), "no row is quoted: {letter}");
    }
    let lines = server.log.lines().join("\n");
    assert!(
        lines.contains("dead_letter") && !lines.contains("Failing row"),
        "{lines}"
    );
    let bought: i64 = postgres.value("SELECT count(*) FROM holdfast.shop_transactions");
    assert_eq!(bought, 59, "the rest has passed");

    let redrive = |body: &Value| admin(&server, "/admin/dead-letters/redrive", body);
    let refused = redrive(&json!({"sink": "postgres"}));
    assert_eq!(
        (&refused["delivered"], &refused["refused"]),
        (&json!(0), &listed["total"])
    );
    postgres.execute("ALTER TABLE holdfast.audit_log DROP CONSTRAINT poison");
    let done = redrive(&json!({"sink": "postgres"}));
    assert_eq!(
        (&done["delivered"], &done["refused"]),
        (&listed["total"], &json!(0)),
        "{done}"
    );
    let again = redrive(&json!({"sink": "postgres"}));
    assert_eq!(again["delivered"], 0);
    // Segments are computed by LSN: who came late is named.
    let late: Vec<String> = postgres.column("SELECT DISTINCT user_id FROM holdfast.segment_late");
    assert_eq!(late, ["eve"]);
    let listed = server
        .ask(&Request::get("/admin/dead-letters").key(ADMIN))
        .json();
    assert_eq!(listed["total"], 0);
    let bought: i64 = postgres.value("SELECT count(*) FROM holdfast.shop_transactions");
    assert_eq!(bought, 60);
    stopped(server, |server| {
        caught_up_offline(&postgres);
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
}

/// Nothing of the sink is under way any more.
fn caught_up_offline(postgres: &Postgres) {
    until("the sink has let go", || {
        let open: i64 = postgres
            .value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'");
        (open == 0).then_some(())
    });
}

#[test]
fn a_capture_out_of_the_dead_letters_meets_its_refund_and_full_dead_letters_stop_the_sink() {
    let postgres = Postgres::start();
    let server = setup_with(&postgres.url(), "dead_letters_bytes_max = 8_192").start();
    server.put_product("drop", 1_000);
    caught_up(&server);
    postgres.execute(
        "ALTER TABLE holdfast.audit_log ADD CONSTRAINT poison
         CHECK (user_id <> 'eve' OR kind NOT IN ('payment_captured', 'payment_started'))",
    );
    let bought = server.ask(&Request::buy("eve", "drop", "tok_ok", "buy-key-eve"));
    let id = bought.json()["purchase_id"].as_str().unwrap().to_owned();
    let refunds = format!("/admin/purchases/{id}/refunds");
    let body = json!({"amount": 500, "previously_refunded": 0, "reason": "as asked"});
    admin(&server, &refunds, &body);
    caught_up(&server);
    let row = || -> String {
        postgres.value(
            "SELECT format('%s %s %s', status, amount, refunded_amount)
             FROM holdfast.shop_transactions",
        )
    };
    assert_eq!(
        row(),
        "partially_refunded 1999 500",
        "the refund says what it was of"
    );
    let mismatched: i64 = postgres.value("SELECT count(*) FROM holdfast.revenue_mismatch");
    assert_eq!(mismatched, 1, "the capture's own entries are missing");

    // Until nothing more fits; then the sink stands, and buyers go on.
    let mut number = 0;
    until("the dead letters are full", || {
        number += 1;
        let key = format!("buy-key-more-{number}");
        assert_eq!(
            server
                .ask(&Request::buy("eve", "drop", "tok_ok", &key))
                .status,
            201
        );
        let sink = sink(&server);
        let failure = sink["failure"].as_str()?;
        failure
            .contains("report.dead_letters_bytes_max")
            .then_some(())
    });
    assert_eq!(sink(&server)["up"], false);
    let stuck = sink(&server)["cursor_lsn"].clone();
    postgres.execute("ALTER TABLE holdfast.audit_log DROP CONSTRAINT poison");
    // The one in hand was refused already and needs room; so it goes on once there is some.
    until("it is driven again", || {
        let sent = json!({"sink": "postgres"});
        let done = admin(&server, "/admin/dead-letters/redrive", &sent);
        (done["status"] == "done" && done["delivered"].as_u64()? > 0).then_some(())
    });
    assert_ne!(caught_up(&server)["cursor_lsn"], stuck);
    let _ = admin(
        &server,
        "/admin/dead-letters/redrive",
        &json!({"sink": "postgres"}),
    );
    let rows: Vec<String> = postgres.column(&format!(
        "SELECT format('%s %s %s', status, amount, refunded_amount)
         FROM holdfast.shop_transactions WHERE purchase_id = '{id}'"
    ));
    assert_eq!(rows, ["partially_refunded 1999 500"]);
    stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
}

#[test]
fn the_log_is_kept_for_a_paused_sink_and_goes_once_it_has_passed() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    server.put_product("drop", 1_000_000);
    caught_up(&server);
    let paused = admin(&server, "/admin/sinks/postgres/pause", &json!({}));
    assert_eq!(paused["mode"], "paused");
    let before: i64 = postgres.value("SELECT lsn FROM holdfast.sink_cursor");
    let status = || server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    let mut connection = server.connect();
    let mut number = 0;
    while status()["log"]["segments"].as_u64().unwrap() < 4 {
        for _ in 0..500 {
            number += 1;
            let user = format!("user-{}", number % 1_000);
            let hold = Request::hold(&user, "drop", 1, &format!("hold-key-{number}"));
            assert_eq!(connection.ask(&hold).status, 201);
        }
        let snapshot = connection.ask(&Request::post("/admin/snapshot").key(ADMIN));
        assert_eq!(snapshot.status, 200, "{snapshot:?}");
    }
    let kept = status();
    assert!(
        kept["first_lsn"].as_i64().unwrap() <= before,
        "kept for the sink: {kept}"
    );
    let shown = sink(&server);
    assert_eq!(shown["mode"], "paused");
    assert!(shown["lag_bytes"].as_u64().unwrap() > 0);
    until("its age is told", || {
        (sink(&server)["age_ms"].as_u64()? > 0).then_some(())
    });
    let still: i64 = postgres.value("SELECT lsn FROM holdfast.sink_cursor");
    assert_eq!(still, before);

    let resumed = admin(&server, "/admin/sinks/postgres/resume", &json!({}));
    assert_eq!(resumed["mode"], "run");
    caught_up(&server);
    until("the log behind it goes", || {
        (status()["first_lsn"].as_i64().unwrap() > before).then_some(())
    });
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    for line in [
        "holdfast_sink_up{sink=\"postgres\"} 1",
        "holdfast_sink_rejected_total{sink=\"postgres\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let answer = server.ask(
        &Request::post("/admin/sinks/nobody/pause")
            .key(ADMIN)
            .json(&json!({})),
    );
    assert_eq!(answer.status, 404);
    stopped(server, |_| {});
}

#[test]
fn tls_is_verified_and_the_schema_can_be_the_operators_own_work() {
    let postgres = Postgres::start();
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    postgres.take_tls(&signed.cert.pem(), &signed.signing_key.serialize_pem());
    let dir = tempfile::tempdir().unwrap();
    let (data_dir, ca_file) = (dir.path().join("data"), dir.path().join("ca.pem"));
    std::fs::write(&ca_file, signed.cert.pem()).unwrap();
    let url = format!(
        "postgres://sink@127.0.0.1:{}/postgres?sslmode=verify-full",
        postgres.port
    );
    let failure = |server: &Server, words: &str| {
        until("it says what is wrong", || {
            let failure = sink(server)["failure"].as_str()?.to_owned();
            failure.contains(words).then_some(())
        });
        assert_eq!(sink(server)["up"], false);
    };

    // Nobody whom the world trusts has signed the certificate.
    let server = setup(&url).data_dir(&data_dir).start();
    failure(&server, "certificate");
    stopped(server, |_| {});

    let with_ca = format!("ca_file = \"{}\"\nmigrate = \"off\"", ca_file.display());
    let server = setup(&url).data_dir(&data_dir).config(&with_ca).start();
    failure(&server, "28000");
    postgres.execute("CREATE ROLE sink LOGIN");
    failure(&server, "holdfast_writer");
    postgres.execute(&printed());
    postgres.execute("GRANT holdfast_writer TO sink");
    // Mended, it goes on by itself, and with no more rights than the writer's.
    a_days_business(&server);
    caught_up(&server);
    let encrypted: bool = postgres.value(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = 'holdfast'",
    );
    assert!(encrypted);
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).text();
    assert!(!shown.contains("sink@127.0.0.1"), "{shown}");
    stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
}

/// What `holdfast schema postgres` prints.
fn printed() -> String {
    let printed = support::binary()
        .args(["schema", "postgres"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    String::from_utf8(printed.stdout).unwrap()
}

#[test]
fn the_printed_schema_may_be_run_on_whatever_is_there_and_auto_goes_on_from_it() {
    let postgres = Postgres::start();
    let kept = tempfile::tempdir().unwrap();
    let start = || setup(&postgres.url()).data_dir(kept.path()).start();
    let script = printed();
    let (first, _) = script.split_once("-- V2__segments\n").unwrap();
    let history = || -> Vec<String> {
        postgres.column(
            "SELECT concat_ws(' ', version, name, checksum) FROM holdfast.schema_history
             ORDER BY version",
        )
    };
    let owner = || -> String {
        postgres.value(
            "SELECT tableowner::text FROM pg_tables
             WHERE schemaname = 'holdfast' AND tablename = 'schema_history'",
        )
    };
    // What `auto` makes of an empty database is what the script is held against.
    let server = start();
    caught_up(&server);
    stopped(server, |_| {});
    let expected = history();
    assert_eq!(expected.len(), 8);
    let tables = || -> Vec<String> {
        postgres.column(
            "SELECT concat_ws(' ', table_name, column_name, data_type)
             FROM information_schema.columns
             WHERE table_schema = 'holdfast' AND table_name !~ '_[0-9]{4}_[0-9]{2}$' ORDER BY 1",
        )
    };
    let made_by_auto = tables();

    let first_unnoted = include_str!("../../src/report/postgres/sql/V1__tables.sql");
    let second_unnoted = include_str!("../../src/report/postgres/sql/V2__segments.sql");
    let a_row = "INSERT INTO holdfast.user_segments VALUES
        ('ana', 'new', now(), 64, 5, 1, 1, 1, now(), now(), NULL, 1, 1)";
    let empty_history = "CREATE SCHEMA holdfast; CREATE TABLE holdfast.schema_history
        (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255));";
    let after_auto_failed = format!("{empty_history}{first_unnoted}");
    for (there, before) in [
        ("what auto made", None),
        ("nothing", Some("")),
        ("the first, noted", Some(first)),
        (
            "the first, by a script that noted nothing",
            Some(first_unnoted),
        ),
        ("the first, and an empty history", Some(&after_auto_failed)),
    ] {
        if let Some(before) = before {
            postgres.execute("DROP SCHEMA holdfast CASCADE");
            postgres.psql(before);
        }
        postgres.psql(&script);
        assert_eq!(tables(), made_by_auto, "{there}");
        postgres.execute(a_row);
        // The next upgrade runs it again, by whichever client; what was computed stays.
        postgres.psql(&script);
        postgres.execute(&script);
        let computed: i64 = postgres.value("SELECT count(*) FROM holdfast.user_segments");
        assert_eq!(computed, 1, "{there}");
        assert_eq!(history(), expected, "{there}");
        assert_eq!(owner(), "holdfast_migrator", "{there}");
        let server = start();
        until("it is up", || (sink(&server)["up"] == true).then_some(()));
        caught_up(&server);
        stopped(server, |_| {});
        assert_eq!(history(), expected, "{there}");
    }

    // Tables of another version's second step: nothing is changed.
    postgres.execute("UPDATE holdfast.schema_history SET checksum = '1' WHERE version = 2");
    let refused = postgres.try_execute(&script).unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55000", "{refused}");
    let server = start();
    until("the sink says what to do", || {
        let failure = sink(&server)["failure"].as_str()?.to_owned();
        failure.contains("RENAME TO holdfast_before").then_some(())
    });
    stopped(server, |_| {});
    // The second one without a note is not taken for anything, and loses nothing.
    postgres.execute("DROP SCHEMA holdfast CASCADE");
    postgres.execute(&format!("{first_unnoted};{second_unnoted};{a_row}"));
    let refused = postgres.try_execute(&script).unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42P07", "{refused}");
    let computed: i64 = postgres.value("SELECT count(*) FROM holdfast.user_segments");
    assert_eq!(computed, 1);
    // Nothing but the second step is there, as far as is noted: it is not run before the first.
    postgres.execute("DROP SCHEMA holdfast CASCADE");
    let second = script.replace(first, first.split("-- V1__tables\n").next().unwrap());
    let refused = postgres.try_execute(&second).unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55000", "{refused}");
}
