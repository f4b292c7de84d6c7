//! A wall clock that is wrong, under the real process: for a second, for good, and at a start. Its
//! clock is moved by `libfaketime` while it runs; the monotonic clock is the machine's.

use serde_json::{Value, json};
use support::signing::{self, Own};
use support::wall_clock::WallClock;
use support::{ADMIN, Request, SHOP, Server, Setup, until};

/// A demo that reads the clock and keeps its data beside it.
fn setup(clock: &WallClock, settle_s: u64) -> Setup {
    let setup = Setup::demo()
        .data_dir(&clock.directory().join("data"))
        .config(&format!("[clock]\nsettle_s = {settle_s}"))
        .config(signing::SECRETS);
    clock.read_by(setup)
}

fn offset_s(server: &Server) -> f64 {
    let text = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("holdfast_clock_offset_seconds "));
    line.expect("the metric is there").parse().unwrap()
}

fn until_offset(server: &Server, within: std::ops::Range<f64>) {
    until("the offset is shown", || {
        within.contains(&offset_s(server)).then_some(())
    });
}

fn hold(server: &Server, user: &str, key: &str) -> Value {
    let answer = server.ask(&Request::hold(user, "drop-c", 1, key));
    assert_eq!(answer.status, 201, "{user} {key}: {answer:?}");
    answer.json()
}

fn buy(server: &Server, user: &str, key: &str) -> (Value, bool) {
    let answer = server.ask(&Request::buy(user, "drop-c", "tok_ok", key));
    assert_eq!(answer.status, 201, "{user} {key}: {answer:?}");
    let replayed = answer.header("idempotent-replayed") == Some("true");
    (answer.json(), replayed)
}

/// Seconds from the machine's own time to an instant.
fn left_s(at: &Value) -> f64 {
    let at: jiff::Timestamp = at.as_str().unwrap().parse().unwrap();
    (at - jiff::Timestamp::now())
        .total(jiff::Unit::Second)
        .unwrap()
}

/// A hold lasts for 300 seconds, of which few have gone by.
fn lasts_five_minutes(hold: &Value, wrong_by_s: f64) {
    let left = left_s(&hold["expires_at"]) - wrong_by_s;
    assert!((280.0..302.0).contains(&left), "{left} s: {hold}");
}

fn webhook(server: &Server, event: &str, nonce: &str) -> String {
    let body = signing::event(event, "payment.captured", "p_0000000000000107", 0);
    let answer = server.ask(&Own::new(nonce, &body).request());
    format!("{} {}", answer.status, answer.text())
}

#[test]
fn a_wall_clock_that_is_ahead_for_a_second_changes_nothing() {
    for (offset, seconds) in [
        ("+8d", 691_200.0),
        ("+3600", 3_600.0),
        ("+301", 301.0),
        ("+400d", 34_560_000.0),
    ] {
        let clock = WallClock::right();
        let mut server = setup(&clock, 60).start();
        server.put_product("drop-c", 100);
        let (bought, _) = buy(&server, "ana", "key-of-ana-1");
        let held = hold(&server, "bo", "key-of-bo-1");

        clock.set(offset);
        until_offset(&server, seconds - 5.0..seconds + 5.0);
        let line = server.log.wait_for("clock_stepped").unwrap();
        let told = line["offset_ms"].as_f64().unwrap() / 1_000.0;
        assert!((told - seconds).abs() < 5.0, "{line}");
        let (again, replayed) = buy(&server, "ana", "key-of-ana-1");
        assert!(replayed, "{offset}: a key is forgotten");
        assert_eq!(again["purchase_id"], bought["purchase_id"]);
        lasts_five_minutes(&hold(&server, "ana", "key-of-ana-2"), 0.0);
        lasts_five_minutes(&hold(&server, "cy", "key-of-cy-1"), 0.0);

        clock.set("+0");
        until_offset(&server, -1.0..1.0);
        for restarted in [false, true] {
            if restarted {
                server.kill();
                server = setup(&clock, 60).start();
            }
            let (again, replayed) = buy(&server, "ana", "key-of-ana-1");
            assert!(replayed, "{offset}: a key is forgotten");
            assert_eq!(again["purchase_id"], bought["purchase_id"]);
            assert_eq!(server.stock("drop-c")[1..3], [3 + u64::from(restarted), 1]);
            let key = format!("key-of-ana-3-{restarted}");
            lasts_five_minutes(&hold(&server, "ana", &key), 0.0);
            let event = format!("e-{restarted}");
            let told = webhook(&server, &event, &format!("nonce-{restarted}-0123456789"));
            assert!(told.starts_with("200"), "{offset}: {told}");
        }
        let paid = json!({"user_id": "bo", "product_id": "drop-c", "quantity": 1, "currency": "USD",
            "card_token": "tok_ok", "hold_id": held["hold_id"]});
        let request = Request::post("/limited/buy").key(SHOP).once("key-of-bo-2");
        let answer = server.ask(&request.json(&paid));
        assert_eq!(answer.status, 201, "{offset}: a hold is lost: {answer:?}");
        let corrected = server
            .log
            .lines()
            .iter()
            .any(|it| it.contains("clock_corrected"));
        assert!(!corrected, "a second is no correction");
    }
}

