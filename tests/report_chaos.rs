//! Under load, the database crashes, comes back, is slow, silent and cut off, and the program is
//! killed: in the end the tables and the JSON lines have every event of the log exactly once, the
//! ledger sums to zero for each purchase and currency, and captured less refunded is its revenue.
//!
//! `HOLDFAST_REPORT_ROUNDS` sets how many misfortunes there are (14 where it is not set);
//! `HOLDFAST_SEED` gives the same dice again.

use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::clients;
use support::clients::Dice;
use support::postgres_server;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::postgres_server::{Postgres, Wire};
use support::{ADMIN, Client, Request, SHOP, Server, Setup, product_terms, promotion_terms, until};

const ROUNDS: u64 = 14;
const THREADS: u64 = 3;
const CARDS: &[&str] = &[
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_declined",
    "tok_capture_refused",
];

fn start(url: &str, data_dir: &Path) -> Server {
    let lines = data_dir.join("events.jsonl");
    Setup::demo()
        .data_dir(data_dir)
        .config(&format!(
            "[storage]\nsegment_bytes = 1_049_088\nsnapshot_every_bytes = 1_099_511_627_776\n\
             [payments]\nattempt_timeout_ms = 60\nunknown_after_ms = 250\nbackoff_first_ms = 5\n\
             [report]\nbackoff_first_ms = 5\nbackoff_max_ms = 100\ndeliver_timeout_ms = 400\n\
             [report.batch]\nwait_ms = 3\nevents_max = 300\n\
             [report.jsonl]\npath = \"{}\"\nrotate_bytes = 300_000\nkeep = 1_000_000\n\
             [report.postgres]\nurl = \"{url}\"\n",
            lines.display()
        ))
        .start()
}

/// What the threads of the load share.
struct Load {
    address: Mutex<std::net::SocketAddr>,
    ends: AtomicBool,
    next: AtomicU64,
    answers: AtomicU64,
}

#[test]
fn every_event_arrives_exactly_once_whatever_happens_on_the_way() {
    let rounds = clients::number_from_env("HOLDFAST_REPORT_ROUNDS").unwrap_or(ROUNDS);
    let mut dice = Dice::new(clients::seed("report"));
    let postgres = Postgres::start();
    let wire = Wire::to(postgres.port);
    let url = postgres_server::url_at(wire.port);
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut server = start(&url, &data_dir);
    put_on_sale(&server);
    let load = Load {
        address: Mutex::new(server.address),
        ends: AtomicBool::new(false),
        next: AtomicU64::new(0),
        answers: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (load, dice) = (&load, dice.fork());
            scope.spawn(move || shop(load, dice));
        }
        for round in 0..rounds {
            some_load(&load, 60);
            misfortune(round, &mut dice, &postgres, &wire, &load, || {
                server.kill();
                server = start(&url, &data_dir);
                *load.address.lock().unwrap() = server.address;
            });
        }
        load.ends.store(true, Ordering::Relaxed);
    });
    wire.slow(Duration::ZERO);
    settled(&server);
    let sinks = caught_up(&server);
    clients::say(&format!(
        "report: {rounds} misfortunes, {} answers, {sinks}",
        load.answers.load(Ordering::Relaxed)
    ));
    server.terminate();
    assert!(server.wait().success());
    let events = events(&data_dir);
    assert!(events.len() > 1_000, "{}", events.len());
    assert_tables_are_the_log(&postgres, &events);
    assert_lines_are_the_log(&data_dir, &events);
    let letters = std::fs::read_dir(data_dir.join("dead-letters")).unwrap();
    assert_eq!(letters.count(), 0, "nothing was refused");
}

/// One misfortune, and its end.
fn misfortune(
    round: u64,
    dice: &mut Dice,
    postgres: &Postgres,
    wire: &Wire,
    load: &Load,
    kill: impl FnOnce(),
) {
    match round % 7 {
        0 => {
            postgres.crash();
            some_load(load, 40);
            postgres.up();
        }
        1 => kill(),
        2 => wire.cut(),
        3 => {
            wire.slow(Duration::from_micros(200 + dice.below(3_000) as u64));
            some_load(load, 60);
            wire.slow(Duration::ZERO);
        }
        4 => {
            wire.silence(true);
            some_load(load, 40);
            wire.silence(false);
            wire.cut();
        }
        5 => {
            wire.refuse(true);
            wire.cut();
            kill();
            some_load(load, 40);
            wire.refuse(false);
        }
        _ => {
            postgres.crash();
            kill();
            postgres.up();
        }
    }
}

