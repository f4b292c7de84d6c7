//! The replay lab: with the rules that were in force nothing changes side, whatever was going on;
//! with others the counters are those that they would have had; what it would have cost; the
//! command.

use crate::replay_stage::{
    BEGIN, Ended, HOUR, Issuer, SECOND, SeededDice, Stage, Try, currency, plan, replay, rule, run,
    trial,
};
use holdfast::engine::dispute::{AmountFrom, Dispute, DisputeEnd, DisputeOutcome, DisputeStatus};
use holdfast::engine::event::{
    BuyerPaused, BuyerRated, BuyerSegmented, Clawback, DisputeClosed, Event, GivenBack,
    ModelInForce, Pause, Rating, RefundExtent, RefundSucceeded, Restock,
};
use holdfast::engine::lifecycle::PaidState;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::risk::scoring::{FeaturesWritten, LoadedModel};
use holdfast::engine::settings::{EngineSettings, RateLimit};
use holdfast::ids::{Lsn, ProductId, PurchaseId, Segment, UserId};
use holdfast::journal::{Audit, AuditEntry, NewScoring, digest_of, read_log};
use holdfast::money::{Amount, Tokens};
use holdfast::replay::{Exact, History, Plan, Replay, Report, Side, Trial};
use holdfast::risk::model;
use holdfast::time::UnixMs;
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::commands::admin;
use support::{Request, Setup, binary};

fn settings() -> EngineSettings {
    EngineSettings {
        rate: RateLimit {
            count: 30,
            window_ms: 10 * SECOND,
        },
        ..EngineSettings::default()
    }
}

/// A stage with one product of which there is plenty.
fn stage() -> Stage {
    let stage = Stage::new(&settings());
    stage.put_product("drop-1", 1_000_000, &[("USD", 2_000)]);
    stage
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("an id")
}

/// Rules of all kinds; `n` turns their thresholds.
fn some_rules(n: u64) -> String {
    let low = 2 + n % 5;
    let high = low + 4 + n % 3;
    [
        rule(
            "declines",
            &format!("count(declined by card_token last 10m) >= {low}"),
            "block",
        ),
        rule(
            "crowd",
            &format!("distinct(user by device last 1h) >= {low}"),
            "review",
        ),
        rule(
            "cards",
            &format!("distinct(card_token by user last 1h) > {low}"),
            "review",
        ),
        rule(
            "busy",
            &format!("count(attempt by user last 1m) >= {high}"),
            "block",
        ),
        rule(
            "product",
            &format!("count(attempt by product last 10s) >= {high} and quantity > 1"),
            "block",
        ),
        rule(
            "spent",
            &format!("amount(captured by user last 1h) >= {}", 4_000 * low),
            "block",
        ),
        rule("hoards", "count(expired by device last 1h) >= 1", "observe"),
        rule("euros", "currency == \"EUR\" and amount > 5000", "block"),
        rule(
            "rated",
            "segment == \"risky\" or risk_score > 800 or account_age < 1h",
            "review",
        ),
        rule("seen", "count(purchase by ip last 1d) >= 1", "observe"),
    ]
    .concat()
}

/// A drive of everything that can happen, by dice.
struct Drive {
    stage: Stage,
    /// What a restart puts in force again.
    scoring: Option<NewScoring>,
    dice: SeededDice,
    ms: u64,
    held: Vec<(Try, PurchaseId)>,
}

impl Drive {
    fn new(stage: Stage, seed: u64) -> Self {
        stage.put_product("drop-2", 1_000_000, &[("USD", 2_500), ("EUR", 2_900)]);
        stage.put_product("scarce", 3, &[("USD", 500)]);
        Self {
            stage,
            scoring: None,
            dice: SeededDice::new(seed),
            ms: 0,
            held: Vec::new(),
        }
    }

