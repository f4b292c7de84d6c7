//! Webhooks against the real binary: genuine ones only, what each does, in any order.

use serde_json::json;
use std::time::{Duration, Instant};
use support::signing::{
    OLD, Own, SECRETS, bought, event, id_of, now_s, start, status_of, tell, with, without,
};
use support::{ADMIN, Request, Server, Setup, until};

fn appended(server: &Server) -> u64 {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN));
    status.json()["appended_lsn"].as_u64().unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn what_is_not_genuine_is_refused_and_leaves_nothing_behind() {
    let server = start();
    let purchase = bought(&server, "ana");
    let body = event("evt-1", "payment.captured", id_of(&purchase), 0);
    let own = Own::new("nonce-1", &body);
    let good = own.request();
    let signature = own.signature();
    let huge = "9".repeat(30);
    let resigned = |timestamp: &str| own.clone().at(&timestamp).request();
    let swapped = {
        let request = with(good.clone(), "x-timestamp", &own.nonce);
        with(request, "x-nonce", &own.timestamp)
    };
    let nine = [signature.as_str(); 9].join(",");
    let mut spaced = good.clone();
    spaced.body = body.replace(':', ": ").into_bytes();
    let stripes = with(good.clone(), "stripe-signature", "t=1,v1=00");
    let as_stripe = Request {
        path: "/webhooks/stripe".to_owned(),
        ..good.clone()
    };
    let both_forms = with(good.clone(), "webhook-signature", "v1,AAAA");
    let cases = [
        (
            "no timestamp",
            without(good.clone(), "x-timestamp"),
            "401 invalid_signature",
        ),
        (
            "no nonce",
            without(good.clone(), "x-nonce"),
            "401 invalid_signature",
        ),
        (
            "no signature",
            without(good.clone(), "x-signature"),
            "401 invalid_signature",
        ),
        (
            "nothing at all",
            Request::post("/webhooks/payment").body(b"{}"),
            "401 invalid_signature",
        ),
        (
            "a wrong secret",
            own.clone()
                .signed_with("a-secret-that-nobody-here-knows")
                .request(),
            "401 invalid_signature",
        ),
        (
            "no scheme",
            with(good.clone(), "x-signature", &signature[7..]),
            "401 invalid_signature",
        ),
        (
            "cut off",
            with(good.clone(), "x-signature", &signature[..70]),
            "401 invalid_signature",
        ),
        (
            "no hexadecimal",
            with(
                good.clone(),
                "x-signature",
                &format!("sha256={}", "g".repeat(64)),
            ),
            "401 invalid_signature",
        ),
        (
            "too many",
            with(good.clone(), "x-signature", &nine),
            "401 invalid_signature",
        ),
        (
            "the timestamp twice",
            good.clone().header("x-timestamp", &own.timestamp),
            "401 invalid_signature",
        ),
        (
            "the nonce twice",
            good.clone().header("x-nonce", &own.nonce),
            "401 invalid_signature",
        ),
        (
            "the signature twice",
            good.clone().header("x-signature", &signature),
            "401 invalid_signature",
        ),
        ("swapped headers", swapped, "401 invalid_signature"),
        (
            "another timestamp",
            with(good.clone(), "x-timestamp", &(now_s() - 1).to_string()),
            "401 invalid_signature",
        ),
        (
            "another nonce",
            with(good.clone(), "x-nonce", "nonce-2"),
            "401 invalid_signature",
        ),
        ("white space", spaced, "401 invalid_signature"),
        ("two forms", both_forms, "401 invalid_signature"),
        ("at Stripe's path", as_stripe, "401 invalid_signature"),
        (
            "Stripe's header, too",
            Request {
                path: "/webhooks/stripe".to_owned(),
                ..stripes
            },
            "401 invalid_signature",
        ),
        (
            "a leading zero",
            resigned(&format!("0{}", own.timestamp)),
            "401 invalid_signature",
        ),
        (
            "a sign",
            resigned(&format!("+{}", own.timestamp)),
            "401 invalid_signature",
        ),
        ("no number", resigned("now"), "401 invalid_signature"),
        (
            "too large a number",
            resigned(&huge),
            "401 invalid_signature",
        ),
        (
            "a full stop in the nonce",
            Own::new("nonce.1", &body).request(),
            "401 invalid_signature",
        ),
        ("long ago", resigned("0"), "401 stale_timestamp"),
        (
            "too old",
            resigned(&(now_s() - 310).to_string()),
            "401 stale_timestamp",
        ),
        (
            "of the future",
            resigned(&(now_s() + 310).to_string()),
            "401 stale_timestamp",
        ),
        (
            "at the end of time",
            resigned(&u64::MAX.to_string()),
            "401 stale_timestamp",
        ),
        (
            "no JSON",
            Own::new("nonce-3", "captured").request(),
            "400 invalid_request",
        ),
        (
            "no event id",
            Own::new("nonce-3", &body.replace("event_id", "event")).request(),
            "400 invalid_request",
        ),
        (
            "a field twice",
            Own::new("nonce-3", &body.replacen('{', "{\"type\":\"x\",", 1)).request(),
            "400 invalid_request",
        ),
        (
            "no purchase",
            Own::new("nonce-3", &body.replace("purchase_id", "purchase")).request(),
            "400 invalid_request",
        ),
        (
            "no time",
            Own::new("nonce-3", &body.replace("created_at", "at")).request(),
            "400 invalid_request",
        ),
        (
            "too large",
            Own::new("nonce-3", &"x".repeat(600_000)).request(),
            "413 body_too_large",
        ),
    ];
    let before = appended(&server);
    for (name, request, expected) in &cases {
        assert_eq!(tell(&server, request), *expected, "{name}");
    }
    let get = server.ask(&Request::get("/webhooks/payment"));
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(appended(&server), before, "strangers reached the log");
    // Nothing of all that was remembered.
    assert_eq!(tell(&server, &good), "processed");
    let old_and_new = format!("sha256={},{signature}", "0".repeat(64));
    let second = with(good, "x-signature", &old_and_new);
    assert_eq!(tell(&server, &second), "409 replayed_nonce");
    let sampled = server.log.wait_for("webhook_refused").unwrap();
    assert_eq!(sampled["reason"], "invalid_signature");
}

