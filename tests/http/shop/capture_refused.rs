//! A capture that the gateway refuses after the authorization is a decline: an earlier hold lives on
//! once the authorization is given back, at once or in the background.

use super::{events_of, pay};
use serde_json::{Value, json};
use support::money::{OFTEN, RARELY, asked, reconciled};
use support::{ADMIN, Request, SHOP, Server, Setup, until};

const HELD_AGAIN: [&str; 6] = [
    "hold_placed",
    "payment_started",
    "payment_authorized",
    "capture_started",
    "void_started",
    "payment_voided",
];

/// Holds a unit for `user`: the hold's id, its end, and the path of its purchase.
fn hold(server: &Server, user: &str, key: &str) -> (String, Value, String) {
    let hold = server.ask(&Request::hold(user, "drop-1", 1, key)).json();
    let id = hold["hold_id"].as_str().unwrap().to_owned();
    let path = format!("/limited/purchases/{}", id.replacen("h_", "p_", 1));
    (id, hold["expires_at"].clone(), path)
}

fn read(server: &Server, path: &str) -> Value {
    server.ask(&Request::get(path).key(SHOP)).json()
}

#[test]
fn a_refused_capture_leaves_the_earlier_hold_to_another_card() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Setup::demo().data_dir(dir.path()).start();
    let server = start();
    let (id, expires_at, path) = hold(&server, "ana", "key-hold-1");
    let refused = pay("ana", &id, "tok_capture_refused", "key-pay-1");
    let declined = server.ask(&refused);
    assert_eq!(declined.status, 402, "{declined:?}");
    let body = declined.json();
    assert_eq!(body["reason"], "payment_declined");
    assert_eq!(body["code"], "capture_declined");
    assert_eq!(body["retry_advice"], "other_card");
    let kept = json!({"hold_id": id, "expires_at": expires_at});
    assert_eq!(body["hold"], kept, "{body}");
    assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);

    let between = read(&server, &path);
    assert_eq!(between["status"], "held");
    assert_eq!(between["reason"], "capture_refused");
    assert_eq!(between["gateway"]["authorization_id"], Value::Null);
    assert_eq!(events_of(&between), HELD_AGAIN);
    let held = read(&server, &format!("/limited/holds/{id}"));
    assert_eq!(held["status"], "held", "{held}");

    // A void that goes wrong once is tried again while the caller waits.
    let void = pay("ana", &id, "tok_void_busy_1", "key-pay-2");
    assert_eq!(server.ask(&void).json()["hold"], kept);
    let paid = server.ask(&pay("ana", &id, "tok_ok", "key-pay-3"));
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);

    // The first key's answer stays what it was, after the hold was paid and after a restart.
    assert_eq!(server.ask(&refused).body, declined.body);
    assert_eq!(server.stop().0.code(), Some(0));
    let server = start();
    let again = server.ask(&refused);
    assert_eq!((again.status, &again.body), (402, &declined.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(read(&server, &path), paid.json());
    // Each try has an authorization of its own at the gateway, and all are known here.
    let charges = Request::get("/admin/sandbox/charges").key(ADMIN);
    assert_eq!(server.ask(&charges).json()["total"], 3);
    let report = reconciled(&server, "");
    assert_eq!(report["differences"], json!([]), "{report}");
}

#[test]
fn a_refused_capture_counts_as_a_try_and_the_last_one_ends_the_hold() {
    let server = Setup::demo()
        .config("[payments]\ntries_per_hold_max = 3")
        .start();
    let (id, _, path) = hold(&server, "ana", "key-hold-1");
    for (card, key) in [
        ("tok_capture_refused", "key-pay-1"),
        ("tok_declined", "key-pay-2"),
    ] {
        let answer = server.ask(&pay("ana", &id, card, key));
        assert_eq!(answer.json()["hold"]["hold_id"], id.as_str(), "{answer:?}");
    }
    let last = server.ask(&pay("ana", &id, "tok_capture_refused", "key-pay-3"));
    assert_eq!((last.status, last.json().get("hold")), (402, None));
    assert_eq!(read(&server, &path)["status"], "voided");
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    let closed = server.ask(&pay("ana", &id, "tok_ok", "key-pay-4"));
    assert_eq!(closed.reason(), "hold_closed");

    // A buy without a hold has none to live on.
    let own = server.ask(&Request::buy(
        "bo",
        "drop-1",
        "tok_capture_refused",
        "key-own-1",
    ));
    assert_eq!((own.status, own.json().get("hold")), (402, None));
    assert_eq!(own.json()["code"], "capture_declined");
    let id = own.json()["purchase_id"].as_str().unwrap().to_owned();
    let path = format!("/limited/purchases/{id}");
    assert_eq!(read(&server, &path)["status"], "voided");
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
}

/// While the authorization is not given back yet, the hold is pinned and its payment has no outcome.
#[test]
fn a_hold_waits_for_its_void_and_lives_on_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let start = |pace: &str| {
        Setup::demo()
            .data_dir(dir.path())
            .config(&asked(pace))
            .start()
    };
    let mut server = start(RARELY);
    let (id, expires_at, path) = hold(&server, "ana", "key-hold-1");
    let request = pay("ana", &id, "tok_void_busy_9", "key-pay-1");
    let pending = server.ask(&request);
    assert_eq!(pending.status, 202, "{pending:?}");
    assert_eq!(pending.json()["status"], "voiding");
    let again = server.ask(&request);
    assert_eq!(
        (again.status, again.reason().as_str()),
        (409, "idempotency_in_flight")
    );
    let other = server.ask(&pay("ana", &id, "tok_ok", "key-pay-2"));
    assert_eq!(other.status, 409, "{other:?}");
    server.kill();

    let server = start(OFTEN);
    until("the hold is held again", || {
        (read(&server, &path)["status"] == "held").then_some(())
    });
    let declined = server.ask(&request);
    assert_eq!(declined.status, 402, "{declined:?}");
    assert_eq!(declined.json()["code"], "capture_declined");
    let kept = json!({"hold_id": id, "expires_at": expires_at});
    assert_eq!(declined.json()["hold"], kept, "{declined:?}");
    let paid = server.ask(&pay("ana", &id, "tok_ok", "key-pay-3"));
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
}
