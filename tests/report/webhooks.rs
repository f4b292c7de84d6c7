//! Webhooks to the shop: what arrives in which order, what is tried again and for how long, and what an
//! endpoint can do wrong.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, SigningKey, Verifier};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use support::receiver::{HookReply, Received, Receiver};
use support::signing::mac;
use support::{ADMIN, Request, Response, Server, Setup, until};

pub(crate) const SECRET: [u8; 32] = [11; 32];
const OLD_SECRET: [u8; 24] = [12; 24];
pub(crate) const SEED: [u8; 32] = [13; 32];

/// The settings of one endpoint, with waits of a test.
pub(crate) fn endpoint(name: &str, url: &str, more: &str) -> String {
    let key = if more.contains("secrets") {
        String::new()
    } else {
        format!("secret = \"whsec_{}\"\n", Base64::encode_string(&SECRET))
    };
    format!(
        "[[report.webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nallow_private = true\n\
         retry_first_ms = 20\nretry_max_ms = 200\n{key}{more}\n"
    )
}

pub(crate) fn setup(endpoints: &str) -> Setup {
    Setup::demo().config(&format!(
        "[limits.rate]\ncount = 1000\nper_s = 1\n[report.batch]\nwait_ms = 2\n{endpoints}"
    ))
}

pub(crate) fn buy(server: &Server, user: &str, number: usize) {
    let buy = Request::buy(user, "drop", "tok_ok", &format!("key-{user}-{number}"));
    assert_eq!(server.ask(&buy).status, 201);
}

fn sinks(server: &Server) -> Vec<Value> {
    let body = server.ask(&Request::get("/admin/sinks").key(ADMIN)).json();
    body["sinks"].as_array().unwrap().clone()
}

pub(crate) fn sink(server: &Server, name: &str) -> Value {
    let found = sinks(server).into_iter().find(|it| it["name"] == name);
    found.unwrap_or_else(|| panic!("there is no sink {name}"))
}

pub(crate) fn post(server: &Server, path: &str, body: &Value) -> Response {
    let answer = server.ask(&Request::post(path).key(ADMIN).json(body));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn of<'r>(received: &'r [Received], user: &str) -> Vec<&'r Received> {
    received.iter().filter(|it| it.user() == user).collect()
}

pub(crate) fn accepted_of(receiver: &Receiver, user: &str, count: usize) -> Vec<Received> {
    until("the events of a buyer have arrived", || {
        let accepted = receiver.accepted();
        let found: Vec<_> = of(&accepted, user).into_iter().cloned().collect();
        (found.len() >= count).then_some(found)
    })
}

pub(crate) fn in_order(received: &[Received]) -> bool {
    received.windows(2).all(|it| it[0].lsn() < it[1].lsn())
}

