//! Money is never left in doubt: at least 20,000 payments at a gateway that misbehaves by script
//! (declines, errors before and after taking effect, answers that never come or break off, storms,
//! silence, limits, a key that is being changed, webhooks twice and out of order) and that is used by
//! hand at its own site (captures of another amount, refunds, disputes of a part), through the real
//! process, with `kill -9` in between.
//!
//! In the end the gateway's charges are the captures with goods, refunds and charge-backs included, to
//! the cent; no purchase rests unresolved; nothing was charged twice or voided after its capture; who
//! was told of a capture has one; who was told of a decline has a card that its issuer declines.
//! `HOLDFAST_PAYMENTS` sets another number; `HOLDFAST_SEED` gives the same dice.

mod books;
mod site;

use books::Ours;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::clients::{Dice, LastWords, check, number_from_env, seed};
use support::stripe_server::faults::{Effect, Fault, Kept, Rates, Silence};
use support::stripe_server::hooks::Webhooks;
use support::stripe_server::site::Hasty;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::wall_clock::WallClock;
use support::{ADMIN, Client, Request, Server, Setup, until};

const PAYMENTS: u64 = 20_000;
const THREADS: usize = 24;
const BYSTANDERS: usize = 2;
const KILLS: u64 = 10;
const DROP: &str = "drop";
const PRICE: i64 = 1_999;
const HOOK_SECRET: &str = "whsec_of_the_proof_and_of_nothing_else";

/// Cards whose issuer says yes, the plain one more often.
const GOOD: [&str; 4] = [
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_mastercard",
];

/// Cards whose issuer says no, or that there are not.
const BAD: [&str; 4] = [
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

/// A storm of errors.
const STORM: [(Fault, u64); 2] = [
    (Fault::Error(Effect::Before, Kept::No), 400),
    (Fault::Error(Effect::After, Kept::No), 200),
];

/// How far the wall clock is off for a while.
const JUMPS: [&str; 6] = ["+0", "+301", "+3600", "-3600", "+8d", "+400d"];

/// What everybody shares.
struct World {
    seed: u64,
    stripe: StripeServer,
    clock: WallClock,
    address: Mutex<Option<SocketAddr>>,
    next: AtomicU64,
    payments: u64,
    captured: Mutex<Vec<String>>,
    /// Left to those who do something about purchases at the gateway's site.
    left: Mutex<Vec<Paid>>,
    /// Nothing is bought any more.
    bought: AtomicBool,
    /// Nothing is open any more.
    over: AtomicBool,
    refunded: AtomicU64,
    refunded_at_site: AtomicU64,
    settled: AtomicU64,
    voided: AtomicU64,
    /// Which ones the operator wanted voided.
    wanted_voided: Mutex<BTreeSet<String>>,
    /// Which ones were disputed.
    disputes: Mutex<BTreeSet<String>>,
}

/// A purchase that its buyer was told of as captured, and the gateway's name of it.
struct Paid {
    purchase: String,
    intent: String,
}

impl World {
    fn new(seed: u64, payments: u64) -> Self {
        Self {
            seed,
            stripe: StripeServer::start(),
            clock: WallClock::right(),
            address: Mutex::default(),
            next: AtomicU64::new(0),
            payments,
            captured: Mutex::default(),
            left: Mutex::default(),
            bought: AtomicBool::new(false),
            over: AtomicBool::new(false),
            refunded: AtomicU64::new(0),
            refunded_at_site: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            voided: AtomicU64::new(0),
            wanted_voided: Mutex::default(),
            disputes: Mutex::default(),
        }
    }

    /// Whether an answer is about a purchase that the operator wanted voided.
    fn is_voided(&self, answer: &support::Response) -> bool {
        let body = answer.json();
        let purchase = body["purchase_id"].as_str().unwrap_or_default();
        self.wanted_voided.lock().unwrap().contains(purchase)
    }

    /// A plain bad day at the gateway, and a clock that is right.
    fn bad_day(&self) {
        self.clock.set("+0");
        self.stripe.silence(Silence::Off);
        self.stripe.every(None);
        self.stripe.no_limit();
        self.rates(&BAD_DAY);
    }

    fn rates(&self, per_mille: &[(Fault, u64)]) {
        self.stripe.rates(Rates {
            seed: self.seed,
            per_mille: per_mille.to_vec(),
        });
    }
}

/// Whoever waits for the end of the run is let go, also where it ends early.
struct Over<'a>(&'a World);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.bought.store(true, Ordering::Relaxed);
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn charges_at_the_gateway_are_captures_with_goods() {
    let payments = number_from_env("HOLDFAST_PAYMENTS").unwrap_or(PAYMENTS);
    let seed = seed("payments");
    let mut dice = Dice::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let world = World::new(seed, payments);
    world.stripe.hasty(Hasty {
        seed,
        per_mille: 20,
        amounts: vec![PRICE, 1_000, 1],
    });
    let began = Instant::now();
    let server = start(&world, &data, 0);
    put_on_sale(&server);
    let server = run(&world, server, &data, &mut dice);
    let [total, held, sold, available] = server.stock(DROP);
    assert_eq!((held, total), (0, sold + available));
    let reconciled = books::reconcile_running(&server);
    let charged_back = books::charged_back(&world, &server);
    let (exit, _) = server.stop();
    assert!(exit.success());
    check(&data);
    books::reconcile_stopped(&world, &data);
    let ours = Ours::of(&data, seed, charged_back);
    // One that ended without an answer freed its key, and its buyer began another.
    let intended = ours.intended;
    assert!(intended >= payments, "every buy began one: {intended}");
    assert_eq!(sold, ours.books.len() as u64, "units sold are captures");
    books::compare(&world, &ours);
    books::tell(&world, &ours, reconciled, began.elapsed().as_secs_f64());
}

