//! The order to go on with a copy: what it needs of the gateway, what a crash in the middle of it leaves,
//! what a backup that runs across it has, and a refund that came back in what is lost.

use crate::feed::log_of;
use crate::webhooks::endpoint;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use support::copies::{Scene, accept, assert_waits, caught_up, ready, sell, sink, status, stopped};
use support::money::{purchase_of, until_status};
use support::postgres_server::Postgres;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::receiver::{HookReply, Receiver};
use support::stripe_server::hooks::Webhooks;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, Server, binary, until};

const CAPTURED: &str = "holdfast.purchase.captured.v1";
const CARD: &str = "pm_card_visa";
const HOOK_SECRET: &str = "whsec_of_the_test_of_copies";

fn at_stripe(stripe: &StripeServer, more: &str) -> Scene {
    Scene::new(&format!(
        "{more}[payments]\ngateway = \"stripe\"\nattempt_timeout_ms = 1000\nbackoff_first_ms = 5\n\
         backoff_max_ms = 50\n[payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"\n\
         [[webhooks.secrets]]\nid = \"of-copies\"\nformat = \"stripe\"\nkey = \"{HOOK_SECRET}\"\n",
        stripe.base()
    ))
}

/// The purchase of a buyer, and its reference at the gateway.
fn buy(server: &Server, user: &str) -> (String, String) {
    let answer = server.ask(&Request::buy(user, "drop", CARD, &format!("key-of-{user}")));
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["purchase_id"].as_str().unwrap().to_owned();
    let reference = purchase_of(server, &id)["gateway_reference"].clone();
    (id, reference.as_str().unwrap().to_owned())
}

#[test]
fn while_the_gateway_cannot_be_compared_with_nothing_is_accepted() {
    let mut stripe = StripeServer::start();
    let path = tempfile::tempdir().unwrap();
    let lines = path.path().join("events.jsonl");
    let scene = at_stripe(&stripe, &format!("[report.jsonl]\npath = {lines:?}\n"));
    let server = scene.start();
    server.put_product("drop", 100);
    buy(&server, "ana");
    caught_up(&server);
    stopped(server);
    scene.take_copy();
    let server = scene.start();
    buy(&server, "bo");
    buy(&server, "cy");
    caught_up(&server);
    stopped(server);
    scene.put_back();

    let server = scene.start();
    stripe.go_down();
    let refused = accept(&server);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["reason"], "gateway_unavailable");
    assert_waits(&server, "not-compared");
    assert_eq!(status(&server)["log"]["generation"]["number"], 1);
    stripe.come_back();
    let accepted = accept(&server);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let compared = accepted.json()["reconcile"].clone();
    assert_eq!(compared["unknown_here"], 2, "{compared}");
    assert_eq!(ready(&server), (200, Value::Null));
    stopped(server);
}

/// The new generation is durable before the event that accepts it: what a crash between both leaves is
/// what a restore leaves.
#[test]
fn a_crash_between_the_generation_and_its_acceptance_leaves_a_copy_that_waits() {
    let scene = Scene::with_lines("");
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 3, "before");
    scene.lose_of(server, 5, "jsonl");
    scene.put_back();
    let begun = holdfast::journal::begin_generation(&scene.data()).unwrap();
    assert_eq!(begun.number(), 2);

    let server = scene.start();
    assert_waits(&server, "between");
    let log = status(&server)["log"].clone();
    assert_eq!(
        (&log["accepted"], &log["generation"]["number"]),
        (&json!(false), &json!(2))
    );
    let accepted = accept(&server);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(accepted.json()["generation"]["number"], 2);
    sell(&server, 3, "after");
    caught_up(&server);
    assert_eq!(sink(&server, "jsonl")["lost"].as_array().unwrap().len(), 1);
    stopped(server);
    assert!(scene.all_lines() == log_of(&scene.data()));
}

#[test]
fn a_backup_that_runs_across_the_order_restores_the_history_that_goes_on() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a", store.path().display());
    let backup = format!("[backup]\nto = \"{url}\"\nevery_ms = 100\n");
    let scene = Scene::with_lines(&backup);
    let server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 3, "before");
    scene.lose_of(server, 5, "jsonl");
    scene.put_back();
    // The store would refuse the older copy: it is lost, too.
    std::fs::rename(store.path().join("a"), store.path().join("burnt")).unwrap();

    let server = scene.start();
    assert_waits(&server, "first");
    until_shipped(&server);
    let accepted = accept(&server);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(accepted.json()["generation"]["number"], 2);
    sell(&server, 4, "after");
    caught_up(&server);
    until_shipped(&server);
    stopped(server);
    let verified = binary()
        .args(["backup", "verify", "--from", &url])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let restored = store.path().join("restored");
    let figures = restore(&url, &restored);
    let of = figures["of_generation"].as_str().unwrap();
    assert!(of.starts_with("2-"), "{figures}");
    assert!(log_of(&restored) == log_of(&scene.data()));
}

