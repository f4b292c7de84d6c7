//! Segments that the database computed, on their way back into the real program: rules and
//! promotions name them, the operator's word goes before them, and a crash on the way changes
//! nothing.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use support::postgres_server::Postgres;
use support::postgres_server::tables::events;
use support::{
    ADMIN, Request, Response, SHOP, Server, Setup, binary, promotion_terms, rating_terms, until,
};

fn setup(url: &str, feedback_per_s: u32) -> Setup {
    Setup::demo().config(&format!(
        "[storage]\nsegment_bytes = 1_049_088\n\
         [limits.rate]\ncount = 1000\nper_s = 1\n\
         [report]\nbackoff_first_ms = 10\nbackoff_max_ms = 200\n\
         [report.batch]\nwait_ms = 5\n\
         [report.postgres]\nurl = \"{url}\"\n\
         [report.postgres.segments]\nevery_s = 0\nbatch = 3\nfeedback_per_s = {feedback_per_s}\n"
    ))
}

fn get(server: &Server, path: &str) -> Value {
    let answer = server.ask(&Request::get(path).key(ADMIN));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

/// Waits until everything that is durable now is delivered.
fn delivered(server: &Server) {
    let durable = get(server, "/admin/status")["durable_lsn"]
        .as_u64()
        .unwrap();
    until("the sink has caught up", || {
        let sinks = get(server, "/admin/sinks");
        (sinks["sinks"][0]["cursor_lsn"].as_u64().unwrap() >= durable).then_some(())
    });
}

/// Asks for a run; its report.
fn refresh(server: &Server) -> Value {
    let asked = server.ask(&Request::post("/admin/segments").key(ADMIN));
    assert_eq!(asked.status, 202, "{asked:?}");
    let number = asked.json()["number"].as_u64().unwrap();
    until("the run has ended", || {
        let report = get(server, "/admin/segments")["report"].clone();
        (report["number"].as_u64() >= Some(number)).then_some(report)
    })
}

/// The same once all is delivered, and it has to succeed.
fn refreshed(server: &Server) -> Value {
    delivered(server);
    let report = refresh(server);
    assert_eq!(report["result"], "done", "{report}");
    report
}

fn try_buy(server: &Server, user: &str, key: &str, promotion: Option<&str>) -> Response {
    let mut body = json!({
        "user_id": user, "product_id": "drop", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok",
    });
    if let Some(code) = promotion {
        body["promotion_code"] = json!(code);
    }
    let request = Request::post("/limited/buy").key(SHOP).once(key);
    server.ask(&request.json(&body))
}

fn buy(server: &Server, user: &str, times: usize) {
    for number in 0..times {
        let answer = try_buy(server, user, &format!("buy-{user}-{number}"), None);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

fn rating(server: &Server, user: &str) -> Value {
    get(server, &format!("/admin/users/{user}/rating"))
}

fn rate(server: &Server, user: &str, body: &Value) {
    let path = format!("/admin/users/{user}/rating");
    let put = server.ask(&Request::put(&path).key(ADMIN).json(&rating_terms(body)));
    assert_eq!(put.status, 200, "{put:?}");
}

fn put(server: &Server, path: &str, body: &Value) -> Response {
    server.ask(&Request::put(path).key(ADMIN).json(body))
}

/// What the log has of segments: the events of each buyer, in order.
fn segmented(data_dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = events(data_dir);
    for event in all.iter().filter(|it| it["kind"] == "buyer_segmented") {
        let user = event["user_id"].as_str().unwrap().to_owned();
        let segment = event["segment"].as_str().unwrap().to_owned();
        found.entry(user).or_default().push(segment);
    }
    found
}

fn assert_clean(data_dir: &Path) {
    let checked = binary().arg("check").arg(data_dir).output().unwrap();
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}");
}

/// Three buyers with one, three and two purchases, and a promotion for two segments.
fn open_shop(server: &Server) {
    server.put_product("drop", 1_000);
    for (user, times) in [("ana", 1), ("bo", 3), ("cy", 2)] {
        buy(server, user, times);
    }
    let segments = json!(["loyal", "vip"]);
    let promotion = json!({"percent_off": 50, "uses_max": 100, "segments": segments});
    let promotion = promotion_terms(&promotion);
    let answer = put(server, "/admin/promotions/REGULARS", &promotion);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["segments"], json!(["loyal", "vip"]));
}

/// What a buy with the promotion leads to.
fn reduced(server: &Server, user: &str, key: &str) -> String {
    let answer = try_buy(server, user, key, Some("REGULARS"));
    if answer.status == 201 {
        assert_eq!(answer.json()["amount"]["value"], 1_000);
        return "reduced".to_owned();
    }
    assert_eq!(answer.status, 409, "{answer:?}");
    answer.reason()
}

const NOT_FOR_YOU: &str = "promotion_not_applicable";

#[test]
fn promotions_apply_to_segments_and_the_operators_segment_takes_precedence() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url(), 1_000).start();
    open_shop(&server);
    let twisted = json!({"percent_off": 50, "uses_max": 100, "segments": ["a b"]});
    let twisted = promotion_terms(&twisted);
    let answer = put(&server, "/admin/promotions/REGULARS", &twisted);
    assert_eq!(answer.status, 400);
    // Nothing is computed yet: nobody is in any segment.
    assert_eq!(reduced(&server, "bo", "early-key"), NOT_FOR_YOU);

    let report = refreshed(&server);
    for count in ["seen", "changed", "fed"] {
        assert_eq!(report[count], 3, "{report}");
    }
    for (user, segment) in [("ana", "new"), ("bo", "loyal"), ("cy", "regular")] {
        let rating = rating(&server, user);
        assert_eq!(rating["computed"]["segment"], segment);
        assert_eq!(rating["computed"]["run"], report["run"]);
        assert_eq!(rating["effective_segment"], segment);
        assert_eq!(
            get(&server, &format!("/admin/users/{user}"))["segment"],
            segment
        );
        assert_eq!(rating["segment"], Value::Null, "the operator said nothing");
    }
    assert_eq!(reduced(&server, "bo", "bo-key-2"), "reduced");
    assert_eq!(reduced(&server, "ana", "ana-key-2"), NOT_FOR_YOU);
    // A key that failed never succeeds later.
    assert_eq!(reduced(&server, "bo", "early-key"), NOT_FOR_YOU);
    let hold = |user: &str, key: &str| {
        let body = json!({
            "user_id": user, "product_id": "drop", "quantity": 1, "promotion_code": "REGULARS",
        });
        let request = Request::post("/limited/holds").key(SHOP).once(key);
        server.ask(&request.json(&body)).status
    };
    assert_eq!(hold("bo", "hold-bo-1"), 201);
    assert_eq!(hold("ana", "hold-ana-1"), 409);

    // The operator's word wins until it is taken back.
    rate(&server, "ana", &json!({"segment": "vip"}));
    rate(&server, "bo", &json!({"segment": "nobody"}));
    assert_eq!(rating(&server, "ana")["effective_segment"], "vip");
    assert_eq!(rating(&server, "ana")["computed"]["segment"], "new");
    assert_eq!(reduced(&server, "ana", "ana-key-3"), "reduced");
    assert_eq!(reduced(&server, "bo", "bo-key-3"), NOT_FOR_YOU);
    rate(&server, "ana", &json!({}));
    rate(&server, "bo", &json!({"risk_score": 3}));
    assert_eq!(reduced(&server, "ana", "ana-key-4"), NOT_FOR_YOU);
    assert_eq!(reduced(&server, "bo", "bo-key-4"), "reduced");
}

