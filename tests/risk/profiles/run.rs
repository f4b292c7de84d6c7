//! A run of attempts and what becomes of them: a journal with rules, a model and a product, and random
//! steps over it.

use holdfast::engine::command::{
    Buy, NamedCurrency, PaymentStep, PlaceHold, ReceiveWebhook, SpendTokens, StartRefund, Verdict,
};
use holdfast::engine::event::{
    BuyerPaused, BuyerRated, Decider, DeclineCause, IdempotencyKey, Judgement, ModelInForce,
    Origin, Pause, ProductSet, Rating, Restock, RulesSource, WebhookFormat, WebhookKind,
};
use holdfast::engine::profile::Profile;
use holdfast::engine::risk::scoring::{FeaturesWritten, LoadedModel};
use holdfast::engine::settings::{EngineSettings, RateLimit};
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, KeyOwner, ProductId, PurchaseId,
    ReceiptKeyId, RequestId, UserId, WebhookEventId,
};
use holdfast::journal::{
    Audit, BuyOutcome, Clock, Journal, JournalOptions, LogSettings, ManualClock, NewRules,
    NewScoring, RefundOutcome, digest_of,
};
use holdfast::money::{Amount, Tokens};
use holdfast::risk::compile;
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::commands::{self, admin};

pub const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;
pub const USERS: u8 = 4;

pub const RULES: &str = "
[[rule]]
name = \"declines\"
when = \"count(declined by user last 1h) >= 3\"
then = \"block\"
[[rule]]
name = \"two at once\"
when = \"quantity >= 2\"
then = \"review\"
[[rule]]
name = \"scored\"
when = \"risk_score >= 600\"
then = \"observe\"
";

pub const MODEL: &str = "{
 \"format\": \"holdfast-risk-model/1\", \"features\": 1, \"kind\": \"logistic\", \"intercept\": -1.0,
 \"inputs\": [
  {\"feature\": \"attempts_user_1h\", \"weight\": 0.5, \"mean\": 1.0, \"scale\": 1.0, \"missing\": 0.0},
  {\"feature\": \"users_ip_1h\", \"weight\": 0.7, \"mean\": 1.0, \"scale\": 1.0, \"missing\": 1.5}
 ]
}";

pub fn open(directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let options = JournalOptions {
        clock: Clock::Manual(clock.clone()),
        snapshot_every_bytes: 0,
        log: LogSettings {
            disk_free_bytes_min: 0,
            segment_bytes: 4 << 20,
            ring_bytes: 4 << 20,
            ..LogSettings::default()
        },
        engine: EngineSettings {
            rate: RateLimit {
                count: 4,
                window_ms: 1_000,
            },
            ..EngineSettings::default()
        },
        ..JournalOptions::new(directory)
    };
    let journal = Journal::open(options, &mut |_| {}).expect("it opens");
    let new = NewScoring {
        features: FeaturesWritten::Always,
        model: Some(model()),
    };
    journal.risk().put_scoring(new).expect("the log takes it");
    if journal.risk().rules().0.in_force.is_some() {
        journal
            .risk()
            .take_up_rules(compile(RULES).expect("they are fine").set);
    }
    journal
}

pub fn model() -> (LoadedModel, ModelInForce) {
    let parsed = holdfast::risk::model::parse(MODEL).expect("it is fine");
    let digest = digest_of(MODEL);
    let named = ModelInForce {
        digest,
        kind: parsed.model.kind().to_owned(),
        name: parsed.name,
    };
    let model = Arc::new(parsed.model);
    (LoadedModel { model, digest }, named)
}

/// A new journal with rules, scoring and a product in force.
pub fn begin(directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let journal = open(directory, clock);
    let new = NewRules {
        compiled: compile(RULES).expect("they are fine").set,
        text: RULES.to_owned(),
        source: RulesSource::Administration,
        by: None,
    };
    journal
        .risk()
        .put_rules(new, Audit::Nothing)
        .expect("the log takes it");
    let set = ProductSet {
        per_user_limit: Some(12),
        reward_tokens: 5,
        ..commands::product_set(product(), 1_000_000)
    };
    let put = journal.catalogue().put_product(set);
    put.expect("it is written");
    journal
}

