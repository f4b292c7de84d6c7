//! `kill -9` of the real process under load, again and again on one growing data directory:
//! `HOLDFAST_KILLS` times (25 where it is not set; 1,000 for a long run, with `--release`).
//!
//! After every kill: `holdfast check` is clean; the digest after recovery is the digest of its
//! replay; what was answered before is answered again under its key, byte for byte. Once payments
//! have settled, the gateway's charges are the captures. In the end every request that a kill cut
//! off has had exactly one outcome, and charges and answers pair off one to one.
//! `HOLDFAST_SEED` gives the same dice again; the threads' timing it cannot give.

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::clients;
use support::clients::{Dice, LastWords, assert_replayed, is_outcome, is_pending};
use support::{
    ADMIN, Client, Request, Response, SHOP, Server, Setup, binary, product_terms, until,
};

const KILLS: u64 = 25;
const THREADS: usize = 8;
/// The most answers that a process gives before it is killed; the least is none.
const ANSWERS_A_LIFE: usize = 1_000;
/// Answers asked for again after each kill; all of them in the end.
const REPLAYS_A_LIFE: usize = 200;
/// Every so many kills, payments may settle before the next load, and the books are compared.
const SETTLE_EVERY: u64 = 5;
/// Every so many kills, another one comes while the process recovers.
const KILL_RECOVERY_EVERY: u64 = 4;

/// More than can be sold; held units run out after two seconds.
const PLENTY: &str = "plenty";
/// Few, so that they are fought for and run out.
const SCARCE: &str = "scarce";
/// None at all.
const NONE: &str = "none";
const PRICE: i64 = 1_999;

/// Small files and short waits, so that snapshots, segments and retries all happen on the way.
const CONFIG: &str = r"
[storage]
segment_bytes = 1_049_088
snapshot_every_bytes = 1_048_576

[payments]
attempt_timeout_ms = 60
answer_within_ms = 150
unknown_after_ms = 250
backoff_first_ms = 5
backoff_max_ms = 60
";

/// Every way in which the sandbox gateway can end a payment quickly, the plain ones more often.
const CARDS: &[&str] = &[
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_ok",
    "tok_slow_5",
    "tok_slow_40",
    "tok_declined",
    "tok_declined",
    "tok_insufficient_funds",
    "tok_auth_timeout",
    "tok_auth_unknown",
    "tok_auth_lost_2",
    "tok_auth_lost_1",
    "tok_auth_unreachable_1",
    "tok_auth_busy_2",
    "tok_lookup_down_1",
    "tok_capture_timeout",
    "tok_capture_unknown",
    "tok_capture_lost_1",
    "tok_capture_busy_2",
    "tok_capture_refused",
    "tok_void_timeout",
    "tok_void_unknown",
    "tok_void_lost_1",
    "tok_void_busy_1",
    "tok_of_no_kind",
];

#[test]
fn killed_again_and_again_nothing_answered_is_lost_or_done_twice() {
    let kills = clients::number_from_env("HOLDFAST_KILLS").unwrap_or(KILLS);
    let mut dice = Dice::new(clients::seed("kill"));
    let dir = tempfile::tempdir().unwrap();
    let mut run = KillRun::new(dir.path().join("data"));
    run.put_on_sale();
    let began = Instant::now();
    for life in 1..=kills {
        run.live_and_be_killed(life, &mut dice);
        if life.is_multiple_of(50) {
            let asked = run.world.settled.lock().unwrap().len();
            clients::say(&format!("kill: {life} of {kills}, {asked} outcomes"));
        }
    }
    let charges = run.settle_everything();
    clients::say(&format!(
        "kill: {kills} kills under load and {} in recovery, {} answers, {} outcomes, {} requests cut off and resolved, {} replays verified, {charges} charges, {} snapshots recovered from, {:.0} s",
        run.kills_in_recovery,
        run.world.answers.load(Ordering::Relaxed),
        run.world.settled.lock().unwrap().len(),
        run.world.cut_off.load(Ordering::Relaxed),
        run.replays,
        run.recovered_from.len(),
        began.elapsed().as_secs_f64(),
    ));
    assert!(
        run.world.cut_off.load(Ordering::Relaxed) > 0,
        "no kill hurt"
    );
    if kills >= KILLS {
        assert!(run.recovered_from.len() > 1, "snapshots were to be taken");
        assert!(run.log_was_cut, "segments were to be left behind");
    }
}

