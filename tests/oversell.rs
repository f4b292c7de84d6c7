//! 2,000 buyers on 100 units, over HTTP, against the real process: holds that are left to run out,
//! given up or paid for, buys with cards that work, decline or take their time, the same request
//! twice at once, and a promotion with fewer uses than there are units.
//!
//! Proves: at most 100 sold, all 100 in the end, the gateway's charges are exactly the answered
//! purchases, nobody above the limit; I1 at every look of a watcher, I1 to I4 after every event of
//! the log, and all of it again after a restart. `HOLDFAST_SEED` runs a failure again.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use support::clients;
use support::clients::fold::Fold;
use support::clients::{Dice, LastWords, assert_replayed, is_outcome, is_pending};
use support::{
    ADMIN, Client, PATIENCE, Request, Response, SHOP, Server, Setup, product_terms,
    promotion_terms, until,
};

const BUYERS: usize = 2_000;
const UNITS: u64 = 100;
const PER_BUYER: u64 = 2;
const PROMOTION_USES: u64 = 30;
const THREADS: usize = 32;
/// How often the buyers come, each time when holds of the time before have run out.
const WAVES: usize = 3;

/// What everybody wants.
const DROP: &str = "drop";
/// A product of which some units stay held to the end.
const QUIET: &str = "quiet";
const QUIET_HELD: u64 = 3;
const CODE: &str = "HALF";

/// Ends the watcher.
struct StopWatcher<'a>(&'a AtomicBool);

impl Drop for StopWatcher<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A request under a key and the outcome that it was answered with.
struct AnsweredBuy {
    request: Request,
    answer: Response,
}

#[test]
fn two_thousand_buyers_on_a_hundred_units() {
    let mut dice = Dice::new(clients::seed("oversell"));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Setup::demo().data_dir(&data).start();
    let _last_words = LastWords(server.log.clone());
    put_on_sale(&server);
    let mut asked = quiet_holds(&server);

    let over = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(server.address, &over));
        // Set when this is left in any way, so that the watcher ends whatever happened.
        let end = StopWatcher(&over);
        let buyers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let dice = dice.fork();
                let address = server.address;
                scope.spawn(move || rush(address, thread, dice))
            })
            .collect();
        for thread in buyers {
            asked.extend(thread.join().expect("the thread says why it failed"));
        }
        settle(&server);
        asked.extend(sell_what_is_left(&server));
        drop(end);
        watcher.join().expect("the watcher says why it failed")
    });

    let purchases = verify_live(&server, &asked);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log:?}");
    let (figures, fold) = verify_stopped(&data, &purchases);

    let server = Setup::demo().data_dir(&data).start();
    let recovered = server.log.wait_for("recovered").unwrap();
    assert_eq!(recovered["digest"], figures["digest"], "I6");
    assert_eq!(verify_live(&server, &asked), purchases);
    let replayed = replay_all(&server, &asked);
    assert_eq!(server.stock(DROP), [UNITS, 0, UNITS, 0]);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{log:?}");
    verify_stopped(&data, &purchases);
    clients::say(&format!(
        "oversell: {} outcomes, {} purchases, {looks} looks of the watcher, {} events checked, {replayed} replays verified; {:?}, refused {:?}",
        asked.len(),
        purchases.len(),
        fold.events,
        fold.kinds,
        fold.refusals,
    ));
}