/// What a restart does.
pub fn reopen(journal: Arc<Journal>, directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let (digest, counters) = (journal.upkeep().digest(), journal.risk().counters_digest());
    let before = profiles(&journal);
    journal.close();
    drop(journal);
    let journal = open(directory, clock);
    assert_eq!(journal.upkeep().digest(), digest, "the state");
    assert_eq!(journal.risk().counters_digest(), counters, "the counters");
    assert_eq!(profiles(&journal), before, "the profiles");
    journal
}

pub fn profiles(journal: &Journal) -> Vec<Option<Profile>> {
    (0..USERS)
        .map(|number| journal.reads().buyer(&user(number))?.0.profile)
        .collect()
}

pub fn product() -> ProductId {
    ProductId::parse("drop-1").expect("an id")
}

pub fn user(number: u8) -> UserId {
    UserId::parse(&format!("u{number}")).expect("an id")
}

static KEYS: AtomicU64 = AtomicU64::new(1);

pub fn key() -> IdempotencyKey {
    let mut digest = [0; 16];
    let number = KEYS.fetch_add(1, Ordering::Relaxed);
    digest[..8].copy_from_slice(&number.to_le_bytes());
    IdempotencyKey {
        scope: Digest16(digest),
        fingerprint: Digest16(digest),
    }
}

pub fn origin(ip: Option<u8>, device: Option<u8>) -> Origin {
    Origin {
        request: RequestId(1),
        owner: KeyOwner::parse("shop").expect("an id"),
        key: Some(key()),
        ip: ip.map(|ip| std::net::Ipv4Addr::new(192, 0, 2, ip).into()),
        device: device.and_then(|device| DeviceId::parse(&format!("d{device}"))),
    }
}

/// How an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    Hold,
    Buy,
    BuyTwo,
    BuyHeld,
    BuyTooMany,
    BuyUnknown,
}

/// How its payment ends, where one begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlannedEnd {
    Captured,
    Declined,
    Failed,
    Open,
}

#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub user: u8,
    pub card: u8,
    pub ip: Option<u8>,
    pub device: Option<u8>,
    pub how: How,
    pub ends: PlannedEnd,
}

#[derive(Clone, Debug)]
pub enum Step {
    Attempt(Attempt),
    Decide(bool, bool),
    Dispute(Option<bool>),
    Refund,
    Spend(u8),
    Rate(u8, u64),
    Pause(u8),
    Snapshot,
    Restart,
    Later(u64),
}

/// A run under way: purchases that something can be done to.
pub struct Run {
    pub journal: Arc<Journal>,
    pub holds: BTreeMap<u8, Vec<PurchaseId>>,
    pub captured: Vec<PurchaseId>,
    pub disputed: Vec<PurchaseId>,
    pub waiting: Vec<PurchaseId>,
    pub webhooks: u64,
}

impl Run {
    pub fn begin(directory: &Path, clock: &ManualClock) -> Self {
        Self {
            journal: begin(directory, clock),
            holds: BTreeMap::new(),
            captured: Vec::new(),
            disputed: Vec::new(),
            waiting: Vec::new(),
            webhooks: 0,
        }
    }

