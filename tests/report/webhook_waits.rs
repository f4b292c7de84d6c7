//! Deliveries to the shop that wait: who wakes them, what a redrive keeps, what counts as an answer, and how
//! much one buyer may have waiting.

use super::webhooks::{accepted_of, buy, endpoint, post, setup, sink};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use support::receiver::{BodyRest, HookReply, Receiver};
use support::{ADMIN, Request, Server, until};

/// An endpoint that is not tried again by itself within a test.
fn patient(name: &str, url: &str, more: &str) -> String {
    let waits = "retry_first_ms = 3_600_000\nretry_max_ms = 3_600_000";
    endpoint(name, url, more).replace("retry_first_ms = 20\nretry_max_ms = 200", waits)
}

fn letters(server: &Server) -> Value {
    let path = "/admin/dead-letters?sink=webhooks_shop";
    server.ask(&Request::get(path).key(ADMIN)).json()
}

fn tries_of(receiver: &Receiver, user: &str) -> usize {
    let all = receiver.all();
    all.iter().filter(|it| it.0.user() == user).count()
}

#[test]
fn a_redrive_that_takes_too_long_keeps_what_it_delivered_and_says_where_to_go_on() {
    let receiver = Receiver::start();
    let more = "give_up_after_s = 1\nparallel_max = 1\nanswer_timeout_ms = 1_000";
    let endpoint = endpoint("shop", &receiver.url(), more);
    let server = setup(&format!("[report]\ndeliver_timeout_ms = 500\n{endpoint}")).start();
    server.put_product("drop", 100);
    receiver.answer(|_| HookReply::status(500));
    for user in ["ana", "bo", "cyd", "dee"] {
        buy(&server, user, 0);
    }
    until("all were given up", || {
        (letters(&server)["total"] == 4).then_some(())
    });
    // Two are accepted; the third is never answered.
    let count = AtomicUsize::new(0);
    receiver.answer(move |_| {
        let reply = HookReply::status(200);
        if count.fetch_add(1, SeqCst) < 2 {
            reply
        } else {
            reply.held()
        }
    });
    let redrive = |from: &Value| {
        let body = json!({"sink": "webhooks_shop", "from": from});
        post(&server, "/admin/dead-letters/redrive", &body).json()
    };
    let done = redrive(&json!(0));
    let left = letters(&server);
    assert_eq!(
        (&done["status"], &done["delivered"], &done["refused"]),
        (&json!("unfinished"), &json!(2), &json!(1)),
        "{done}"
    );
    assert_eq!(left["total"], 2, "{left}");
    assert_eq!(done["next"], left["dead_letters"][1]["lsn"], "{left}");

    let before = receiver.all().len();
    receiver.answer(|_| HookReply::status(200));
    let done = redrive(&done["next"]);
    assert_eq!(
        (&done["status"], &done["delivered"], &done["next"]),
        (&json!("done"), &json!(1), &Value::Null),
        "{done}"
    );
    assert_eq!(receiver.all().len(), before + 1);
    assert_eq!(letters(&server)["total"], 1);
}

#[test]
fn an_operator_who_resumes_or_pings_has_what_waits_tried_at_once() {
    let receiver = Receiver::start();
    let server = setup(&patient("shop", &receiver.url(), "")).start();
    server.put_product("drop", 100);
    let fails = |user: &'static str| {
        receiver.answer(move |it| {
            HookReply::status(503)
                .header("retry-after", "3600")
                .or_if(it.user() != user, 200)
        });
        buy(&server, user, 0);
        until("it waits", || {
            let sink = sink(&server, "webhooks_shop");
            (sink["up"] == false).then_some(())
        });
        receiver.answer(|_| HookReply::status(200));
    };
    // 1. Resumed although it runs. 2. Paused and resumed. 3. An accepted ping.
    fails("ana");
    post(&server, "/admin/sinks/webhooks_shop/resume", &json!({}));
    accepted_of(&receiver, "ana", 1);
    fails("bo");
    post(&server, "/admin/sinks/webhooks_shop/pause", &json!({}));
    post(&server, "/admin/sinks/webhooks_shop/resume", &json!({}));
    accepted_of(&receiver, "bo", 1);
    fails("cyd");
    let pinged = post(&server, "/admin/sinks/webhooks_shop/test", &json!({})).json();
    assert_eq!(pinged["accepted"], true, "{pinged}");
    accepted_of(&receiver, "cyd", 1);
}