fn put_on_sale(server: &Server) {
    let put = |path: &str, body: &Value| {
        let answer = server.ask(&Request::put(path).key(ADMIN).json(body));
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let drop = product_terms(&json!({
        "name": "Drop", "price": {"USD": 1999}, "stock": UNITS, "per_user_limit": PER_BUYER,
        "hold_ttl_s": 1,
    }));
    put(&format!("/admin/products/{DROP}"), &drop);
    let quiet = product_terms(
        &json!({"name": "Quiet", "price": {"USD": 100}, "stock": 10, "hold_ttl_s": 3600}),
    );
    put(&format!("/admin/products/{QUIET}"), &quiet);
    let promotion = promotion_terms(&json!({
        "percent_off": 50, "uses_max": PROMOTION_USES, "uses_per_user_max": 1, "product_ids": [DROP],
    }));
    put(&format!("/admin/promotions/{CODE}"), &promotion);
}

/// Units that are still held when the process stops.
fn quiet_holds(server: &Server) -> Vec<AnsweredBuy> {
    let holds = (0..QUIET_HELD).map(|place| {
        let user = format!("quiet-{place}");
        let request = Request::hold(&user, QUIET, 1, &format!("quiet-hold-{place}"));
        let answer = server.ask(&request);
        assert_eq!(answer.status, 201, "{answer:?}");
        AnsweredBuy { request, answer }
    });
    holds.collect()
}

/// Looks at stock and promotion until the rush is over; how often.
fn watch(address: SocketAddr, over: &AtomicBool) -> u64 {
    let product = Request::get(&format!("/limited/products/{DROP}")).key(SHOP);
    let promotion = Request::get(&format!("/admin/promotions/{CODE}")).key(ADMIN);
    let status = Request::get("/admin/status").key(ADMIN);
    let mut client = Client::connect(address);
    let (mut looks, mut sold_before) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let shown = client.ask(&product).json();
        let sold = assert_conserved(&shown["stock"]);
        assert!(
            sold >= sold_before,
            "sold went from {sold_before} to {sold}"
        );
        sold_before = sold;
        if looks % 8 == 0 {
            let shown = client.ask(&promotion).json();
            let uses = shown["uses"].as_u64();
            assert!(uses.is_some_and(|it| it <= PROMOTION_USES), "I2: {shown}");
            let shown = client.ask(&status).json();
            let all = shown["conservation"].as_array().unwrap();
            let drop = all.iter().find(|it| it["product_id"] == DROP).unwrap();
            assert_conserved(drop);
        }
        looks += 1;
    }
    looks
}

/// I1; how many are sold.
fn assert_conserved(stock: &Value) -> u64 {
    let of = |name: &str| stock[name].as_u64().unwrap_or_else(|| panic!("{stock}"));
    assert_eq!(of("total"), UNITS, "{stock}");
    let sum = of("available") + of("held") + of("sold");
    assert_eq!(sum, UNITS, "I1: {stock}");
    of("sold")
}

/// One of the threads through which the buyers come: each of its own buyers in turn, and now and
/// then somebody else's at the same time.
fn rush(address: SocketAddr, thread: usize, dice: Dice) -> Vec<AnsweredBuy> {
    let mut door = Door {
        clients: [Client::connect(address), Client::connect(address)],
        dice,
        thread,
        count: 0,
        asked: Vec::new(),
    };
    for wave in 0..WAVES {
        if wave > 0 {
            door.wait_for_units();
        }
        for own in (thread..BUYERS).step_by(THREADS) {
            let other = door.dice.below(BUYERS);
            let buyer = if door.dice.percent(15) { other } else { own };
            door.serve(&format!("buyer-{buyer}"));
        }
    }
    door.asked
}

struct Door {
    /// Two connections, for the same request twice at once.
    clients: [Client; 2],
    dice: Dice,
    thread: usize,
    count: usize,
    asked: Vec<AnsweredBuy>,
}

impl Door {
    fn serve(&mut self, user: &str) {
        let quantity = 1 + self.dice.below(2) as u64;
        let code = self.dice.percent(40).then_some(CODE);
        let card = *self
            .dice
            .pick(&["tok_ok", "tok_declined", "tok_declined", "tok_slow_20"]);
        match self.dice.below(100) {
            // Left to run out.
            0..40 => drop(self.hold(user, quantity, code)),
            // Given up.
            40..70 => {
                if let Some(hold) = self.hold(user, quantity, code) {
                    self.release(&hold);
                }
            }
            // Paid for.
            70..80 => {
                if let Some(hold) = self.hold(user, quantity, code) {
                    self.buy(user, quantity, card, code, Some(&hold));
                }
            }
            // Given up and paid for at once, on two connections: one of them wins.
            80..85 => {
                if let Some(hold) = self.hold(user, quantity, code) {
                    self.race(user, quantity, &hold);
                }
            }
            _ => drop(self.buy(user, quantity, card, code, None)),
        }
    }

    /// Until something is to be had, or everything is sold.
    fn wait_for_units(&mut self) {
        let product = Request::get(&format!("/limited/products/{DROP}")).key(SHOP);
        until("there are units again", || {
            let stock = self.clients[0].ask(&product).json()["stock"].clone();
            (stock["available"] != 0 || stock["sold"] == UNITS).then_some(())
        });
    }

    fn key(&mut self) -> String {
        self.count += 1;
        format!("door-{}-{}", self.thread, self.count)
    }