fn verify(received: &Received) {
    let header = |name: &str| received.headers[name].clone();
    let body = std::str::from_utf8(&received.body).unwrap();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures = header("webhook-signature");
    let signatures: Vec<_> = signatures.split(' ').collect();
    let hmac = |secret: &[u8]| format!("v1,{}", Base64::encode_string(&mac(secret, &signed)));
    assert_eq!(signatures[..2], [hmac(&SECRET), hmac(&OLD_SECRET)]);
    let signature = Base64::decode_vec(signatures[2].strip_prefix("v1a,").unwrap());
    let signature = Signature::from_slice(&signature.unwrap()).unwrap();
    let key = SigningKey::from_bytes(&SEED).verifying_key();
    key.verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn buyers_get_their_events_in_order_signed_by_every_key_and_hold_no_other_back() {
    let receiver = Receiver::start();
    let keys = [
        format!("whsec_{}", Base64::encode_string(&SECRET)),
        format!("whsec_{}", Base64::encode_string(&OLD_SECRET)),
        format!("whsk_{}", Base64::encode_string(&SEED)),
    ];
    let keys = format!("secrets = {keys:?}");
    let server = setup(&endpoint("shop", &receiver.url(), &keys)).start();
    server.put_product("drop", 100);
    let fails = Arc::new(AtomicBool::new(true));
    let ana_fails = Arc::clone(&fails);
    receiver.answer(move |it| {
        let is_refused = it.user() == "ana" && ana_fails.load(SeqCst);
        HookReply::status(if is_refused { 500 } else { 200 })
    });
    for number in 0..3 {
        buy(&server, "ana", number);
        buy(&server, "bo", number);
    }
    // Not one of hers is accepted, and only her first one is tried.
    let of_bo = accepted_of(&receiver, "bo", 3);
    assert!(in_order(&of_bo));
    let tried = until("the first one is tried again", || {
        let all: Vec<_> = receiver.all().into_iter().map(|it| it.0).collect();
        let tried: Vec<_> = of(&all, "ana").into_iter().cloned().collect();
        (tried.len() >= 3).then_some(tried)
    });
    assert!(tried.iter().all(|it| it.id() == tried[0].id()));
    // What operators see stands before it.
    let down = until("the sink is shown as failing", || {
        let sink = sink(&server, "webhooks_shop");
        (sink["up"] == false && sink["cursor_lsn"] == tried[0].lsn()).then_some(sink)
    });
    assert!(down["failure"].as_str().unwrap().contains("500"), "{down}");
    assert!(down["lag_bytes"].as_u64().unwrap() > 0, "{down}");
    fails.store(false, SeqCst);
    let of_ana = accepted_of(&receiver, "ana", 3);
    assert!(in_order(&of_ana));
    assert_eq!(of_ana[0].id(), tried[0].id());
    until("the sink has caught up", || {
        let sink = sink(&server, "webhooks_shop");
        (sink["up"] == true && sink["lag_bytes"] == 0 && sink["delivered"] == 6).then_some(())
    });

    let events = server
        .ask(&Request::get("/events?limit=1000").key(ADMIN))
        .json();
    for received in &of_ana {
        verify(received);
        let body = received.json();
        assert_eq!(body["type"], "holdfast.purchase.captured.v1");
        assert_eq!(body["timestamp"], body["data"]["at"]);
        let events = events["events"].as_array().unwrap();
        assert!(
            events.contains(&body["data"]),
            "it is the event of GET /events"
        );
    }
}

#[test]
fn a_kill_loses_nothing_and_repeats_have_the_same_ids() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let endpoints = endpoint("shop", &receiver.url(), "");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    receiver.answer(|it| HookReply::status(if it.user() == "ana" { 503 } else { 200 }));
    let mut server = start();
    server.put_product("drop", 100);
    for number in 0..2 {
        buy(&server, "ana", number);
    }
    buy(&server, "bo", 0);
    accepted_of(&receiver, "bo", 1);
    // The cursor has passed them all, and the log may forget them.
    let file = dir
        .path()
        .join("sinks/webhooks_shop.put_off/webhooks_shop.jsonl");
    until("both wait in the file", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.lines().count() == 2).then_some(())
    });
    server.kill();
    let tried = receiver.all();
    let first = tried
        .iter()
        .find(|it| it.0.user() == "ana")
        .unwrap()
        .0
        .clone();
    receiver.answer(|_| HookReply::status(200));
    let mut server = start();
    let of_ana = accepted_of(&receiver, "ana", 2);
    assert!(in_order(&of_ana));
    assert_eq!(of_ana[0].id(), first.id());
    buy(&server, "ana", 2);
    assert!(in_order(&accepted_of(&receiver, "ana", 3)));
    until("nothing waits", || {
        let text = std::fs::read_to_string(&file).unwrap();
        text.is_empty().then_some(())
    });
    server.terminate();
    server.wait();
    support::money::assert_checks_clean(dir.path());
}

#[test]
fn a_renamed_endpoint_does_not_lose_silently_what_waits() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let endpoints = endpoint(name, &receiver.url(), "");
        setup(&endpoints).data_dir(dir.path()).start()
    };
    receiver.answer(|_| HookReply::status(503));
    let mut server = start("shop");
    server.put_product("drop", 100);
    buy(&server, "ana", 0);
    let file = dir
        .path()
        .join("sinks/webhooks_shop.put_off/webhooks_shop.jsonl");
    until("it waits in the file", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        (text.lines().count() == 1).then_some(())
    });
    server.kill();
    receiver.answer(|_| HookReply::status(200));
    let orphans = |log: Vec<String>| -> Vec<(Value, Value)> {
        let lines = log.iter().filter_map(|it| serde_json::from_str(it).ok());
        lines
            .filter(|it: &Value| it["event"] == "sink_orphaned")
            .map(|it| (it["sink"].clone(), it["waiting"].clone()))
            .collect()
    };
    let other = start("store");
    buy(&other, "bo", 0);
    accepted_of(&receiver, "bo", 1);
    let (_, log) = other.stop();
    assert_eq!(orphans(log), [(json!("webhooks_shop"), json!(1))]);
    assert_eq!(receiver.accepted().len(), 1);

    // Under its old name it arrives, and so does what happened meanwhile.
    let server = start("shop");
    accepted_of(&receiver, "ana", 1);
    accepted_of(&receiver, "bo", 2);
    let (_, log) = server.stop();
    assert_eq!(orphans(log), [(json!("webhooks_store"), json!(0))]);
}