#[test]
fn rules_name_segments_which_outlive_crashes_and_are_no_activity_of_the_buyer() {
    let postgres = Postgres::start();
    let kept = tempfile::tempdir().unwrap();
    let start = || setup(&postgres.url(), 1_000).data_dir(kept.path()).start();
    let mut server = start();
    open_shop(&server);
    refreshed(&server);
    let when = "segment == \"new\"";
    let rule = json!({"rule": [{"name": "not yet", "when": when, "then": "block"}]});
    assert_eq!(put(&server, "/admin/risk/rules", &rule).status, 200);
    let blocked = |server: &Server, user: &str, key: &str| {
        let answer = try_buy(server, user, key, None);
        answer.status == 403 && answer.reason() == "risk_blocked"
    };
    assert!(blocked(&server, "ana", "ana-key-5"));
    assert!(!blocked(&server, "bo", "bo-key-5"));
    rate(&server, "ana", &json!({"segment": "vip"}));
    for number in 0..2 {
        assert!(!blocked(&server, "ana", &format!("ana-vip-key-{number}")));
    }
    rate(&server, "ana", &json!({}));

    // After a crash as before, from the log; then from a snapshot.
    for snapshot in [false, true] {
        if snapshot {
            let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
            assert_eq!(taken.status, 200);
        }
        let shown = |server: &Server| {
            let ratings = ["ana", "bo", "cy"].map(|user| rating(server, user));
            (ratings, get(server, "/admin/promotions/REGULARS"))
        };
        let before = shown(&server);
        server.kill();
        assert_clean(kept.path());
        server = start();
        assert_eq!(shown(&server), before);
        assert!(blocked(&server, "ana", &format!("ana-key-7-{snapshot}")));
    }

    // Ana has bought more meanwhile. That somebody was put in a segment is nothing to compute again.
    let report = refreshed(&server);
    assert_eq!(rating(&server, "ana")["computed"]["segment"], "loyal");
    assert_eq!(report["fed"], 1, "{report}");
    let again = refreshed(&server);
    for count in ["seen", "changed", "fed"] {
        assert_eq!(again[count], 0, "{again}");
    }
    let trail: Vec<String> = postgres.column(
        "SELECT concat_ws(' ', by, outcome, seen, changed, fed, error) FROM holdfast.segment_runs
         ORDER BY run",
    );
    let expected = [
        "request done 3 3 3",
        "request done 2 1 1",
        "request done 0 0 0",
    ];
    assert_eq!(trail, expected);
    let (status, _) = server.stop();
    assert!(status.success());
    let expected = [
        ("ana", &["new", "loyal"][..]),
        ("bo", &["loyal"]),
        ("cy", &["regular"]),
    ];
    let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    let expected = expected.map(|(user, all)| (user.to_owned(), owned(all)));
    assert_eq!(segmented(kept.path()), BTreeMap::from(expected));
    assert_clean(kept.path());
}