    fn hold(&mut self, user: &str, quantity: u64, code: Option<&str>) -> Option<String> {
        let body = json!({
            "user_id": user, "product_id": DROP, "quantity": quantity, "promotion_code": code,
        });
        let request = Request::post("/limited/holds").key(SHOP);
        let request = request.once(&self.key()).json(&body);
        let answer = self.ask(request);
        let held = (answer.status == 201).then(|| answer.json());
        held.map(|hold| hold["hold_id"].as_str().unwrap().to_owned())
    }

    fn release(&mut self, hold: &str) {
        let request = Request::delete(&format!("/limited/holds/{hold}")).key(SHOP);
        let first = self.clients[0].ask(&request);
        let again = self.clients[1].ask(&request);
        // Slow threads find that it has run out; either way it stays so.
        assert!(
            first.status == 200 || first.reason() == "hold_expired",
            "{first:?}"
        );
        assert_eq!(first.status, again.status, "{first:?} then {again:?}");
        if first.status == 200 {
            assert_eq!(first.body, again.body);
        }
    }

    fn purchase(
        &mut self,
        user: &str,
        quantity: u64,
        card: &str,
        code: Option<&str>,
        hold: Option<&str>,
    ) -> Request {
        let body = json!({
            "user_id": user, "product_id": DROP, "quantity": quantity, "currency": "USD",
            "card_token": card, "promotion_code": code, "hold_id": hold,
        });
        let request = Request::post("/limited/buy").key(SHOP);
        request.once(&self.key()).json(&body)
    }

    fn buy(
        &mut self,
        user: &str,
        quantity: u64,
        card: &str,
        code: Option<&str>,
        hold: Option<&str>,
    ) -> Response {
        let request = self.purchase(user, quantity, card, code, hold);
        self.ask(request)
    }

    fn race(&mut self, user: &str, quantity: u64, hold: &str) {
        let buy = self.purchase(user, quantity, "tok_ok", None, Some(hold));
        let release = Request::delete(&format!("/limited/holds/{hold}")).key(SHOP);
        let [one, two] = &mut self.clients;
        one.send(&buy.bytes()).unwrap();
        two.send(&release.bytes()).unwrap();
        let bought = one.receive().unwrap();
        let released = two.receive().unwrap();
        let both = bought.status == 201 && released.status == 200;
        assert!(!both, "paid and given up: {bought:?} {released:?}");
        self.keep(buy, bought);
    }

    /// The outcome of a request; now and then asked twice at once, now and then once more after.
    fn ask(&mut self, request: Request) -> Response {
        let answer = if self.dice.percent(20) {
            self.ask_twice_at_once(&request)
        } else {
            self.clients[0].ask(&request)
        };
        if is_outcome(&answer) && self.dice.percent(10) {
            let again = self.clients[1].ask(&request);
            assert_replayed(&request, (answer.status, &answer.body), &again);
        }
        self.keep(request, answer.clone());
        answer
    }

    /// Both get the same outcome, or one of them hears that the other is still running.
    fn ask_twice_at_once(&mut self, request: &Request) -> Response {
        let bytes = request.bytes();
        for client in &mut self.clients {
            client.send(&bytes).unwrap();
        }
        let [one, two] = self.clients.each_mut().map(|it| it.receive().unwrap());
        match (is_outcome(&one), is_outcome(&two)) {
            (true, true) => {
                let outcome = (one.status, &one.body);
                assert_eq!(outcome, (two.status, &two.body), "two outcomes under a key");
                let replays = [&one, &two].map(|it| it.header("idempotent-replayed").is_some());
                assert_ne!(replays[0], replays[1], "one is the first: {one:?} {two:?}");
                one
            }
            (true, false) => one,
            (false, true) => two,
            (false, false) => {
                assert!(!(is_pending(&one) && is_pending(&two)), "{one:?} {two:?}");
                one
            }
        }
    }

    fn keep(&mut self, request: Request, answer: Response) {
        let expected = match answer.status {
            201 | 402 => true,
            409 => matches!(
                answer.reason().as_str(),
                "sold_out"
                    | "per_user_limit"
                    | "promotion_exhausted"
                    | "promotion_not_applicable"
                    | "hold_expired"
                    | "hold_closed"
            ),
            429 => answer.header("retry-after").is_some(),
            _ => false,
        };
        assert!(expected, "{request:?}\n{answer:?}");
        if is_outcome(&answer) {
            self.asked.push(AnsweredBuy { request, answer });
        }
    }
}