    fn step(&mut self, number: u64) {
        if self.dice.percent(60) {
            self.ms += self.dice.below(8 * SECOND);
        }
        self.stage.at(self.ms);
        match self.dice.below(100) {
            0 => {
                self.stage.reopen();
                if let Some(scoring) = &self.scoring {
                    let again = self.stage.journal().risk().put_scoring(scoring.clone());
                    assert_eq!(again.unwrap(), None, "the log has it");
                }
            }
            1 => {
                self.stage
                    .journal()
                    .upkeep()
                    .snapshot()
                    .expect("a snapshot");
            }
            2 => {
                // The price of a product changes while holds stand.
                let price = 2_000 + i64::try_from(number % 3).unwrap() * 1_000;
                let prices = [("USD", price), ("EUR", price + 507)];
                self.stage.put_product("drop-2", 1_000_000, &prices);
            }
            3 | 4 => self.pause(),
            5..=7 => self.rate(),
            8..=30 => {
                let it = self.any_try();
                if let Ok(hold) = self.stage.hold(&it) {
                    self.held.push((it, hold));
                }
            }
            31..=50 if !self.held.is_empty() => {
                let place = self.dice.below(self.held.len() as u64);
                let (earlier, hold) = self.held[usize::try_from(place).unwrap()].clone();
                let it = Try {
                    user: earlier.user,
                    product: earlier.product,
                    quantity: earlier.quantity,
                    ..self.any_try()
                };
                let issuer = self.issuer();
                self.stage.buy(&it, Some(hold), issuer);
            }
            _ => {
                let (it, issuer) = (self.any_try(), self.issuer());
                self.stage.buy(&it, None, issuer);
            }
        }
    }

    fn issuer(&mut self) -> Issuer {
        if self.dice.percent(35) {
            Issuer::Declines
        } else {
            Issuer::Accepts
        }
    }

    fn any_try(&mut self) -> Try {
        let product = match self.dice.below(10) {
            0 => "scarce",
            1..=4 => "drop-2",
            _ => "drop-1",
        };
        let euros = product == "drop-2" && self.dice.percent(40);
        let ip = self.dice.below(4);
        let device = self.dice.below(5);
        Try {
            user: format!("u{}", self.dice.below(9)),
            card: format!("tok_{}", self.dice.below(6)),
            ip: (ip > 0).then(|| format!("192.0.2.{ip}")),
            device: (device > 0).then(|| format!("d{device}")),
            product: product.to_owned(),
            quantity: 1 + u32::try_from(self.dice.below(3)).unwrap(),
            currency: if euros { "EUR" } else { "USD" },
        }
    }

    fn pause(&mut self) {
        let until = BEGIN.plus_ms(self.ms + 30 * SECOND);
        let reason = "looks odd".to_owned();
        let pause = self.dice.percent(70).then_some(Pause { until, reason });
        let paused = BuyerPaused {
            user: user(&format!("u{}", self.dice.below(9))),
            pause,
            by: admin(),
        };
        let done = self
            .stage
            .journal()
            .risk()
            .pause_buyer(paused, Audit::Nothing);
        done.expect("it is written");
    }

    fn rate(&mut self) {
        let rating = Rating {
            segment: Segment::parse(["risky", "loyal"][usize::from(self.dice.percent(50))]),
            risk_score: self.dice.percent(50).then_some(900),
            account_since: self.dice.percent(50).then_some(BEGIN),
        };
        let rated = BuyerRated {
            user: user(&format!("u{}", self.dice.below(9))),
            rating: if self.dice.percent(60) {
                Rating::default()
            } else {
                rating
            },
            by: admin(),
        };
        let done = self
            .stage
            .journal()
            .risk()
            .rate_buyer(rated, Audit::Nothing);
        done.expect("it is written");
        // What was computed of buyers who are known counts where the operator says nothing.
        let segmented = BuyerSegmented {
            user: user(&format!("u{}", self.dice.below(9))),
            segment: Segment::parse(["risky", "loyal"][usize::from(self.dice.percent(50))])
                .expect("a name"),
            series: 1,
            change: self.ms,
            run: 1,
        };
        let done = self.stage.journal().risk().segment_buyer(segmented);
        done.expect("the log takes it");
    }
}