#[test]
fn killed_while_taking_over_it_continues_from_the_log_without_repeats() {
    let postgres = Postgres::start();
    let kept = tempfile::tempdir().unwrap();
    let mut server = setup(&postgres.url(), 10).data_dir(kept.path()).start();
    server.put_product("drop", 1_000);
    let buyers: Vec<String> = (0..30).map(|number| format!("u{number:02}")).collect();
    for user in &buyers {
        buy(&server, user, 1);
    }
    delivered(&server);
    for wanted in [3, 9] {
        let asked = server.ask(&Request::post("/admin/segments").key(ADMIN));
        assert_eq!(asked.status, 202);
        until("some are taken over", || {
            let running = get(&server, "/admin/segments")["running"].clone();
            (running["fed"].as_u64() >= Some(wanted)).then_some(())
        });
        server.kill();
        let so_far = segmented(kept.path()).len();
        assert!((3..30).contains(&so_far), "{so_far}");
        server = setup(&postgres.url(), 10).data_dir(kept.path()).start();
    }
    let report = refreshed(&server);
    assert!(
        (1..30).contains(&report["fed"].as_u64().unwrap()),
        "{report}"
    );
    // At its rate: 10 in a second are one in 100 ms.
    let told = server.log.wait_for("segments").unwrap();
    let [fed, elapsed_ms] = ["fed", "elapsed_ms"].map(|it| told[it].as_u64().unwrap());
    assert!(elapsed_ms >= 100 * (fed - 1), "{told}");
    assert_eq!(
        report["changed"], 0,
        "the database had computed them all: {report}"
    );
    // A database that begins anew has other numbers, and says the same: nothing comes again.
    server.stop();
    let found = segmented(kept.path());
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), buyers);
    assert!(found.values().all(|it| it == &["new"]), "{found:?}");
    postgres.execute("DROP SCHEMA holdfast CASCADE");
    let server = setup(&postgres.url(), 10).data_dir(kept.path()).start();
    until("the sink has begun anew", || {
        let bought = "SELECT count(*) FROM holdfast.shop_transactions";
        let rows = postgres.try_query_as("app", bought).ok()?;
        (rows[0].get::<_, i64>(0) == 30).then_some(())
    });
    let report = refreshed(&server);
    assert_eq!(
        (&report["seen"], &report["changed"], &report["fed"]),
        (&json!(30), &json!(30), &json!(0))
    );
    buy(&server, "new-one", 1);
    assert_eq!(refreshed(&server)["fed"], 1);
    server.stop();
    assert_eq!(segmented(kept.path()).len(), 31);
    assert_clean(kept.path());
}

