//! An older copy of a data directory that is put back: it does not sell and no sink goes on until the
//! operator orders it; then what the sinks have and the log has not is taken back and listed, payments at
//! the gateway that the copy does not know are found, and every sale of the new history is in the books
//! exactly once.

use crate::feed::log_of;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use support::copies::{
    Scene, accept, assert_waits, caught_up, copy, ready, sell, sink, status, stopped,
};
use support::postgres_server::Postgres;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::signing::{Own, event};
use support::{ADMIN, READER, Request, SHOP, Server, Setup, binary};

/// The lines of the log, once a ready server has shown all of it to its sinks.
fn log_after_catching_up(scene: &Scene) -> Vec<String> {
    let server = scene.start();
    assert_eq!(ready(&server), (200, Value::Null));
    caught_up(&server);
    stopped(server);
    log_of(&scene.data())
}

/// The lines that were taken back.
fn lost_lines(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.to_string_lossy().contains("events.jsonl.lost-"));
    files.sort();
    let read = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    let text: String = files.iter().map(read).collect();
    text.lines().map(str::to_owned).collect()
}

/// The directory is clean; what the gateway has beside it is not part of the question.
fn checked(data_dir: &Path) {
    let aside = tempfile::tempdir().unwrap();
    copy(data_dir, aside.path());
    std::fs::remove_dir_all(aside.path().join("sandbox")).unwrap();
    let output = binary().arg("check").arg(aside.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn an_older_copy_sells_nothing_until_the_operator_goes_on_with_it() {
    let scene = Scene::with_lines("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 5, "before");
    let (lost, old_cursor) = scene.lose(server, 25);
    let old_lines = scene.all_lines();
    scene.put_back();

    let server = scene.start_waiting("jsonl", old_cursor);
    assert!(scene.all_lines() == old_lines);

    // The order, which shows what the gateway has and the copy does not know.
    let answer = accept(&server);
    assert_eq!(answer.status, 200, "{answer:?}");
    let accepted = answer.json();
    assert_eq!(accepted["generation"]["number"], 2, "{accepted}");
    assert_eq!(
        accepted["reconcile"]["unknown_here"],
        lost.len(),
        "{accepted}"
    );
    assert_eq!(ready(&server), (200, Value::Null));
    let report = server
        .ask(&Request::get("/admin/reconcile").key(ADMIN))
        .text();
    for purchase in &lost {
        assert!(report.contains(purchase), "{purchase} is not shown");
    }
    let sold = sell(&server, 5, "after");
    caught_up(&server);
    let again = accept(&server);
    assert_eq!(
        (again.status, again.json()["reason"].as_str()),
        (409, Some("wrong_state"))
    );
    let back = sink(&server, "jsonl");
    assert_eq!(back["elsewhere"], Value::Null);
    let taken = &back["lost"][0];
    assert_eq!(taken["to_lsn"], old_cursor, "{back}");
    let audit = "/admin/audit?kind=history_accepted";
    let trail = server.ask(&Request::get(audit).key(ADMIN)).json();
    assert_eq!(trail["events"][0]["generation"], accepted["generation"]);
    let acts = server
        .ask(&Request::get("/admin/audit?act=history_accepted").key(ADMIN))
        .json();
    assert_eq!(
        acts["events"][0]["after"]["note"],
        "the newer directory burnt"
    );
    stopped(server);

    // It stays accepted, the lines are the log, and what was lost is kept.
    let log = log_after_catching_up(&scene);
    assert!(scene.all_lines() == log);
    for purchase in &sold {
        let captures = log
            .iter()
            .filter(|it| it.contains("payment_captured") && it.contains(purchase));
        assert_eq!(captures.count(), 1);
    }
    let from = usize::try_from(taken["from_lsn"].as_u64().unwrap()).unwrap();
    let cut: Vec<_> = old_lines
        .iter()
        .filter(|it| {
            serde_json::from_str::<Value>(it).unwrap()["lsn"]
                .as_u64()
                .unwrap()
                >= from as u64
        })
        .cloned()
        .collect();
    assert!(cut.len() >= 25 && cut.len() < old_lines.len());
    assert!(lost_lines(&scene.lines()) == cut);
    assert_eq!(taken["events"], cut.len());

    // A snapshot keeps it, too.
    let server = scene.start();
    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(snapshot.status, 200, "{snapshot:?}");
    stopped(server);
    let server = scene.start();
    assert!(
        status(&server)["recovery"]["snapshot_lsn"]
            .as_u64()
            .unwrap()
            > old_cursor
    );
    assert_eq!(ready(&server), (200, Value::Null));
    stopped(server);
    checked(&scene.data());
}

#[test]
fn only_an_administrator_accepts_and_only_where_there_is_something() {
    let scene = Scene::new("");
    let config = format!("{}{}", scene.config, support::KEYS_OF_EACH_ROLE);
    let server = Setup::plain()
        .config(&config)
        .flag("--demo")
        .data_dir(&scene.data())
        .start();
    let body = json!({"note": "n"});
    let by = |key: &str, body: &Value| {
        server.ask(&Request::post("/admin/history/accept").key(key).json(body))
    };
    assert_eq!(by(READER, &body).status, 403);
    assert_eq!(by(SHOP, &body).status, 403);
    assert_eq!(by(ADMIN, &json!({})).status, 400);
    assert_eq!(
        by(ADMIN, &json!({"note": "4111 1111 1111 1111"})).status,
        400
    );
    let nothing = by(ADMIN, &body);
    assert_eq!(
        (nothing.status, nothing.json()["reason"].as_str()),
        (409, Some("wrong_state"))
    );
    let path = "/admin/audit?act=history_accepted&kind=admin_refused";
    let trail = server.ask(&Request::get(path).key(ADMIN)).json();
    let refused = trail["events"].as_array().unwrap().iter();
    let refused: Vec<_> = refused
        .map(|it| {
            (
                it["key_owner"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("reader", "forbidden"),
            ("shop", "forbidden"),
            ("boss", "invalid_request"),
            ("boss", "invalid_request"),
            ("boss", "wrong_state"),
        ]
    );
}

/// What tells them apart then is the checksum alone.
#[test]
fn a_log_that_has_grown_exactly_to_the_cursor_is_another_history_still() {
    let scene = Scene::with_lines("");
    let set_again = |server: &Server| {
        for _ in 0..6 {
            server.put_product("drop", 1_000);
        }
    };
    let server = scene.start();
    set_again(&server);
    caught_up(&server);
    stopped(server);
    scene.take_copy();
    let server = scene.start();
    set_again(&server);
    caught_up(&server);
    let old_cursor = sink(&server, "jsonl")["cursor_lsn"].clone();
    stopped(server);
    scene.put_back();

    let server = scene.start();
    set_again(&server);
    assert_eq!(status(&server)["durable_lsn"], old_cursor);
    stopped(server);
    let server = scene.start();
    let found = sink(&server, "jsonl")["elsewhere"]["why"].clone();
    assert_eq!(found, "the log has other records before it");
    assert_waits(&server, "grown");
    assert_eq!(accept(&server).status, 200);
    caught_up(&server);
    stopped(server);
    assert!(scene.all_lines() == log_of(&scene.data()));
}

#[test]
fn a_copy_goes_on_above_every_generation_that_a_sink_has_seen() {
    let scene = Scene::with_lines("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 2, "before");
    scene.lose(server, 2);
    for (round, why) in [
        (2, "the log ends at LSN"),
        (3, "another generation wrote it"),
    ] {
        scene.put_back();
        let server = scene.start();
        assert_waits(&server, &format!("round-{round}"));
        let found = sink(&server, "jsonl")["elsewhere"]["why"].clone();
        assert!(found.as_str().unwrap().starts_with(why), "{found}");
        let accepted = accept(&server).json();
        assert_eq!(accepted["generation"]["number"], round, "{accepted}");
        sell(&server, 2, &format!("round-{round}"));
        caught_up(&server);
        stopped(server);
        assert!(scene.all_lines() == log_of(&scene.data()));
    }
}

#[test]
fn killed_in_the_middle_of_the_order_it_is_accepted_or_waits_still() {
    let scene = Scene::with_lines("");
    let server = scene.start();
    server.put_product("drop", 10_000);
    sell(&server, 3, "before");
    stopped(server);
    scene.take_copy();
    // From before anything was compared to after the sink took back.
    let moments = [
        "listening",
        "reconcile",
        "reconcile",
        "reconcile",
        "history_accepted",
        "sink_returns",
        "sink_took_back",
    ];
    for (round, moment) in moments.into_iter().enumerate() {
        let server = scene.start();
        if ready(&server).0 != 200 {
            assert_eq!(accept(&server).status, 200);
        }
        sell(&server, 12, &format!("lost-{round}"));
        caught_up(&server);
        stopped(server);
        scene.put_back();

        let mut server = scene.start();
        assert_waits(&server, &format!("round-{round}"));
        let address = server.address;
        let ordering = std::thread::spawn(move || {
            let body = json!({"note": "n"});
            let order = Request::post("/admin/history/accept")
                .key(ADMIN)
                .json(&body);
            let client = support::Client::try_connect(address);
            client.is_ok_and(|mut it| it.try_ask(&order).is_ok_and(|it| it.status == 200))
        });
        server.log.wait_for(moment).unwrap();
        server.kill();
        let was_accepted = ordering.join().unwrap();
        let server = scene.start();
        let (code, _) = ready(&server);
        assert!(code == 200 || !was_accepted, "an answered order is lost");
        if code != 200 {
            assert_waits(&server, &format!("after-{round}"));
            assert_eq!(accept(&server).status, 200);
        }
        sell(&server, 3, &format!("after-{round}"));
        caught_up(&server);
        stopped(server);
        assert_eq!(scene.all_lines(), log_of(&scene.data()), "round {round}");
        checked(&scene.data());
        std::fs::remove_dir_all(scene.copy()).unwrap();
        scene.take_copy();
    }
}

/// The tables of the sink, each with the columns that do not say when a row was written.
const TABLES: [(&str, &str); 10] = [
    ("audit_log", "lsn, at, kind, user_id, purchase_id, event"),
    ("purchase_attempts", "t"),
    ("shop_transactions", "t"),
    ("promotion_uses", "t"),
    ("user_actions", "t"),
    ("user_rewards", "t"),
    ("risk_profiles", "t"),
    ("ledger_entries", "t"),
    ("products", "t"),
    ("promotions", "t"),
];

#[test]
fn the_tables_are_those_of_the_history_that_goes_on_and_the_rest_is_listed() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let scene = Scene::with_lines(&format!("[report.postgres]\nurl = \"{url}\"\n"));
    let server = scene.start();
    let terms = support::product_terms(&json!({
        "name": "drop", "price": {"USD": 1999}, "stock": 1000, "reward_tokens": 7,
    }));
    let put = Request::put("/admin/products/drop").key(ADMIN).json(&terms);
    assert!(matches!(server.ask(&put).status, 200 | 201));
    let before = sell(&server, 6, "before");
    refund(&server, &before[0], 500, 0);
    dispute(&server, "one", "opened", &before[1]);
    dispute(&server, "two", "lost", &before[2]);
    assert_eq!(
        server
            .ask(&Request::buy("dee", "drop", "tok_declined", "dee-key-1"))
            .status,
        402
    );
    caught_up(&server);
    stopped(server);
    scene.take_copy();

    // What the copy will not know: new purchases, and what changed older ones.
    let server = scene.start();
    let lost = sell(&server, 8, "lost");
    change_terms(&server);
    refund(&server, &before[0], 700, 500);
    dispute(&server, "three", "lost", &before[1]);
    dispute(&server, "four", "won", &before[2]);
    dispute(&server, "five", "opened", &before[3]);
    refund(&server, &before[4], 1999, 0);
    assert_eq!(
        server
            .ask(&Request::buy("dee", "drop", "tok_declined", "dee-key-2"))
            .status,
        402
    );
    caught_up(&server);
    stopped(server);
    scene.put_back();

    let server = scene.start();
    assert_waits(&server, "first");
    assert_eq!(sink(&server, "postgres")["up"], false);
    let answer = accept(&server);
    assert_eq!(answer.status, 200, "{answer:?}");
    sell(&server, 5, "after");
    refund(&server, &before[5], 100, 0);
    caught_up(&server);
    assert_eq!(sink(&server, "postgres")["lost"][0], {
        let mut of_lines = sink(&server, "jsonl")["lost"][0].clone();
        of_lines["events"] = sink(&server, "postgres")["lost"][0]["events"].clone();
        of_lines
    });
    stopped(server);
    let log = events(&scene.data());
    assert_tables_are_the_log(&postgres, &log);
    let listed: Vec<String> = postgres.column(
        "SELECT purchase_id FROM holdfast.lost_history
         WHERE table_name = 'shop_transactions' AND what = 'removed' ORDER BY id",
    );
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(listed), sorted(lost.clone()));
    let changed: i64 = postgres.value(
        "SELECT count(*) FROM holdfast.lost_history
         WHERE table_name = 'shop_transactions' AND what = 'changed'",
    );
    assert_eq!(changed, 5);
    assert_terms_are_listed(&postgres);
    let captured: i64 = postgres.value(
        "SELECT count(*) FROM holdfast.lost_history
         WHERE table_name = 'audit_log' AND lost->>'kind' = 'payment_captured'",
    );
    assert_eq!(usize::try_from(captured).unwrap(), lost.len());

    // The same log into an empty database leads to the same rows.
    let all = |table: &str, columns: &str| -> Vec<String> {
        let sql = format!("SELECT ({columns})::text FROM holdfast.{table} t ORDER BY 1");
        postgres.column(&sql)
    };
    let found: Vec<_> = TABLES
        .iter()
        .map(|(table, columns)| all(table, columns))
        .collect();
    postgres.execute("DROP SCHEMA holdfast CASCADE");
    let server = scene.start();
    assert_eq!(
        ready(&server),
        (200, Value::Null),
        "an empty database is no other history"
    );
    caught_up(&server);
    stopped(server);
    for ((table, columns), found) in TABLES.iter().zip(found) {
        let mut anew = all(table, columns);
        if *table == "audit_log" {
            anew.truncate(found.len());
        }
        assert_eq!(found, anew, "{table}");
    }
}

/// Another price for the product that is sold, and a product more.
fn change_terms(server: &Server) {
    let dearer = support::product_terms(&json!({
        "name": "dearer", "price": {"USD": 2999}, "stock": 1000,
    }));
    for product in ["drop", "extra"] {
        let path = format!("/admin/products/{product}");
        let put = Request::put(&path).key(ADMIN).json(&dearer);
        assert!(matches!(server.ask(&put).status, 200 | 201));
    }
}

/// What [`change_terms`] did is lost: one product has its terms back, the other is gone.
fn assert_terms_are_listed(postgres: &Postgres) {
    let terms: Vec<String> = postgres.column(
        "SELECT concat_ws(' ', what, lost->>'product_id', lost->'price'->>'USD')
         FROM holdfast.lost_history WHERE table_name = 'products' ORDER BY 1",
    );
    assert_eq!(terms, ["changed drop 2999", "removed extra 2999"]);
}

fn refund(server: &Server, purchase: &str, amount: u64, before: u64) {
    let body = json!({"amount": amount, "previously_refunded": before, "reason": "as asked"});
    let path = format!("/admin/purchases/{purchase}/refunds");
    let key = format!("refund-{purchase}-{before}-{amount}");
    let answer = server.ask(&Request::post(&path).key(ADMIN).once(&key).json(&body));
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn dispute(server: &Server, name: &str, word: &str, purchase: &str) {
    let body = event(
        &format!("evt-{name}"),
        &format!("dispute.{word}"),
        purchase,
        0,
    );
    let told = Own::new(&format!("nonce-{name}"), &body);
    assert_eq!(server.ask(&told.request()).json()["status"], "processed");
}