    pub fn step(&mut self, step: &Step, at: UnixMs) {
        match *step {
            Step::Attempt(attempt) => self.attempt(attempt),
            Step::Decide(approve, person) => self.decide(approve, person),
            Step::Dispute(lost) => self.dispute(lost, at),
            Step::Refund => self.refund(),
            Step::Spend(number) => {
                let tokens = self.journal.reads().tokens(&user(number)).0;
                if tokens > Tokens::NONE {
                    let command = SpendTokens {
                        user: user(number),
                        tokens,
                        origin: origin(None, None),
                    };
                    self.journal
                        .spend_tokens(&command)
                        .expect("the log takes it");
                }
            }
            Step::Rate(number, age_ms) => {
                let rated = BuyerRated {
                    user: user(number),
                    rating: Rating {
                        segment: None,
                        risk_score: Some(1_000),
                        account_since: Some(UnixMs::new(at.get() - age_ms)),
                    },
                    by: admin(),
                };
                let rated = self.journal.risk().rate_buyer(rated, Audit::Nothing);
                rated.expect("it is written");
            }
            Step::Pause(number) => {
                let paused = BuyerPaused {
                    user: user(number),
                    pause: Some(Pause {
                        until: at.plus_ms(5_000),
                        reason: "resale".to_owned(),
                    }),
                    by: admin(),
                };
                let paused = self.journal.risk().pause_buyer(paused, Audit::Nothing);
                paused.expect("it is written");
            }
            Step::Snapshot => drop(self.journal.upkeep().snapshot().expect("a snapshot")),
            Step::Restart | Step::Later(_) => unreachable!("the caller does these"),
        }
    }

    fn attempt(&mut self, it: Attempt) {
        let product = if it.how == How::BuyUnknown {
            ProductId::parse("none").expect("an id")
        } else {
            product()
        };
        let quantity = match it.how {
            How::BuyTwo => 2,
            How::BuyTooMany => 13,
            _ => 1,
        };
        if it.how == How::Hold {
            let command = PlaceHold {
                quantity,
                ..commands::hold(user(it.user), product, origin(it.ip, it.device))
            };
            let submitted = self.journal.place_hold(&command).expect("the log takes it");
            if let Ok(view) = submitted.outcome {
                self.holds.entry(it.user).or_default().push(view.purchase);
            }
            return;
        }
        let held = self.holds.entry(it.user).or_default();
        let command = Buy {
            quantity,
            card: CardToken::parse(&format!("tok_{}x", it.card)).expect("a token"),
            hold: if it.how == How::BuyHeld {
                held.pop()
            } else {
                None
            },
            ..commands::buy(user(it.user), product, origin(it.ip, it.device))
        };
        let submitted = self.journal.buy(&command).expect("the log takes it");
        let Ok(BuyOutcome::PaymentStarted(purchase)) = submitted.outcome else {
            return;
        };
        match it.ends {
            PlannedEnd::Open => {}
            PlannedEnd::Declined => {
                let cause = DeclineCause::DeclinedByIssuer;
                self.record(purchase, PaymentStep::declined(cause));
            }
            PlannedEnd::Failed => {
                let cause = DeclineCause::GatewayFailed;
                self.record(purchase, PaymentStep::declined(cause));
            }
            PlannedEnd::Captured => {
                let authorization = AuthorizationId::parse("auth").expect("an id");
                self.record(
                    purchase,
                    PaymentStep::Authorized {
                        authorization,
                        capture_before: None,
                    },
                );
                if quantity == 2 {
                    self.record(
                        purchase,
                        PaymentStep::OpenReview {
                            within_ms: HOUR,
                            margin_ms: 0,
                        },
                    );
                    self.waiting.push(purchase);
                } else {
                    self.capture(purchase);
                }
            }
        }
    }

    fn capture(&mut self, purchase: PurchaseId) {
        self.record(purchase, PaymentStep::StartCapture);
        self.captured(purchase);
    }

    fn captured(&mut self, purchase: PurchaseId) {
        let quote = self
            .journal
            .reads()
            .purchase(purchase)
            .expect("it was begun")
            .0
            .quote;
        self.record(
            purchase,
            PaymentStep::captured(
                quote,
                CaptureId::parse("cap").expect("an id"),
                ReceiptKeyId::parse("r1").expect("an id"),
            ),
        );
        self.captured.push(purchase);
    }

    fn record(&self, purchase: PurchaseId, step: PaymentStep) {
        let recorded = self.journal.record(purchase, step, Audit::Nothing);
        recorded.expect("it goes with the state");
    }