#[test]
fn a_nonce_is_used_once_and_an_event_counts_once() {
    let server = start();
    let purchase = bought(&server, "ana");
    let body = |id: &str| event(id, "payment.captured", id_of(&purchase), 0);
    let steps = [
        (
            "not JSON",
            Own::new("n-1", "no JSON"),
            "400 invalid_request",
        ),
        (
            "the nonce is free",
            Own::new("n-1", &body("e-1")),
            "processed",
        ),
        (
            "the same again",
            Own::new("n-1", &body("e-1")),
            "409 replayed_nonce",
        ),
        (
            "another body",
            Own::new("n-1", &body("e-2")),
            "409 replayed_nonce",
        ),
        (
            "no JSON, nonce used",
            Own::new("n-1", "no JSON"),
            "409 replayed_nonce",
        ),
        (
            "another secret",
            Own::new("n-1", &body("e-2")).signed_with(OLD),
            "409 replayed_nonce",
        ),
        (
            "as old as may be",
            Own::new("n-2", &body("e-2")).at(&(now_s() - 290)),
            "processed",
        ),
        (
            "as new as may be",
            Own::new("n-3", &body("e-3")).at(&(now_s() + 290)),
            "processed",
        ),
        ("an event again", Own::new("n-4", &body("e-1")), "duplicate"),
        (
            "the old secret",
            Own::new("n-5", &body("e-4")).signed_with(OLD),
            "processed",
        ),
        (
            "white space",
            Own::new("n-6", &format!(" {} ", body("e-5"))),
            "processed",
        ),
        (
            "white space, again",
            Own::new("n-7", &format!("\n{}", body("e-5"))),
            "duplicate",
        ),
    ];
    for (name, own, expected) in steps {
        assert_eq!(tell(&server, &own.request()), expected, "{name}");
    }
    let metrics = server.ask(&Request::get("/metrics")).text();
    for line in [
        "flow=\"webhook\",result=\"success\",reason=\"none\"} 7",
        "flow=\"webhook\",result=\"refused\",reason=\"replayed_nonce\"} 4",
        "flow=\"webhook\",result=\"refused\",reason=\"invalid_request\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} of {metrics}");
    }
    let audit = Request::get("/admin/audit?kind=webhook_received").key(ADMIN);
    let audit = server.ask(&audit).json();
    let audit: Vec<_> = audit["events"].as_array().unwrap().iter().collect();
    assert_eq!(audit.len(), 7);
    assert_eq!(audit[0]["event_id"], "e-1");
    assert_eq!(audit[3]["status"], "duplicate");
}