#[test]
fn what_is_not_accepted_in_time_is_a_dead_letter_and_the_next_one_follows() {
    let receiver = Receiver::start();
    let more = "give_up_after_s = 1\nretry_max_ms = 100";
    let more = endpoint("shop", &receiver.url(), "").replace("retry_max_ms = 200", more);
    let server = setup(&more).start();
    server.put_product("drop", 100);
    // Her first event has something that the endpoint chokes on.
    let first: Arc<std::sync::Mutex<Option<u64>>> = Arc::default();
    let chokes_on = Arc::clone(&first);
    receiver.answer(move |it| {
        let mut first = chokes_on.lock().unwrap();
        let lsn = *first.get_or_insert(it.lsn());
        HookReply::status(if it.lsn() == lsn { 422 } else { 200 })
    });
    buy(&server, "ana", 0);
    until("the first one was tried", || *first.lock().unwrap());
    buy(&server, "ana", 1);
    let second = accepted_of(&receiver, "ana", 1);
    let lsn = first.lock().unwrap().unwrap();
    assert!(second[0].lsn() > lsn);
    let letters = server.ask(&Request::get("/admin/dead-letters?sink=webhooks_shop").key(ADMIN));
    let letters = letters.json();
    assert_eq!(letters["total"], 1, "{letters}");
    assert_eq!(letters["dead_letters"][0]["lsn"], lsn);
    let cause = letters["dead_letters"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("422"), "{cause}");

    // Redriven while it is still not accepted, and then when it is, with the same id.
    let redrive = || {
        let body = json!({"sink": "webhooks_shop"});
        post(&server, "/admin/dead-letters/redrive", &body).json()
    };
    assert_eq!(
        (&redrive()["delivered"], &redrive()["refused"]),
        (&json!(0), &json!(1))
    );
    receiver.answer(|_| HookReply::status(202));
    assert_eq!(redrive()["delivered"], 1);
    let all: Vec<_> = receiver.all().into_iter().map(|it| it.0).collect();
    let tries: Vec<_> = all.iter().filter(|it| it.lsn() == lsn).collect();
    assert!(tries.iter().all(|it| it.id() == tries[0].id()));
}

#[test]
fn gone_pauses_an_endpoint_and_a_redirect_and_a_private_address_are_failures() {
    let (gone, moved, other) = (Receiver::start(), Receiver::start(), Receiver::start());
    let endpoints = [
        endpoint("gone", &gone.url(), ""),
        endpoint("moved", &moved.url(), ""),
        // By name, so that the address is only known once it is resolved.
        endpoint(
            "private",
            &format!("https://localhost:{}/", other.port()),
            "",
        )
        .replace("allow_private = true", "allow_private = false"),
    ];
    let target = other.url();
    gone.answer(|_| HookReply::status(410));
    moved.answer(move |_| HookReply::status(302).header("location", &target));
    let server = setup(&endpoints.concat()).start();
    server.put_product("drop", 100);
    buy(&server, "ana", 0);
    buy(&server, "bo", 0);
    let failing = |name: &str, what: &str| {
        until("an endpoint is shown as failing", || {
            let sink = sink(&server, name);
            sink["failure"].as_str()?.contains(what).then_some(sink)
        })
    };
    let redirected = failing("webhooks_moved", "redirects are not followed");
    assert_eq!(redirected["mode"], "run");
    failing("webhooks_private", "not public");
    let paused = until("the endpoint is paused", || {
        let sink = sink(&server, "webhooks_gone");
        (sink["mode"] == "paused").then_some(sink)
    });
    assert!(
        paused["failure"].as_str().unwrap().contains("410"),
        "{paused}"
    );
    // Nobody calls it until an operator resumes it.
    let called = gone.all().len();
    buy(&server, "cyd", 0);
    until("another endpoint hears of it", || {
        moved
            .all()
            .iter()
            .any(|it| it.0.user() == "cyd")
            .then_some(())
    });
    assert_eq!(gone.all().len(), called);
    gone.answer(|_| HookReply::status(200));
    moved.answer(|_| HookReply::status(200));
    post(&server, "/admin/sinks/webhooks_gone/resume", &json!({}));
    for receiver in [&gone, &moved] {
        for user in ["ana", "bo", "cyd"] {
            accepted_of(receiver, user, 1);
        }
    }
    assert!(other.all().is_empty());
}

#[test]
fn a_slow_endpoint_slows_no_other_and_a_full_one_waits_without_losing_anything() {
    let (slow, fast) = (Receiver::start(), Receiver::start());
    let few = "parallel_max = 2\nwaiting_max = 3\nevents = [\"payment_captured\", \"hold_placed\"]";
    let endpoints = [
        endpoint("slow", &slow.url(), few),
        endpoint("fast", &fast.url(), few),
    ];
    slow.answer(|_| HookReply::status(200).held());
    let server = setup(&endpoints.concat()).start();
    server.put_product("drop", 100);
    for number in 0..10 {
        buy(&server, &format!("user-{}", number % 5), number);
    }
    until("the fast one has everything", || {
        (fast.accepted().len() == 20).then_some(())
    });
    until("the slow one has as many as it may", || {
        (slow.all().len() == 2).then_some(())
    });
    assert!(
        sink(&server, "webhooks_slow")["lag_bytes"]
            .as_u64()
            .unwrap()
            > 0
    );
    slow.release();
    until("the slow one has everything", || {
        (slow.accepted().len() == 20).then_some(())
    });
    assert_eq!(slow.most_at_once(), 2, "parallel_max");
    for user in 0..5 {
        assert!(in_order(&accepted_of(&slow, &format!("user-{user}"), 4)));
    }
}