#[test]
fn a_wall_clock_that_stays_ahead_or_behind_is_followed_once() {
    for (offset, seconds) in [("+3600", 3_600.0), ("-3600", -3_600.0), ("+8d", 691_200.0)] {
        let clock = WallClock::right();
        let mut server = setup(&clock, 1).start();
        server.put_product("drop-c", 100);
        let (bought, _) = buy(&server, "ana", "key-of-ana-1");
        let held = hold(&server, "bo", "key-of-bo-1");
        for number in 2..5 {
            hold(&server, "cy", &format!("key-of-cy-{number}"));
        }
        clock.set(offset);
        let line = server.log.wait_for("clock_corrected").unwrap();
        let told = line["offset_ms"].as_f64().unwrap() / 1_000.0;
        assert!((told - seconds).abs() < 5.0, "{line}");
        until_offset(&server, -1.0..1.0);
        let corrections = until("the correction is in the trail", || {
            let all = "/admin/audit?kind=clock_corrected";
            let page = server.ask(&Request::get(all).key(ADMIN)).json();
            let events = page["events"].as_array().unwrap().clone();
            (!events.is_empty()).then_some(events)
        });
        assert_eq!(corrections.len(), 1, "{corrections:?}");
        assert_eq!(corrections[0]["by"], "settled");
        for restarted in [false, true] {
            if restarted {
                server.kill();
                server = setup(&clock, 1).start();
            }
            let (again, replayed) = buy(&server, "ana", "key-of-ana-1");
            assert!(replayed, "{offset}: a key is forgotten");
            assert_eq!(again["purchase_id"], bought["purchase_id"]);
            let key = format!("key-of-ana-2-{restarted}");
            lasts_five_minutes(&hold(&server, "ana", &key), seconds);
            assert_eq!(hold(&server, "bo", "key-of-bo-1"), held, "{offset}");
            assert_eq!(server.stock("drop-c")[2], 1);
        }
        let shown = server.ask(
            &Request::delete(&format!(
                "/limited/holds/{}",
                held["hold_id"].as_str().unwrap()
            ))
            .key(SHOP),
        );
        assert_eq!(shown.status, 200, "{shown:?}");
        lasts_five_minutes(&shown.json(), seconds);
        assert_eq!(hold(&server, "bo", "key-of-bo-1"), held, "{offset}");
    }
}

#[test]
fn a_start_with_a_clock_behind_the_log_is_refused_until_it_is_ordered() {
    let clock = WallClock::right();
    let server = setup(&clock, 60).start();
    server.put_product("drop-c", 100);
    let (bought, _) = buy(&server, "ana", "key-of-ana-1");
    let held = hold(&server, "bo", "key-of-bo-1");
    for number in 2..6 {
        hold(&server, "cy", &format!("key-of-cy-{number}"));
    }
    let (status, _) = server.stop();
    assert!(status.success());

    clock.set("-3600");
    let (status, said) = setup(&clock, 60).refused();
    assert_eq!(status.code(), Some(1), "{said:?}");
    let line = said
        .iter()
        .find(|line| line.contains("\"failed\""))
        .unwrap();
    let message = serde_json::from_str::<Value>(line).unwrap()["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.contains("--accept-clock"), "{message}");
    let times: Vec<jiff::Timestamp> = message
        .split([' ', ',', ';'])
        .filter_map(|word| word.parse().ok())
        .collect();
    assert_eq!(times.len(), 2, "both times: {message}");
    let behind = (times[1] - times[0]).total(jiff::Unit::Second).unwrap();
    assert!((3_590.0..3_660.0).contains(&behind), "{message}");

    let server = setup(&clock, 60).flag("--accept-clock").start();
    let line = server.log.wait_for("clock_corrected").unwrap();
    assert!(line["offset_ms"].as_i64().unwrap() < -3_500_000, "{line}");
    let all = "/admin/audit?kind=clock_corrected";
    let corrections = server.ask(&Request::get(all).key(ADMIN)).json();
    assert_eq!(corrections["events"][0]["by"], "operator", "{corrections}");
    let (again, replayed) = buy(&server, "ana", "key-of-ana-1");
    assert!(replayed, "a key is forgotten");
    assert_eq!(again["purchase_id"], bought["purchase_id"]);
    lasts_five_minutes(&hold(&server, "ana", "key-of-ana-2"), -3_600.0);
    lasts_five_minutes(&hold(&server, "bo", "key-of-bo-2"), -3_600.0);
    let request = Request::delete(&format!(
        "/limited/holds/{}",
        held["hold_id"].as_str().unwrap()
    ));
    let released = server.ask(&request.key(SHOP));
    assert_eq!(released.status, 200, "{released:?}");
    lasts_five_minutes(&released.json(), -3_600.0);
    let (status, _) = server.stop();
    assert!(status.success());

    // Ordered once: the log's time is the clock's now.
    let server = setup(&clock, 60).start();
    let (_, replayed) = buy(&server, "ana", "key-of-ana-1");
    assert!(replayed);
}