/// A drive of `steps`; rules change every `rules_every` of them.
fn driven(seed: u64, steps: u64, rules_every: u64) -> Stage {
    let mut drive = Drive::new(stage(), seed);
    for number in 0..steps {
        if number % rules_every == 0 {
            drive.stage.put_rules(&some_rules(seed + number));
        }
        drive.step(number);
    }
    drive.stage.settle();
    drive.stage
}

/// A model in which many features have a say, about as often for a payment as against it.
const MODEL: &str = r#"{
    "format": "holdfast-risk-model/1", "features": 1, "kind": "logistic", "intercept": -1.5,
    "inputs": [
        {"feature": "amount", "weight": 0.5, "mean": 4000, "scale": 4000, "missing": 0},
        {"feature": "known_for_s", "weight": -0.6, "mean": 1500, "scale": 1500, "missing": 1},
        {"feature": "account_age_s", "weight": -0.5, "mean": 1500, "scale": 1500, "missing": 0.2},
        {"feature": "purchases_before", "weight": -0.2, "mean": 2, "scale": 2, "missing": 0},
        {"feature": "attempts_user_10m", "weight": 0.7, "mean": 3, "scale": 3, "missing": 0},
        {"feature": "declines_card_24h", "weight": 0.9, "mean": 5, "scale": 5, "missing": 0},
        {"feature": "users_device_24h", "weight": 0.6, "mean": 4, "scale": 4, "missing": 0}
    ]
}"#;

const ON_SCORE: &str = "
[[rule]]
name = \"likely\"
when = \"risk_score >= 350\"
then = \"review\"
[[rule]]
name = \"surely\"
when = \"risk_score >= 600\"
then = \"block\"
";

#[test]
fn a_model_gives_the_recorded_scores_again() {
    let model = Arc::new(model::parse(MODEL).expect("it is fine").model);
    for seed in 40..42 {
        let stage = stage();
        let digest = digest_of(MODEL);
        let named = ModelInForce {
            digest,
            kind: "logistic".to_owned(),
            name: None,
        };
        let loaded = LoadedModel {
            model: Arc::clone(&model),
            digest,
        };
        let scoring = NewScoring {
            features: FeaturesWritten::Always,
            model: Some((loaded, named)),
        };
        stage.journal().risk().put_scoring(scoring.clone()).unwrap();
        let mut drive = Drive::new(stage, seed);
        drive.scoring = Some(scoring);
        drive.stage.put_rules(&(some_rules(seed) + ON_SCORE));
        for number in 0..900 {
            drive.step(number);
        }
        drive.stage.settle();
        let dir = drive.stage.directory.path();
        // With the scores of the log, and with the same model asked again.
        for model in [None, Some(Arc::clone(&model))] {
            let asked_again = model.is_some();
            let plan = Plan {
                model,
                ..plan(Trial::AsInForce, History::WithoutBlocked)
            };
            let (report, changes) = run(dir, plan);
            assert_eq!(changes, [], "seed {seed}, asked again: {asked_again}");
            // Features name the amount of what was refused.
            assert_eq!(report.unclear, 0);
            let on_score = report.rules.iter().filter(|it| {
                let name = it.name.as_str();
                name == "likely" || name == "surely"
            });
            let hits: Vec<_> = on_score.map(|it| (it.hits, it.hits_recorded)).collect();
            assert_eq!(hits.len(), 2);
            for (now, then) in hits {
                assert_eq!(now, then);
                assert!((20..850).contains(&now), "{report:?}");
            }
        }
        // Another model puts others on the other side.
        let other = MODEL.replace("-1.5", "-2.5");
        let plan = Plan {
            model: Some(Arc::new(model::parse(&other).unwrap().model)),
            ..plan(Trial::AsInForce, History::WithoutBlocked)
        };
        let (report, _) = run(dir, plan);
        assert!(report.moved.passed > 20, "{report:?}");
    }
}

/// Attempts that met a rule, as recorded.
fn met(report: &Report) -> u64 {
    report.rules.iter().map(|line| line.hits_recorded).sum()
}