#[test]
fn each_kind_says_what_it_does() {
    let server = start();
    let purchase = bought(&server, "ana");
    let ours = id_of(&purchase).to_owned();
    let unknown = "p_00000000000fff075a17c0de5a17c0de";
    let cases = [
        ("payment.authorized", ours.as_str(), "processed", "captured"),
        ("payment.captured", &ours, "processed", "captured"),
        ("payment.voided", &ours, "processed", "captured"),
        ("payment.failed", &ours, "processed", "captured"),
        ("refund.succeeded", &ours, "processed", "captured"),
        ("refund.failed", &ours, "processed", "captured"),
        ("payout.paid", &ours, "ignored", "captured"),
        ("payment.captured", unknown, "ignored", "captured"),
        ("dispute.opened", unknown, "ignored", "captured"),
        ("payment.captured", "order-17", "ignored", "captured"),
        ("dispute.opened", &ours, "processed", "disputed"),
        ("dispute.opened", &ours, "ignored", "disputed"),
        ("dispute.won", &ours, "processed", "captured"),
        ("dispute.opened", &ours, "processed", "disputed"),
        ("dispute.lost", &ours, "processed", "charged_back"),
        ("dispute.won", &ours, "processed", "captured"),
        ("dispute.won", &ours, "processed", "captured"),
        ("dispute.lost", &ours, "processed", "charged_back"),
    ];
    for (place, (kind, about, expected, status)) in cases.into_iter().enumerate() {
        // Each happened a second after the one before.
        let body = event(&format!("e-{place}"), kind, about, 100 - place as u64);
        let told = tell(&server, &Own::new(&format!("n-{place}"), &body).request());
        assert_eq!(
            (told.as_str(), status_of(&server, &ours).as_str()),
            (expected, status),
            "{place}: {kind}"
        );
    }
    let money = json!({
        "event_id": "money", "type": "dispute.opened", "created_at": "2026-01-01T00:00:00Z",
        "data": {"purchase_id": ours, "amount": {"value": -1, "currency": "USD"}},
    });
    let told = tell(&server, &Own::new("money", &money.to_string()).request());
    assert_eq!(told, "400 invalid_request");
    let future = event("future", "dispute.opened", &ours, 0).replace("\"20", "\"29");
    let told = tell(&server, &Own::new("future", &future).request());
    assert_eq!(told, "400 invalid_request");
}

