//! Deliveries to the shop that wait: who wakes them, what a redrive keeps, what counts as an answer, and how
//! much one buyer may have waiting.

use super::webhooks::{accepted_of, buy, endpoint, in_order, post, setup, sink};
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
fn a_redrive_keeps_what_was_accepted_while_the_body_of_the_answer_does_not_end() {
    let receiver = Receiver::start();
    let more = "give_up_after_s = 1\nanswer_timeout_ms = 300";
    let endpoint = endpoint("shop", &receiver.url(), more);
    let server = setup(&format!("[report]\ndeliver_timeout_ms = 500\n{endpoint}")).start();
    server.put_product("drop", 100);
    receiver.answer(|_| HookReply::status(500));
    buy(&server, "ana", 0);
    until("it was given up", || {
        (letters(&server)["total"] == 1).then_some(())
    });
    // It is read for longer than both timeouts together.
    receiver.answer(|_| HookReply::status(200).followed_by(BodyRest::Silence));
    let body = json!({"sink": "webhooks_shop", "from": 0});
    let done = post(&server, "/admin/dead-letters/redrive", &body).json();
    assert_eq!(
        (&done["status"], &done["delivered"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );
    assert_eq!(letters(&server)["total"], 0);
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
        (sink["delivered"] == 1 && tries_of(&receiver, "bo") >= 2).then_some(())
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

#[test]
fn a_buyer_whose_events_are_refused_holds_nobody_up_and_loses_none() {
    let receiver = Receiver::start();
    let more = "waiting_max = 6\nwaiting_per_buyer_max = 3";
    let server = setup(&endpoint("shop", &receiver.url(), more)).start();
    server.put_product("drop", 10_000);
    receiver.answer(|it| HookReply::status(200).or_if(it.user() == "ana", 422));
    for number in 0..10 {
        buy(&server, "ana", number);
    }
    // She alone fills what may wait, and others get theirs, which shows that it is hers that fail.
    let mut number = 0;
    until("hers that wait are as many as may", || {
        buy(&server, "bo", number);
        number += 1;
        accepted_of(&receiver, "bo", number);
        (letters(&server)["total"] == 7).then_some(())
    });
    let given_up = letters(&server);
    let lsns = |letters: &Value| -> Vec<u64> {
        let letters = letters["dead_letters"].as_array().unwrap().iter();
        letters.map(|it| it["lsn"].as_u64().unwrap()).collect()
    };
    let cause = given_up["dead_letters"][0]["cause"].as_str().unwrap();
    assert!(
        cause.contains("waiting_per_buyer_max") && cause.contains("422"),
        "{cause}"
    );
    // What is left arrives in order, and what was given up once it is redriven.
    receiver.answer(|_| HookReply::status(200));
    let in_time = accepted_of(&receiver, "ana", 3);
    assert!(in_order(&in_time));
    assert!(in_time[0].lsn() > *lsns(&given_up).last().unwrap());
    let body = json!({"sink": "webhooks_shop"});
    let done = post(&server, "/admin/dead-letters/redrive", &body).json();
    assert_eq!(done["delivered"], 7, "{done}");
    let mut all: Vec<_> = accepted_of(&receiver, "ana", 10)
        .iter()
        .map(support::receiver::Received::lsn)
        .collect();
    assert_eq!(all[3..], lsns(&given_up));
    all.dedup();
    assert_eq!(all.len(), 10);
}

#[test]
fn each_delivery_is_tried_for_its_own_time_also_over_a_restart() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = |waits: fn(&str, &str, &str) -> String| {
        let endpoints = waits("shop", &receiver.url(), "give_up_after_s = 2");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    let server = start(patient);
    server.put_product("drop", 100);
    receiver.answer(|_| HookReply::status(503));
    for number in 0..2 {
        buy(&server, "ana", number);
    }
    // Her second one waits behind the first, which is given up after a restart.
    let file = dir
        .path()
        .join("sinks/webhooks_shop.put_off/webhooks_shop.jsonl");
    until("both wait in the file", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.lines().count() == 2).then_some(())
    });
    server.stop();
    let first = receiver.all()[0].0.lsn();
    let tries = AtomicUsize::new(0);
    receiver.answer(move |it| {
        let is_second = it.lsn() > first;
        let accepts = is_second && tries.fetch_add(1, SeqCst) >= 1;
        HookReply::status(503).or_if(accepts, 200)
    });
    let server = start(endpoint);
    let second = accepted_of(&receiver, "ana", 1);
    assert!(second[0].lsn() > first);
    let given_up = letters(&server);
    assert_eq!(given_up["total"], 1, "{given_up}");
    assert_eq!(given_up["dead_letters"][0]["lsn"], first);
}

#[test]
fn a_paused_endpoint_shows_over_a_restart_what_waits_and_why_it_is_paused() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let endpoints = patient("shop", &receiver.url(), "");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    let server = start();
    server.put_product("drop", 100);
    receiver.answer(|it| HookReply::status(410).or_if(it.user() == "ana", 503));
    buy(&server, "ana", 0);
    until("it waits", || {
        (sink(&server, "webhooks_shop")["up"] == false).then_some(())
    });
    let waits = receiver.all()[0].0.lsn();
    buy(&server, "bo", 0);
    let is_paused = |server: &Server| {
        until("it is shown as paused, and why", || {
            let sink = sink(server, "webhooks_shop");
            let is_gone = sink["failure"].as_str()?.contains("410");
            (sink["mode"] == "paused" && is_gone && sink["cursor_lsn"] == waits).then_some(())
        });
        let age = |it: &Value| it["age_ms"].as_u64().unwrap();
        assert!(age(&sink(server, "webhooks_shop")) > 0);
    };
    is_paused(&server);
    server.stop();
    let server = start();
    is_paused(&server);
    receiver.answer(|_| HookReply::status(200));
    post(&server, "/admin/sinks/webhooks_shop/resume", &json!({}));
    for user in ["ana", "bo"] {
        accepted_of(&receiver, user, 1);
    }
    until("nothing is wrong any more", || {
        let sink = sink(&server, "webhooks_shop");
        (sink["failure"].is_null() && sink["lag_bytes"] == 0).then_some(())
    });
    server.stop();
    let server = start();
    assert_eq!(sink(&server, "webhooks_shop")["mode"], "run");
}