#[test]
fn with_the_rules_in_force_no_result_changes() {
    let mut blocked = 0;
    for seed in 0..4 {
        let stage = driven(seed, 900, 130);
        let dir = stage.directory.path();
        for history in [History::WithoutBlocked, History::AsRecorded] {
            let (report, changes) = replay(dir, Trial::AsInForce, history);
            assert_eq!(changes, [], "seed {seed}");
            assert_eq!(report.matrix.changed(), 0);
            assert_eq!(report.exact, Exact::Always);
            for line in &report.rules {
                assert!(line.is_tried, "{line:?}");
                // Of a refused attempt in one of two currencies nobody knows which it was.
                let unclear = line.hits_recorded - line.hits;
                assert!(unclear <= report.unclear, "seed {seed}: {line:?}");
            }
            assert!(met(&report) > 100, "{report:?}");
            assert!(report.paused > 0 && report.unclear < 250, "{report:?}");
            blocked += report.matrix.get(Side::Blocked, Side::Blocked);
        }
    }
    assert!(blocked > 300, "{blocked}");
}

#[test]
fn rules_that_never_changed_are_tried_from_a_file_with_the_same_end() {
    for seed in 20..22 {
        let stage = driven(seed, 1_000, u64::MAX);
        let dir = stage.directory.path();
        let (_, changes) = replay(dir, trial(&some_rules(seed)), History::WithoutBlocked);
        assert_eq!(changes, [], "seed {seed}");
    }
}

/// When the attempts of the drive below were blocked.
fn blocked_at(blocked: &[bool]) -> Vec<u64> {
    let numbers = (0..).zip(blocked).filter(|(_, blocked)| **blocked);
    numbers.map(|(number, _)| instant(number)).collect()
}

/// When the attempt with this number is made: at first the product is busy, later it is not, and declines
/// become too old.
fn instant(number: u64) -> u64 {
    let every = if number < 30 { 40 } else { 130 };
    (number * every + number % 7) * SECOND
}

/// The same attempts with rules from the start, and without any and tried afterwards.
#[test]
fn a_blocked_attempt_counts_and_its_later_effects_do_not() {
    let text = rule(
        "testing",
        "count(declined by card_token last 10m) >= 2",
        "block",
    ) + &rule("busy", "count(attempt by product last 5m) >= 8", "block");
    let run = |rules: Option<&str>| {
        let mut stage = stage();
        if let Some(text) = rules {
            stage.put_rules(text);
        }
        let mut sides = Vec::new();
        for number in 0..80_u64 {
            stage.at(instant(number));
            let it = Try::new(&format!("u{}", number % 3), "tok_x");
            let ended = match number % 4 {
                3 => {
                    let hold = stage.hold(&it);
                    hold.map_or_else(Ended::Refused, |hold| {
                        stage.buy(&it, Some(hold), Issuer::Declines)
                    })
                }
                _ => stage.buy(&it, None, Issuer::Declines),
            };
            sides.push(ended == Ended::Refused(Refusal::RiskBlocked));
        }
        stage.settle();
        (stage, sides)
    };
    let (_, with_rules) = run(Some(&text));
    let (without, none) = run(None);
    assert!(!none.contains(&true));
    let dir = without.directory.path();
    let (report, changes) = replay(dir, trial(&text), History::WithoutBlocked);
    let blocked = with_rules.iter().filter(|it| **it).count() as u64;
    assert_eq!(report.moved.blocked, blocked);
    let at = changes.iter().map(|it| it.at.since_ms(BEGIN));
    assert_eq!(at.collect::<Vec<_>>(), blocked_at(&with_rules));
    assert!((20..75).contains(&blocked), "{with_rules:?}");
    for line in &report.rules {
        assert!(line.moved.blocked > 3, "{report:?}");
    }
    // As recorded, no decline is ever missing, and a blocked payment does not count its product.
    let (_, recorded) = replay(dir, trial(&text), History::AsRecorded);
    let at = recorded.iter().map(|it| it.at.since_ms(BEGIN));
    assert_ne!(at.collect::<Vec<_>>(), blocked_at(&with_rules));
}