#[test]
fn the_status_decides_whatever_becomes_of_the_body() {
    let receiver = Receiver::start();
    let more = "answer_timeout_ms = 500";
    let server = setup(&patient("shop", &receiver.url(), more)).start();
    server.put_product("drop", 100);
    let flooded = Arc::new(AtomicBool::new(false));
    let floods = Arc::clone(&flooded);
    receiver.answer(move |it| {
        let rest = if it.user() == "ana" {
            BodyRest::Silence
        } else {
            floods.store(true, SeqCst);
            BodyRest::Flood
        };
        HookReply::status(200).followed_by(rest)
    });
    for user in ["ana", "bo"] {
        buy(&server, user, 0);
    }
    let caught_up = until("both were delivered", || {
        let sink = sink(&server, "webhooks_shop");
        (sink["delivered"] == 2 || sink["up"] == false).then_some(sink)
    });
    assert_eq!(
        (&caught_up["up"], &caught_up["retries"]),
        (&json!(true), &json!(0)),
        "{caught_up}"
    );
    assert!(flooded.load(SeqCst));
    let tries = ["ana", "bo"].map(|user| tries_of(&receiver, user));
    assert_eq!(tries, [1, 1]);
    let pinged = post(&server, "/admin/sinks/webhooks_shop/test", &json!({})).json();
    let answer = pinged["answer"].as_str().unwrap();
    assert!(answer.starts_with("thanksxxx"), "{pinged}");
}

#[test]
fn what_was_accepted_is_struck_out_at_once_and_a_kill_repeats_nothing_of_it() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let endpoints = patient("shop", &receiver.url(), "");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    receiver.answer(|_| HookReply::status(503));
    let mut server = start();
    server.put_product("drop", 100);
    for user in ["ana", "bo"] {
        buy(&server, user, 0);
    }
    let file = dir
        .path()
        .join("sinks/webhooks_shop.put_off/webhooks_shop.jsonl");
    until("both wait in the file", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.lines().count() == 2).then_some(())
    });
    let written = std::fs::metadata(&file).unwrap().ino();
    receiver.answer(|it| HookReply::status(200).or_if(it.user() == "bo", 503));
    post(&server, "/admin/sinks/webhooks_shop/resume", &json!({}));
    until("hers is delivered, and his waits for an hour", || {
        let sink = sink(&server, "webhooks_shop");
        (sink["delivered"] == 1 && tries_of(&receiver, "bo") == 2).then_some(())
    });
    server.kill();
    assert_eq!(std::fs::metadata(&file).unwrap().ino(), written, "appended");
    let tries = tries_of(&receiver, "ana");
    receiver.answer(|_| HookReply::status(200));
    let mut server = start();
    accepted_of(&receiver, "bo", 1);
    until("nothing waits", || {
        let text = std::fs::read_to_string(&file).unwrap();
        text.is_empty().then_some(())
    });
    assert_eq!(tries_of(&receiver, "ana"), tries);
    server.terminate();
    server.wait();
    support::money::assert_checks_clean(dir.path());
}

#[test]
fn a_stop_in_the_middle_of_a_batch_repeats_nothing_that_was_accepted() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let endpoints = patient("shop", &receiver.url(), "");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    let server = start();
    server.put_product("drop", 100);
    post(&server, "/admin/sinks/webhooks_shop/pause", &json!({}));
    for user in ["ana", "bo"] {
        buy(&server, user, 0);
    }
    receiver.answer(|it| {
        let reply = HookReply::status(200);
        if it.user() == "bo" {
            reply.held()
        } else {
            reply
        }
    });
    // Both are in one batch, which is not done while his is under way.
    post(&server, "/admin/sinks/webhooks_shop/resume", &json!({}));
    until("hers is accepted, and his is under way", || {
        (receiver.all().len() == 2).then_some(())
    });
    server.stop();
    receiver.answer(|_| HookReply::status(200));
    receiver.release();
    let server = start();
    until("he has his", || {
        (sink(&server, "webhooks_shop")["lag_bytes"] == 0).then_some(())
    });
    assert_eq!(["ana", "bo"].map(|it| tries_of(&receiver, it)), [1, 2]);
}