/// Waits until the shop has had so many more answers.
fn some_load(load: &Load, answers: u64) {
    let until_then = load.answers.load(Ordering::Relaxed) + answers;
    until("the shop goes on", || {
        (load.answers.load(Ordering::Relaxed) >= until_then).then_some(())
    });
}

fn put_on_sale(server: &Server) {
    let product = product_terms(&json!({
        "name": "Drop", "price": {"USD": 1999, "KRW": 25000}, "stock": 1_000_000,
        "reward_tokens": 3,
    }));
    let put = Request::put("/admin/products/drop")
        .key(ADMIN)
        .json(&product);
    assert!(matches!(server.ask(&put).status, 200 | 201));
    let promotion = promotion_terms(&json!({"percent_off": 10, "uses_max": 100_000}));
    let put = Request::put("/admin/promotions/TEN")
        .key(ADMIN)
        .json(&promotion);
    assert!(matches!(server.ask(&put).status, 200 | 201));
}

/// Buys, holds, releases and refunds until the load ends.
fn shop(load: &Load, mut dice: Dice) {
    let mut bought: Vec<(String, i64)> = Vec::new();
    while !load.ends.load(Ordering::Relaxed) {
        let address = *load.address.lock().unwrap();
        let Ok(mut client) = Client::try_connect(address) else {
            std::thread::yield_now();
            continue;
        };
        while !load.ends.load(Ordering::Relaxed) {
            let number = load.next.fetch_add(1, Ordering::Relaxed);
            let request = next_request(number, &mut dice, &mut bought);
            let Ok(answer) = client.try_ask(&request) else {
                break;
            };
            load.answers.fetch_add(1, Ordering::Relaxed);
            if answer.status == 201 && request.path == "/limited/buy" {
                let body = answer.json();
                let id = body["purchase_id"].as_str().unwrap().to_owned();
                bought.push((id, body["amount"]["value"].as_i64().unwrap()));
            }
            // A day has only so much; nobody waits here in order to pass.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn next_request(number: u64, dice: &mut Dice, bought: &mut Vec<(String, i64)>) -> Request {
    let user = format!("user-{}", dice.below(500));
    let key = format!("key-{number:08}");
    if dice.percent(15)
        && let Some((id, amount)) = bought.pop()
    {
        let part = if dice.percent(50) { amount } else { amount / 3 };
        let body = json!({"amount": part, "previously_refunded": 0, "reason": "as asked"});
        let path = format!("/admin/purchases/{id}/refunds");
        return Request::post(&path).key(ADMIN).once(&key).json(&body);
    }
    if dice.percent(20) {
        let product = if dice.percent(20) { "nothing" } else { "drop" };
        return Request::hold(&user, product, 1, &key);
    }
    let mut body = json!({
        "user_id": user, "product_id": "drop", "quantity": 1 + dice.below(2),
        "currency": dice.pick(&["USD", "KRW"]), "card_token": dice.pick(CARDS),
        "ip": "203.0.113.9",
    });
    if dice.percent(30) {
        body["promotion_code"] = json!("TEN");
    }
    Request::post("/limited/buy")
        .key(SHOP)
        .once(&key)
        .json(&body)
}

/// Waits until no payment is under way.
fn settled(server: &Server) {
    until("payments are settled", || {
        let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
        (status["open_payments"] == 0).then_some(())
    });
}

/// Waits until both sinks have all that is durable now.
fn caught_up(server: &Server) -> Value {
    let began = Instant::now();
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    let durable = status["durable_lsn"].as_u64().unwrap();
    let sinks = until("the sinks have caught up", || {
        let body = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
        let sinks = body["sinks"].as_array().unwrap();
        let there = |it: &Value| it["cursor_lsn"].as_u64().unwrap() >= durable;
        sinks.iter().all(there).then(|| body.clone())
    });
    clients::say(&format!("report: caught up in {:?}", began.elapsed()));
    sinks
}

/// The lines of all files, in their order, are the events of the log.
fn assert_lines_are_the_log(data_dir: &Path, events: &[Value]) {
    let mut files: Vec<_> = std::fs::read_dir(data_dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| {
            let name = it.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("events.jsonl") && !name.contains("cursor")
        })
        .collect();
    // The one without a number is the newest.
    files.sort_by_key(|it| {
        let name = it.file_name().unwrap().to_string_lossy().into_owned();
        (name == "events.jsonl", name)
    });
    assert!(files.len() > 2, "the file was rotated");
    let mut lines = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            lines.push(serde_json::from_str::<Value>(line).unwrap());
        }
    }
    assert!(lines.len() <= events.len());
    for (line, event) in lines.iter().zip(events) {
        assert_eq!(line, event);
    }
    assert!(
        events.len() - lines.len() < 20,
        "only what came while it ended is missing"
    );
}
