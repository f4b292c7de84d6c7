//! The invariants of a drop, checked from outside: during the drop and after it.
//!
//! The poller reads the product as fast as it is answered. Afterwards every purchase that a buyer
//! was answered is read again and compared, pending ones are awaited, and abandoned holds must be
//! gone. Every wait has a deadline.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::buyers::{self, Bought};
use super::{Check, Drop, Verdict};
use crate::http::client::Client;

const POLL_EVERY: Duration = Duration::from_millis(2);
/// Facts of a purchase that may change after its answer.
const MOVING: [&str; 2] = ["updated_at", "history"];
const STILL_OPEN: [&str; 6] = [
    "held",
    "authorizing",
    "authorized",
    "under_review",
    "capturing",
    "voiding",
];

/// The stock of a product as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stock {
    total: i64,
    available: i64,
    held: i64,
    sold: i64,
}

impl Stock {
    fn read(drop: &Drop, client: &mut Client) -> Result<Self, String> {
        let path = format!("/limited/products/{}", drop.product);
        let answer = client.get(&path).map_err(|fault| fault.to_string())?;
        Self::of(&answer.json())
            .ok_or_else(|| format!("{path}: {} {}", answer.status, answer.text()))
    }

    fn of(product: &Value) -> Option<Self> {
        let number = |name: &str| product["stock"][name].as_i64();
        Some(Self {
            total: number("total")?,
            available: number("available")?,
            held: number("held")?,
            sold: number("sold")?,
        })
    }

    fn adds_up(self, stock: u32) -> bool {
        self.total == i64::from(stock)
            && self.total == self.available + self.held + self.sold
            && self.available >= 0
            && self.held >= 0
            && self.sold >= 0
    }
}

