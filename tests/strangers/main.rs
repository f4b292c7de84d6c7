//! What strangers without a key can take from those who buy: nothing that stops a sale. Each attack
//! is bounded and runs on loopback against the real process.

mod admin_listener;
mod connections;
mod http2;

use http2::Http2;
use serde_json::json;
use support::{ADMIN, Client, Request, SHOP, Server, Setup, until};

/// A hold whose event is large, to fill the log with few requests.
fn large_hold(number: usize) -> Request {
    let metadata: serde_json::Map<_, _> = (0..10)
        .map(|it| (format!("{it:040}"), "v".repeat(200).into()))
        .collect();
    let body = json!({
        "user_id": format!("user-{number}"), "product_id": "plenty", "quantity": 1,
        "metadata": metadata,
    });
    Request::post("/limited/holds")
        .key(SHOP)
        .once(&format!("key-large-{number}"))
        .json(&body)
}

fn rolled_to(server: &Server) -> u64 {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN)).json();
    status["log"]["segments"].as_u64().expect("a figure")
}

#[test]
fn idle_connections_leave_the_log_its_descriptors() {
    const OPEN_FILES: u32 = 200;
    let server = Setup::demo()
        .open_files_max(OPEN_FILES)
        .config("[server]\nworkers = 2\n[storage]\nsegment_bytes = 1049088")
        .start();
    server.put_product("plenty", 100_000);
    let said = server
        .log
        .wait_for("connections_capped")
        .expect("it says so");
    let figure = |name: &str| said[name].as_u64().expect("a figure");
    assert_eq!(figure("configured"), 16_384);
    assert_eq!(figure("open_files"), u64::from(OPEN_FILES));
    assert_eq!(
        figure("max_connections") + figure("reserve"),
        u64::from(OPEN_FILES)
    );
    let mut shop = server.connect();
    // With its key, so that it is not one of the idle ones that make room for each other.
    assert_eq!(shop.ask(&large_hold(1_500)).status, 201);
    // More than there are descriptors, all of which it could have taken.
    let idle: Vec<Client> = (0..OPEN_FILES + 50).map(|_| server.connect()).collect();
    for number in 0..1_500 {
        assert_eq!(shop.ask(&large_hold(number)).status, 201, "{number}");
    }
    drop(idle);
    until("there is room again", || {
        let mut client = Client::try_connect(server.address).ok()?;
        let answer = client.try_ask(&Request::get("/livez")).ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(rolled_to(&server) > 2, "the log has rolled over");
    let (status, log) = server.stop();
    assert!(status.success(), "{log:?}");
}

#[test]
fn without_room_for_what_it_needs_it_does_not_start() {
    let ended = Setup::demo().open_files_max(60).try_start();
    let (status, log) = ended.err().expect("it does not start");
    assert_eq!(status.code(), Some(1));
    let log = log.join("\n");
    assert!(log.contains("the limit of open files is 60"), "{log}");
}

#[test]
fn bodies_that_strangers_withhold_refuse_no_buy() {
    // No withheld body ends by itself while the test runs.
    let server = Setup::demo()
        .config("[server]\nworkers = 2\nin_flight_max = 64\nbody_read_timeout_ms = 600000\nheader_read_timeout_ms = 600000\ndrain_s = 0")
        .start();
    let strangers: Vec<Http2> = (0..110)
        .map(|_| Http2::withholding(&server, "/receipts/verify", 100))
        .collect();
    let refused = "holdfast_pool_refused_total{";
    until("strangers have all that they can have", || {
        let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
        let mut pools = metrics.lines().filter(|line| line.starts_with(refused));
        pools.any(|line| !line.ends_with(" 0")).then_some(())
    });
    // On every worker.
    for number in 0..20 {
        let user = format!("user-{number}");
        let key = format!("key-stranger-{number}");
        let bought = server.ask(&Request::buy(&user, "drop-1", "tok_ok", &key));
        assert_eq!(bought.status, 201, "{bought:?}");
        assert_eq!(server.ask(&Request::get("/readyz")).status, 200);
        let status = server.ask(&Request::get("/admin/status").key(ADMIN));
        assert_eq!(status.status, 200, "administration goes on, too");
    }
    drop(strangers);
}