#[test]
fn attempts_refused_before_the_rules_or_by_a_pause_are_not_evaluated() {
    let mut stage = stage();
    stage.put_product("scarce", 1, &[("USD", 500)]);
    let ana = Try::new("ana", "tok_a");
    let scarce = Try {
        product: "scarce".to_owned(),
        ..ana.clone()
    };
    let nowhere = Try {
        product: "nowhere".to_owned(),
        ..ana.clone()
    };
    assert!(matches!(
        stage.buy(&scarce, None, Issuer::Accepts),
        Ended::Captured(_)
    ));
    let sold_out = stage.buy(&scarce, None, Issuer::Accepts);
    assert_eq!(sold_out, Ended::Refused(Refusal::SoldOut));
    let unknown = stage.buy(&nowhere, None, Issuer::Accepts);
    assert_eq!(unknown, Ended::Refused(Refusal::ProductNotFound));
    let pause = Pause {
        until: BEGIN.plus_ms(HOUR),
        reason: "resale".to_owned(),
    };
    let paused = BuyerPaused {
        user: user("ana"),
        pause: Some(pause),
        by: admin(),
    };
    stage
        .journal()
        .risk()
        .pause_buyer(paused, Audit::Nothing)
        .unwrap();
    let paused = stage.buy(&ana, None, Issuer::Accepts);
    assert_eq!(paused, Ended::Refused(Refusal::RiskBlocked));
    stage.settle();
    let everything = rule("all", "quantity >= 1", "block");
    let dir = stage.directory.path();
    let (report, changes) = replay(dir, trial(&everything), History::WithoutBlocked);
    assert_eq!(report.matrix.get(Side::Passed, Side::Blocked), 2);
    assert_eq!((report.refused_before, report.paused), (1, 1));
    assert_eq!((report.fates.captured, report.fates.refused), (1, 1));
    let refused: Vec<_> = changes.iter().map(|it| it.refused).collect();
    assert_eq!(refused, [None, Some(Refusal::SoldOut)]);
}

/// A hold and its payment that are both blocked are one purchase, which ends once, and its money
/// belongs to the rules of both.
#[test]
fn a_blocked_hold_whose_payment_is_blocked_too_ends_once() {
    let mut stage = stage();
    let ana = Try::new("ana", "tok_a");
    let hold = stage.hold(&ana).unwrap();
    let paid = stage.buy(&ana, Some(hold), Issuer::Accepts);
    assert!(matches!(paid, Ended::Captured(_)), "{paid:?}");
    stage.settle();
    // A hold names no card, its payment does.
    let carded = "not count(attempt by card_token last 1h) >= 9 and distinct(user by card_token last 1h) == 0";
    let text = rule("one", "quantity == 1", "block") + &rule("card", carded, "block");
    let dir = stage.directory.path();
    let (report, changes) = replay(dir, trial(&text), History::AsRecorded);
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!((report.fates.captured, report.fates.under_way), (1, 0));
    let usd = currency("USD");
    assert_eq!(report.moved.money[&usd].captured, 2_000);
    for line in &report.rules {
        assert_eq!(line.moved.money[&usd].captured, 2_000, "{line:?}");
    }
}

/// A dispute that was lost at `at`.
fn lost_dispute(at: UnixMs, amount: i64) -> Dispute {
    let status = DisputeStatus::Lost;
    Dispute {
        id: None,
        opened_at: at,
        opened_last: None,
        ended: Some(DisputeEnd {
            at,
            outcome: DisputeOutcome::Lost,
        }),
        amount: Amount::new(amount).unwrap(),
        amount_from: AmountFrom::Gateway { at, status },
        asked_back: Tokens::NONE,
    }
}