/// Every hold on the drop has run out and every payment has ended.
fn settle(server: &Server) {
    until("holds have run out and payments have ended", || {
        let [_, held, _, _] = server.stock(DROP);
        let open = clients::status(server)["open_payments"].as_u64().unwrap();
        (held == 0 && open == 0).then_some(())
    });
}

/// No unit was lost on the way: those that are left can be sold, every one.
fn sell_what_is_left(server: &Server) -> Vec<AnsweredBuy> {
    let mut asked = Vec::new();
    let mut client = server.connect();
    let deadline = Instant::now() + PATIENCE;
    for buyer in (0..BUYERS).cycle() {
        let request = Request::buy(
            &format!("buyer-{buyer}"),
            DROP,
            "tok_ok",
            &format!("last-one-{}", asked.len()),
        );
        let answer = client.ask(&request);
        let sold_out = answer.reason() == "sold_out";
        let passed_over = matches!(answer.reason().as_str(), "rate_limited" | "per_user_limit");
        assert!(
            answer.status == 201 || sold_out || passed_over,
            "{answer:?}"
        );
        if is_outcome(&answer) {
            asked.push(AnsweredBuy { request, answer });
        }
        if sold_out {
            return asked;
        }
        assert!(Instant::now() < deadline, "nobody is left to buy");
    }
    unreachable!("the cycle of buyers has no end")
}

/// The process against what was answered; the purchases of the drop, id to units.
fn verify_live(server: &Server, asked: &[AnsweredBuy]) -> BTreeMap<String, u64> {
    let mut purchases = BTreeMap::new();
    let mut by_buyer: BTreeMap<String, u64> = BTreeMap::new();
    let mut promoted = 0;
    let charges = clients::charges(server);
    let mut client = server.connect();
    for AnsweredBuy { request, answer } in asked {
        if request.path != "/limited/buy" || answer.status != 201 {
            continue;
        }
        let told = answer.json();
        let id = told["purchase_id"].as_str().unwrap();
        assert_eq!(told["status"], "captured", "{told}");
        let units = told["quantity"].as_u64().unwrap();
        let twice = purchases.insert(id.to_owned(), units);
        assert_eq!(twice, None, "one purchase answered under two keys: {told}");
        let user = told["user_id"].as_str().unwrap().to_owned();
        *by_buyer.entry(user).or_default() += units;
        let half = told["promotion_code"] == CODE;
        promoted += u64::from(half);
        let due = 1999 * i64::try_from(units).unwrap();
        // Half off, to the cent below for the buyer or the shop.
        let amount = told["amount"]["value"].as_i64().unwrap();
        let fair = if half {
            (due / 2..=due / 2 + 1).contains(&amount)
        } else {
            amount == due
        };
        assert!(fair, "{told}");
        let charge = charges
            .get(id)
            .unwrap_or_else(|| panic!("not charged: {told}"));
        assert_eq!(
            (charge.state.as_str(), charge.captured),
            ("captured", amount)
        );
        let shown = client.ask(&Request::get(&format!("/limited/purchases/{id}")).key(SHOP));
        assert_eq!(shown.json(), told, "read back");
    }
    let sold: u64 = purchases.values().sum();
    assert_eq!(sold, UNITS, "each unit sold, and once");
    assert_eq!(server.stock(DROP), [UNITS, 0, UNITS, 0]);
    assert_eq!(server.stock(QUIET), [10, QUIET_HELD, 0, 10 - QUIET_HELD]);
    for (user, units) in &by_buyer {
        assert!(*units <= PER_BUYER, "{user} has {units}");
    }
    assert!(promoted <= PROMOTION_USES, "I2: {promoted}");
    let paid = charges.iter().filter(|(_, charge)| charge.captured > 0);
    let paid: BTreeSet<_> = paid.map(|(id, _)| id).collect();
    assert_eq!(paid, purchases.keys().collect(), "I8: money and goods");
    let open = charges
        .iter()
        .find(|(_, charge)| charge.state == "authorized");
    assert_eq!(open, None, "money set aside for nothing");
    purchases
}

