//! The buyers of a drop: each follows one script, with choices from the seed.
//!
//! 1. No buyer makes more than five holds and buys, so none reaches the rate limit of the demo.
//! 2. Requests with a stored outcome are repeated from time to time with the same key, and must be
//!    answered the same.
//! 3. Each buyer has a card of their own, as in a real drop: risk rules block a card that a crowd of
//!    buyers uses, and one that was declined often.
//! 4. Only answered requests are recorded: the later checks use these.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Check, Drop, Verdict};
use crate::http::client::{Answer, Client};
use crate::workload::SplitMix;

/// Late buyers sent at most; a drop that nobody wanted need not be bought empty.
const LATE_BUYERS_MAX: u32 = 1_000;

/// A purchase as the buyer was told of it.
#[derive(Debug, Clone)]
pub(crate) struct Bought {
    pub(crate) user: String,
    /// Body of the 201, or of the 202 that must be settled yet.
    pub(crate) body: Value,
    /// It was answered 202.
    pub(crate) pending: bool,
}

/// Lets all buyers loose and returns what they bought.
pub(crate) fn run(drop: &Drop, verdict: &Verdict) -> Vec<Bought> {
    let next = AtomicU32::new(0);
    let bought = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..u32::from(drop.connections).min(drop.buyers) {
            scope.spawn(|| {
                let mut client = Client::new(&drop.target, &drop.key);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= drop.buyers {
                        return;
                    }
                    let mut buyer = Buyer::new(drop, verdict, &mut client, number);
                    buyer.act();
                    let mut all = bought.lock().expect("nothing panics while it is held");
                    all.append(&mut buyer.bought);
                }
            });
        }
    });
    bought
        .into_inner()
        .expect("a panic in the scope has been passed on before")
}

/// Late buyers, one after the other: the first `available` of them must get a unit, the next one must not.
pub(crate) fn late(drop: &Drop, verdict: &Verdict, available: i64) -> Vec<Bought> {
    let mut client = Client::new(&drop.target, &drop.key);
    let mut bought = Vec::new();
    for n in 0..=u32::try_from(available).unwrap_or(0).min(LATE_BUYERS_MAX) {
        let mut buyer = Buyer::new(drop, verdict, &mut client, drop.buyers + n);
        buyer.buy_with(None, false);
        let got = !buyer.bought.is_empty();
        // With more units left than late buyers are sent, all of them are served.
        let expected = i64::from(n) < available;
        verdict.check(Check::SellsOut, got == expected, || {
            format!("late buyer {n} of {available} units: bought {got}")
        });
        bought.append(&mut buyer.bought);
    }
    bought
}

struct Buyer<'a> {
    drop: &'a Drop,
    verdict: &'a Verdict,
    client: &'a mut Client,
    user: String,
    /// Letters and digits only: the gateway takes nothing else.
    card_name: String,
    random: SplitMix,
    keys: u32,
    bought: Vec<Bought>,
}

impl<'a> Buyer<'a> {
    fn new(drop: &'a Drop, verdict: &'a Verdict, client: &'a mut Client, number: u32) -> Self {
        let mut random = SplitMix(drop.seed ^ (u64::from(number) << 32));
        // Neighbouring seeds draw alike at first.
        random.next();
        Self {
            user: format!("b{:08x}-{number}", drop.run),
            card_name: format!("b{:08x}x{number}", drop.run),
            drop,
            verdict,
            client,
            random,
            keys: 0,
            bought: Vec::new(),
        }
    }

    fn act(&mut self) {
        match self.random.below(10) {
            0..=3 => self.buy(None),
            4..=5 => {
                if let Some(hold) = self.hold() {
                    self.release(&hold);
                    self.buy(None);
                }
            }
            6..=7 => {
                if let Some(hold) = self.hold() {
                    self.buy(Some(&hold));
                }
            }
            // Abandoned: its expiry has to give the unit back.
            8 => {
                self.hold();
            }
            // Insists: one more than the limit allows.
            _ => (0..=self.drop.per_user_limit).for_each(|_| self.buy(None)),
        }
    }

    fn hold(&mut self) -> Option<String> {
        let body = json!({"user_id": self.user, "product_id": self.drop.product, "quantity": 1});
        let answer = self.post("hold", "/limited/holds", &body)?;
        let allowed = match (answer.status, answer.reason()) {
            (201, _) => answer.json()["status"] == "held",
            (409, reason) => matches!(reason, "sold_out" | "per_user_limit"),
            (status, reason) => always_allowed(status, reason),
        };
        self.judge("hold", &answer, allowed);
        let hold = answer.json()["hold_id"].as_str()?.to_owned();
        (answer.status == 201).then_some(hold)
    }

