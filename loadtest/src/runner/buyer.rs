//! One buyer: who it is, what it asks for, and what it does about the answers.
//!
//! 1. The first request is due when the buyer arrives, each later one when the buyer has read the answer before and thought.
//!    The latency of a request counts from when it was due.
//! 2. An idempotency key is used again only by a retry with `key = "same"` and by `repeat`.

use std::fmt::Write as _;
use std::time::Instant;

use bytes::Bytes;
use hyper::Method;

use super::pool::{Answer, Ask, NoAnswer};
use super::worker::Worker;
use crate::scenario::file::{Flow, Mix, RetryKey};
use crate::scenario::threshold::StepName;

/// A buyer of one arrival.
pub(crate) struct Buyer<'a> {
    worker: &'a Worker,
    mix: &'a Mix,
    number: u64,
    product: usize,
}

impl<'a> Buyer<'a> {
    /// The next buyer of `worker`.
    pub(crate) fn new(worker: &'a Worker) -> Self {
        let turn = worker.turn();
        let scenario = &worker.setup.scenario;
        let buyers = &scenario.buyers;
        let products = &scenario.products;
        let of = worker.setup.products.len();
        let product = worker.draw(products.pick, of as u64, turn);
        Self {
            worker,
            mix: scenario.mix.at(worker.random()),
            number: worker.draw(buyers.pick, buyers.count.get() as u64, turn),
            product: usize::try_from(product).unwrap_or(0).min(of - 1),
        }
    }

    /// The first request of this buyer.
    pub(crate) fn first_step(&self) -> StepName {
        match self.mix.flow {
            Flow::Hold | Flow::HoldThenPay | Flow::HoldThenRelease => StepName::Hold,
            Flow::Buy => StepName::Buy,
            Flow::Read => StepName::Read,
        }
    }

    /// Does everything; false if the last request had no answer.
    pub(crate) async fn act(self, due: Instant) -> bool {
        match self.mix.flow {
            Flow::Hold => self.hold(due).await.is_ok(),
            Flow::Buy => self.buy(StepName::Buy, None, due).await,
            Flow::Read => {
                let path = format!("/limited/products/{}", self.product_id());
                let read = ask(Method::GET, path, String::new());
                self.step(StepName::Read, read, due).await.is_ok()
            }
            Flow::HoldThenPay => match self.hold(due).await {
                Err(_) => false,
                Ok(None) => true,
                Ok(Some(hold)) => {
                    let due = self.think().await;
                    self.buy(StepName::Pay, Some(&hold), due).await
                }
            },
            Flow::HoldThenRelease => match self.hold(due).await {
                Err(_) => false,
                Ok(None) => true,
                Ok(Some(hold)) => {
                    let due = self.think().await;
                    let release = ask(
                        Method::DELETE,
                        format!("/limited/holds/{hold}"),
                        String::new(),
                    );
                    self.step(StepName::Release, release, due).await.is_ok()
                }
            },
        }
    }

    /// The id of the hold, if one was placed.
    async fn hold(&self, due: Instant) -> Result<Option<String>, NoAnswer> {
        let body = self.order();
        let ask = ask(Method::POST, "/limited/holds".to_owned(), body + "}");
        let answer = self.step(StepName::Hold, ask, due).await?;
        if answer.status != 201 {
            return Ok(None);
        }
        let hold = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let id = hold["hold_id"].as_str().filter(|id| is_id(id));
        Ok(id.map(str::to_owned))
    }

    async fn buy(&self, step: StepName, hold: Option<&str>, due: Instant) -> bool {
        let scenario = &self.worker.setup.scenario;
        let mut body = self.order();
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            body,
            r#","currency":"{}","card_token":""#,
            scenario.products.currency.0
        );
        let card = scenario.cards.at(self.worker.random());
        card.token
            .write(self.worker.setup.run, self.number, &mut body);
        body.push('"');
        if let Some(hold) = hold {
            let _ = write!(body, r#","hold_id":"{hold}""#);
        }
        body.push('}');
        let ask = ask(Method::POST, "/limited/buy".to_owned(), body);
        self.step(step, ask, due).await.is_ok()
    }

