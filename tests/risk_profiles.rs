//! Profiles and features over random runs: what a buyer's profile says is what the log says, after
//! any restart too; and the features in an attempt's event are what looking back over the log before
//! that event finds, so that nothing of them was known only later.

use holdfast::engine::command::{
    Buy, PaymentStep, PlaceHold, ReceiveWebhook, SpendTokens, StartRefund, Verdict,
};
use holdfast::engine::event::{
    Active, AdminAct, BuyerPaused, BuyerRated, Decider, DeclineCause, DisputeOutcome, Event, Flow,
    IdempotencyKey, Judgement, ModelInForce, Origin, Pause, PaysFor, ProductSet, Rating,
    ReviewVerdict, RulesSource, WebhookFormat, WebhookKind,
};
use holdfast::engine::profile::{DECISIONS_KEPT, JudgedAs, JudgedBy, Profile};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::risk::features::{COUNT_MAX, Feature, Features};
use holdfast::engine::risk::score::{Appraisal, FeaturesWritten, LoadedModel};
use holdfast::engine::settings::{EngineSettings, RateLimit};
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, KeyOwner, Lsn, ProductId,
    PurchaseId, ReceiptKeyId, RequestId, UserId, WebhookEventId,
};
use holdfast::journal::{
    AuditEntry, Clock, Journal, JournalOptions, LogSettings, ManualClock, NewRules, NewScoring,
    Outcome, digest_of, read_log,
};
use holdfast::money::{Amount, Currency, Price, Tokens};
use holdfast::risk::compile;
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const USERS: u8 = 4;

const RULES: &str = "
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

const MODEL: &str = "{
 \"format\": \"holdfast-risk-model/1\", \"features\": 1, \"kind\": \"logistic\", \"intercept\": -1.0,
 \"inputs\": [
  {\"feature\": \"attempts_user_1h\", \"weight\": 0.5, \"mean\": 1.0, \"scale\": 1.0, \"missing\": 0.0},
  {\"feature\": \"users_ip_1h\", \"weight\": 0.7, \"mean\": 1.0, \"scale\": 1.0, \"missing\": 1.5}
 ]
}";

fn open(directory: &Path, clock: &ManualClock) -> Arc<Journal> {
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
    journal.put_scoring(new).expect("the log takes it");
    if journal.risk_rules().0.in_force.is_some() {
        journal.take_up_rules(compile(RULES).expect("they are fine").set);
    }
    journal
}