    fn decide(&mut self, approve: bool, person: bool) {
        let Some(purchase) = self.waiting.pop() else {
            return;
        };
        let decider = if person {
            Decider::Person(Judgement {
                by: admin(),
                note: "looked at".to_owned(),
            })
        } else {
            Decider::Deadline
        };
        let verdict = if approve {
            Verdict::Approve
        } else {
            Verdict::Reject
        };
        let step = PaymentStep::DecideReview {
            verdict,
            decider,
            void_within_ms: HOUR,
        };
        let recorded = self.journal.record(purchase, step, Audit::Nothing);
        // The deadline may not have come yet.
        if recorded.is_ok() && approve {
            self.captured(purchase);
        }
    }

    fn dispute(&mut self, lost: Option<bool>, at: UnixMs) {
        // One that is lost may be won later.
        let (purchase, kind) = match lost {
            None => (self.captured.pop(), WebhookKind::DisputeOpened),
            Some(true) => (self.disputed.last().copied(), WebhookKind::DisputeLost),
            Some(false) => (self.disputed.pop(), WebhookKind::DisputeWon),
        };
        let Some(purchase) = purchase else { return };
        if lost.is_none() {
            self.disputed.push(purchase);
        }
        self.webhooks += 1;
        let command = ReceiveWebhook {
            format: WebhookFormat::Holdfast,
            event_id: WebhookEventId::parse(&format!("e{}", self.webhooks)).expect("an id"),
            kind,
            nonce: Some(self.webhooks),
            happened_at: at,
            purchase: Some(purchase),
            dispute: None,
            amount: None,
            currency: NamedCurrency::None,
            code: None,
            request: RequestId(2),
        };
        let received = self.journal.webhooks().receive(&command);
        let _ = received.map_err(|error| error.refusal().expect("the log takes it"));
    }

    fn refund(&mut self) {
        let Some(purchase) = self.captured.pop() else {
            return;
        };
        let command = StartRefund {
            restock: Restock::No,
            purchase,
            amount: None,
            previously_refunded: Amount::ZERO,
            note: "wrong size".to_owned(),
            key: key(),
            by: admin(),
        };
        let submitted = self
            .journal
            .start_refund(&command, Audit::Nothing)
            .expect("the log takes it");
        if let Ok(RefundOutcome::Started(view)) = submitted.outcome {
            self.record(purchase, PaymentStep::Refunded(view.number));
        }
    }
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        1 => Just(How::Hold),
        4 => Just(How::Buy),
        2 => Just(How::BuyTwo),
        1 => Just(How::BuyHeld),
        1 => Just(How::BuyTooMany),
        1 => Just(How::BuyUnknown),
    ];
    let ends = prop_oneof![
        3 => Just(PlannedEnd::Captured),
        2 => Just(PlannedEnd::Declined),
        1 => Just(PlannedEnd::Failed),
        1 => Just(PlannedEnd::Open),
    ];
    let some = || proptest::option::of(0..3_u8);
    let attempt = (0..USERS, 0..5_u8, some(), some(), how, ends).prop_map(
        |(user, card, ip, device, how, ends)| {
            Step::Attempt(Attempt {
                user,
                card,
                ip,
                device,
                how,
                ends,
            })
        },
    );
    let step = prop_oneof![
        24 => attempt,
        3 => (any::<bool>(), any::<bool>()).prop_map(|(approve, person)| Step::Decide(approve, person)),
        3 => prop_oneof![2 => Just(None), 1 => any::<bool>().prop_map(Some)].prop_map(Step::Dispute),
        1 => Just(Step::Refund),
        2 => (0..USERS).prop_map(Step::Spend),
        1 => (0..USERS, 0..40 * DAY).prop_map(|(user, age)| Step::Rate(user, age)),
        1 => (0..USERS).prop_map(Step::Pause),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
        8 => prop_oneof![0..2_000_u64, 0..20 * MINUTE, Just(10 * MINUTE), Just(HOUR), 0..DAY]
            .prop_map(Step::Later),
    ];
    proptest::collection::vec(step, 40..200)
}
