//! Money is never left in doubt: at least 20,000 payments at a gateway that misbehaves by script
//! (declines, errors before and after taking effect, answers that never come or break off, storms,
//! silence, webhooks twice and out of order), through the real process, with `kill -9` in between.
//!
//! In the end the gateway's charges are the captures with goods, refunds included; no purchase
//! rests unresolved; nothing was charged twice or voided after its capture; who was told of a
//! capture has one. `HOLDFAST_PAYMENTS` sets another number; `HOLDFAST_SEED` gives the same dice.

mod clients;
mod stripe_server;
mod support;

use clients::{Dice, LastWords, check, number_from_env, say, seed, status};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stripe_server::faults::{Effect, Fault, Kept, Rates, Silence};
use stripe_server::hooks::Webhooks;
use stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Client, Request, Server, Setup, binary, until};

const PAYMENTS: u64 = 20_000;
const THREADS: usize = 24;
const KILLS: u64 = 10;
const DROP: &str = "drop";
const HOOK_SECRET: &str = "whsec_of_the_proof_and_of_nothing_else";

/// The plain ones more often.
const CARDS: [&str; 12] = [
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_mastercard",
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_authenticationRequired",
    "pm_card_of_no_kind",
];

/// Of 1,000 requests so many go wrong in each way on a plain bad day.
const BAD_DAY: [(Fault, u64); 12] = [
    (Fault::Error(Effect::Before, Kept::No), 8),
    (Fault::Error(Effect::Before, Kept::Yes), 8),
    (Fault::Error(Effect::After, Kept::No), 8),
    (Fault::Error(Effect::After, Kept::Yes), 8),
    (Fault::NoAnswer(Effect::Before), 4),
    (Fault::NoAnswer(Effect::After), 4),
    (Fault::Cut(Effect::Before), 8),
    (Fault::Cut(Effect::After), 8),
    (Fault::CutInTheMiddle, 8),
    (Fault::TooMany, 8),
    (Fault::Garbage, 4),
    (Fault::Slow(30), 10),
];

/// What the clients and the one who makes trouble share.
struct World {
    stripe: StripeServer,
    address: Mutex<Option<SocketAddr>>,
    next: AtomicU64,
    payments: u64,
    captured: Mutex<Vec<String>>,
    refunded: AtomicU64,
}

#[test]
fn charges_at_the_gateway_are_captures_with_goods() {
    let payments = number_from_env("HOLDFAST_PAYMENTS").unwrap_or(PAYMENTS);
    let seed = seed("payments");
    let mut dice = Dice::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let world = World {
        stripe: StripeServer::start(),
        address: Mutex::default(),
        next: AtomicU64::new(0),
        payments,
        captured: Mutex::default(),
        refunded: AtomicU64::new(0),
    };
    let began = Instant::now();
    let server = start(&world, &data);
    put_on_sale(&server);
    let server = std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let dice = dice.fork();
            let world = &world;
            scope.spawn(move || buyer(world, dice));
        }
        trouble(&world, server, &data, &mut dice, seed)
    });
    world.stripe.rates(Rates {
        seed,
        per_mille: Vec::new(),
    });
    let neglected = settle(&server);
    assert_eq!(neglected, 0, "the sweeper found what nobody had in hand");
    let [total, held, sold, available] = server.stock(DROP);
    assert_eq!((held, total), (0, sold + available));
    let (exit, _) = server.stop();
    assert!(exit.success());
    check(&data);
    reconcile(&world, &data);
    let (intended, books) = ours(&data);
    // One that ended without an answer freed its key, and its buyer began another.
    assert!(
        intended >= payments,
        "every buy began a payment: {intended}"
    );
    assert_eq!(sold, books.len() as u64, "units sold are captures");
    compare(&world, &books);
    say(&format!(
        "payments: {payments} payments, {} captured, {} refunds told, {} kills, {} intents and {} webhooks at the gateway, {:.0} s",
        books.len(),
        world.refunded.load(Ordering::Relaxed),
        KILLS,
        world.stripe.books().len(),
        world.stripe.delivered().len(),
        began.elapsed().as_secs_f64(),
    ));
}

