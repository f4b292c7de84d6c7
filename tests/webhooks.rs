//! Webhooks against the real binary: genuine ones only, each once, in any order, across a crash.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::signing::{NEW, OLD, Own, SECRETS, event, now_s, standard, stripe};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, until};

fn start() -> Server {
    Setup::demo().config(SECRETS).start()
}

/// A captured purchase of 19.99 USD.
fn bought(server: &Server, user: &str) -> Value {
    let key = format!("key-of-{user}");
    let answer = server.ask(&Request::buy(user, "drop-1", "tok_ok", &key));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn id_of(purchase: &Value) -> &str {
    purchase["purchase_id"].as_str().unwrap()
}

fn status_of(server: &Server, purchase: &str) -> String {
    let path = format!("/limited/purchases/{purchase}");
    let body = server.ask(&Request::get(&path).key(SHOP)).json();
    body["status"].as_str().unwrap().to_owned()
}

/// What a webhook is answered, in a word: the status of a good one, the reason of another.
fn word(answer: &Response) -> String {
    match answer.status {
        200 => {
            let body = answer.json();
            let status = body["status"].as_str().unwrap();
            let whole = format!("{{\"status\":\"{status}\"}}");
            assert_eq!(answer.text(), whole);
            status.to_owned()
        }
        status => format!("{status} {}", answer.reason()),
    }
}

fn tell(server: &Server, request: &Request) -> String {
    word(&server.ask(request))
}

fn without(mut request: Request, header: &str) -> Request {
    request.headers.retain(|(name, _)| name != header);
    request
}

fn with(request: Request, header: &str, value: &str) -> Request {
    without(request, header).header(header, value)
}

fn appended(server: &Server) -> u64 {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN));
    status.json()["appended_lsn"].as_u64().unwrap()
}