/// A request under a key that has its outcome.
struct AnsweredRequest {
    request: Request,
    status: u16,
    body: Vec<u8>,
}

/// A request under a key that has none yet: cut off, or answered "later".
struct Pending {
    request: Request,
    /// The purchase that a 202 named.
    purchase: Option<String>,
}

/// What the clients know, over all lives of the process.
#[derive(Default)]
struct ClientRecords {
    settled: Mutex<Vec<AnsweredRequest>>,
    pending: Mutex<Vec<Pending>>,
    answers: AtomicU64,
    cut_off: AtomicU64,
}

struct KillRun {
    data: PathBuf,
    world: ClientRecords,
    /// Of the last `holdfast check`.
    digest: Option<String>,
    replays: usize,
    kills_in_recovery: u64,
    recovered_from: HashSet<u64>,
    log_was_cut: bool,
    /// Purchases whose charge has been compared with the purchase as it is shown.
    compared: BTreeMap<String, (String, u64)>,
}

impl KillRun {
    fn new(data: PathBuf) -> Self {
        Self {
            data,
            world: ClientRecords::default(),
            digest: None,
            replays: 0,
            kills_in_recovery: 0,
            recovered_from: HashSet::new(),
            log_was_cut: false,
            compared: BTreeMap::new(),
        }
    }

    fn start(&self) -> Server {
        let setup = Setup::demo().config(CONFIG).data_dir(&self.data);
        setup.start()
    }

    fn put_on_sale(&mut self) {
        let mut server = self.start();
        for (product, stock) in [(PLENTY, 2_000_000), (SCARCE, 40), (NONE, 0)] {
            put(&server, product, stock);
        }
        server.kill();
        self.check();
    }

    /// (a): the directory as it was left, without changing it.
    fn check(&mut self) {
        let figures = clients::check(&self.data);
        self.digest = Some(figures["digest"].as_str().unwrap().to_owned());
        self.log_was_cut |= figures["first_lsn"] != 0;
    }

