//! The little language of the scenario tests: steps separated by `·`, an expected outcome after
//! `→`. Names such as `h1` stand for the purchase that the step made and the key it came with.

use crate::came::{Came, of_any_kind};
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold, ReleaseHold};
use holdfast::engine::event::{
    Active, DeclineCause, Discount, IdempotencyKey, Origin, ProductSet, PromotionSet, VoidCause,
};
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{
    AuthorizationId, CaptureId, Digest16, KeyOwner, ProductId, PromotionCode, PurchaseId,
    ReceiptKeyId, RequestId, UserId,
};
use holdfast::journal::{Audit, Clock, Journal, JournalOptions, ManualClock, Submitted};
use holdfast::money::Price;
use holdfast::time::UnixMs;
use std::collections::HashMap;
use std::sync::Arc;
use support::commands::{self, admin, usd};

/// The instant at which every scenario begins, in Unix milliseconds.
const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
/// The price of a unit, in cents.
const PRICE: i64 = 2_000;

/// Runs a scenario; panics with the step at which it went otherwise.
pub fn check(scenario: &str) {
    let mut stage = Stage::new();
    for step in scenario.split('·').map(str::trim) {
        stage.run(step);
        stage.check_invariants(step);
    }
    stage.reopen("after the scenario");
    holdfast::journal::check(stage.directory.path(), &EngineSettings::default())
        .expect_err("a running directory is not checked");
    stage.journal.close();
    drop(stage.journal);
    let report = holdfast::journal::check(stage.directory.path(), &EngineSettings::default())
        .unwrap_or_else(|error| panic!("{scenario}: {error}"));
    assert_eq!(report.torn_tail, None, "a closed log ends whole");
}

struct Stage {
    directory: tempfile::TempDir,
    clock: ManualClock,
    journal: Arc<Journal>,
    attempts: HashMap<String, NamedAttempt>,
    keys: u8,
}

/// What a name stands for.
#[derive(Clone)]
struct NamedAttempt {
    command: Command,
    purchase: Option<PurchaseId>,
}