#[test]
fn what_is_not_genuine_is_refused_and_leaves_nothing_behind() {
    let server = start();
    let purchase = bought(&server, "ana");
    let body = event("evt-1", "payment.captured", id_of(&purchase), 0);
    let own = Own::new("nonce-1", &body);
    let good = own.request();
    let signature = own.signature();
    let huge = "9".repeat(30);
    let resigned = |timestamp: &str| own.clone().at(timestamp).request();
    let swapped = {
        let request = with(good.clone(), "x-timestamp", &own.nonce);
        with(request, "x-nonce", &own.timestamp)
    };
    let nine = vec![signature.as_str(); 9].join(",");
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
            Own::new("nonce-3", &"x".repeat(20_000)).request(),
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
            Own::new("n-2", &body("e-2")).at(now_s() - 290),
            "processed",
        ),
        (
            "as new as may be",
            Own::new("n-3", &body("e-3")).at(now_s() + 290),
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
    let unknown = "p_00000000000fff07";
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
        ("dispute.won", &ours, "ignored", "charged_back"),
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
fn a_dispute_may_be_told_in_any_order() {
    // What happened first (10) to last (1), told in another order, and where it ends.
    let orders = [
        (
            "ana",
            vec![("won", 1, "processed"), ("opened", 10, "ignored")],
            "captured",
        ),
        (
            "bo",
            vec![("lost", 1, "processed"), ("opened", 10, "ignored")],
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
                ("opened", 10, "ignored"),
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
fn standard_webhooks_are_taken_at_the_same_path() {
    let server = start();
    let purchase = bought(&server, "ana");
    let body = json!({
        "type": "dispute.opened", "timestamp": "2026-01-02T03:04:05.678Z",
        "data": {"purchase_id": id_of(&purchase), "amount": 1999, "reason": "fraudulent"},
    })
    .to_string();
    let now = now_s();
    let first = standard("msg_1", now, &body);
    let steps = [
        ("the first", first.clone(), "processed"),
        ("the same bytes", first.clone(), "duplicate"),
        (
            "a redelivery",
            standard("msg_1", now + 1, &body),
            "duplicate",
        ),
        (
            "another event",
            standard(
                "msg_2",
                now,
                &body.replace("dispute.opened", "payment.captured"),
            ),
            "processed",
        ),
        (
            "too old",
            standard("msg_3", now - 310, &body),
            "401 stale_timestamp",
        ),
        (
            "another id",
            with(first.clone(), "webhook-id", "msg_9"),
            "401 invalid_signature",
        ),
        (
            "a full stop in the id",
            standard("msg.1", now, &body),
            "401 invalid_signature",
        ),
        (
            "no version of ours",
            with(first.clone(), "webhook-signature", "v1a,AAAA"),
            "401 invalid_signature",
        ),
        (
            "the id twice",
            first.header("webhook-id", "msg_1"),
            "401 invalid_signature",
        ),
        (
            "no JSON",
            standard("msg_4", now, "no JSON"),
            "400 invalid_request",
        ),
        ("the id is free", standard("msg_4", now, &body), "ignored"),
    ];
    for (name, request, expected) in steps {
        assert_eq!(tell(&server, &request), expected, "{name}");
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
    // The same bytes again are no second line of the log.
    let audit = Request::get("/admin/audit?kind=webhook_received").key(ADMIN);
    let audit = server.ask(&audit).json();
    assert_eq!(audit["events"].as_array().unwrap().len(), 4);
    let opened = Request::get("/admin/audit?kind=dispute_opened").key(ADMIN);
    let opened = &server.ask(&opened).json()["events"][0];
    assert_eq!(
        (&opened["amount"], &opened["code"], &opened["happened_at"]),
        (
            &json!(1999),
            &json!("fraudulent"),
            &json!("2026-01-02T03:04:05.678Z")
        )
    );
}

fn stripe_event(id: &str, kind: &str, created: u64, object: Value) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": created,
        "data": {"object": object},
    })
}

#[test]
fn stripes_events_find_the_purchase_by_reference_or_payment_intent() {
    let server = start();
    let purchase = bought(&server, "ana");
    let charges = server.ask(&Request::get("/admin/sandbox/charges").key(ADMIN));
    let reference = charges.json()["charges"][0]["reference"]
        .as_str()
        .unwrap()
        .to_owned();
    let intent = purchase["gateway"]["authorization_id"].as_str().unwrap();
    let foreign = format!("hf-{}{}", "0".repeat(16), &reference[19..]);
    let earlier = format!("{}{}", &reference[..reference.len() - 16], "0".repeat(16));
    let of = |reference: &str| {
        json!({
            "object": "payment_intent", "id": "pi_other", "status": "succeeded", "amount": 1999,
            "metadata": {"holdfast_reference": reference},
        })
    };
    let by_intent = |object: &str, status: &str, intent: Value| {
        json!({
            "object": object, "id": "x_1", "status": status, "amount": 1999, "metadata": {},
            "payment_intent": intent, "reason": "fraudulent",
        })
    };
    let whole = json!({"object": "payment_intent", "id": intent});
    let cases = [
        ("payment_intent.succeeded", of(&reference), "processed"),
        ("payment_intent.succeeded", of(&foreign), "ignored"),
        ("payment_intent.succeeded", of(&earlier), "ignored"),
        ("payment_intent.succeeded", of("order-17"), "ignored"),
        (
            "payment_intent.amount_capturable_updated",
            of(&reference),
            "processed",
        ),
        ("payment_intent.canceled", of(&reference), "processed"),
        ("payment_intent.payment_failed", of(&reference), "processed"),
        ("payment_intent.created", of(&reference), "ignored"),
        (
            "refund.updated",
            by_intent("refund", "succeeded", json!(intent)),
            "processed",
        ),
        (
            "refund.updated",
            by_intent("refund", "pending", json!(intent)),
            "ignored",
        ),
        (
            "refund.failed",
            by_intent("refund", "failed", json!(intent)),
            "processed",
        ),
        (
            "charge.refunded",
            by_intent("charge", "succeeded", whole),
            "processed",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!("pi_1")),
            "ignored",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "warning_closed", json!(intent)),
            "ignored",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "won", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "lost", json!(intent)),
            "processed",
        ),
    ];
    let now = now_s();
    for (place, (kind, object, expected)) in cases.into_iter().enumerate() {
        let created = now - 100 + place as u64;
        let event = stripe_event(&format!("evt_{place}"), kind, created, object);
        assert_eq!(
            tell(&server, &stripe(now, &event)),
            expected,
            "{place}: {kind}"
        );
        let again = tell(&server, &stripe(now, &event));
        let later = tell(&server, &stripe(now + 1, &event));
        assert_eq!((again.as_str(), later.as_str()), ("duplicate", "duplicate"));
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "charged_back");
    let event = stripe_event("evt_x", "payment_intent.succeeded", now, of(&reference));
    let good = stripe(now, &event);
    let value = good.headers[0].1.clone();
    let signed = |value: &str| with(good.clone(), "stripe-signature", value);
    for (name, request, expected) in [
        ("stale", stripe(now - 310, &event), "401 stale_timestamp"),
        (
            "two timestamps",
            signed(&format!("t={now},{value}")),
            "401 invalid_signature",
        ),
        (
            "no timestamp",
            signed(value.split_once(',').unwrap().1),
            "401 invalid_signature",
        ),
        (
            "twice",
            good.clone().header("stripe-signature", &value),
            "401 invalid_signature",
        ),
        (
            "no id",
            stripe(now, &json!({"type": "x", "created": now})),
            "400 invalid_request",
        ),
        (
            "our form's secret",
            signed(&format!(
                "t={now},v1={}",
                hex::encode(support::signing::mac(
                    NEW.as_bytes(),
                    &format!("{now}.{event}")
                ))
            )),
            "401 invalid_signature",
        ),
        (
            "good",
            signed(&format!("{value},v1={}", "0".repeat(64))),
            "processed",
        ),
    ] {
        assert_eq!(tell(&server, &request), expected, "{name}");
    }
    // Names of ours and of Stripe's do not get in each other's way.
    let ours = event_of(&purchase, "evt_0");
    assert_eq!(
        tell(&server, &Own::new("n-1", &ours).request()),
        "processed"
    );
}