/// Everything that happens, until nothing is open any more.
fn run(world: &World, server: Server, data: &Path, dice: &mut Dice) -> Server {
    std::thread::scope(|scope| {
        let _over = Over(world);
        let mut spawn = |count: usize, act: fn(&World, Dice)| {
            let one = |_| {
                let dice = dice.fork();
                scope.spawn(move || act(world, dice))
            };
            (0..count).map(one).collect::<Vec<_>>()
        };
        let buyers = spawn(THREADS, buyer);
        let bystanders = spawn(BYSTANDERS, site::bystander);
        let _operator = spawn(1, site::operator);
        let server = trouble(world, server, data, dice);
        let _words = LastWords(server.log.clone());
        for buyer in buyers {
            buyer.join().unwrap();
        }
        world.bought.store(true, Ordering::Relaxed);
        for bystander in bystanders {
            bystander.join().unwrap();
        }
        world.bad_day();
        world.rates(&[]);
        let neglected = books::settle(world, &server);
        assert_eq!(neglected, 0, "the sweeper found what nobody had in hand");
        server
    })
}

/// Starts it the `nth` time; every other time with a pace, every third with a clock that can jump.
fn start(world: &World, data: &Path, nth: u64) -> Server {
    let pace = [0, 2_000][usize::from(nth % 2 == 1)];
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
         requests_per_s = {pace}\n\
         [[webhooks.secrets]]\n\
         id = \"s1\"\n\
         format = \"stripe\"\n\
         key = \"{HOOK_SECRET}\"\n\
         [storage]\n\
         segment_bytes = 4194304\n",
        world.stripe.base()
    );
    let setup = Setup::demo().config(&config).data_dir(data);
    let server = match nth % 3 {
        // Reading a clock that is moved costs a file read each time.
        1 => world.clock.read_by(setup).start(),
        _ => setup.start(),
    };
    world.stripe.webhooks(Webhooks {
        seed: 7,
        // Enough to race our own calls; each one is a connection of its own.
        sent_per_mille: 200,
        twice_per_mille: 300,
        delay_ms_max: 100,
        tries_max: 3,
        insists: true,
        ..Webhooks::of_every_event(server.address, HOOK_SECRET)
    });
    *world.address.lock().unwrap() = Some(server.address);
    server
}