/// The stopped directory: `check`, then every event of the log.
fn verify_stopped(data: &Path, purchases: &BTreeMap<String, u64>) -> (Value, Fold) {
    let figures = clients::check(data);
    let products = figures["products"].as_array().unwrap();
    let of = |id: &str| products.iter().find(|it| it["product_id"] == id).unwrap();
    assert_eq!(
        (&of(DROP)["sold"], &of(DROP)["held"]),
        (&json!(UNITS), &json!(0))
    );
    assert_eq!(of(QUIET)["held"], QUIET_HELD, "{figures}");
    assert_eq!(figures["open_payments"], 0, "{figures}");

    let fold = clients::fold_log(data);
    assert_eq!(figures["events"], fold.events, "log and check count alike");
    assert_eq!(fold.levels(DROP), (UNITS, 0));
    assert_eq!(fold.levels(QUIET), (0, QUIET_HELD));
    assert_eq!(fold.sold(), purchases.keys().cloned().collect());
    let promotions = figures["promotions"].as_array().unwrap();
    let uses = promotions.iter().find(|it| it["code"] == CODE).unwrap();
    assert_eq!(uses["uses"], fold.promotions[CODE].uses, "{uses}");
    // All of it happened: the figures above are not those of a quiet day.
    for kind in [
        "hold_expired",
        "hold_released",
        "payment_declined",
        "payment_captured",
    ] {
        assert!(fold.count(kind) > 0, "no {kind}");
    }
    for reason in ["sold_out", "per_user_limit"] {
        let refused = fold.refusals.get(reason).copied().unwrap_or(0);
        assert!(refused > 0, "nobody was refused for {reason}");
    }
    (figures, fold)
}

/// Every outcome again under its key.
fn replay_all(server: &Server, asked: &[AnsweredBuy]) -> usize {
    let mut client = server.connect();
    for AnsweredBuy { request, answer } in asked {
        let again = client.ask(request);
        assert_replayed(request, (answer.status, &answer.body), &again);
    }
    asked.len()
}

/// What the fold is for: each of these logs breaks one invariant, and it says which.
#[test]
fn a_log_that_breaks_an_invariant_is_reported_with_the_event() {
    let product =
        json!({"kind": "product_set", "product_id": "d", "stock": 2, "per_user_limit": 2});
    let code = json!({
        "kind": "promotion_set", "promotion_code": "c", "uses_max": 1, "uses_per_user_max": null,
    });
    let hold = |id: &str, user: &str, quantity: u64| {
        json!({
            "kind": "hold_placed", "purchase_id": id, "user_id": user, "product_id": "d",
            "quantity": quantity, "flow": "hold", "promotion_code": null,
            "idempotency": {"scope": format!("key of {id}")},
        })
    };
    let with = |mut event: Value, field: &str, value: Value| {
        event[field] = value;
        event
    };
    let of = |kind: &str, id: &str| json!({"kind": kind, "purchase_id": id, "user_id": "ana"});
    let same_key = json!({"scope": "key of p1"});
    let one = || hold("p1", "ana", 1);
    let cases: Vec<(&str, Vec<Value>)> = vec![
        (
            "",
            vec![one(), of("hold_expired", "p1"), hold("p2", "bo", 2)],
        ),
        (
            "I1: no unit is left",
            vec![hold("p1", "ana", 2), hold("p2", "bo", 1)],
        ),
        (
            "total below",
            vec![
                hold("p1", "ana", 2),
                with(product.clone(), "stock", json!(1)),
            ],
        ),
        (
            "I2",
            vec![
                with(one(), "promotion_code", json!("c")),
                with(hold("p2", "bo", 1), "promotion_code", json!("c")),
            ],
        ),
        (
            "I3",
            vec![one(), with(hold("p2", "bo", 1), "idempotency", same_key)],
        ),
        (
            "I4: placed twice",
            vec![one(), with(one(), "idempotency", Value::Null)],
        ),
        (
            "I4: ended before",
            vec![
                one(),
                of("payment_captured", "p1"),
                of("hold_expired", "p1"),
            ],
        ),
        (
            "above the buyer's limit",
            vec![
                hold("p1", "ana", 2),
                with(product.clone(), "stock", json!(3)),
                hold("p2", "ana", 1),
            ],
        ),
    ];
    for (expected, events) in cases {
        let mut fold = Fold::default();
        let all = [product.clone(), code.clone()].into_iter().chain(events);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (lsn, event) in all.enumerate() {
                fold.apply(&with(event, "lsn", json!(lsn)));
            }
        }));
        let told = told.err().map(|panic| *panic.downcast::<String>().unwrap());
        let told = told.unwrap_or_default();
        assert!(
            told.contains(expected) && told.is_empty() == expected.is_empty(),
            "{told}"
        );
    }
}