/// A backup has no cursor, and what was not delivered must not be lost.
#[test]
fn webhooks_that_waited_when_the_machine_was_lost_are_delivered_by_the_restored_copy() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a", store.path().display());
    let receiver = Receiver::start();
    receiver.answer(|_| HookReply::status(503));
    let scene = Scene::new(&format!(
        "{}[backup]\nto = \"{url}\"\nevery_ms = 100\n",
        endpoint("shop", &receiver.url(), "")
    ));
    let mut server = scene.start();
    server.put_product("drop", 1_000);
    sell(&server, 3, "before");
    until("deliveries are refused", || {
        (receiver.all().len() >= 3).then_some(())
    });
    until_shipped(&server);
    server.kill();
    drop(server);
    std::fs::rename(scene.data(), scene.aside()).unwrap();
    restore(&url, &scene.data());

    receiver.answer(|_| HookReply::status(200));
    let server = scene.start();
    server.log.wait_for("sink_begins").unwrap();
    until("every buyer's capture has arrived", || {
        // A delivery may be repeated.
        let accepted = receiver.accepted().into_iter();
        let captures = accepted.filter(|it| it.json()["type"] == CAPTURED);
        let buyers: BTreeSet<_> = captures.map(|it| it.user()).collect();
        (buyers.len() == 3).then_some(())
    });
    stopped(server);
}

fn until_shipped(server: &Server) {
    until("the backup has everything", || {
        let status = status(server);
        let durable = &status["durable_lsn"];
        (status["backup"]["shipped_lsn"] == *durable).then_some(())
    });
}

/// The figures of a restore.
fn restore(url: &str, data_dir: &Path) -> Value {
    let mut command = binary();
    command
        .args(["restore", "--from", url, "--data-dir"])
        .arg(data_dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_refund_that_came_back_in_what_is_lost_stands_again_as_it_was() {
    let (stripe, postgres) = (StripeServer::start(), Postgres::start());
    let scene = at_stripe(
        &stripe,
        &format!("[report.postgres]\nurl = \"{}\"\n", postgres.url()),
    );
    let server = scene.start();
    stripe.webhooks(Webhooks::of_every_event(server.address, HOOK_SECRET));
    server.put_product("drop", 100);
    let (id, reference) = buy(&server, "ana");
    let body = json!({"amount": 500, "previously_refunded": 0, "reason": "part"});
    let path = format!("/admin/purchases/{id}/refunds");
    let made = server.ask(&Request::post(&path).key(ADMIN).once("refund-1").json(&body));
    assert!(matches!(made.status, 201 | 202), "{made:?}");
    until_status(&server, &id, "partially_refunded");
    caught_up(&server);
    stopped(server);
    scene.take_copy();
    let refunded =
        || -> i64 { postgres.value("SELECT refunded_amount FROM holdfast.shop_transactions") };
    assert_eq!(refunded(), 500);

    let server = scene.start();
    stripe.webhooks(Webhooks::of_every_event(server.address, HOOK_SECRET));
    stripe.fail_refunds(&reference);
    until_status(&server, &id, "captured");
    caught_up(&server);
    stopped(server);
    assert_eq!(refunded(), 0);
    scene.put_back();

    let server = scene.start();
    assert_waits(&server, "copy");
    let accepted = accept(&server);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    until("it is taken back", || {
        let taken = sink(&server, "postgres")["lost"].clone();
        (!taken.as_array().unwrap().is_empty()).then_some(())
    });
    caught_up(&server);
    stopped(server);
    let log = events(&scene.data());
    assert_tables_are_the_log(&postgres, &log);
    let lost: Vec<String> = postgres.column(
        "SELECT lost->>'kind' FROM holdfast.lost_history
         WHERE table_name = 'audit_log' AND purchase_id IS NOT NULL ORDER BY id",
    );
    assert!(lost.contains(&"refund_returned".to_owned()), "{lost:?}");
    let changed: i64 = postgres.value(
        "SELECT count(*) FROM holdfast.lost_history WHERE table_name = 'shop_transactions'
         AND what = 'changed' AND (lost->>'refunded_amount')::bigint = 0",
    );
    assert_eq!(changed, 1, "as it was is listed");
}