    fn live_and_be_killed(&mut self, life: u64, dice: &mut Dice) {
        if life.is_multiple_of(KILL_RECOVERY_EVERY) {
            self.kill_in_recovery(dice);
        }
        let mut server = self.start();
        let _last_words = LastWords(server.log.clone());
        self.verify_recovered(&server);
        self.verify_replays(&server, dice, REPLAYS_A_LIFE);
        if life.is_multiple_of(SETTLE_EVERY) {
            self.compare_books(&server);
        }
        put(&server, SCARCE, 40 + 10 * life);
        let enough = self.world.answers.load(Ordering::Relaxed) + dice.below(ANSWERS_A_LIFE) as u64;
        let then = Duration::from_micros(dice.below(5_000) as u64);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (address, world, dice) = (server.address, &self.world, dice.fork());
                scope.spawn(move || {
                    // Refused where the process is gone already.
                    let Ok(client) = Client::try_connect(address) else {
                        return;
                    };
                    let name = format!("u{life}-{thread}");
                    let visitor = Visitor {
                        client,
                        world,
                        dice,
                        name,
                        count: 0,
                    };
                    visitor.go_on();
                });
            }
            // Whatever fails here ends the process, and with it the threads.
            let server = KillOnDrop(&mut server);
            until("enough is answered", || {
                (self.world.answers.load(Ordering::Relaxed) >= enough).then_some(())
            });
            let at = Instant::now() + then;
            while Instant::now() < at {
                std::thread::yield_now();
            }
            server.0.kill();
        });
        self.check();
    }

    /// Kills a start at some moment, perhaps before it listens, perhaps while it drives payments.
    fn kill_in_recovery(&mut self, dice: &mut Dice) {
        let config = self.data.with_extension("toml");
        std::fs::write(&config, CONFIG).unwrap();
        let mut command = binary();
        command.args(["serve", "--demo", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(config).arg("--data-dir").arg(&self.data);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The moment is drawn, it is not waited for: any state of the process will do.
        std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills_in_recovery += 1;
        self.check();
    }

    /// (b): the state after recovery is the state that the check replayed.
    fn verify_recovered(&mut self, server: &Server) {
        let recovered = server.log.wait_for("recovered").unwrap();
        let shown = clients::status(server)["recovery"].clone();
        assert_eq!(shown["digest"], recovered["digest"]);
        let checked = self.digest.as_deref();
        assert_eq!(recovered["digest"].as_str(), checked, "I6: {recovered}");
        self.recovered_from
            .extend(recovered["snapshot_lsn"].as_u64());
    }

    /// (c): answered means answered.
    fn verify_replays(&mut self, server: &Server, dice: &mut Dice, most: usize) {
        let settled = self.world.settled.lock().unwrap();
        let mut client = server.connect();
        for _ in 0..most.min(settled.len()) {
            // The later half is what the last kill may have hurt.
            let half = settled.len() / 2 * dice.below(2);
            let asked = &settled[half + dice.below(settled.len() - half)];
            verify_replay(&mut client, asked);
            self.replays += 1;
        }
    }

    /// (d): the gateway's books against the shop's, when no payment is open; how many captures.
    fn compare_books(&mut self, server: &Server) -> usize {
        until("payments have settled", || {
            (clients::status(server)["open_payments"] == 0).then_some(())
        });
        let mut client = server.connect();
        let charges = clients::charges(server);
        for (purchase, charge) in &charges {
            assert_ne!(
                charge.state, "authorized",
                "money set aside for nothing: {purchase}"
            );
            if self.compared.contains_key(purchase) {
                continue;
            }
            let path = format!("/limited/purchases/{purchase}");
            let answer = client.ask(&Request::get(&path).key(SHOP));
            assert_eq!(answer.status, 200, "charged without a purchase: {charge:?}");
            let shown = answer.json();
            let units = compare(&charge.state, charge.captured, &shown);
            let product = shown["product_id"].as_str().unwrap().to_owned();
            self.compared.insert(purchase.clone(), (product, units));
        }
        let mut sold = BTreeMap::from([(PLENTY, 0), (SCARCE, 0), (NONE, 0)]);
        for (product, units) in self.compared.values() {
            *sold.get_mut(product.as_str()).unwrap() += units;
        }
        for (product, units) in sold {
            let [total, held, sold, available] = server.stock(product);
            assert_eq!(total, held + sold + available, "I1: {product}");
            assert_eq!(
                sold, units,
                "I8: units of {product} sold and units paid for"
            );
        }
        charges.values().filter(|it| it.captured > 0).count()
    }

    /// The end: everything has its one outcome, and all of it is compared with all of it.
    fn settle_everything(&mut self) -> usize {
        let server = self.start();
        let _last_words = LastWords(server.log.clone());
        self.verify_recovered(&server);
        self.resolve_pending(&server);
        until("holds have run out", || {
            let held = |product| server.stock(product)[1];
            [PLENTY, SCARCE]
                .iter()
                .all(|it| held(it) == 0)
                .then_some(())
        });
        let captures = self.compare_books(&server);
        let charges = clients::charges(&server);
        let mut client = server.connect();
        let settled = self.world.settled.lock().unwrap();
        let mut paid = HashSet::new();
        for asked in settled.iter() {
            verify_replay(&mut client, asked);
            self.replays += 1;
            if asked.request.path == "/limited/buy" && asked.status == 201 {
                let told: Value = serde_json::from_slice(&asked.body).unwrap();
                let purchase = told["purchase_id"].as_str().unwrap().to_owned();
                assert_eq!(charges[&purchase].state, "captured", "{told}");
                assert!(paid.insert(purchase), "bought under two keys: {told}");
            }
        }
        for (purchase, charge) in &charges {
            let answered = paid.contains(purchase);
            assert_eq!(charge.captured > 0, answered, "I8: {purchase} {charge:?}");
        }
        drop(settled);
        drop(client);
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0), "{log:?}");
        self.check();
        captures
    }

    fn resolve_pending(&mut self, server: &Server) {
        let mut client = server.connect();
        until("every request that was cut off has an outcome", || {
            let pending = std::mem::take(&mut *self.world.pending.lock().unwrap());
            for one in pending {
                let answer = self.world.ask(&mut client, one);
                answer.expect("nobody kills the process now");
            }
            let left = self.world.pending.lock().unwrap().len();
            (left == 0).then_some(())
        });
    }
}

