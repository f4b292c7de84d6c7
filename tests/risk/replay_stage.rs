//! What the tests of the replay lab share: a journal in process under a clock that is set by hand,
//! attempts in a line each, and replays of what it wrote.
use holdfast::engine::command::{Buy, PaymentStep, PlaceHold};
use holdfast::engine::event::{DeclineCause, IdempotencyKey, Origin, ProductSet, RulesSource};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, KeyOwner, ProductId, PurchaseId,
    ReceiptKeyId, RequestId, UserId,
};
use holdfast::journal::{
    Audit, BuyOutcome, Clock, Journal, JournalError, JournalOptions, LogSettings, ManualClock,
    NewRules, log_extent, read_durable,
};
use holdfast::money::{Currency, Price};
use holdfast::replay::{Change, History, Plan, Replay, Report, Trial};
use holdfast::risk::compile;
use holdfast::time::UnixMs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::commands::{self, admin};

/// When everything begins.
pub const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;

/// A journal and its clock.
pub struct Stage {
    pub directory: tempfile::TempDir,
    pub clock: ManualClock,
    /// `None` only while it is opened again.
    open: Option<Arc<Journal>>,
    requests: u64,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Try {
    pub user: String,
    pub card: String,
    pub ip: Option<String>,
    pub device: Option<String>,
    pub product: String,
    pub quantity: u32,
    pub currency: &'static str,
}

/// What the card's issuer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    Accepts,
    Declines,
}

/// What came of an attempt to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Captured(PurchaseId),
    /// Authorized; a person is to decide.
    UnderReview(PurchaseId),
    Declined(PurchaseId),
    Refused(Refusal),
}

impl Try {
    pub fn new(user: &str, card: &str) -> Self {
        Self {
            user: user.to_owned(),
            card: card.to_owned(),
            ip: None,
            device: None,
            product: "drop-1".to_owned(),
            quantity: 1,
            currency: "USD",
        }
    }
}

impl Stage {
    pub fn new(settings: &EngineSettings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let journal = open(directory.path(), &clock, settings);
        Self {
            directory,
            clock,
            open: Some(journal),
            requests: 0,
        }
    }

    /// What a restart does.
    pub fn reopen(&mut self) {
        let settings = self.journal().settings().clone();
        self.journal().close();
        drop(self.open.take());
        let journal = open(self.directory.path(), &self.clock, &settings);
        let (rules, _) = journal.risk().rules();
        if let Some(in_force) = &rules.in_force {
            let compiled = compile(&in_force.set.text).expect("it was understood before");
            journal.risk().take_up_rules(compiled.set);
        }
        self.open = Some(journal);
    }

    pub fn journal(&self) -> &Journal {
        self.open.as_ref().expect("it is open")
    }

    /// It is `ms` after the beginning; never earlier than it was.
    pub fn at(&self, ms: u64) {
        let now = self.clock.wall();
        self.clock.advance_ms(BEGIN.plus_ms(ms).since_ms(now));
    }

    pub fn put_rules(&self, text: &str) {
        let compiled = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let new = NewRules {
            compiled: compiled.set,
            text: text.to_owned(),
            source: RulesSource::Administration,
            by: Some(admin()),
        };
        self.journal()
            .risk()
            .put_rules(new, Audit::Nothing)
            .expect("the log takes it");
    }

    pub fn put_product(&self, id: &str, stock: u32, prices: &[(&str, i64)]) {
        let price = |(code, minor): &(&str, i64)| (currency(code), Price::new(*minor).unwrap());
        let set = ProductSet {
            prices: prices.iter().map(price).collect(),
            ..commands::product_set(ProductId::parse(id).expect("an id"), stock)
        };
        let put = self.journal().catalogue().put_product(set);
        put.expect("it is written");
    }