#[derive(Clone)]
enum Command {
    Hold(PlaceHold),
    Buy(Buy),
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let journal = open(directory.path(), &clock);
        Self {
            directory,
            clock,
            journal,
            attempts: HashMap::new(),
            keys: 0,
        }
    }

    fn run(&mut self, step: &str) {
        let (act, expected) = match step.split_once('→') {
            Some((act, expected)) => (act.trim(), Some(expected.trim())),
            None => (step, None),
        };
        let words: Vec<&str> = act.split_whitespace().collect();
        let found = match words[0] {
            "stock" => self.stock(&words[1..]),
            "promo" => self.promo(&words[1..]),
            "hold" => self.hold(&words[1..]),
            "buy" => self.buy(&words[1..]),
            "pay" => self.pay(&words[1..]),
            "release" => self.release(words[1]),
            "replay" => self.replay(words[1]),
            "reuse" => self.reuse(words[1]),
            "show" => self.state_of(words[1]),
            "levels" => return self.levels(words[1], words[2], step),
            "amount" => return self.amount(words[1], words[2], step),
            "tick" => return self.tick(words[1]),
            "wall" => return self.wall(words[1]),
            "reopen" => return self.reopen(step),
            "snapshot" => {
                self.journal.upkeep().snapshot().expect("a snapshot");
                return;
            }
            verb => self.record(verb, words[1]),
        };
        let expected = expected.unwrap_or("set");
        assert_eq!(found, expected, "step `{step}`");
    }

    fn origin(&mut self) -> Origin {
        self.keys += 1;
        Origin {
            request: RequestId(u64::from(self.keys)),
            owner: owner(),
            key: Some(IdempotencyKey {
                scope: Digest16([self.keys; 16]),
                fingerprint: Digest16([self.keys; 16]),
            }),
            ip: Some("192.0.2.7".parse().expect("an address")),
            device: None,
        }
    }

    fn stock(&mut self, words: &[&str]) -> String {
        let mut set = ProductSet {
            prices: vec![(usd(), Price::new(PRICE).expect("a price"))],
            ..commands::product_set(product(words[0]), words[1].parse().expect("units"))
        };
        let after_ms = |word: &str| BEGIN.plus_ms(word.parse().expect("milliseconds"));
        for pair in words[2..].windows(2) {
            match pair[0] {
                "limit" => set.per_user_limit = Some(pair[1].parse().expect("units")),
                "opens" => set.starts_at = Some(after_ms(pair[1])),
                "closes" => set.ends_at = Some(after_ms(pair[1])),
                _ => {}
            }
        }
        if words.contains(&"off") {
            set.active = Active::No;
        }
        match self.journal.catalogue().put_product(set) {
            Ok(_) => "set".to_owned(),
            Err(error) => {
                let refusal = error.refusal().expect("the log takes it");
                refusal.reason().to_owned()
            }
        }
    }

    fn promo(&mut self, words: &[&str]) -> String {
        let mut set = PromotionSet {
            code: PromotionCode::parse(words[0]).expect("a code"),
            discount: Discount::Percent(words[1].trim_end_matches('%').parse().expect("percent")),
            uses_max: 0,
            uses_per_user_max: None,
            products: Vec::new(),
            segments: Vec::new(),
            starts_at: None,
            ends_at: None,
            active: Active::Yes,
            by: admin(),
        };
        for pair in words[2..].windows(2) {
            match pair[0] {
                "uses" => set.uses_max = pair[1].parse().expect("uses"),
                "each" => set.uses_per_user_max = Some(pair[1].parse().expect("uses")),
                _ => {}
            }
        }
        match self.journal.catalogue().put_promotion(set) {
            Ok(_) => "set".to_owned(),
            Err(error) => {
                let refusal = error.refusal().expect("the log takes it");
                refusal.reason().to_owned()
            }
        }
    }

    fn hold(&mut self, words: &[&str]) -> String {
        let command = PlaceHold {
            quantity: words[3].parse().expect("units"),
            promotion: words
                .get(4)
                .map(|code| PromotionCode::parse(code).expect("a code")),
            ..commands::hold(user(words[1]), product(words[2]), self.origin())
        };
        self.submit(words[0], Command::Hold(command))
    }

    fn buy(&mut self, words: &[&str]) -> String {
        let command = Buy {
            quantity: words[3].parse().expect("units"),
            ..commands::buy(user(words[1]), product(words[2]), self.origin())
        };
        self.submit(words[0], Command::Buy(command))
    }

    /// `pay h1` or `pay h1 as bo`: buys what the hold h1 holds; afterwards `paid` is that buy, and
    /// with `pay h1 named t1`, `t1` is.
    fn pay(&mut self, words: &[&str]) -> String {
        let NamedAttempt {
            command: Command::Hold(held),
            purchase,
        } = self.attempts[words[0]].clone()
        else {
            panic!("{} is no hold", words[0])
        };
        let command = Buy {
            quantity: held.quantity,
            hold: purchase,
            ..commands::buy(
                match words {
                    [_, "as", name] => user(name),
                    _ => held.user,
                },
                held.product,
                self.origin(),
            )
        };
        let name = match words {
            [_, "named", name] => name,
            _ => "paid",
        };
        self.submit(name, Command::Buy(command))
    }

    fn submit(&mut self, name: &str, command: Command) -> String {
        let submitted = self.send(&command);
        let (word, purchase) = self.told(&submitted);
        self.attempts
            .insert(name.to_owned(), NamedAttempt { command, purchase });
        word
    }

    fn send(&self, command: &Command) -> Submitted<Came> {
        let submitted = match command {
            Command::Hold(command) => self.journal.place_hold(command).map(of_any_kind),
            Command::Buy(command) => self.journal.buy(command).map(of_any_kind),
        };
        submitted.expect("the log takes it")
    }

    fn told(&self, submitted: &Submitted<Came>) -> (String, Option<PurchaseId>) {
        if let Some(lsn) = submitted.durable_at {
            self.journal.wait_durable(lsn).expect("durable");
        }
        match &submitted.outcome {
            Ok(Came::Hold(view)) => (view.state.as_str().to_owned(), Some(view.purchase)),
            Ok(Came::PaymentStarted(id)) => {
                let (view, _) = self.journal.reads().purchase(*id).expect("it was begun");
                (view.state.as_str().to_owned(), Some(*id))
            }
            Ok(Came::Paid(view)) => (view.state.as_str().to_owned(), Some(view.purchase)),
            Ok(Came::Refund(_) | Came::Spent) => {
                unreachable!("scenarios neither refund nor spend")
            }
            Ok(Came::Declined(view)) => (view.reason.reason().to_owned(), Some(view.purchase)),
            Err(refused) => (refused.reason.reason().to_owned(), None),
        }
    }

    fn release(&mut self, name: &str) -> String {
        let mut origin = self.origin();
        origin.key = None;
        let hold = self.purchase(name);
        let submitted = self.journal.release_hold(&ReleaseHold {
            origin,
            hold,
            user: None,
        });
        self.told(&of_any_kind(submitted.expect("the log takes it")))
            .0
    }

    /// The same under the same key, as a request of its own.
    fn replay(&mut self, name: &str) -> String {
        let request = self.origin().request;
        let mut attempt = self.attempts[name].clone();
        match &mut attempt.command {
            Command::Hold(command) => command.origin.request = request,
            Command::Buy(command) => command.origin.request = request,
        }
        self.told(&self.send(&attempt.command)).0
    }

    /// The same key with another request.
    fn reuse(&mut self, name: &str) -> String {
        let mut attempt = self.attempts[name].clone();
        let origin = match &mut attempt.command {
            Command::Hold(command) => &mut command.origin,
            Command::Buy(command) => &mut command.origin,
        };
        origin.key.as_mut().expect("it has one").fingerprint = Digest16([0; 16]);
        self.told(&self.send(&attempt.command)).0
    }

    fn record(&mut self, verb: &str, name: &str) -> String {
        let step = match verb {
            "authorized" => PaymentStep::Authorized {
                authorization: AuthorizationId::parse("auth-1").expect("an id"),
                capture_before: None,
            },
            "declined" => PaymentStep::declined(DeclineCause::DeclinedByIssuer),
            "unavailable" => PaymentStep::declined(DeclineCause::GatewayUnavailable),
            "capturing" => PaymentStep::StartCapture,
            "captured" => PaymentStep::captured(
                self.journal
                    .reads()
                    .purchase(self.purchase(name))
                    .expect("it was begun")
                    .0
                    .quote,
                CaptureId::parse("cap-1").expect("an id"),
                ReceiptKeyId::parse("r1").expect("an id"),
            ),
            "voiding" => PaymentStep::StartVoid {
                cause: VoidCause::CaptureRefused,
                code: None,
                within_ms: 60_000,
                by: None,
            },
            "voided" => PaymentStep::voided(),
            other => panic!("no such step: {other}"),
        };
        let purchase = self.purchase(name);
        match self.journal.record(purchase, step, Audit::Nothing) {
            Ok(recorded) => recorded.view.state.as_str().to_owned(),
            Err(error) => (error.refusal().expect("the log takes it").reason()).to_owned(),
        }
    }

    fn state_of(&self, name: &str) -> String {
        let (view, _) = self
            .journal
            .reads()
            .purchase(self.purchase(name))
            .expect("it was begun");
        view.state.as_str().to_owned()
    }

    /// `levels drop-1 1/2/3`: available, held, sold.
    fn levels(&self, name: &str, expected: &str, step: &str) {
        let (view, _) = self
            .journal
            .reads()
            .product(&product(name))
            .expect("it was set");
        let found = format!("{}/{}/{}", view.available(), view.held, view.sold);
        assert_eq!(found, expected, "step `{step}`");
    }

    fn amount(&self, name: &str, expected: &str, step: &str) {
        let (view, _) = self
            .journal
            .reads()
            .purchase(self.purchase(name))
            .expect("it was begun");
        assert_eq!(
            view.quote.amount.get().to_string(),
            expected,
            "step `{step}`"
        );
    }

    fn tick(&self, ms: &str) {
        self.clock.advance_ms(ms.parse().expect("milliseconds"));
        self.journal.upkeep().sweep().expect("the log takes it");
    }

    /// Somebody sets the wall clock, by so many milliseconds.
    fn wall(&self, ms: &str) {
        self.clock.step_ms(ms.parse().expect("milliseconds"));
        self.journal.upkeep().sweep().expect("the log takes it");
    }

    fn reopen(&mut self, step: &str) {
        let before = self.journal.upkeep().digest();
        self.journal.close();
        // The directory's lock goes with the last owner.
        let closed = std::mem::replace(&mut self.journal, open(&scratch(), &self.clock));
        drop(closed);
        self.journal = open(self.directory.path(), &self.clock);
        assert_eq!(self.journal.opened().digest, before, "I6 at `{step}`");
        assert_eq!(
            self.journal.opened().torn_tail,
            None,
            "a closed log ends whole"
        );
    }

    /// I1 from outside: nothing is made or lost, at every step.
    fn check_invariants(&self, step: &str) {
        for view in self.journal.reads().products().0 {
            assert_eq!(
                view.total,
                view.available() + view.held + view.sold,
                "I1 at `{step}`"
            );
            assert!(view.held + view.sold <= view.total, "I1 at `{step}`");
        }
        for view in self
            .journal
            .reads()
            .promotions_after("", usize::MAX)
            .0
            .entries
        {
            assert!(view.uses <= view.uses_max, "I2 at `{step}`");
        }
    }

    fn purchase(&self, name: &str) -> PurchaseId {
        self.attempts[name]
            .purchase
            .unwrap_or_else(|| panic!("{name} made no purchase"))
    }
}

fn open(path: &std::path::Path, clock: &ManualClock) -> Arc<Journal> {
    let mut options = JournalOptions::new(path);
    options.clock = Clock::Manual(clock.clone());
    options.engine.bounds.velocity_keys_max = 4_096;
    options.log.segment_bytes = 2 << 20;
    options.log.ring_bytes = 1 << 20;
    Journal::open(options, &mut |_| {}).expect("the directory opens")
}

/// A directory that stands in for a moment while the real one is closed.
fn scratch() -> std::path::PathBuf {
    tempfile::tempdir().expect("a temporary directory").keep()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user")
}

fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a product")
}

fn owner() -> KeyOwner {
    KeyOwner::parse("shop").expect("a name")
}