impl ClientRecords {
    /// Asks, and keeps what is known then: an outcome, or that there is none yet.
    fn ask(&self, client: &mut Client, mut asked: Pending) -> std::io::Result<Response> {
        let answer = match client.try_ask(&asked.request) {
            Ok(answer) => answer,
            Err(error) => {
                self.cut_off.fetch_add(1, Ordering::Relaxed);
                self.pending.lock().unwrap().push(asked);
                return Err(error);
            }
        };
        self.answers.fetch_add(1, Ordering::Relaxed);
        if is_outcome(&answer) {
            if let (Some(before), 201) = (&asked.purchase, answer.status) {
                let told = answer.json();
                assert_eq!(
                    told["purchase_id"], **before,
                    "another purchase than the 202 named"
                );
            }
            self.settled.lock().unwrap().push(AnsweredRequest {
                request: asked.request,
                status: answer.status,
                body: answer.body.clone(),
            });
            return Ok(answer);
        }
        assert!(is_pending(&answer), "{:?}\n{answer:?}", asked.request);
        if answer.status == 202 {
            let told = answer.json()["purchase_id"].as_str().unwrap().to_owned();
            asked.purchase = Some(told);
        }
        self.pending.lock().unwrap().push(asked);
        Ok(answer)
    }
}

/// One of the clients: new buyers one after the other, until the process is gone.
struct Visitor<'a> {
    client: Client,
    world: &'a ClientRecords,
    dice: Dice,
    name: String,
    count: usize,
}

