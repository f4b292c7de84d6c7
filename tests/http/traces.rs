//! The trace of a request (W3C Trace Context): its way into events, calls to the gateway and log lines,
//! and what is done with headers that are no trace.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, Server, Setup, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

fn stripe_setup(stripe: &StripeServer) -> Setup {
    Setup::demo().config(&format!(
        "[payments]\ngateway = \"stripe\"\n\
         [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"",
        stripe.base()
    ))
}

/// Kind and trace of the events about this buyer.
fn events_of(server: &Server, user: &str) -> Vec<(String, Option<String>)> {
    let path = format!("/admin/audit?limit=1000&user_id={user}");
    let page = server.ask(&Request::get(&path).key(ADMIN)).json();
    let events = page["events"].as_array().unwrap().iter();
    let text = |event: &Value, name: &str| event[name].as_str().map(str::to_owned);
    let events = events.map(|it| (text(it, "kind").unwrap(), text(it, "traceparent")));
    events.collect()
}

#[test]
fn a_trace_goes_with_the_events_the_calls_to_the_gateway_and_the_log_lines() {
    let (stripe, dir) = (StripeServer::start(), tempfile::tempdir().unwrap());
    let server = stripe_setup(&stripe).data_dir(dir.path()).start();
    let plain = Request::buy("bo", "drop-1", "pm_card_visa", "key-of-bo-1");
    assert_eq!(server.ask(&plain).status, 201);
    let untraced = stripe.traces();
    assert!(!untraced.is_empty());
    assert!(
        untraced.iter().all(|it| *it == [None, None]),
        "{untraced:?}"
    );
    let traced = Request::buy("ana", "drop-1", "pm_card_visa", "key-of-ana")
        .header("traceparent", PARENT)
        .header("tracestate", STATE);
    assert_eq!(server.ask(&traced).status, 201);
    let calls = &stripe.traces()[untraced.len()..];
    // What other vendors keep of a trace is none of the gateway's business.
    let expected = [Some(PARENT.to_owned()), None];
    assert!(!calls.is_empty());
    assert!(calls.iter().all(|it| *it == expected), "{calls:?}");

    let of_ana = events_of(&server, "ana");
    let kinds: Vec<_> = of_ana.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds.first(), Some(&"hold_placed"));
    assert_eq!(kinds.last(), Some(&"payment_captured"));
    let all = |events: &[(String, Option<String>)], trace: Option<&str>| {
        events.iter().all(|(_, it)| it.as_deref() == trace)
    };
    assert!(all(&of_ana, Some(PARENT)), "{of_ana:?}");
    let of_bo = events_of(&server, "bo");
    assert!(
        of_bo.len() == of_ana.len() && all(&of_bo, None),
        "{of_bo:?}"
    );

    acts_stay_in_their_trace(&server);
    let wrong_key = Request::get("/limited/products/drop-1").key("no-such-key");
    let wrong_key = wrong_key.header("traceparent", PARENT);
    assert_eq!(server.ask(&wrong_key).status, 401);
    let (status, log) = server.stop();
    assert!(status.success());
    // One line for many requests is in the trace of none.
    let told = line_of(&log, "unauthorized");
    assert_eq!(told["trace_id"], Value::Null, "{told}");

    let server = stripe_setup(&stripe).data_dir(dir.path()).start();
    assert_eq!(events_of(&server, "ana"), of_ana, "after a restart, too");
    assert_eq!(events_of(&server, "bo"), of_bo);
}

fn line_of(log: &[String], word: &str) -> Value {
    let lines = log.iter();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.find(|it| it["event"] == word);
    found.unwrap_or_else(|| panic!("{log:?}"))
}