fn put_on_sale(server: &Server) {
    let product = json!({
        "name": "The drop", "price": {"USD": PRICE}, "stock": 2_000_000, "active": true,
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
        let good = is_good(world.seed, number);
        let card = *dice.pick(if good { &GOOD } else { &BAD });
        let buy = Request::buy(
            &format!("b{number}"),
            DROP,
            card,
            &format!("buy-{number:06}"),
        );
        let answer = insist(world, &mut client, &buy);
        // Nobody hears a decline that no issuer gave.
        let told = if good { [201, 202] } else { [402, 202] };
        let voided = answer.status == 402 && world.is_voided(&answer);
        assert!(
            voided || told.contains(&answer.status),
            "{card}: {}",
            answer.text()
        );
        if answer.status != 201 {
            continue;
        }
        let bought = answer.json();
        let purchase = bought["purchase_id"].as_str().unwrap().to_owned();
        world.captured.lock().unwrap().push(purchase.clone());
        // What was settled at another amount stays as it is.
        if bought["amount"]["value"] != PRICE {
            continue;
        }
        match dice.below(20) {
            0 | 1 => refund(world, &mut client, &purchase, &mut dice),
            2 => {
                let intent = bought["gateway"]["authorization_id"].as_str().unwrap();
                let intent = intent.to_owned();
                world.left.lock().unwrap().push(Paid { purchase, intent });
            }
            _ => {}
        }
    }
}

/// Whether the card of this buyer is one whose issuer says yes: two of three are.
fn is_good(seed: u64, number: u64) -> bool {
    Dice::new(seed ^ number.wrapping_mul(0x9e37_79b9)).below(3) > 0
}

fn refund(world: &World, client: &mut Option<Client>, purchase: &str, dice: &mut Dice) {
    let path = format!("/admin/purchases/{purchase}/refunds");
    let asked = if dice.percent(50) {
        json!({"amount": 500, "previously_refunded": 0, "reason": "in part"})
    } else {
        json!({"previously_refunded": 0, "reason": "whole"})
    };
    let key = format!("refund-{purchase}");
    let refund = Request::post(&path).key(ADMIN).once(&key).json(&asked);
    let answer = insist(world, client, &refund);
    assert!([201, 202].contains(&answer.status), "{answer:?}");
    world.refunded.fetch_add(1, Ordering::Relaxed);
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

/// Bad days, storms, silence, limits and kills, spread over the run.
fn trouble(world: &World, mut server: Server, data: &Path, dice: &mut Dice) -> Server {
    world.bad_day();
    for kill in 1..=KILLS {
        let _words = LastWords(server.log.clone());
        let goal = world.payments * kill / (KILLS + 1);
        wait_for_payment(world, goal.saturating_sub(world.payments / (KILLS * 3)));
        match kill % 8 {
            1 => world.stripe.silence(Silence::Deaf),
            // Used up, so that it is met however slow the machine is.
            2 => world.stripe.limit_used_up(100),
            3 => world.stripe.every(Some(Fault::Status(401, None))),
            4 => world.stripe.silence(Silence::Mute),
            5 => world.stripe.limit(300),
            6 => world.rates(&STORM),
            7 => world.stripe.every(Some(Fault::Status(503, Some(1)))),
            _ => {}
        }
        let jump = *dice.pick(&JUMPS);
        world.clock.set(jump);
        // Long enough that calls time out and the circuit opens; "hours" for these settings.
        std::thread::sleep(Duration::from_millis(200 + dice.below(400) as u64));
        if dice.percent(50) {
            world.bad_day();
        }
        wait_for_payment_or(world, goal, Duration::from_millis(300));
        *world.address.lock().unwrap() = None;
        server.kill();
        world.bad_day();
        server = start(world, data, kill);
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