#[test]
fn money_is_counted_once_and_by_each_rule_that_would_have_blocked_it() {
    let mut stage = stage();
    let captured = |stage: &mut Stage, name: &str, quantity| {
        let it = Try {
            quantity,
            ..Try::new(name, &format!("tok_{name}"))
        };
        match stage.buy(&it, None, Issuer::Accepts) {
            Ended::Captured(purchase) => purchase,
            other => panic!("{other:?}"),
        }
    };
    let small = captured(&mut stage, "ana", 1);
    let refunded = captured(&mut stage, "bo", 2);
    let lost = captured(&mut stage, "cy", 3);
    // A hold that is blocked takes its payment with it.
    let dee = Try {
        quantity: 2,
        ..Try::new("dee", "tok_d")
    };
    let hold = stage.hold(&dee).unwrap();
    assert!(matches!(
        stage.buy(&dee, Some(hold), Issuer::Accepts),
        Ended::Captured(_)
    ));
    stage.settle();
    let text = rule("two", "quantity >= 2", "block") + &rule("three", "amount >= 6000", "block");
    let mut lab = Replay::new(plan(trial(&text), History::WithoutBlocked), Lsn(0));
    let mut end = (Lsn(0), UnixMs::default());
    let read = read_log(stage.directory.path(), Lsn(0), None, &mut |entry| {
        end = (entry.lsn, entry.at);
        lab.read(entry, &mut |_| {}).unwrap();
        ControlFlow::Continue(())
    });
    read.unwrap();
    let nothing = Clawback {
        requested: Tokens::NONE,
        recovered: Tokens::NONE,
        shortfall: Tokens::NONE,
    };
    let part = |purchase, name, amount| {
        Event::RefundSucceeded(RefundSucceeded {
            restock: Restock::No,
            purchase,
            user: user(name),
            number: 1,
            amount: Amount::new(amount).unwrap(),
            extent: RefundExtent::Part,
            leaves: PaidState::PartiallyRefunded,
            clawback: nothing,
            product: ProductId::parse("drop-1").unwrap(),
            quantity: 2,
            currency: currency("USD"),
        })
    };
    let dispute = Event::DisputeClosed(DisputeClosed {
        purchase: lost,
        user: user("cy"),
        number: 1,
        dispute: lost_dispute(end.1, 4_000),
        before: None,
        currency: currency("USD"),
        charged_back_before: Amount::ZERO,
        charged_back: Amount::new(4_000).unwrap(),
        leaves: PaidState::PartiallyRefunded,
        clawback: nothing,
        given_back: GivenBack::default(),
    });
    let later = [
        part(small, "ana", 500),
        part(refunded, "bo", 1_500),
        part(lost, "cy", 1_000),
        dispute,
    ];
    for event in later {
        let entry = AuditEntry {
            lsn: Lsn(end.0.0 + 8),
            at: end.1,
            trace: None,
            event,
        };
        lab.read(entry, &mut |_| {}).unwrap();
    }
    let report = lab.finish(&mut |_| {});
    let money = |moved: &holdfast::replay::Moved| {
        let money = moved.money[&currency("USD")];
        [money.captured, money.refunded, money.charged_back]
    };
    assert_eq!(money(&report.moved), [14_000, 2_500, 4_000]);
    let lines: Vec<_> = report.rules.iter().map(|it| money(&it.moved)).collect();
    assert_eq!(lines, [[14_000, 2_500, 4_000], [6_000, 1_000, 4_000]]);
    assert_eq!((report.moved.blocked, report.moved.buyers), (3, 3));
    assert_eq!((report.fell_away, report.fates.captured), (1, 3));
}

#[test]
fn rules_let_through_what_was_blocked_and_a_hold_is_not_reviewed() {
    let mut stage = stage();
    stage.put_rules(&rule("no", "quantity >= 2", "block"));
    let two = Try {
        quantity: 2,
        ..Try::new("ana", "tok_a")
    };
    let refused = stage.buy(&two, None, Issuer::Accepts);
    assert_eq!(refused, Ended::Refused(Refusal::RiskBlocked));
    let one = Try::new("bo", "tok_b");
    let hold = stage.hold(&one).unwrap();
    stage.buy(&one, Some(hold), Issuer::Accepts);
    stage.settle();
    let text = rule("look", "quantity == 1", "review");
    let dir = stage.directory.path();
    let (report, changes) = replay(dir, trial(&text), History::WithoutBlocked);
    let sides: Vec<_> = changes.iter().map(|it| (it.from, it.to)).collect();
    assert_eq!(
        sides,
        [
            (Side::Blocked, Side::Passed),
            (Side::Passed, Side::Reviewed)
        ]
    );
    let lines: Vec<_> = report
        .rules
        .iter()
        .map(|it| {
            let tried = (it.name.as_str(), it.is_tried);
            (tried, it.hits_recorded, it.hits, it.moved.passed)
        })
        .collect();
    assert_eq!(lines, [(("look", true), 0, 2, 0), (("no", false), 1, 0, 1)]);
}