    /// The fields that a hold and a buy have in common, without the last brace.
    fn order(&self) -> String {
        let mut body = String::with_capacity(256);
        let (run, number) = (self.worker.setup.run, self.number);
        let _ = write!(
            body,
            r#"{{"user_id":"u{run:08x}-{number}","product_id":"{}","quantity":{}"#,
            self.product_id(),
            self.mix.quantity.get()
        );
        if self.worker.setup.scenario.buyers.origin {
            let (high, low) = (number >> 16 & 0xffff, number & 0xffff);
            let _ = write!(
                body,
                r#","ip":"fd00:{high:x}:{low:x}::1","device_id":"d{run:08x}-{number}""#
            );
        }
        body
    }

    fn product_id(&self) -> &str {
        &self.worker.setup.products[self.product]
    }

    async fn think(&self) -> Instant {
        let pause = self.mix.think_ms.at(self.worker.random());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Instant::now()
    }

    /// One request with its retries and repeats; the last answer counts.
    async fn step(&self, step: StepName, mut ask: Ask, due: Instant) -> Result<Answer, NoAnswer> {
        let retries = &self.worker.setup.scenario.retries;
        let mut used = vec![0; retries.len()];
        let has_key = ask.method == Method::POST;
        ask.key = has_key.then(|| self.worker.key());
        let mut due = due;
        let outcome = loop {
            let outcome = self.once(step, &ask, due).await;
            let rule = retries.iter().position(|rule| is_about(&rule.on, &outcome));
            let Some(at) = rule.filter(|at| used[*at] < retries[*at].times.get()) else {
                break outcome;
            };
            used[at] += 1;
            let pause = retries[at].pause_ms.at(self.worker.random());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            if has_key && retries[at].key == RetryKey::New {
                ask.key = Some(self.worker.key());
            }
            due = Instant::now();
        };
        if has_key && outcome.is_ok() {
            for _ in 0..self.mix.repeat.get() {
                // Counted like any other request; nothing depends on what it says.
                let _ = self.once(step, &ask, Instant::now()).await;
            }
        }
        outcome
    }

    async fn once(&self, step: StepName, ask: &Ask, due: Instant) -> Result<Answer, NoAnswer> {
        let open = self.worker.tally.begin(step, due);
        let sent = self.worker.pool.send(ask);
        let answer = tokio::time::timeout(self.worker.setup.timeout, sent).await;
        match answer.unwrap_or(Err(NoAnswer("no answer in time"))) {
            Ok(answer) => {
                open.answered(&answer);
                let is_new = answer.status == 201 && !answer.replayed;
                if is_new && matches!(step, StepName::Buy | StepName::Pay) {
                    let units = self.mix.quantity.get() as u64;
                    self.worker.tally.bought(self.product, units);
                }
                Ok(answer)
            }
            Err(why) => {
                open.failed(why);
                Err(why)
            }
        }
    }
}

fn ask(method: Method, path: String, body: String) -> Ask {
    Ask {
        method,
        path,
        key: None,
        body: Bytes::from(body),
    }
}

/// Whether a retry's `on` names this outcome.
fn is_about(on: &str, outcome: &Result<Answer, NoAnswer>) -> bool {
    match outcome {
        Err(_) => on == "no_answer",
        Ok(answer) => {
            let by_reason = || crate::http::response::reason(&answer.body) == Some(on);
            answer.status >= 400 && (on.parse() == Ok(answer.status) || by_reason())
        }
    }
}

/// Whether an answer's id may go into a path and into JSON as it is.
fn is_id(id: &str) -> bool {
    crate::scenario::file::Id::try_from(id.to_owned()).is_ok()
}