#[test]
fn an_endpoint_says_how_long_to_wait_and_one_that_is_new_hears_of_nothing_old() {
    let receiver = Receiver::start();
    let dir = tempfile::tempdir().unwrap();
    let without = setup("").data_dir(dir.path()).start();
    without.put_product("drop", 100);
    buy(&without, "old", 0);
    without.stop();
    let more = "retry_max_ms = 1_500";
    let endpoint = endpoint("shop", &receiver.url(), "").replace("retry_max_ms = 200", more);
    let server = setup(&endpoint).data_dir(dir.path()).start();
    let asked = AtomicBool::new(false);
    receiver.answer(move |_| {
        if asked.swap(true, SeqCst) {
            return HookReply::status(200);
        }
        HookReply::status(503).header("retry-after", "3600")
    });
    buy(&server, "ana", 0);
    let accepted = accepted_of(&receiver, "ana", 1);
    // Within the bound of retry_max_ms, and far above its own first wait.
    let (first, _) = receiver.all()[0].clone();
    let waited = accepted[0].at.duration_since(first.at);
    assert!(waited.as_millis() >= 1_450, "{waited:?}");
    assert!(receiver.all().iter().all(|it| it.0.user() == "ana"));
}

#[test]
fn a_ping_shows_the_answer_and_the_latest_tries_are_listed() {
    let receiver = Receiver::start();
    let keys = format!("secrets = [\"whsk_{}\"]", Base64::encode_string(&SEED));
    let with_token = format!("{}?token=of-the-shop", receiver.url());
    let server = setup(&endpoint("shop", &with_token, &keys)).start();
    server.put_product("drop", 100);
    let test = || post(&server, "/admin/sinks/webhooks_shop/test", &json!({})).json();
    let pinged = test();
    assert_eq!(
        (&pinged["accepted"], &pinged["status"]),
        (&json!(true), &json!(204))
    );
    let (ping, _) = receiver.all()[0].clone();
    assert_eq!(pinged["id"], ping.id());
    assert_eq!(ping.json()["type"], "holdfast.ping");
    assert_eq!(ping.path, "/hooks?token=of-the-shop");
    for path in ["/admin/sinks", "/admin/config"] {
        let shown = server.ask(&Request::get(path).key(ADMIN)).text();
        assert!(
            shown.contains("/hooks?…") && !shown.contains("of-the-shop"),
            "{shown}"
        );
    }
    receiver.answer(|_| HookReply::status(500));
    let pinged = test();
    assert_eq!(
        (&pinged["accepted"], &pinged["status"]),
        (&json!(false), &json!(500))
    );
    assert_eq!(pinged["answer"], "thanks");

    buy(&server, "ana", 0);
    let listed = || {
        let path = "/admin/sinks/webhooks_shop/deliveries";
        let listed = server.ask(&Request::get(path).key(ADMIN));
        assert_eq!(listed.status, 200, "{listed:?}");
        listed.json()["deliveries"].as_array().unwrap().clone()
    };
    until("it was tried twice", || (listed().len() >= 2).then_some(()));
    receiver.answer(|_| HookReply::status(200));
    let accepted = accepted_of(&receiver, "ana", 1);
    let listed = until("the success is listed", || {
        let listed = listed();
        (listed[0]["status"] == 200).then_some(listed)
    });
    let first = listed.last().unwrap();
    assert_eq!(first["id"], accepted[0].id());
    assert_eq!(
        (&first["event"], &first["attempt"]),
        (&json!("payment_captured"), &json!(1))
    );
    assert_eq!(first["failure"], "answered 500 Internal Server Error");
    assert_eq!(listed[0]["attempt"], listed.len());

    let endpoint = &sink(&server, "webhooks_shop")["endpoint"];
    assert_eq!(endpoint["url"], format!("{}?…", receiver.url()));
    let public = SigningKey::from_bytes(&SEED).verifying_key();
    let public = format!("whpk_{}", Base64::encode_string(public.as_bytes()));
    assert_eq!(endpoint["public_keys"], json!([public]));
    let none = Request::post("/admin/sinks/none/test").key(ADMIN);
    assert_eq!(server.ask(&none.json(&json!({}))).status, 404);
}