/// Runs `holdfast replay`; exit status, stdout, stderr.
fn command(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = binary();
    command.arg("replay").arg(dir).args(arguments);
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_command_reads_a_running_core_and_a_stopped_one_alike() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let rules = scratch.path().join("rules.toml");
    let name = rules.to_str().unwrap();
    std::fs::write(&rules, rule("none", "quantity >= 1", "block")).unwrap();
    let server = Setup::demo().data_dir(&dir).start();
    for number in 0..3 {
        let who = format!("u{number}");
        let card = ["tok_ok", "tok_declined"][number % 2];
        server.ask(&Request::buy(
            &who,
            "drop-1",
            card,
            &format!("key-of-{who}"),
        ));
    }
    let (status, running, error) = command(&dir, &["--rules", name, "--json"]);
    assert_eq!((status, error.as_str()), (0, ""));
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let (_, stopped, _) = command(&dir, &["--rules", name, "--json"]);
    let [running, stopped]: [Value; 2] =
        [running, stopped].map(|text| serde_json::from_str(&text).unwrap());
    assert_eq!(running, stopped);
    assert_eq!(running["attempts"]["asked"], 3, "{running}");
    assert_eq!(running["sides"]["passed"]["blocked"], 3);
    assert_eq!(running["newly_blocked"]["captured"], 2);
    assert_eq!(running["rules"][0]["changes"]["buyers"], 3);
    let (status, list, _) = command(&dir, &["--rules", name, "--list"]);
    assert_eq!((status, list.lines().count()), (0, 3));
    let first: Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(first["user_id"], "u0");
    assert_eq!(
        (&first["from"], &first["to"]),
        (&"passed".into(), &"blocked".into())
    );
    assert_eq!(first["rules"], serde_json::json!(["none"]));
    let (status, text, _) = command(&dir, &["--rules", name]);
    assert_eq!(status, 0);
    for word in ["newly blocked", "3 attempts evaluated", "would have cost"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    // Without rules: those in force, which the demo has none of.
    let model = scratch.path().join("model.json");
    std::fs::write(&model, MODEL).unwrap();
    let (status, text, _) = command(&dir, &["--json", "--model", model.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["attempts"]["changed"]), (0, &0.into()));
}

/// What is being written looks unfinished to a reader; what was durable when it began does not.
#[test]
fn a_log_is_read_whole_while_it_is_written() {
    let mut stage = stage();
    let dir = stage.directory.path().to_owned();
    // It is written until it was read often enough.
    let reads = AtomicU64::new(0);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while reads.load(Ordering::Relaxed) < 5 {
                let it = Try::new(&format!("u{number}"), "tok_x");
                stage.buy(&it, None, Issuer::Accepts);
                number += 1;
            }
            stage.settle();
            number
        });
        let mut before = 0;
        while !writer.is_finished() {
            let text = rule("r", "quantity >= 1", "observe");
            let (report, _) = replay(&dir, trial(&text), History::WithoutBlocked);
            assert!(report.events >= before, "{} after {before}", report.events);
            before = report.events;
            reads.fetch_add(1, Ordering::Relaxed);
        }
        writer.join().expect("it says why it failed")
    });
    let (report, _) = replay(&dir, trial(""), History::WithoutBlocked);
    assert_eq!(report.matrix.total(), written);
}