/// Reads the product until `over`, and judges each reading.
pub(crate) fn poll_stock(drop: &Drop, over: &AtomicBool, verdict: &Verdict) {
    let mut client = Client::new(&drop.target, &drop.key);
    let mut sold = 0;
    while !over.load(Ordering::Relaxed) {
        match Stock::read(drop, &mut client) {
            Ok(stock) => {
                judge(drop, stock, verdict);
                verdict.check(Check::SoldNeverFalls, stock.sold >= sold, || {
                    format!("{} after {sold}", stock.sold)
                });
                sold = stock.sold;
            }
            Err(why) => verdict.check(Check::StockAddsUp, false, || why),
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// Everything that can be judged once the buyers are done.
pub(crate) fn after(drop: &Drop, mut bought: Vec<Bought>, verdict: &Verdict) {
    let mut client = Client::new(&drop.target, &drop.key);
    match drained(drop, &mut client) {
        Ok(stock) => {
            judge(drop, stock, verdict);
            verdict.check(Check::HoldsExpire, stock.held == 0, || {
                format!("{} units are still held", stock.held)
            });
            bought.append(&mut buyers::late(drop, verdict, stock.available));
        }
        Err(why) => verdict.check(Check::HoldsExpire, false, || why),
    }
    let stands = settle(drop, &mut client, bought, verdict);
    for one in &stands {
        receipt(&mut client, &one.body, verdict);
    }
    per_user(drop, &stands, verdict);
    unique(&stands, verdict);
    let units = stands.iter().map(|b| quantity(&b.body)).sum::<i64>();
    match Stock::read(drop, &mut client) {
        Ok(stock) => {
            judge(drop, stock, verdict);
            verdict.check(Check::SoldMatches, stock.sold == units, || {
                format!("{} sold, {units} in the answers", stock.sold)
            });
        }
        Err(why) => verdict.check(Check::SoldMatches, false, || why),
    }
    let (stock, count) = (drop.stock, stands.len());
    eprintln!("{units} of {stock} units sold in {count} purchases");
}

fn judge(drop: &Drop, stock: Stock, verdict: &Verdict) {
    verdict.check(Check::StockAddsUp, stock.adds_up(drop.stock), || {
        format!("{stock:?}")
    });
    let within = stock.sold <= i64::from(drop.stock);
    verdict.check(Check::NeverOversold, within, || format!("{stock:?}"));
}

/// Reads every purchase again and returns those that stand.
fn settle(drop: &Drop, client: &mut Client, bought: Vec<Bought>, verdict: &Verdict) -> Vec<Bought> {
    let mut stands = Vec::new();
    for mut one in bought {
        let read = read_settled(drop, client, &one);
        if one.pending {
            verdict.check(Check::Readable, read.is_ok(), || format!("{read:?}"));
            if let Ok(read) = read
                && read["status"] == "captured"
            {
                one.body = read;
                stands.push(one);
            }
        } else {
            let difference = read.and_then(|read| difference(&one.body, &read));
            verdict.check(Check::Readable, difference.is_ok(), || {
                format!("{difference:?}")
            });
            stands.push(one);
        }
    }
    stands
}

/// The purchase as read now; of a pending one, once it is no longer open.
fn read_settled(drop: &Drop, client: &mut Client, one: &Bought) -> Result<Value, String> {
    let id = one.body["purchase_id"]
        .as_str()
        .ok_or_else(|| format!("no purchase_id in {}", one.body))?;
    let path = format!("/limited/purchases/{id}");
    let deadline = Instant::now() + drop.settle;
    loop {
        let answer = client.get(&path).map_err(|fault| fault.to_string())?;
        if answer.status != 200 {
            return Err(format!("{path}: {} {}", answer.status, answer.text()));
        }
        let body = answer.json();
        let open = body["status"]
            .as_str()
            .is_none_or(|s| STILL_OPEN.contains(&s));
        if !(one.pending && open) {
            return Ok(body);
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "{path} is still {} after {:?}",
                body["status"], drop.settle
            ));
        }
        std::thread::sleep(POLL_EVERY);
    }
}

/// Names the first fact of the answer that reads differently now.
fn difference(answered: &Value, read: &Value) -> Result<(), String> {
    let Some(facts) = answered.as_object() else {
        return Err(format!("the answer was no object: {answered}"));
    };
    for (name, value) in facts {
        if !MOVING.contains(&name.as_str()) && read.get(name) != Some(value) {
            return Err(format!(
                "{name}: {value} was answered, {} is read",
                read[name]
            ));
        }
    }
    Ok(())
}

fn receipt(client: &mut Client, purchase: &Value, verdict: &Verdict) {
    let receipt = &purchase["receipt"];
    let own = receipt["purchase_id"] == purchase["purchase_id"]
        && receipt["amount"] == purchase["amount"];
    verdict.check(
        Check::Receipt,
        own && receipt["receipt_id"].is_string(),
        || {
            format!(
                "{receipt} is not the receipt of {}",
                purchase["purchase_id"]
            )
        },
    );
    let answer = client.send("POST", "/receipts/verify", None, Some(receipt));
    let valid = answer.as_ref().is_ok_and(|a| a.json()["valid"] == true);
    verdict.check(Check::Receipt, valid, || {
        format!("{receipt} verifies as {answer:?}")
    });
}

fn per_user(drop: &Drop, stands: &[Bought], verdict: &Verdict) {
    let mut units: HashMap<&str, i64> = HashMap::new();
    for one in stands {
        *units.entry(&one.user).or_default() += quantity(&one.body);
    }
    for (user, units) in units {
        let within = units <= i64::from(drop.per_user_limit);
        verdict.check(Check::PerUserLimit, within, || {
            format!("{user} has {units} units")
        });
    }
}

fn unique(stands: &[Bought], verdict: &Verdict) {
    let mut seen = HashSet::new();
    for one in stands {
        for id in [&one.body["purchase_id"], &one.body["receipt"]["receipt_id"]] {
            verdict.check(Check::Unique, seen.insert(id.to_string()), || {
                format!("{id} came twice")
            });
        }
    }
}

/// The stock once nothing is held any more, or as it is at the deadline.
fn drained(drop: &Drop, client: &mut Client) -> Result<Stock, String> {
    let deadline = Instant::now() + Duration::from_secs(drop.hold_ttl_s.into()) + drop.settle;
    loop {
        let stock = Stock::read(drop, client)?;
        if stock.held == 0 || Instant::now() >= deadline {
            return Ok(stock);
        }
        std::thread::sleep(POLL_EVERY);
    }
}

fn quantity(purchase: &Value) -> i64 {
    purchase["quantity"].as_i64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_too_many_or_too_few_is_seen() {
        let stock = |available, held, sold| Stock {
            total: 10,
            available,
            held,
            sold,
        };
        assert!(stock(3, 3, 4).adds_up(10));
        assert!(!stock(3, 3, 5).adds_up(10));
        assert!(!stock(-1, 7, 4).adds_up(10));
        assert!(!stock(3, 3, 4).adds_up(11));
    }

    #[test]
    fn a_changed_fact_is_named_and_a_moving_one_is_not() {
        let answered = json!({"amount": 5, "updated_at": "a"});
        assert!(difference(&answered, &json!({"amount": 5, "updated_at": "b"})).is_ok());
        let why = difference(&answered, &json!({"amount": 6})).unwrap_err();
        assert!(why.starts_with("amount"), "{why}");
    }
}