#[test]
fn events_of_a_dispute_may_arrive_in_any_order() {
    // What happened first (10) to last (1), told in another order, and where it ends.
    let orders = [
        (
            "ana",
            vec![("won", 1, "processed"), ("opened", 10, "processed")],
            "captured",
        ),
        (
            "bo",
            vec![("lost", 1, "processed"), ("opened", 10, "processed")],
            "charged_back",
        ),
        (
            "cy",
            vec![("lost", 5, "processed"), ("opened", 5, "ignored")],
            "charged_back",
        ),
        (
            "di",
            vec![("opened", 5, "processed"), ("lost", 5, "processed")],
            "charged_back",
        ),
        (
            "ed",
            vec![
                ("opened", 2, "processed"),
                ("won", 8, "ignored"),
                ("opened", 10, "processed"),
            ],
            "disputed",
        ),
    ];
    let server = start();
    for (user, told, status) in orders {
        let purchase = bought(&server, user);
        for (place, (kind, age_s, expected)) in told.into_iter().enumerate() {
            let id = format!("{user}-{place}");
            let body = event(&id, &format!("dispute.{kind}"), id_of(&purchase), age_s);
            assert_eq!(
                tell(&server, &Own::new(&id, &body).request()),
                expected,
                "{id} {kind}"
            );
        }
        assert_eq!(status_of(&server, id_of(&purchase)), status, "{user}");
    }
}

#[test]
fn a_dispute_before_the_capture_is_refused_until_the_capture_is_known() {
    let config = "[payments]\nanswer_within_ms = 50";
    let server = Setup::demo().config(SECRETS).config(config).start();
    let answer = server.ask(&Request::buy(
        "ana",
        "drop-1",
        "tok_slow_1500",
        "key-slow-1",
    ));
    assert_eq!(answer.status, 202, "{answer:?}");
    let purchase = answer.json();
    let body = event("e-1", "dispute.opened", id_of(&purchase), 0);
    let dispute = Own::new("n-1", &body).request();
    assert_eq!(tell(&server, &dispute), "409 wrong_state");
    until("the payment is captured", || {
        (status_of(&server, id_of(&purchase)) == "captured").then_some(())
    });
    assert_eq!(tell(&server, &dispute), "processed");
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
}

/// A payment that was left open is tried again after half a minute at least; what a webhook hints
/// at is looked up at once.
#[test]
fn a_hint_has_the_payment_looked_up_at_once() {
    let config = "[payments]\nanswer_within_ms = 50\nretries_max = 0\nunknown_after_ms = 100\n\
                  backoff_first_ms = 60000\nbackoff_max_ms = 600000";
    let server = Setup::demo().config(SECRETS).config(config).start();
    let buy = Request::buy("ana", "drop-1", "tok_lookup_down_1", "key-hint-1");
    let answer = server.ask(&buy);
    assert_eq!(answer.status, 202, "{answer:?}");
    let purchase = answer.json();
    until("the payment is left open", || {
        let metrics = server.ask(&Request::get("/metrics")).text();
        let left = "holdfast_payments_left_open_total 1\n";
        let driven = "holdfast_payments_in_flight 0\n";
        (metrics.contains(left) && metrics.contains(driven)).then_some(())
    });
    let told = Instant::now();
    let body = event("e-1", "payment.authorized", id_of(&purchase), 0);
    assert_eq!(
        tell(&server, &Own::new("n-1", &body).request()),
        "processed"
    );
    until("the payment is captured", || {
        (status_of(&server, id_of(&purchase)) == "captured").then_some(())
    });
    let took = told.elapsed();
    assert!(took < Duration::from_secs(20), "only after {took:?}");
}

/// The lines of shell in `docs/webhooks.md`, against the real binary.
#[test]
fn the_session_in_the_documentation_works_as_printed() {
    let server = Setup::demo().start();
    let session = include_str!("../../docs/webhooks.md");
    let session = session.split("```sh").nth(1).unwrap().split("```").next();
    let address = server.address.to_string();
    let script = session.unwrap().replace("127.0.0.1:8080", &address);
    let output = std::process::Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let expected = [
        "{\"status\":\"processed\"}",
        "\"replayed_nonce\"",
        "\"status\":\"disputed\"",
    ];
    let mut rest = &*stdout;
    for word in expected {
        let at = rest.find(word);
        let at = at.unwrap_or_else(|| panic!("`{word}` does not follow in\n{stdout}"));
        rest = &rest[at + word.len()..];
    }
}