/// Of a refused payment for a hold from before the price changed the log does not say the price.
#[test]
fn the_amount_of_a_refused_attempt_is_not_guessed() {
    let mut stage = stage();
    let text = rule("cheap", "amount < 5000", "block") + &rule("two", "quantity == 2", "block");
    let ana = Try::new("ana", "tok_a");
    let hold = stage.hold(&ana).unwrap();
    stage.put_rules(&text);
    stage.put_product("drop-1", 1_000, &[("USD", 9_000)]);
    for hold in [Some(hold), None] {
        let two = Try {
            quantity: 1 + u32::from(hold.is_none()),
            ..ana.clone()
        };
        let refused = stage.buy(&two, hold, Issuer::Accepts);
        assert_eq!(refused, Ended::Refused(Refusal::RiskBlocked));
    }
    stage.settle();
    let dir = stage.directory.path();
    let (report, _) = replay(dir, Trial::AsInForce, History::WithoutBlocked);
    assert_eq!((report.matrix.changed(), report.unclear), (0, 2));
    // Where the rules do not look at money, it does not matter.
    let text = rule("two", "quantity == 2", "block");
    let (report, _) = replay(dir, trial(&text), History::WithoutBlocked);
    assert_eq!((report.matrix.changed(), report.unclear), (1, 0));
}

#[test]
fn the_command_says_what_is_wrong_and_where() {
    let scratch = tempfile::tempdir().unwrap();
    let rules = scratch.path().join("rules.toml");
    let name = rules.to_str().unwrap();
    let stage = stage();
    stage.settle();
    let dir = stage.directory.path();
    std::fs::write(
        &rules,
        rule("r", "count(attempts by ip last 1h) > 1", "block"),
    )
    .unwrap();
    let missing = scratch.path().join("none.toml");
    std::fs::create_dir(scratch.path().join("empty")).unwrap();
    let good = scratch.path().join("good.toml");
    std::fs::write(&good, "").unwrap();
    let good = good.to_str().unwrap();
    let empty = scratch.path().join("empty");
    let missing = missing.to_str().unwrap();
    let cases: [(&Path, &[&str], i32, &str); 5] = [
        (dir, &["--rules", name], 2, "line 3, column"),
        (dir, &["--rules", missing], 2, "cannot read"),
        (dir, &["--model", missing], 2, "check --model"),
        (dir, &["--model", good], 2, "is wrong at"),
        (&empty, &["--rules", good], 1, "name a data directory"),
    ];
    for (dir, arguments, status, words) in cases {
        let (code, out, error) = command(dir, arguments);
        assert_eq!((code, out.as_str()), (status, ""), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let (code, _, error) = command(dir, &["--list", "--json"]);
    assert_eq!(code, 2, "{error}");
}

#[test]
fn a_log_whose_beginning_is_gone_says_from_where_it_is_exact() {
    let mut stage = stage();
    let stuff = "x".repeat(40);
    for number in 0..9_000_u64 {
        stage.at(number * 100);
        let it = Try::new(&format!("{stuff}{number}"), &format!("tok_{stuff}{number}"));
        stage.buy(&it, None, Issuer::Accepts);
        if number % 3_000 == 2_999 {
            stage.settle();
            stage.journal().upkeep().snapshot().expect("a snapshot");
        }
    }
    stage.settle();
    let dir = stage.directory.path();
    let text = |window: &str| {
        rule(
            "r",
            &format!("count(attempt by product last {window}) >= 500"),
            "observe",
        )
    };
    let exact = |window: &str| {
        let (report, _) = replay(dir, trial(&text(window)), History::WithoutBlocked);
        assert!(report.first > Lsn(0), "the log was cut");
        (report.exact, report.span.expect("it has events"))
    };
    let (Exact::From(lsn), (begun, ended)) = exact("1m") else {
        panic!("a minute is in it")
    };
    assert!(begun.lsn < lsn && lsn < ended.lsn);
    assert_eq!(exact("1d").0, Exact::Never);
    let (code, _, error) = command(dir, &[]);
    assert_eq!(code, 2);
    assert!(error.contains("name rules with --rules"), "{error}");
}