fn start(world: &World, data: &Path) -> Server {
    let config = format!(
        "[payments]\n\
         gateway = \"stripe\"\n\
         attempt_timeout_ms = 120\n\
         answer_within_ms = 400\n\
         unknown_after_ms = 600\n\
         retries_max = 3\n\
         backoff_first_ms = 2\n\
         backoff_max_ms = 100\n\
         circuit.failures = 40\n\
         circuit.open_ms = 50\n\
         [payments.stripe]\n\
         secret_key = \"{SECRET_KEY}\"\n\
         api_base = \"{}\"\n\
         requests_per_s = 0\n\
         [[webhooks.secrets]]\n\
         id = \"s1\"\n\
         format = \"stripe\"\n\
         key = \"{HOOK_SECRET}\"\n\
         [storage]\n\
         segment_bytes = 4194304\n",
        world.stripe.base()
    );
    let server = Setup::demo().config(&config).data_dir(data).start();
    world.stripe.webhooks(Webhooks {
        to: server.address,
        path: "/webhooks/stripe".to_owned(),
        secret: HOOK_SECRET.to_owned(),
        seed: 7,
        // Enough to race our own calls; each one is a connection of its own.
        sent_per_mille: 200,
        twice_per_mille: 300,
        delay_ms_max: 100,
        tries_max: 3,
    });
    *world.address.lock().unwrap() = Some(server.address);
    server
}