fn waiting(dir: &std::path::Path, count: usize) {
    let file = dir.join("sinks/webhooks_shop.put_off/webhooks_shop.jsonl");
    until("they wait in the file", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.lines().count() == count).then_some(())
    });
}

fn resume(server: &Server) {
    post(server, "/admin/sinks/webhooks_shop/resume", &json!({}));
}

fn has_retried(server: &Server, count: u64) {
    until("the tries have failed", || {
        (sink(server, "webhooks_shop")["retries"] == count).then_some(())
    });
}

#[test]
fn an_outage_that_ends_costs_a_buyer_with_many_deliveries_none_of_them() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let endpoints = patient("shop", &receiver.url(), "waiting_per_buyer_max = 1");
    let server = setup(&endpoints).data_dir(dir.path()).start();
    server.put_product("drop", 100);
    // 1. A long outage: the first delivery that is accepted wakes all others.
    receiver.answer(|_| HookReply::status(503));
    for number in 0..3 {
        buy(&server, "ana", number);
    }
    for user in ["bo", "cyd"] {
        buy(&server, user, 0);
    }
    waiting(dir.path(), 5);
    has_retried(&server, 3);
    receiver.answer(|_| HookReply::status(200));
    buy(&server, "dee", 0);
    assert!(in_order(&accepted_of(&receiver, "ana", 3)));
    waiting(dir.path(), 0);
    // 2. A short one: another buyer's delivery is accepted while hers from before is under way.
    receiver.answer(|_| HookReply::status(503));
    for number in 3..6 {
        buy(&server, "ana", number);
    }
    waiting(dir.path(), 3);
    has_retried(&server, 4);
    receiver.answer(|it| {
        if it.user() == "ana" {
            HookReply::status(503).held()
        } else {
            HookReply::status(200)
        }
    });
    resume(&server);
    until("hers is under way", || {
        (tries_of(&receiver, "ana") == 6).then_some(())
    });
    buy(&server, "dee", 1);
    accepted_of(&receiver, "dee", 2);
    receiver.release();
    has_retried(&server, 5);
    receiver.answer(|_| HookReply::status(200));
    buy(&server, "dee", 2);
    accepted_of(&receiver, "dee", 3);
    resume(&server);
    assert!(in_order(&accepted_of(&receiver, "ana", 6)));
    assert_eq!(letters(&server)["total"], 0);
}

#[test]
fn a_delivery_that_makes_room_is_given_up_with_its_own_failure() {
    let receiver = Receiver::start();
    let endpoints = patient("shop", &receiver.url(), "waiting_per_buyer_max = 1");
    let server = setup(&endpoints).start();
    server.put_product("drop", 100);
    receiver.answer(|it| {
        let reply = HookReply::status(200).or_if(it.user() == "ana", 422);
        reply.or_if(it.user() == "bo", 500)
    });
    buy(&server, "ana", 0);
    has_retried(&server, 1);
    buy(&server, "cyd", 0);
    accepted_of(&receiver, "cyd", 1);
    // Hers is refused again, though the endpoint accepts others; his fails last.
    let again = |count| {
        resume(&server);
        has_retried(&server, count);
    };
    again(2);
    buy(&server, "bo", 0);
    has_retried(&server, 3);
    buy(&server, "ana", 1);
    let letters = until("her first one is given up", || {
        let letters = letters(&server);
        (letters["total"] == 1).then_some(letters)
    });
    let cause = letters["dead_letters"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("422") && !cause.contains("500"), "{cause}");
}