fn event_of(purchase: &Value, id: &str) -> String {
    event(id, "payment.captured", id_of(purchase), 0)
}

#[test]
fn what_was_let_in_is_known_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let setup = || Setup::demo().config(SECRETS).data_dir(dir.path());
    let mut server = setup().start();
    let purchase = bought(&server, "ana");
    let first = Own::new("n-1", &event_of(&purchase, "e-1")).request();
    assert_eq!(tell(&server, &first), "processed");
    // Once from a snapshot and once from the log behind it.
    let snapshot = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
    assert_eq!(snapshot.status, 200);
    let body = event("e-2", "dispute.opened", id_of(&purchase), 0);
    let second = Own::new("n-2", &body).request();
    assert_eq!(tell(&server, &second), "processed");
    let now = now_s();
    let third = standard("msg_3", now, &event_of(&purchase, "unused"));
    assert_eq!(tell(&server, &third), "processed");
    for _ in 0..2 {
        server.kill();
        server = setup().start();
        assert_eq!(tell(&server, &first), "409 replayed_nonce");
        assert_eq!(tell(&server, &second), "409 replayed_nonce");
        assert_eq!(tell(&server, &third), "duplicate");
    }
    for (nonce, id) in [("n-3", "e-1"), ("n-4", "e-2"), ("n-5", "msg_3")] {
        let again = Own::new(nonce, &event_of(&purchase, id)).request();
        assert_eq!(tell(&server, &again), "duplicate", "{id}");
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
}

#[test]
fn a_dispute_before_the_capture_is_known_is_told_again() {
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

/// The lines of shell in `docs/webhooks.md`, against the real binary.
#[test]
fn the_session_in_the_documentation_works_as_printed() {
    let server = Setup::demo().start();
    let session = include_str!("../docs/webhooks.md");
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

/// 2,500 events, each delivered four times under nonces of their own, from 16 connections.
#[test]
fn of_ten_thousand_deliveries_in_parallel_each_event_is_processed_once() {
    const EVENTS: usize = 2_500;
    const DELIVERIES: usize = 4 * EVENTS;
    let server = start();
    let purchase = bought(&server, "ana");
    let next = AtomicUsize::new(0);
    let told: Mutex<BTreeMap<usize, Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.connect();
                loop {
                    let delivery = next.fetch_add(1, Ordering::Relaxed);
                    if delivery >= DELIVERIES {
                        return;
                    }
                    // Neighbours are deliveries of one event, so that they meet.
                    let number = delivery / 4;
                    let body = event_of(&purchase, &format!("e-{number}"));
                    let own = Own::new(&format!("n-{delivery}"), &body);
                    let word = word(&client.ask(&own.request()));
                    told.lock().unwrap().entry(number).or_default().push(word);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), EVENTS);
    for (number, mut words) in told {
        words.sort();
        assert_eq!(
            words,
            ["duplicate", "duplicate", "duplicate", "processed"],
            "{number}"
        );
    }
}