    fn origin(&mut self, it: &Try) -> Origin {
        self.requests += 1;
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&self.requests.to_le_bytes());
        Origin {
            request: RequestId(self.requests),
            owner: KeyOwner::parse("shop").expect("an id"),
            key: Some(IdempotencyKey {
                scope: Digest16(digest),
                fingerprint: Digest16(digest),
            }),
            ip: it.ip.as_ref().map(|ip| ip.parse().expect("an address")),
            device: it.device.as_ref().map(|it| DeviceId::parse(it).unwrap()),
        }
    }

    pub fn hold(&mut self, it: &Try) -> Result<PurchaseId, Refusal> {
        let command = PlaceHold {
            quantity: it.quantity,
            currency: Some(currency(it.currency)),
            ..commands::hold(
                UserId::parse(&it.user).expect("an id"),
                ProductId::parse(&it.product).expect("an id"),
                self.origin(it),
            )
        };
        let submitted = self
            .journal()
            .place_hold(&command)
            .expect("the log takes it");
        match submitted.outcome {
            Ok(held) => Ok(held.purchase),
            Err(refused) => Err(refused.reason),
        }
    }

    /// Buys, or pays for `hold`, as far as the gateway and the rules let it come.
    pub fn buy(&mut self, it: &Try, hold: Option<PurchaseId>, issuer: Issuer) -> Ended {
        let command = Buy {
            quantity: it.quantity,
            currency: currency(it.currency),
            card: CardToken::parse(&it.card).expect("a token"),
            hold,
            ..commands::buy(
                UserId::parse(&it.user).expect("an id"),
                ProductId::parse(&it.product).expect("an id"),
                self.origin(it),
            )
        };
        let submitted = self.journal().buy(&command).expect("the log takes it");
        let purchase = match submitted.outcome {
            Ok(BuyOutcome::PaymentStarted(purchase)) => purchase,
            Err(refused) => return Ended::Refused(refused.reason),
            other => panic!("{other:?}"),
        };
        if issuer == Issuer::Declines {
            let declined = PaymentStep::declined(DeclineCause::DeclinedByIssuer);
            self.record(purchase, declined);
            return Ended::Declined(purchase);
        }
        let authorized = PaymentStep::Authorized {
            authorization: AuthorizationId::parse("auth").expect("an id"),
            capture_before: None,
        };
        self.record(purchase, authorized);
        let (view, _) = self
            .journal()
            .reads()
            .purchase(purchase)
            .expect("it was begun");
        if view.review.is_some() {
            let review = PaymentStep::OpenReview {
                within_ms: 24 * HOUR,
                margin_ms: HOUR,
            };
            self.record(purchase, review);
            return Ended::UnderReview(purchase);
        }
        self.record(purchase, PaymentStep::StartCapture);
        let captured = PaymentStep::captured(
            view.quote,
            CaptureId::parse("cap").expect("an id"),
            ReceiptKeyId::parse("r1").expect("an id"),
        );
        self.record(purchase, captured);
        Ended::Captured(purchase)
    }

    pub fn record(&self, purchase: PurchaseId, step: PaymentStep) {
        let recorded = self.journal().record(purchase, step, Audit::Nothing);
        recorded.expect("it goes with the state");
    }

    /// Everything so far is durable.
    pub fn settle(&self) {
        let (_, end) = self.journal().risk().rules();
        self.journal().wait_durable(end).expect("the disk takes it");
    }
}

/// Opens it. A command that another test is just starting has this process's files, and their locks,
/// until it runs: that is waited for.
pub fn open(directory: &Path, clock: &ManualClock, settings: &EngineSettings) -> Arc<Journal> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Journal::open(options(directory, clock, settings.clone()), &mut |_| {}) {
            Err(JournalError::InUse { .. }) if Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.expect("it opens"),
        }
    }
}

fn options(directory: &Path, clock: &ManualClock, settings: EngineSettings) -> JournalOptions {
    JournalOptions {
        clock: Clock::Manual(clock.clone()),
        snapshot_every_bytes: 0,
        log: LogSettings {
            disk_free_bytes_min: 0,
            segment_bytes: 2 << 20,
            ring_bytes: 1 << 20,
            ..LogSettings::default()
        },
        engine: settings,
        ..JournalOptions::new(directory)
    }
}

pub fn currency(code: &str) -> Currency {
    Currency::parse(code).expect("listed")
}

/// One rule.
pub fn rule(name: &str, when: &str, then: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\nwhen = '{when}'\nthen = \"{then}\"\n")
}

/// The rules that `text` says, to be tried.
pub fn trial(text: &str) -> Trial {
    let compiled = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    Trial::Rules(compiled.set)
}

/// A replay without a model.
pub fn plan(trial: Trial, history: History) -> Plan {
    Plan {
        trial,
        model: None,
        history,
        keys_max: 1_000_000,
    }
}

/// What a replay of the log in `directory` says, and each attempt that changes side.
pub fn replay(directory: &Path, trial: Trial, history: History) -> (Report, Vec<Change>) {
    run(directory, plan(trial, history))
}

/// The same of any plan.
pub fn run(directory: &Path, plan: Plan) -> (Report, Vec<Change>) {
    let extent = log_extent(directory).expect("it can be read");
    let mut replay = Replay::new(plan, extent.first);
    let mut changes = Vec::new();
    let mut keep = |change| changes.push(change);
    read_durable(directory, &extent, &mut |entry| {
        replay.read(entry, &mut keep).expect("the rules are ours");
        ControlFlow::Continue(())
    })
    .expect("the log is good");
    let report = replay.finish(&mut keep);
    (report, changes)
}

/// Dice (splitmix64) with the same throws for the same seed.
pub struct SeededDice(u64);

impl SeededDice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// From `from` to `to` - 1.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
