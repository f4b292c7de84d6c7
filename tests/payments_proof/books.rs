//! The two books, once everything has ended: what the log says, and what the gateway has.

use crate::{World, is_good};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use support::clients::{say, status};
use support::money::reconciled;
use support::stripe_server::SECRET_KEY;
use support::{ADMIN, Request, Server, binary, until};

/// What was taken for a purchase, what went back, and what disputes took.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Money {
    pub captured: i64,
    pub refunded: i64,
    pub charged_back: i64,
}

/// What the log says.
#[derive(Default)]
pub struct Ours {
    /// Payments begun.
    pub intended: u64,
    /// By purchase that was captured.
    pub books: BTreeMap<String, Money>,
    /// Purchases whose money was given back before they were captured here.
    pub voided: BTreeSet<String>,
    /// Refunds that were found at the gateway.
    pub found: u64,
}

/// Waits until nothing is open, at the gateway's site neither; how many payments the sweeper ever
/// had to find.
pub fn settle(world: &World, server: &Server) -> u64 {
    until("every payment has ended", || {
        let open = server.ask(&Request::get("/admin/payments").key(ADMIN));
        let none = status(server)["open_payments"] == 0 && open.json()["total"] == 0;
        (none && world.stripe.all_taken()).then_some(())
    });
    let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("holdfast_payments_neglected_total "));
    line.expect("the metric is there").parse().unwrap()
}

/// Compares with the gateway in the running core, which books what it finds, until it finds nothing;
/// how many differences there were at first.
pub fn reconcile_running(server: &Server) -> usize {
    let mut first = None;
    until("reconciliation finds nothing", || {
        let found = differences(server);
        let _ = first.get_or_insert(found);
        (found == 0).then_some(())
    });
    first.unwrap_or_default()
}

fn differences(server: &Server) -> usize {
    let report = reconciled(server, "?full=true");
    assert_eq!(report["complete"], true, "{report}");
    let found = report["differences"].as_array().unwrap();
    // Whatever else there were, nobody would book it.
    let other = found.iter().find(|it| it["kind"] != "amount_differs");
    assert_eq!(other, None, "of {}", found.len());
    found.len()
}

/// `holdfast reconcile` finds no difference either, as the operator would ask.
pub fn reconcile_stopped(world: &World, data: &Path) {
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
        "[[auth.keys]]\nname = \"a\"\nrole = \"admin\"\nkey = \"a-key-of-the-proof-of-payments\"\n\
         [[receipts.hmac_keys]]\nid = \"r\"\nkey = \"a-receipt-key-of-the-proof-0123456789\"\n\
         [payments]\ngateway = \"stripe\"\n\
         [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"\n",
        world.stripe.base()
    )
}

/// What lost disputes took, as the operator sees it.
pub fn charged_back(world: &World, server: &Server) -> BTreeMap<String, i64> {
    let disputes = world.disputes.lock().unwrap();
    let shown = disputes.iter().map(|purchase| {
        let path = format!("/admin/purchases/{purchase}");
        let shown = server.ask(&Request::get(&path).key(ADMIN)).json();
        let of = |field: &str| shown[field]["value"].as_i64().unwrap();
        let taken = of("charged_back_amount");
        let nothing_left = of("amount") == of("refunded_amount") + taken;
        assert_eq!(
            shown["status"] == "charged_back",
            taken > 0 && nothing_left,
            "{shown}"
        );
        (purchase.clone(), taken)
    });
    shown.collect()
}

fn purchase_of(reference: &str) -> &str {
    let parts = reference.split('-').nth(2);
    parts.expect("it is made of the log, the purchase and the request")
}