fn model() -> (LoadedModel, ModelInForce) {
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
fn begin(directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let journal = open(directory, clock);
    let new = NewRules {
        compiled: compile(RULES).expect("they are fine").set,
        text: RULES.to_owned(),
        source: RulesSource::Administration,
        by: None,
    };
    journal.put_rules(new).expect("the log takes it");
    let set = ProductSet {
        product: product(),
        name: "drop".to_owned(),
        prices: vec![(usd(), Price::new(2_000).expect("in range"))],
        stock: 1_000_000,
        per_user_limit: Some(12),
        starts_at: None,
        ends_at: None,
        active: Active::Yes,
        hold_ttl_ms: None,
        reward_tokens: 5,
        by: admin(),
    };
    let put = journal.put_product(set).expect("the log takes it");
    put.expect("it is fine");
    journal
}

/// What a restart does.
fn reopen(journal: Arc<Journal>, directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let (digest, counters) = (journal.digest(), journal.counters_digest());
    let before = profiles(&journal);
    journal.close();
    drop(journal);
    let journal = open(directory, clock);
    assert_eq!(journal.digest(), digest, "the state");
    assert_eq!(journal.counters_digest(), counters, "the counters");
    assert_eq!(profiles(&journal), before, "the profiles");
    journal
}

fn profiles(journal: &Journal) -> Vec<Option<Profile>> {
    (0..USERS)
        .map(|number| journal.buyer(&user(number))?.0.profile)
        .collect()
}

fn admin() -> AdminAct {
    AdminAct {
        request: RequestId(9),
        owner: KeyOwner::parse("admin").expect("an id"),
    }
}

fn usd() -> Currency {
    Currency::parse("USD").expect("listed")
}

fn product() -> ProductId {
    ProductId::parse("drop-1").expect("an id")
}

fn user(number: u8) -> UserId {
    UserId::parse(&format!("u{number}")).expect("an id")
}

static KEYS: AtomicU64 = AtomicU64::new(1);

fn key() -> IdempotencyKey {
    let mut digest = [0; 16];
    let number = KEYS.fetch_add(1, Ordering::Relaxed);
    digest[..8].copy_from_slice(&number.to_le_bytes());
    IdempotencyKey {
        scope: Digest16(digest),
        fingerprint: Digest16(digest),
    }
}

fn origin(ip: Option<u8>, device: Option<u8>) -> Origin {
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
enum How {
    Hold,
    Buy,
    BuyTwo,
    BuyHeld,
    BuyTooMany,
    BuyUnknown,
}

/// How its payment ends, where one begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Captured,
    Declined,
    Failed,
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    user: u8,
    card: u8,
    ip: Option<u8>,
    device: Option<u8>,
    how: How,
    ends: Ends,
}

#[derive(Clone, Debug)]
enum Step {
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
struct Run {
    journal: Arc<Journal>,
    holds: BTreeMap<u8, Vec<PurchaseId>>,
    captured: Vec<PurchaseId>,
    disputed: Vec<PurchaseId>,
    waiting: Vec<PurchaseId>,
    webhooks: u64,
}

impl Run {
    fn step(&mut self, step: &Step, at: UnixMs) {
        match *step {
            Step::Attempt(attempt) => self.attempt(attempt),
            Step::Decide(approve, person) => self.decide(approve, person),
            Step::Dispute(lost) => self.dispute(lost, at),
            Step::Refund => self.refund(),
            Step::Spend(number) => {
                let tokens = self.journal.tokens(&user(number)).0;
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
                let rated = self.journal.rate_buyer(rated).expect("the log takes it");
                rated.expect("there is room");
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
                let paused = self.journal.pause_buyer(paused).expect("the log takes it");
                paused.expect("there is room");
            }
            Step::Snapshot => drop(self.journal.snapshot().expect("a snapshot")),
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
                origin: origin(it.ip, it.device),
                user: user(it.user),
                product,
                quantity,
                currency: None,
                promotion: None,
            };
            let submitted = self.journal.place_hold(&command).expect("the log takes it");
            if let Outcome::Held(view) = submitted.outcome {
                self.holds.entry(it.user).or_default().push(view.purchase);
            }
            return;
        }
        let held = self.holds.entry(it.user).or_default();
        let command = Buy {
            origin: origin(it.ip, it.device),
            user: user(it.user),
            product,
            quantity,
            currency: usd(),
            card: CardToken::parse(&format!("tok_{}x", it.card)).expect("a token"),
            promotion: None,
            hold: if it.how == How::BuyHeld {
                held.pop()
            } else {
                None
            },
        };
        let submitted = self.journal.buy(&command).expect("the log takes it");
        let Outcome::PaymentStarted(purchase) = submitted.outcome else {
            return;
        };
        match it.ends {
            Ends::Open => {}
            Ends::Declined => {
                let cause = DeclineCause::DeclinedByIssuer;
                self.record(purchase, PaymentStep::declined(cause));
            }
            Ends::Failed => {
                let cause = DeclineCause::GatewayFailed;
                self.record(purchase, PaymentStep::declined(cause));
            }
            Ends::Captured => {
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
        self.record(
            purchase,
            PaymentStep::Captured {
                capture: CaptureId::parse("cap").expect("an id"),
                receipt_key: ReceiptKeyId::parse("r1").expect("an id"),
                signing_key: None,
            },
        );
        self.captured.push(purchase);
    }

    fn record(&self, purchase: PurchaseId, step: PaymentStep) {
        let recorded = self
            .journal
            .record(purchase, step)
            .expect("the log takes it");
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
        let recorded = self
            .journal
            .record(purchase, step)
            .expect("the log takes it");
        // The deadline may not have come yet.
        if recorded.is_ok() && approve {
            self.captured(purchase);
        }
    }

    fn dispute(&mut self, lost: Option<bool>, at: UnixMs) {
        let (from, kind) = match lost {
            None => (&mut self.captured, WebhookKind::DisputeOpened),
            Some(true) => (&mut self.disputed, WebhookKind::DisputeLost),
            Some(false) => (&mut self.disputed, WebhookKind::DisputeWon),
        };
        let Some(purchase) = from.pop() else { return };
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
            amount: None,
            code: None,
            request: RequestId(2),
        };
        let _ = self
            .journal
            .receive_webhook(&command)
            .expect("the log takes it");
    }

    fn refund(&mut self) {
        let Some(purchase) = self.captured.pop() else {
            return;
        };
        let command = StartRefund {
            purchase,
            amount: None,
            previously_refunded: Amount::ZERO,
            note: "wrong size".to_owned(),
            key: key(),
            by: admin(),
        };
        let submitted = self
            .journal
            .start_refund(&command)
            .expect("the log takes it");
        if let Outcome::RefundStarted(view) = submitted.outcome {
            self.record(purchase, PaymentStep::Refunded(view.number));
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        1 => Just(How::Hold),
        4 => Just(How::Buy),
        2 => Just(How::BuyTwo),
        1 => Just(How::BuyHeld),
        1 => Just(How::BuyTooMany),
        1 => Just(How::BuyUnknown),
    ];
    let ends = prop_oneof![
        3 => Just(Ends::Captured),
        2 => Just(Ends::Declined),
        1 => Just(Ends::Failed),
        1 => Just(Ends::Open),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn profiles_and_features_are_what_the_log_says(steps in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let mut run = Run {
            journal: begin(directory.path(), &clock),
            holds: BTreeMap::new(),
            captured: Vec::new(),
            disputed: Vec::new(),
            waiting: Vec::new(),
            webhooks: 0,
        };
        let mut at = BEGIN;
        for step in steps {
            match step {
                Step::Later(ms) => {
                    clock.advance_ms(ms);
                    at = at.plus_ms(ms);
                }
                Step::Restart => run.journal = reopen(run.journal, directory.path(), &clock),
                step => run.step(&step, at),
            }
        }
        let profiles = profiles(&run.journal);
        run.journal.close();
        let log = entries(directory.path());
        looks_back_only(&log);
        for (number, profile) in (0..USERS).zip(profiles) {
            let profile = profile.as_ref().map(Counted::of);
            prop_assert_eq!(profile, profile_of(&log, &user(number)), "u{}", number);
        }
    }
}

fn entries(directory: &Path) -> Vec<AuditEntry> {
    let mut entries = Vec::new();
    let read = read_log(directory, Lsn(0), None, &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    read.expect("it reads");
    entries
}

/// Every attempt's features, against the log before it.
fn looks_back_only(log: &[AuditEntry]) {
    let model = model().0;
    let mut compared = 0;
    for (place, entry) in log.iter().enumerate() {
        let before = &log[..place];
        let (now, appraisal, asked) = match &entry.event {
            Event::HoldPlaced(it) if it.flow == Flow::Buy => {
                assert_eq!(it.appraisal, Appraisal::Plain, "its payment says it");
                continue;
            }
            Event::HoldPlaced(it) => (naming(&entry.event), it.appraisal, true),
            Event::PaymentStarted(it) => (naming(&entry.event), it.appraisal, true),
            Event::AttemptRefused(it) if matches!(it.flow, Flow::Hold | Flow::Buy) => {
                let early = [
                    Refusal::RateLimited,
                    Refusal::ProductNotFound,
                    Refusal::HoldExpired,
                    Refusal::HoldClosed,
                ];
                let paused = it.reason == Refusal::RiskBlocked && it.hits.is_empty();
                let asked = !early.contains(&it.reason) && !paused;
                (naming(&entry.event), it.appraisal, asked)
            }
            _ => continue,
        };
        let Appraisal::Taken(scored) = appraisal else {
            assert!(!asked, "no features of {entry:?}");
            continue;
        };
        assert!(asked, "features of {entry:?}");
        let quantity = quantity_of(&entry.event, before);
        let expected = look_back(before, entry.at, &now.expect("an attempt"), quantity);
        assert_eq!(scored.features, expected, "of {entry:?}");
        let score = scored.score.expect("a model is in force");
        assert_eq!(score.model, model.digest);
        assert_eq!(score.score, model.model.score(&expected));
        compared += 1;
    }
    assert!(compared > 0 || log.len() < 40, "nothing was compared");
}

#[derive(Clone, Debug, Default)]
struct Naming {
    user: Option<UserId>,
    card: Option<String>,
    ip: Option<String>,
    device: Option<String>,
    /// A payment for the hold of the same call: only its card was not counted with the hold.
    again: bool,
}

/// What an event that is an attempt, or a part of one, names.
fn naming(event: &Event) -> Option<Naming> {
    let of = |user: &UserId, card: Option<&CardToken>, origin: &Origin| Naming {
        user: Some(user.clone()),
        card: card.map(|it| it.as_str().to_owned()),
        ip: origin.ip.map(|it| it.to_string()),
        device: origin.device.as_ref().map(|it| it.as_str().to_owned()),
        again: false,
    };
    match event {
        Event::HoldPlaced(it) => Some(of(&it.user, None, &it.origin)),
        Event::PaymentStarted(it) => Some(Naming {
            again: it.pays_for == PaysFor::OwnHold,
            ..of(&it.user, Some(&it.card), &it.origin)
        }),
        Event::AttemptRefused(it) if matches!(it.flow, Flow::Hold | Flow::Buy) => {
            Some(of(it.user.as_ref()?, it.card.as_ref(), &it.origin))
        }
        _ => None,
    }
}

fn quantity_of(event: &Event, before: &[AuditEntry]) -> u32 {
    match event {
        Event::HoldPlaced(it) => it.quantity,
        Event::AttemptRefused(it) => it.quantity,
        Event::PaymentStarted(it) => before
            .iter()
            .find_map(|earlier| match &earlier.event {
                Event::HoldPlaced(placed) if placed.purchase == it.purchase => {
                    Some(placed.quantity)
                }
                _ => None,
            })
            .expect("it was held"),
        _ => unreachable!("it is no attempt"),
    }
}

/// The features of an attempt, by looking through everything before it. The hold of the same call
/// stands before its payment, and is no part of what was before.
fn look_back(before: &[AuditEntry], at: UnixMs, now: &Naming, quantity: u32) -> Features {
    let before = match before.split_last() {
        Some((last, rest)) if now.again => {
            assert!(matches!(&last.event, Event::HoldPlaced(it) if it.flow == Flow::Buy));
            rest
        }
        _ => before,
    };
    let within = |window: u64| {
        let recent = move |it: &&AuditEntry| at.get() - it.at.get() < window;
        before.iter().filter(recent)
    };
    let attempts = |window: u64| within(window).filter_map(|it| naming(&it.event));
    let whole = |window: u64| attempts(window).filter(|it| !it.again);
    let declines = |window: u64| {
        within(window).filter_map(|it| match &it.event {
            Event::PaymentDeclined(it) if it.cause == DeclineCause::DeclinedByIssuer => {
                Some((it.user.clone(), it.whence.clone().expect("it is new").card))
            }
            _ => None,
        })
    };
    let capped = |count: usize| Some((count as u64).min(u64::from(COUNT_MAX)));
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    let by_user = |window| capped(whole(window).filter(|it| it.user == now.user).count());
    let by_ip = |window| {
        now.ip
            .as_ref()
            .and_then(|_| capped(whole(window).filter(|it| same(&it.ip, &now.ip)).count()))
    };
    let users = |window, alike: &dyn Fn(&Naming) -> bool| {
        let seen: BTreeSet<_> = attempts(window)
            .filter(|it| alike(it))
            .map(|it| it.user)
            .collect();
        capped(seen.len())
    };
    let cards: BTreeSet<_> = attempts(DAY)
        .filter(|it| it.user == now.user)
        .filter_map(|it| it.card)
        .collect();
    let user = now.user.as_ref().expect("a buyer");
    let rating = before.iter().rev().find_map(|it| match &it.event {
        Event::BuyerRated(rated) if rated.user == *user => Some(rated.rating.account_since),
        _ => None,
    });
    let count = |told: &dyn Fn(&Event) -> bool| {
        let theirs = before.iter().filter(|it| it.event.user() == Some(user));
        Some(theirs.filter(|it| told(&it.event)).count() as u64)
    };
    let age = |since: UnixMs| (at.get() - since.get()) / 1_000;
    let features = Features::unknown()
        .with(Feature::Amount, Some(2_000 * u64::from(quantity)))
        .with(Feature::Quantity, Some(u64::from(quantity)))
        .with(Feature::HourUtc, Some(at.get() / HOUR % 24))
        .with(Feature::AccountAgeS, rating.flatten().map(age))
        .with(
            Feature::KnownForS,
            profile_of(before, user).map(|it| age(it.first_seen)),
        )
        .with(
            Feature::PurchasesBefore,
            count(&|it| matches!(it, Event::PaymentCaptured(_))),
        )
        .with(
            Feature::ChargebacksBefore,
            count(
                &|it| matches!(it, Event::DisputeClosed(it) if it.outcome == DisputeOutcome::Lost),
            ),
        )
        .with(Feature::AttemptsUser10m, by_user(10 * MINUTE))
        .with(Feature::AttemptsUser1h, by_user(HOUR))
        .with(Feature::AttemptsUser24h, by_user(DAY))
        .with(Feature::AttemptsIp10m, by_ip(10 * MINUTE))
        .with(Feature::AttemptsIp1h, by_ip(HOUR))
        .with(
            Feature::DeclinesUser24h,
            capped(declines(DAY).filter(|it| it.0 == *user).count()),
        )
        .with(Feature::CardsUser24h, capped(cards.len()));
    let features = match &now.card {
        None => features,
        Some(card) => features
            .with(
                Feature::AttemptsCard24h,
                capped(attempts(DAY).filter(|it| same(&it.card, &now.card)).count()),
            )
            .with(
                Feature::DeclinesCard24h,
                capped(declines(DAY).filter(|it| it.1.as_str() == card).count()),
            )
            .with(
                Feature::UsersCard24h,
                users(DAY, &|it| same(&it.card, &now.card)),
            ),
    };
    let features = match &now.device {
        None => features,
        Some(_) => features
            .with(
                Feature::AttemptsDevice24h,
                capped(
                    whole(DAY)
                        .filter(|it| same(&it.device, &now.device))
                        .count(),
                ),
            )
            .with(
                Feature::UsersDevice24h,
                users(DAY, &|it| same(&it.device, &now.device)),
            ),
    };
    match &now.ip {
        None => features,
        Some(_) => features.with(Feature::UsersIp1h, users(HOUR, &|it| same(&it.ip, &now.ip))),
    }
}

/// A profile in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counted {
    first_seen: UnixMs,
    last_seen: UnixMs,
    attempts: u32,
    refused: u32,
    purchases: u32,
    declines: u32,
    blocked: u32,
    approved: u32,
    rejected: u32,
    disputes: u32,
    chargebacks: u32,
    shortfalls: u32,
    tokens_short: u64,
    score: Option<u32>,
    decisions: Vec<(UnixMs, JudgedAs, Option<u32>, Vec<String>)>,
}

impl Counted {
    fn of(profile: &Profile) -> Self {
        let marks = profile.marks().cloned().unwrap_or_default();
        let decisions = marks.decisions.iter().map(|it| {
            let rules = it.rules.iter().map(|rule| rule.as_str().to_owned());
            (
                it.at,
                it.outcome,
                it.score.map(|it| it.get()),
                rules.collect(),
            )
        });
        Self {
            first_seen: profile.first_seen,
            last_seen: profile.last_seen,
            attempts: profile.attempts,
            refused: profile.refused,
            purchases: profile.purchases,
            declines: marks.declines,
            blocked: marks.blocked,
            approved: marks.reviews_approved,
            rejected: marks.reviews_rejected,
            disputes: marks.disputes,
            chargebacks: marks.chargebacks,
            shortfalls: marks.shortfalls,
            tokens_short: marks.shortfall_tokens.get(),
            score: profile.score.map(|it| it.get()),
            decisions: decisions.collect(),
        }
    }

    fn attempt(&mut self, entry: &AuditEntry) {
        self.last_seen = entry.at;
        let (hits, appraisal) = match &entry.event {
            Event::HoldPlaced(it) => (&it.hits, it.appraisal),
            Event::PaymentStarted(it) => (&it.hits, it.appraisal),
            Event::AttemptRefused(it) => (&it.hits, it.appraisal),
            _ => unreachable!("it is no attempt"),
        };
        let decided = match &entry.event {
            Event::HoldPlaced(it) => {
                self.attempts += 1;
                (it.flow == Flow::Hold && !hits.is_empty()).then_some(JudgedAs::Passed)
            }
            Event::PaymentStarted(it) => {
                self.attempts += u32::from(it.pays_for == PaysFor::EarlierHold);
                if !it.review.is_empty() {
                    Some(JudgedAs::ToReview)
                } else {
                    (!hits.is_empty()).then_some(JudgedAs::Passed)
                }
            }
            Event::AttemptRefused(it) => {
                self.attempts += 1;
                self.refused += 1;
                let blocked = it.reason == Refusal::RiskBlocked;
                self.blocked += u32::from(blocked);
                (blocked || !hits.is_empty()).then_some(JudgedAs::Refused(it.reason))
            }
            _ => unreachable!("as above"),
        };
        let score = appraisal.score().map(|it| it.get());
        self.score = score.or(self.score);
        if let Some(outcome) = decided {
            let mut rules: Vec<_> = hits.iter().collect();
            rules.sort_by_key(|hit| std::cmp::Reverse(hit.outcome));
            let rules = rules.iter().map(|hit| hit.rule.as_str().to_owned());
            self.decision((entry.at, outcome, score, rules.collect()));
        }
    }

    fn step(&mut self, event: &Event, at: UnixMs) {
        let mut short = |tokens: Tokens| {
            self.shortfalls += u32::from(tokens > Tokens::NONE);
            self.tokens_short += tokens.get();
        };
        match event {
            Event::PaymentCaptured(_) => self.purchases += 1,
            Event::PaymentDeclined(it) => {
                self.declines += u32::from(it.cause == DeclineCause::DeclinedByIssuer);
            }
            Event::ReviewDecided(it) => {
                let by = match it.decider {
                    Decider::Person(_) => JudgedBy::Person,
                    Decider::Deadline => JudgedBy::Deadline,
                };
                let outcome = if it.verdict == ReviewVerdict::Approved {
                    self.approved += 1;
                    JudgedAs::Approved(by)
                } else {
                    self.rejected += 1;
                    JudgedAs::Rejected(by)
                };
                self.decision((at, outcome, None, Vec::new()));
            }
            Event::RefundSucceeded(it) => short(it.clawback.shortfall),
            Event::DisputeOpened(_) => self.disputes += 1,
            Event::DisputeClosed(it) => {
                short(it.clawback.shortfall);
                self.chargebacks += u32::from(it.outcome == DisputeOutcome::Lost);
            }
            _ => {}
        }
    }

    fn decision(&mut self, decision: (UnixMs, JudgedAs, Option<u32>, Vec<String>)) {
        self.decisions.push(decision);
        let over = self.decisions.len().saturating_sub(DECISIONS_KEPT);
        self.decisions.drain(..over);
    }
}

/// A profile, counted from the log alone.
fn profile_of(log: &[AuditEntry], user: &UserId) -> Option<Counted> {
    let mut counted: Option<Counted> = None;
    for entry in log.iter().filter(|it| it.event.user() == Some(user)) {
        let noted = match &entry.event {
            Event::HoldPlaced(_) | Event::PaymentStarted(_) => true,
            Event::AttemptRefused(it) => {
                matches!(it.flow, Flow::Hold | Flow::Buy) && it.reason != Refusal::RateLimited
            }
            _ => false,
        };
        if noted {
            let begun = || Counted {
                first_seen: entry.at,
                ..Counted::default()
            };
            counted.get_or_insert_with(begun).attempt(entry);
        } else if let Some(counted) = &mut counted {
            counted.step(&entry.event, entry.at);
        }
    }
    counted
}

/// A run in which everything that a profile counts happens, and more decisions than are kept.
#[test]
fn everything_that_a_profile_counts_is_in_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let mut run = Run {
        journal: begin(directory.path(), &clock),
        holds: BTreeMap::new(),
        captured: Vec::new(),
        disputed: Vec::new(),
        waiting: Vec::new(),
        webhooks: 0,
    };
    let attempt = |how, ends| {
        Step::Attempt(Attempt {
            user: 0,
            card: 1,
            ip: Some(1),
            device: None,
            how,
            ends,
        })
    };
    let (two, buy) = (
        attempt(How::BuyTwo, Ends::Captured),
        attempt(How::Buy, Ends::Captured),
    );
    let mut steps = vec![
        two.clone(),
        Step::Decide(true, true),
        two,
        Step::Decide(false, true),
    ];
    // Bought, its tokens spent, and then charged back: they are owed.
    steps.extend([
        buy.clone(),
        Step::Spend(0),
        Step::Dispute(None),
        Step::Dispute(Some(true)),
    ]);
    steps.extend([buy, Step::Spend(0), Step::Refund]);
    steps.extend(vec![attempt(How::Buy, Ends::Declined); 3]);
    steps.extend(vec![attempt(How::Buy, Ends::Captured); 9]);
    let mut at = BEGIN;
    for step in steps {
        clock.advance_ms(MINUTE);
        at = at.plus_ms(MINUTE);
        run.step(&step, at);
    }
    for _ in 0..2 {
        run.journal.snapshot().expect("a snapshot");
        run.journal = reopen(run.journal, directory.path(), &clock);
    }
    let profile = profiles(&run.journal)[0].as_ref().map(Counted::of);
    let profile = profile.expect("attempts were seen");
    run.journal.close();
    let log = entries(directory.path());
    assert_eq!(Some(&profile), profile_of(&log, &user(0)).as_ref());
    let Counted {
        attempts,
        refused,
        purchases,
        declines,
        blocked,
        approved,
        rejected,
        disputes,
        chargebacks,
        shortfalls,
        tokens_short,
        ..
    } = profile;
    assert_eq!((attempts, refused, purchases), (16, 9, 3));
    assert_eq!((declines, blocked), (3, 9));
    assert_eq!((approved, rejected), (1, 1));
    assert_eq!((disputes, chargebacks), (1, 1));
    assert_eq!((shortfalls, tokens_short), (2, 10));
    assert_eq!(profile.decisions.len(), DECISIONS_KEPT);
    let last = profile.decisions.last().expect("there are eight");
    assert_eq!(last.1, JudgedAs::Refused(Refusal::RiskBlocked));
    assert_eq!(last.3[0], "declines", "the strictest first");
}