#[test]
fn without_postgresql_nothing_breaks_and_the_job_says_so() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url(), 1_000).start();
    server.put_product("drop", 1_000);
    buy(&server, "ana", 1);
    refreshed(&server);
    postgres.crash();
    let report = refresh(&server);
    assert_eq!(report["result"], "failed");
    assert!(
        report["failure"].as_str().unwrap().contains("connecting"),
        "{report}"
    );
    // Sales go on, with what is known.
    buy(&server, "bo", 1);
    assert_eq!(rating(&server, "ana")["computed"]["segment"], "new");
    let metrics = String::from_utf8(server.ask(&Request::get("/metrics").key(ADMIN)).body).unwrap();
    assert!(
        metrics.contains("\nholdfast_segments_failed_total 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\nholdfast_segments_fed_total 1\n"));
    postgres.up();
    let report = refreshed(&server);
    assert_eq!(report["fed"], 1);
    assert_eq!(rating(&server, "bo")["computed"]["segment"], "new");
    // Where there is no such sink, there is nothing to ask.
    let plain = Setup::demo().start();
    assert_eq!(get(&plain, "/admin/segments")["configured"], false);
    let asked = plain.ask(&Request::post("/admin/segments").key(ADMIN));
    assert_eq!((asked.status, &asked.reason()[..]), (409, "wrong_state"));
}

#[test]
fn it_runs_by_itself_every_so_often() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let server = Setup::demo()
        .config(&format!(
            "[report.batch]\nwait_ms = 5\n[report.postgres]\nurl = \"{url}\"\n\
             [report.postgres.segments]\nevery_s = 1\n"
        ))
        .start();
    server.put_product("drop", 10);
    buy(&server, "ana", 1);
    until("it is computed", || {
        (rating(&server, "ana")["computed"]["segment"] == "new").then_some(())
    });
    let by: Vec<String> = postgres.column("SELECT DISTINCT by FROM holdfast.segment_runs");
    assert_eq!(by, ["schedule"]);
}

#[test]
fn a_sink_that_catches_up_while_a_run_begins_is_not_ahead_of_the_log() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url(), 1_000).start();
    server.put_product("drop", 1_000);
    buy(&server, "ana", 1);
    refreshed(&server);
    // The test is the sink from here on.
    let pause = Request::post("/admin/sinks/postgres/pause").key(ADMIN);
    let paused = server.ask(&pause.once("pause-key").json(&json!({})));
    assert_eq!(paused.status, 200, "{paused:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let url = postgres.url();
    let sink = runtime.block_on(async {
        let connecting = tokio_postgres::connect(&url, tokio_postgres::NoTls);
        let (client, connection) = connecting.await.unwrap();
        tokio::spawn(connection);
        let lock = "BEGIN; LOCK TABLE holdfast.sink_cursor IN ACCESS EXCLUSIVE MODE";
        client.batch_execute(lock).await.unwrap();
        client
    });
    let asked = server.ask(&Request::post("/admin/segments").key(ADMIN));
    let number = asked.json()["number"].as_u64().unwrap();
    until("the run waits for the cursor", || {
        let waiting: i64 = postgres.value(
            "SELECT count(*) FROM pg_locks
             WHERE NOT granted AND relation = 'holdfast.sink_cursor'::regclass",
        );
        (waiting == 1).then_some(())
    });
    buy(&server, "bo", 1);
    let durable = get(&server, "/admin/status")["durable_lsn"]
        .as_u64()
        .unwrap();
    let caught_up = format!("UPDATE holdfast.sink_cursor SET lsn = {durable}; COMMIT");
    runtime.block_on(sink.batch_execute(&caught_up)).unwrap();
    let report = until("the run has ended", || {
        let report = get(&server, "/admin/segments")["report"].clone();
        (report["number"].as_u64() >= Some(number)).then_some(report)
    });
    assert_eq!(report["result"], "done", "{report}");
    // A sink that really is further than the log is refused.
    postgres.execute("UPDATE holdfast.sink_cursor SET lsn = lsn + 1048576");
    let report = refresh(&server);
    let failure = report["failure"].as_str().unwrap();
    assert!(failure.contains("ahead of the log"), "{report}");
}

#[test]
fn a_run_of_more_batches_than_it_may_have_fails_and_the_next_one_goes_on() {
    let postgres = Postgres::start();
    let bounded = setup(&postgres.url(), 1_000).config("batches_max = 2");
    let server = bounded.start();
    server.put_product("drop", 1_000);
    // Batches of three: two for the buyers, and one that finds nothing left.
    for number in 0..5 {
        buy(&server, &format!("u{number}"), 1);
    }
    delivered(&server);
    let report = refresh(&server);
    assert_eq!(
        (&report["result"], &report["seen"]),
        (&json!("failed"), &json!(5))
    );
    let failure = report["failure"].as_str().unwrap();
    assert!(failure.contains("batches_max"), "{report}");
    let report = refreshed(&server);
    assert_eq!((&report["seen"], &report["fed"]), (&json!(0), &json!(5)));
    let trail: Vec<String> =
        postgres.column("SELECT outcome || ' ' || seen FROM holdfast.segment_runs ORDER BY run");
    assert_eq!(trail, ["failed 5", "done 0"]);
}