impl Ours {
    /// Reads the log of a stopped directory.
    pub fn of(data: &Path, seed: u64, charged_back: BTreeMap<String, i64>) -> Self {
        let mut log = binary();
        log.arg("log").arg(data).stdout(Stdio::piped());
        let mut child = log.spawn().unwrap();
        let mut ours = Self::default();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            ours.apply(&serde_json::from_str(&line.unwrap()).unwrap(), seed);
        }
        assert!(child.wait().unwrap().success(), "holdfast log failed");
        for (purchase, amount) in charged_back {
            ours.book(&purchase).charged_back = amount;
        }
        ours
    }

    fn apply(&mut self, event: &Value, seed: u64) {
        let Some(purchase) = event["purchase_id"].as_str() else {
            return;
        };
        match event["kind"].as_str().unwrap() {
            "payment_started" => self.intended += 1,
            "payment_captured" => {
                let captured = Money {
                    captured: amount(&event["amount"]),
                    ..Money::default()
                };
                let twice = self.books.insert(purchase.to_owned(), captured);
                assert_eq!(twice, None, "{purchase} was captured twice");
            }
            "payment_declined" => {
                let user = event["user_id"].as_str().unwrap();
                let number = user.strip_prefix('b').unwrap().parse().unwrap();
                let declined = event["reason"] != "gateway_unavailable";
                assert!(
                    !(declined && is_good(seed, number)),
                    "nobody declined that: {event}"
                );
            }
            "payment_voided" => {
                self.voided.insert(purchase.to_owned());
            }
            "refund_succeeded" => self.book(purchase).refunded += amount(&event["amount"]),
            "refund_found" => {
                self.found += 1;
                self.book(purchase).refunded += amount(&event["amount"]);
            }
            _ => {}
        }
    }

    fn book(&mut self, purchase: &str) -> &mut Money {
        self.books.get_mut(purchase).expect("it was captured")
    }
}

fn amount(value: &Value) -> i64 {
    let plain = value.as_i64();
    plain.or_else(|| value["value"].as_i64()).unwrap()
}

/// The gateway's books and ours say the same.
pub fn compare(world: &World, ours: &Ours) {
    world.stripe.check();
    let mut charged: BTreeMap<String, Money> = BTreeMap::new();
    for (reference, intents) in world.stripe.by_reference() {
        let purchase = purchase_of(&reference).to_owned();
        for intent in intents {
            assert_ne!(
                intent.status, "requires_capture",
                "{reference} is set aside"
            );
            // What somebody else captured and the operator wanted voided.
            let given_back = intent.by_hand && intent.captured == intent.refunded;
            if intent.captured == 0 || given_back && ours.voided.contains(&purchase) {
                continue;
            }
            let money = Money {
                captured: intent.captured,
                refunded: intent.refunded,
                charged_back: intent.charged_back,
            };
            let twice = charged.insert(purchase.clone(), money);
            assert_eq!(twice, None, "{purchase} was charged twice");
        }
    }
    for (purchase, money) in &charged {
        let booked = ours.books.get(purchase);
        assert_eq!(booked, Some(money), "{purchase}: charges are captures");
    }
    assert_eq!(charged.len(), ours.books.len(), "charges are captures");
    for told in world.captured.lock().unwrap().iter() {
        assert!(ours.books.contains_key(told), "{told} was told as captured");
    }
}

/// What was done, in a line; each fault has to have come about.
pub fn tell(world: &World, ours: &Ours, reconciled: usize, seconds: f64) {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let disputed = world.disputes.lock().unwrap().len() as u64;
    let money = ours.books.values();
    say(&format!(
        "payments: {} payments, {} captured, {} refunds told, {} at the gateway's site ({} found, {reconciled} by \
         reconciliation), {} captures there settled and {} voided, {} disputes ({} lost), {} requests too \
         many, {} intents and {} webhooks at the gateway, {seconds:.0} s",
        world.payments,
        ours.books.len(),
        count(&world.refunded),
        count(&world.refunded_at_site),
        ours.found,
        count(&world.settled),
        count(&world.voided),
        disputed,
        money.filter(|it| it.charged_back > 0).count(),
        world.stripe.too_many(),
        world.stripe.books().len(),
        world.stripe.delivered().len(),
    ));
    for (what, number) in [
        ("refunds at the site", count(&world.refunded_at_site)),
        ("captures settled", count(&world.settled)),
        ("captures voided", count(&world.voided)),
        ("disputes", disputed),
        ("requests too many", u64::from(world.stripe.too_many())),
    ] {
        assert!(number > 0, "no {what}: the proof proves less than it says");
    }
}