impl Visitor<'_> {
    fn go_on(mut self) {
        while self.visit().is_ok() {}
    }

    fn visit(&mut self) -> std::io::Result<()> {
        if self.dice.percent(20) {
            return self.ask_for_what_was_cut_off();
        }
        if self.dice.percent(8) {
            return self.ask_once_more();
        }
        if self.dice.percent(1) {
            let snapshot = Request::post("/admin/snapshot").key(ADMIN);
            let taken = self.client.try_ask(&snapshot)?;
            assert_eq!(taken.status, 200, "{taken:?}");
        }
        self.count += 1;
        let product = [PLENTY, PLENTY, PLENTY, PLENTY, SCARCE, SCARCE, SCARCE, NONE];
        let product = *self.dice.pick(&product);
        let quantity = 1 + self.dice.below(3) as u64;
        match self.dice.below(100) {
            0..15 => drop(self.hold(product, quantity)?),
            15..35 => {
                if let Some(hold) = self.hold(product, quantity)? {
                    self.release(&hold)?;
                }
            }
            35..55 => {
                if let Some(hold) = self.hold(product, quantity)? {
                    self.buy(product, quantity, Some(&hold))?;
                }
            }
            _ => self.buy(product, quantity, None)?,
        }
        Ok(())
    }

    fn ask_for_what_was_cut_off(&mut self) -> std::io::Result<()> {
        let one = {
            let mut pending = self.world.pending.lock().unwrap();
            if pending.is_empty() {
                return Ok(());
            }
            let place = self.dice.below(pending.len());
            pending.swap_remove(place)
        };
        self.world.ask(&mut self.client, one).map(drop)
    }

    fn ask_once_more(&mut self) -> std::io::Result<()> {
        let (request, status, body) = {
            let settled = self.world.settled.lock().unwrap();
            if settled.is_empty() {
                return Ok(());
            }
            let asked = self.dice.pick(&settled);
            (asked.request.clone(), asked.status, asked.body.clone())
        };
        let again = self.client.try_ask(&request)?;
        if request.method == "POST" {
            assert_replayed(&request, (status, &body), &again);
        }
        Ok(())
    }

    fn ask(&mut self, path: &str, body: &Value) -> std::io::Result<Response> {
        let key = format!("{path}-{}-{}", self.name, self.count);
        let request = Request::post(path).key(SHOP).once(&key).json(body);
        let asked = Pending {
            request,
            purchase: None,
        };
        self.world.ask(&mut self.client, asked)
    }

    fn user(&self) -> String {
        format!("{}-{}", self.name, self.count)
    }

    fn hold(&mut self, product: &str, quantity: u64) -> std::io::Result<Option<String>> {
        let body = json!({
            "user_id": self.user(), "product_id": product, "quantity": quantity,
        });
        let answer = self.ask("/limited/holds", &body)?;
        let held = (answer.status == 201).then(|| answer.json());
        Ok(held.map(|hold| hold["hold_id"].as_str().unwrap().to_owned()))
    }

    fn buy(&mut self, product: &str, quantity: u64, hold: Option<&str>) -> std::io::Result<()> {
        let card = *self.dice.pick(CARDS);
        let body = json!({
            "user_id": self.user(), "product_id": product, "quantity": quantity,
            "currency": "USD", "card_token": card, "hold_id": hold,
        });
        self.ask("/limited/buy", &body).map(drop)
    }

    /// Has no key: an answered 200 is told again as long as the hold is known.
    fn release(&mut self, hold: &str) -> std::io::Result<()> {
        let request = Request::delete(&format!("/limited/holds/{hold}")).key(SHOP);
        let answer = self.client.try_ask(&request)?;
        self.world.answers.fetch_add(1, Ordering::Relaxed);
        let late = answer.reason() == "hold_expired";
        assert!(answer.status == 200 || late, "{answer:?}");
        if answer.status == 200 {
            self.world.settled.lock().unwrap().push(AnsweredRequest {
                request,
                status: answer.status,
                body: answer.body,
            });
        }
        Ok(())
    }
}

fn put(server: &Server, product: &str, stock: u64) {
    let body = product_terms(
        &json!({"name": product, "price": {"USD": PRICE}, "stock": stock, "hold_ttl_s": 2}),
    );
    let request = Request::put(&format!("/admin/products/{product}")).key(ADMIN);
    let answer = server.ask(&request.json(&body));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

fn verify_replay(client: &mut Client, asked: &AnsweredRequest) {
    let again = client.ask(&asked.request);
    if asked.request.method == "DELETE" {
        let same = (again.status, &again.body) == (asked.status, &asked.body);
        assert!(same, "released before, now: {again:?}");
    } else {
        assert_replayed(&asked.request, (asked.status, &asked.body), &again);
    }
}

/// One charge against the purchase as it is shown; the units that it paid for.
fn compare(state: &str, captured: i64, shown: &Value) -> u64 {
    // What was given up is closed there, so that nothing arrives late. An earlier hold outlives a
    // payment that was declined, before or after its authorization: it may be paid by another one,
    // released or expired since.
    let history = shown["history"].as_array().unwrap();
    let ended = |it: &Value| it["event"] == "payment_declined" || it["event"] == "payment_voided";
    let closed = history.iter().any(ended) && matches!(state, "declined" | "voided");
    assert!(
        closed || shown["status"] == state,
        "the gateway has {state}: {shown}"
    );
    let units = shown["quantity"].as_u64().unwrap();
    let due = PRICE * i64::try_from(units).unwrap();
    if state == "captured" {
        assert_eq!(shown["amount"]["value"], due, "{shown}");
        assert_eq!(captured, due, "the gateway took another sum: {shown}");
        return units;
    }
    assert_eq!(captured, 0, "{shown}");
    0
}

/// Ends the process when the test fails, so that its clients end too.
struct KillOnDrop<'a>(&'a mut Server);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill();
        }
    }
}
