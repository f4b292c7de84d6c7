//! Requests without a valid key: what the log says of them, and what they cost their senders.

use std::time::{Duration, Instant};
use support::{ADMIN, Request, SHOP, Setup, until};

fn wrong() -> Request {
    Request::get("/limited/products/drop-1").key("a-key-of-nobody-0123456789")
}

#[test]
fn wrong_keys_are_logged_once_a_second_with_their_count_and_the_latest_peer() {
    let began = Instant::now();
    let server = Setup::demo().start();
    let asked = 15;
    for _ in 0..asked {
        assert_eq!(server.ask(&wrong()).status, 401);
    }
    // One more in a later second tells of those that came meanwhile.
    let mut more = 0;
    until("a second line", || {
        assert_eq!(server.ask(&wrong()).status, 401);
        more += 1;
        let lines = server.log.lines();
        let lines = lines
            .iter()
            .filter(|line| line.contains("\"unauthorized\""));
        (lines.count() >= 2).then_some(())
    });
    let (_, lines) = server.stop();
    let lines: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["event"] == "unauthorized")
        .collect();
    let most = began.elapsed().as_secs() + 2;
    assert!(u64::try_from(lines.len()).unwrap() <= most, "{lines:?}");
    let told: u64 = lines
        .iter()
        .map(|line| line["refused"].as_u64().unwrap())
        .sum();
    assert!((asked..=asked + more).contains(&told), "{lines:?}");
    assert!(
        lines.iter().all(|line| line["peer"] == "127.0.0.1"),
        "{lines:?}"
    );
}

#[test]
fn wrong_keys_are_answered_slowly_and_valid_ones_of_the_same_peer_as_before() {
    let server = Setup::demo().start();
    let mut guesser = server.connect();
    let began = Instant::now();
    for _ in 0..31 {
        assert_eq!(guesser.ask(&wrong()).status, 401);
    }
    // Twenty at once, and five a second from there.
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    // An answer that is kept back takes no place of a request under way, and delays nobody else.
    guesser.send(&wrong().bytes()).unwrap();
    let mut shop = server.connect();
    for number in 0..20 {
        let hold = Request::hold(
            &format!("u{number}"),
            "drop-1",
            1,
            &format!("key-slow-{number:02}"),
        );
        assert_eq!(shop.ask(&hold).status, 201);
        assert_eq!(
            server.ask(&Request::get("/admin/status").key(ADMIN)).status,
            200
        );
    }
    assert_eq!(guesser.receive().unwrap().status, 401);
    let product = Request::get("/limited/products/drop-1");
    assert_eq!(guesser.ask(&product.key(SHOP)).status, 200);
}

#[test]
fn requests_beyond_a_keys_rate_are_refused_and_not_stored() {
    let slow = format!(
        "[[auth.keys]]\nname = \"slow\"\nrole = \"shop\"\nkey = \"{SHOP}\"\nrate_per_s = 1\n\
         [[auth.keys]]\nname = \"boss\"\nrole = \"admin\"\nkey = \"{ADMIN}\""
    );
    let began = Instant::now();
    let server = Setup::demo().config(&slow).start();
    let mut shop = server.connect();
    let (mut number, mut taken) = (0_u64, 0);
    let refused = until("a request comes within a second of another", || {
        number += 1;
        let hold = Request::hold(
            &format!("u{number}"),
            "drop-1",
            1,
            &format!("key-rate-{number}"),
        );
        let answer = shop.ask(&hold);
        if answer.status == 201 {
            taken += 1;
            return None;
        }
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (429, "rate_limited")
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"api_key\";q=1;w=1")
        );
        Some(hold)
    });
    assert!(taken <= began.elapsed().as_secs() + 1);
    // Another key is not concerned, and nothing was written down.
    let audit = Request::get("/admin/audit?kind=attempt_refused").key(ADMIN);
    let trail = server.ask(&audit).json();
    assert_eq!(trail["events"], serde_json::json!([]));
    // The same request again, under its key, is a first one.
    let held = until("the key has room again", || {
        let answer = shop.ask(&refused);
        (answer.status != 429).then_some(answer)
    });
    assert_eq!(held.status, 201, "{held:?}");
    assert_eq!(held.header("idempotent-replayed"), None);
    let metrics = server.ask(&Request::get("/metrics")).text();
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("holdfast_key_rate_limited_total "));
    assert!(counted.unwrap().parse::<u64>().unwrap() > 0);
}