fn put_on_sale(server: &Server) {
    let product = json!({
        "name": "The drop", "price": {"USD": 1_999}, "stock": 2_000_000, "active": true,
        "per_user_limit": null, "starts_at": null, "ends_at": null,
    });
    let put = Request::put(&format!("/admin/products/{DROP}"));
    let answer = server.ask(&put.key(ADMIN).json(&product));
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Buys one payment after the other, each under one key until it is told something about it.
fn buyer(world: &World, mut dice: Dice) {
    let mut client: Option<Client> = None;
    loop {
        let number = world.next.fetch_add(1, Ordering::Relaxed);
        if number >= world.payments {
            return;
        }
        let card = *dice.pick(&CARDS);
        let buy = Request::buy(
            &format!("b{number}"),
            DROP,
            card,
            &format!("buy-{number:06}"),
        );
        let answer = insist(world, &mut client, &buy);
        assert!([201, 202, 402].contains(&answer.status), "{answer:?}");
        if answer.status != 201 {
            continue;
        }
        let purchase = answer.json()["purchase_id"].as_str().unwrap().to_owned();
        world.captured.lock().unwrap().push(purchase.clone());
        if dice.percent(10) {
            let path = format!("/admin/purchases/{purchase}/refunds");
            let asked = if dice.percent(50) {
                json!({"amount": 500, "previously_refunded": 0, "reason": "in part"})
            } else {
                json!({"previously_refunded": 0, "reason": "whole"})
            };
            let key = format!("refund-{number:06}");
            let refund = Request::post(&path).key(ADMIN).once(&key).json(&asked);
            let answer = insist(world, &mut client, &refund);
            assert!([201, 202].contains(&answer.status), "{answer:?}");
            world.refunded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Asks under the same key until there is an answer that says something about it: connections
/// end with the process, and a gateway that is down takes nothing new.
fn insist(world: &World, client: &mut Option<Client>, request: &Request) -> support::Response {
    until("the request is answered", || {
        if client.is_none() {
            let address = (*world.address.lock().unwrap())?;
            *client = Client::try_connect(address).ok();
        }
        let answered = client.as_mut()?.try_ask(request);
        let Ok(answer) = answered else {
            *client = None;
            return None;
        };
        let again = answer.status == 503
            || (answer.status == 409 && answer.reason() == "idempotency_in_flight");
        // In flight after a crash: the first answer never came, and this one says where it is.
        (!again).then_some(answer)
    })
}

/// Bad days, storms, silence and kills, spread over the run.
fn trouble(world: &World, mut server: Server, data: &Path, dice: &mut Dice, seed: u64) -> Server {
    let bad_day = || Rates {
        seed,
        per_mille: BAD_DAY.to_vec(),
    };
    world.stripe.rates(bad_day());
    for kill in 1..=KILLS {
        let _words = LastWords(server.log.clone());
        let goal = world.payments * kill / (KILLS + 1);
        wait_for_payment(world, goal.saturating_sub(world.payments / (KILLS * 3)));
        match kill % 4 {
            1 => world.stripe.silence(Silence::Deaf),
            2 => world.stripe.silence(Silence::Mute),
            3 => world.stripe.rates(Rates {
                seed,
                per_mille: vec![
                    (Fault::Error(Effect::Before, Kept::No), 400),
                    (Fault::Error(Effect::After, Kept::No), 200),
                ],
            }),
            _ => {}
        }
        // Long enough that calls time out and the circuit opens; "hours" for these settings.
        std::thread::sleep(Duration::from_millis(200 + dice.below(400) as u64));
        if dice.percent(50) {
            world.stripe.silence(Silence::Off);
            world.stripe.rates(bad_day());
        }
        wait_for_payment_or(world, goal, Duration::from_millis(300));
        *world.address.lock().unwrap() = None;
        server.kill();
        world.stripe.silence(Silence::Off);
        world.stripe.rates(bad_day());
        server = start(world, data);
    }
    wait_for_payment(world, world.payments);
    server
}

fn wait_for_payment(world: &World, goal: u64) {
    until("so many payments are begun", || {
        (world.next.load(Ordering::Relaxed) >= goal).then_some(())
    });
}

fn wait_for_payment_or(world: &World, goal: u64, most: Duration) {
    let end = Instant::now() + most;
    until("so many payments are begun, or time is up", || {
        let there = world.next.load(Ordering::Relaxed) >= goal || Instant::now() >= end;
        there.then_some(())
    });
}

/// Waits until nothing is open; how many payments the sweeper ever had to find.
fn settle(server: &Server) -> u64 {
    until("every payment has ended", || {
        (status(server)["open_payments"] == 0).then_some(())
    });
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("holdfast_payments_neglected_total "));
    line.expect("the metric is there").parse().unwrap()
}

/// `holdfast reconcile` finds no difference either, as the operator would ask.
fn reconcile(world: &World, data: &Path) {
    let file = data.with_file_name("reconcile.toml");
    std::fs::write(&file, plain_config(world)).unwrap();
    let mut command = binary();
    command.arg("reconcile").arg(data).arg("--json");
    let output = command.arg("--config").arg(file).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["complete"], true, "{report}");
    assert!(report["counts"]["agree"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["counts"]["open"], 0, "{report}");
}

fn plain_config(world: &World) -> String {
    format!(
        "[[auth.keys]]\nname = \"a\"\nrole = \"admin\"\nkey = \"a-key-of-the-proof\"\n\
         [[receipts.hmac_keys]]\nid = \"r\"\nkey = \"a-receipt-key-of-the-proof-0123456789\"\n\
         [payments]\ngateway = \"stripe\"\n\
         [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"\n",
        world.stripe.base()
    )
}

/// How many payments the log says were begun, and what was captured and given back, by purchase.
fn ours(data: &Path) -> (u64, BTreeMap<String, (i64, i64)>) {
    let mut log = binary();
    log.arg("log").arg(data).stdout(Stdio::piped());
    let mut child = log.spawn().unwrap();
    let mut amounts: BTreeMap<String, i64> = BTreeMap::new();
    let mut books: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Some(purchase) = event["purchase_id"].as_str().map(str::to_owned) else {
            continue;
        };
        match event["kind"].as_str().unwrap() {
            "payment_started" => {
                let amount = event["amount"]["value"].as_i64().unwrap();
                amounts.insert(purchase, amount);
            }
            "payment_captured" => {
                let twice = books.insert(purchase.clone(), (amounts[&purchase], 0));
                assert_eq!(twice, None, "{purchase} was captured twice");
            }
            "refund_succeeded" => {
                let amount = event["amount"].as_i64();
                let amount = amount.or_else(|| event["amount"]["value"].as_i64());
                books.get_mut(&purchase).unwrap().1 += amount.unwrap();
            }
            _ => {}
        }
    }
    assert!(child.wait().unwrap().success(), "holdfast log failed");
    (amounts.len() as u64, books)
}

/// The gateway's books and ours say the same.
fn compare(world: &World, books: &BTreeMap<String, (i64, i64)>) {
    world.stripe.check();
    let mut charged: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (reference, intents) in world.stripe.by_reference() {
        let purchase = reference.split('-').nth(2).unwrap().to_owned();
        for intent in intents {
            assert_ne!(
                intent.status, "requires_capture",
                "{reference} is set aside"
            );
            if intent.captured > 0 {
                let entry = (intent.captured, intent.refunded);
                let twice = charged.insert(purchase.clone(), entry);
                assert_eq!(twice, None, "{purchase} was charged twice");
            }
        }
    }
    assert_eq!(&charged, books, "charges are captures");
    for told in world.captured.lock().unwrap().iter() {
        assert!(books.contains_key(told), "{told} was told as captured");
    }
}