    fn release(&mut self, hold: &str) {
        let path = format!("/limited/holds/{hold}");
        let mut close = || self.client.send("DELETE", &path, None, None);
        let (first, again) = match (close(), close()) {
            (Ok(first), Ok(again)) => (first, again),
            (Err(fault), _) | (_, Err(fault)) => {
                self.verdict
                    .check(Check::AllowedAnswer, false, || fault.to_string());
                return;
            }
        };
        self.verdict
            .outcome("release", first.status, first.reason());
        let same = (first.status, &first.body) == (again.status, &again.body);
        // A hold that expired before it could be released is closed already.
        let expired = first.status == 409 && first.reason() == "hold_expired";
        self.verdict.check(
            Check::Release,
            (first.status == 200 && same) || expired,
            || {
                format!(
                    "{path}: {} {} then {} {}",
                    first.status,
                    first.text(),
                    again.status,
                    again.text()
                )
            },
        );
    }

    fn buy(&mut self, hold: Option<&str>) {
        let declined = self.random.below(20) == 0;
        self.buy_with(hold, declined);
    }

    fn buy_with(&mut self, hold: Option<&str>, declined: bool) {
        let card = if declined {
            &self.drop.declined_card
        } else {
            &self.drop.card
        };
        let card = card.replace("{buyer}", &self.card_name);
        let mut body = json!({
            "user_id": self.user, "product_id": self.drop.product, "quantity": 1,
            "currency": "USD", "card_token": card,
        });
        if let Some(hold) = hold {
            body["hold_id"] = json!(hold);
        }
        let Some(answer) = self.post("buy", "/limited/buy", &body) else {
            return;
        };
        let allowed = match (answer.status, answer.reason()) {
            (201, _) => answer.json()["status"] == "captured" && !declined,
            (202, _) => true,
            (402, reason) => reason == "payment_declined" && declined,
            (409, reason) => match hold {
                None => matches!(reason, "sold_out" | "per_user_limit"),
                Some(_) => reason == "hold_expired",
            },
            (status, reason) => always_allowed(status, reason),
        };
        self.judge("buy", &answer, allowed);
        if matches!(answer.status, 201 | 202) {
            self.bought.push(Bought {
                user: self.user.clone(),
                body: answer.json(),
                pending: answer.status == 202,
            });
        }
    }

    /// Posts under a fresh key; now and then again under the same key, and now and then something else under it.
    fn post(&mut self, what: &str, path: &str, body: &Value) -> Option<Answer> {
        self.keys += 1;
        let key = format!("{}-{}", self.user, self.keys);
        let answer = match self.client.send("POST", path, Some(&key), Some(body)) {
            Ok(answer) => answer,
            Err(fault) => {
                self.verdict
                    .check(Check::AllowedAnswer, false, || fault.to_string());
                return None;
            }
        };
        self.verdict.outcome(what, answer.status, answer.reason());
        // What is not remembered cannot be replayed; a 202 may have been settled in between.
        let remembered = matches!(answer.status, 201 | 402 | 403 | 409);
        if remembered && self.random.below(3) == 0 {
            self.replay(path, &key, body, &answer);
        }
        if remembered && self.random.below(10) == 0 {
            self.reuse(path, &key, body);
        }
        Some(answer)
    }

    fn replay(&mut self, path: &str, key: &str, body: &Value, first: &Answer) {
        match self.client.send("POST", path, Some(key), Some(body)) {
            Ok(again) => {
                let same = (first.status, &first.body) == (again.status, &again.body);
                self.verdict
                    .check(Check::Replay, same && again.replayed, || {
                        format!(
                            "{path} under {key}: {} {} then {} {} (marked: {})",
                            first.status,
                            first.text(),
                            again.status,
                            again.text(),
                            again.replayed
                        )
                    });
            }
            Err(fault) => self
                .verdict
                .check(Check::Replay, false, || fault.to_string()),
        }
    }

    fn reuse(&mut self, path: &str, key: &str, body: &Value) {
        let mut other = body.clone();
        other["quantity"] = json!(2);
        match self.client.send("POST", path, Some(key), Some(&other)) {
            Ok(answer) => {
                let refused = answer.status == 422 && answer.reason() == "idempotency_key_reused";
                self.verdict.check(Check::KeyReuse, refused, || {
                    format!("{path} under {key}: {} {}", answer.status, answer.text())
                });
            }
            Err(fault) => self
                .verdict
                .check(Check::KeyReuse, false, || fault.to_string()),
        }
    }

    fn judge(&self, what: &str, answer: &Answer, allowed: bool) {
        self.verdict.check(Check::AllowedAnswer, allowed, || {
            format!(
                "{what} by {}: {} {}",
                self.user,
                answer.status,
                answer.text()
            )
        });
    }
}

fn always_allowed(status: u16, reason: &str) -> bool {
    matches!(
        (status, reason),
        (429, "rate_limited") | (503, "overloaded")
    )
}