#[test]
fn a_line_about_one_request_is_in_its_trace() {
    let stripe = StripeServer::start();
    let server = stripe_setup(&stripe)
        .env(
            "HOLDFAST_PAYMENTS__STRIPE__SECRET_KEY",
            "sk_test_revoked_yesterday",
        )
        .env("HOLDFAST_PAYMENTS__GIVE_UP_AFTER_S", "1")
        .start();
    let buy = Request::buy("ana", "drop-1", "pm_card_visa", "key-of-ana");
    server.ask(&buy.header("traceparent", PARENT));
    let told = server.log.wait_for("stripe_key_refused").unwrap();
    assert_eq!(told["trace_id"], TRACE, "{told}");
}

fn acts_stay_in_their_trace(server: &Server) {
    // An act runs in a task of its own, and the one on rules on another thread.
    let rule = json!({"name": "large", "when": "amount > 9", "then": "observe"});
    let pause = json!({"until": "2999-01-01T00:00:00Z", "reason": "odd"});
    for (act, body) in [
        (Request::post("/admin/users/cy/pause"), pause),
        (Request::put("/admin/risk/rules"), json!({"rule": [rule]})),
    ] {
        let act = act.key(ADMIN).header("traceparent", PARENT).json(&body);
        let answer = server.ask(&act);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let page = server.ask(&Request::get("/admin/audit?limit=4&order=desc").key(ADMIN));
    let newest = page.json()["events"].clone();
    let newest = newest.as_array().unwrap().iter();
    let newest = newest.map(|it| (it["kind"].clone(), it["traceparent"].clone()));
    let newest: BTreeSet<_> = newest.map(|it| format!("{} {}", it.0, it.1)).collect();
    let kinds = ["buyer_paused", "risk_rules_set", "admin_acted"];
    let expected = kinds.map(|kind| format!("\"{kind}\" \"{PARENT}\""));
    assert_eq!(newest, expected.into_iter().collect());
}

#[test]
fn a_header_that_is_no_trace_is_ignored() {
    let server = Setup::demo().start();
    let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    let long = format!("00-{ids}-01-{}", "a".repeat(2_000));
    let upper = PARENT.to_uppercase();
    let zero = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
    let cases: [(&[&str], Option<&str>); 10] = [
        (&[PARENT], Some(PARENT)),
        (&[PARENT, PARENT], None),
        (&["", PARENT], None),
        (&[&long], None),
        (&[&upper], None),
        (&[&zero], None),
        (
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            None,
        ),
        (
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            None,
        ),
        (&["<script>"], None),
        (
            &["\u{fc}0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"],
            None,
        ),
    ];
    for (number, (headers, taken)) in cases.iter().enumerate() {
        let user = format!("u{number}");
        let mut hold = Request::hold(&user, "drop-1", 1, &format!("key-of-u{number}"));
        for header in *headers {
            hold = hold
                .header("traceparent", header)
                .header("tracestate", "a=b=c");
        }
        assert_eq!(server.ask(&hold).status, 201, "{headers:?}");
        let expected = [("hold_placed".to_owned(), taken.map(str::to_owned))];
        assert_eq!(events_of(&server, &user), expected, "{headers:?}");
    }
}

#[test]
fn a_payment_that_goes_on_in_the_background_stays_in_its_trace() {
    let stripe = StripeServer::start();
    let server = stripe_setup(&stripe).start();
    stripe.script(
        support::stripe_server::wire::Op::Confirm,
        support::stripe_server::faults::Fault::TooMany,
        8,
    );
    let buy = Request::buy("ana", "drop-1", "pm_card_visa", "key-of-ana");
    let answer = server.ask(&buy.header("traceparent", PARENT));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let events = until("it is captured", || {
        let events = events_of(&server, "ana");
        let ends = events.last().is_some_and(|it| it.0 == "payment_captured");
        ends.then_some(events)
    });
    let traced = events.iter().all(|it| it.1.as_deref() == Some(PARENT));
    assert!(traced, "{events:?}");
    let calls = stripe.traces();
    let traced = calls.iter().all(|it| it[0].as_deref() == Some(PARENT));
    assert!(traced, "{calls:?}");
}
