//! Rules, counters, pauses and ratings over restarts: a journal that is opened again, from its log
//! and from its snapshots, has exactly the counters that it had, whatever was going on at once.

use holdfast::engine::command::{Buy, PaymentStep};
use holdfast::engine::event::{
    BuyerPaused, BuyerRated, DeclineCause, IdempotencyKey, Origin, Pause, Rating, RulesSource,
};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{
    AuthorizationId, CaptureId, CardToken, DeviceId, Digest16, KeyOwner, ProductId, ReceiptKeyId,
    RequestId, Segment, UserId,
};
use holdfast::journal::{
    Audit, BuyOutcome, Clock, Journal, JournalOptions, LogSettings, ManualClock, NewRules, check,
};
use holdfast::money::Currency;
use holdfast::risk::{SHIPPED, compile, warms_up_until};
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::commands::{self, admin};

const BEGIN: UnixMs = UnixMs::new(1_800_000_000_000);
const MINUTE: u64 = 60_000;

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
            rate: holdfast::engine::settings::RateLimit {
                count: 1_000,
                window_ms: 1,
            },
            ..EngineSettings::default()
        },
        ..JournalOptions::new(directory)
    };
    Journal::open(options, &mut |_| {}).expect("it opens")
}

fn put_rules(journal: &Journal, text: &str) {
    let compiled = compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let new = NewRules {
        compiled: compiled.set,
        text: text.to_owned(),
        source: RulesSource::Administration,
        by: Some(admin()),
    };
    journal
        .risk()
        .put_rules(new, Audit::Nothing)
        .expect("the log takes it");
}

fn set(clock: &ManualClock, at: UnixMs) {
    clock.advance_ms(at.since_ms(clock.wall()));
}

/// What a restart does.
fn reopen(journal: Arc<Journal>, directory: &Path, clock: &ManualClock) -> Arc<Journal> {
    let (digest, counters) = (journal.upkeep().digest(), journal.risk().counters_digest());
    journal.close();
    drop(journal);
    let journal = open(directory, clock);
    assert_eq!(journal.upkeep().digest(), digest, "the state");
    assert_eq!(journal.risk().counters_digest(), counters, "the counters");
    let (rules, _) = journal.risk().rules();
    if let Some(in_force) = &rules.in_force {
        let compiled = compile(&in_force.set.text).expect("it was understood before");
        journal.risk().take_up_rules(compiled.set);
    }
    journal
}

fn put_product(journal: &Journal) {
    let set = commands::product_set(ProductId::parse("drop-1").expect("an id"), 1_000_000);
    journal.catalogue().put_product(set).expect("it is written");
}

fn currency() -> Currency {
    Currency::parse("USD").expect("listed")
}

static KEYS: AtomicU64 = AtomicU64::new(1);

fn origin(ip: Option<&str>, device: Option<&str>) -> Origin {
    let key = KEYS.fetch_add(1, Ordering::Relaxed);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&key.to_le_bytes());
    Origin {
        request: RequestId(key),
        owner: KeyOwner::parse("shop").expect("an id"),
        key: Some(IdempotencyKey {
            scope: Digest16(digest),
            fingerprint: Digest16(digest),
        }),
        ip: ip.map(|ip| ip.parse().expect("an address")),
        device: device.map(|device| DeviceId::parse(device).expect("an id")),
    }
}

fn buy_command(user: &str, card: &str, ip: Option<&str>, device: Option<&str>) -> Buy {
    Buy {
        currency: currency(),
        card: CardToken::parse(card).expect("a token"),
        ..commands::buy(
            UserId::parse(user).expect("an id"),
            ProductId::parse("drop-1").expect("an id"),
            origin(ip, device),
        )
    }
}

/// How a payment is to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Captured,
    Declined,
    Open,
}

/// Buys; the refusal, or `None` where the payment began and ended so.
fn buy(journal: &Journal, command: &Buy, ends: Ends) -> Option<Refusal> {
    let submitted = journal.buy(command).expect("the log takes it");
    let purchase = match submitted.outcome {
        Ok(BuyOutcome::PaymentStarted(purchase)) => purchase,
        Err(refused) => return Some(refused.reason),
        other => panic!("{other:?}"),
    };
    let record = |step| {
        let recorded = journal.record(purchase, step, Audit::Nothing);
        recorded.expect("it goes with the state");
    };
    match ends {
        Ends::Open => {}
        Ends::Declined => record(PaymentStep::declined(DeclineCause::DeclinedByIssuer)),
        Ends::Captured => {
            record(PaymentStep::Authorized {
                authorization: AuthorizationId::parse("auth").expect("an id"),
                capture_before: None,
            });
            record(PaymentStep::StartCapture);
            record(PaymentStep::captured(
                journal
                    .reads()
                    .purchase(purchase)
                    .expect("it was begun")
                    .0
                    .quote,
                CaptureId::parse("cap").expect("an id"),
                ReceiptKeyId::parse("r1").expect("an id"),
            ));
        }
    }
    None
}

fn rule(when: &str) -> String {
    format!("[[rule]]\nname = \"r\"\nwhen = '{when}'\nthen = \"block\"\n")
}

#[test]
fn a_rule_counts_earlier_attempts_only_and_a_window_ends_exactly() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let journal = open(directory.path(), &clock);
    put_product(&journal);
    put_rules(
        &journal,
        &rule("count(declined by card_token last 10m) >= 3"),
    );
    let tries = |user: &str| {
        buy(
            &journal,
            &buy_command(user, "tok_x", None, None),
            Ends::Declined,
        )
    };
    // The third attempt itself is not counted yet; all in one millisecond, of different buyers.
    for user in ["ana", "bo", "cy"] {
        assert_eq!(tries(user), None);
    }
    assert_eq!(tries("dee"), Some(Refusal::RiskBlocked));
    set(&clock, BEGIN.plus_ms(10 * MINUTE - 1));
    assert_eq!(tries("dee"), Some(Refusal::RiskBlocked));
    set(&clock, BEGIN.plus_ms(10 * MINUTE));
    assert_eq!(
        tries("dee"),
        None,
        "exactly as old as the window is outside"
    );
    let other = buy_command("dee", "tok_y", None, None);
    assert_eq!(buy(&journal, &other, Ends::Captured), None);
}

#[test]
fn what_a_buyer_paid_is_summed_by_currency_and_window() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = open(directory.path(), &clock);
    put_product(&journal);
    put_rules(&journal, &rule("amount(captured by user last 1h) >= 4000"));
    let pays = |journal: &Journal, user: &str, ends| {
        buy(journal, &buy_command(user, "tok_x", None, None), ends)
    };
    assert_eq!(pays(&journal, "ana", Ends::Captured), None);
    set(&clock, BEGIN.plus_ms(MINUTE));
    assert_eq!(pays(&journal, "ana", Ends::Declined), None);
    assert_eq!(pays(&journal, "ana", Ends::Open), None, "2,000 so far");
    assert_eq!(pays(&journal, "ana", Ends::Captured), None);
    assert_eq!(
        pays(&journal, "ana", Ends::Captured),
        Some(Refusal::RiskBlocked)
    );
    assert_eq!(pays(&journal, "bo", Ends::Captured), None);
    for snapshot in [false, true] {
        if snapshot {
            journal.upkeep().snapshot().expect("a snapshot");
        }
        journal = reopen(journal, directory.path(), &clock);
        assert_eq!(
            pays(&journal, "ana", Ends::Open),
            Some(Refusal::RiskBlocked)
        );
    }
    set(&clock, BEGIN.plus_ms(60 * MINUTE));
    assert_eq!(pays(&journal, "ana", Ends::Open), None, "the first is out");
}

#[test]
fn pauses_end_by_themselves_and_outlive_restarts_with_ratings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = open(directory.path(), &clock);
    put_product(&journal);
    put_rules(
        &journal,
        &rule("segment == \"new\" and account_age < 7d and risk_score > 500"),
    );
    let (ana, bo) = (
        UserId::parse("ana").expect("an id"),
        UserId::parse("bo").expect("an id"),
    );
    let pause = |journal: &Journal, pause| {
        let paused = BuyerPaused {
            user: ana.clone(),
            pause,
            by: admin(),
        };
        journal
            .risk()
            .pause_buyer(paused, Audit::Nothing)
            .expect("it is written");
    };
    let until = BEGIN.plus_ms(MINUTE);
    let reason = "resale".to_owned();
    pause(&journal, Some(Pause { until, reason }));
    let rated = BuyerRated {
        user: bo,
        rating: Rating {
            segment: Segment::parse("new"),
            risk_score: Some(501),
            account_since: Some(BEGIN),
        },
        by: admin(),
    };
    journal
        .risk()
        .rate_buyer(rated, Audit::Nothing)
        .expect("it is written");
    let holds = |journal: &Journal, user: &str| {
        let hold = commands::hold(
            UserId::parse(user).expect("an id"),
            ProductId::parse("drop-1").expect("an id"),
            origin(None, None),
        );
        match journal.place_hold(&hold).expect("the log takes it").outcome {
            Err(refused) => Some(refused.reason),
            _ => None,
        }
    };
    for snapshot in [false, true] {
        if snapshot {
            journal.upkeep().snapshot().expect("a snapshot");
        }
        journal = reopen(journal, directory.path(), &clock);
        assert_eq!(holds(&journal, "ana"), Some(Refusal::RiskBlocked));
        assert_eq!(holds(&journal, "bo"), Some(Refusal::RiskBlocked));
        assert_eq!(holds(&journal, "cy"), None);
    }
    set(&clock, BEGIN.plus_ms(MINUTE));
    assert_eq!(holds(&journal, "ana"), None, "the pause is over");
    set(&clock, BEGIN.plus_ms(7 * 24 * 60 * MINUTE));
    assert_eq!(holds(&journal, "bo"), None, "the account is old enough");
    let (until, reason) = (BEGIN.plus_ms(365 * 24 * 60 * MINUTE), "x".to_owned());
    pause(&journal, Some(Pause { until, reason }));
    assert_eq!(holds(&journal, "ana"), Some(Refusal::RiskBlocked));
    pause(&journal, None);
    journal = reopen(journal, directory.path(), &clock);
    assert_eq!(holds(&journal, "ana"), None, "it was lifted");
}

#[test]
fn a_counter_that_is_kept_deeper_says_until_when_it_warms_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let mut journal = open(directory.path(), &clock);
    let until = |journal: &Journal| {
        let (rules, _) = journal.risk().rules();
        warms_up_until(&journal.risk().compiled(), rules.kept(), journal.now())[0]
    };
    // Before there was anything to count, nothing is missed.
    put_rules(&journal, &rule("count(attempt by user last 1h) >= 5"));
    assert_eq!(until(&journal), None);
    put_product(&journal);
    let attempt = buy_command("ana", "tok_x", None, None);
    assert_eq!(buy(&journal, &attempt, Ends::Captured), None);
    set(&clock, BEGIN.plus_ms(MINUTE));
    put_rules(&journal, &rule("count(attempt by user last 1h) >= 4"));
    assert_eq!(until(&journal), None, "less is asked for");
    put_rules(&journal, &rule("count(attempt by user last 1h) >= 6"));
    let warm = Some(BEGIN.plus_ms(61 * MINUTE));
    assert_eq!(until(&journal), warm);
    for snapshot in [false, true] {
        if snapshot {
            journal.upkeep().snapshot().expect("a snapshot");
        }
        journal = reopen(journal, directory.path(), &clock);
        assert_eq!(until(&journal), warm);
    }
    // What always is kept needs no time.
    put_rules(&journal, &rule("count(attempt by product last 30d) >= 16"));
    assert_eq!(until(&journal), None);
    put_rules(&journal, &rule("count(attempt by user last 1h) >= 6"));
    set(&clock, BEGIN.plus_ms(61 * MINUTE));
    assert_eq!(until(&journal), None, "a whole window has passed");
}

/// A step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Buy(u8, u8, u8, u8, Ends),
    Rules(u16, u16),
    Snapshot,
    Restart,
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop_oneof![Just(Ends::Captured), Just(Ends::Declined), Just(Ends::Open)];
    let buy = (0..6_u8, 0..6_u8, 0..3_u8, 0..3_u8, ends)
        .prop_map(|(user, card, ip, device, ends)| Step::Buy(user, card, ip, device, ends));
    let step = prop_oneof![
        20 => buy,
        2 => (1..40_u16, 1..40_u16).prop_map(|(a, b)| Step::Rules(a, b)),
        1 => Just(Step::Snapshot),
        2 => Just(Step::Restart),
        6 => (0..20_000_u64).prop_map(Step::Later),
    ];
    proptest::collection::vec(step, 20..140)
}

/// Rules that observe, so that attempts pass, and ask for many counters as deep as said.
fn observing(a: u16, b: u16) -> String {
    let asks = [
        format!("count(attempt by user last 1h) >= {a}"),
        format!("count(declined by card_token last 10m) > {b}"),
        format!("count(purchase by product last 1d) >= {a}"),
        format!("count(attempt by ip last 1d) >= {b}"),
        format!("distinct(card_token by user last 1h) >= {a}"),
        format!("distinct(user by device last 1h) > {b}"),
    ];
    let rules = asks.iter().enumerate().map(|(number, when)| {
        format!("[[rule]]\nname = \"r{number}\"\nwhen = '{when}'\nthen = \"observe\"\n")
    });
    rules.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_run_has_the_same_counters_after_any_restart(steps in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let mut journal = open(directory.path(), &clock);
        put_product(&journal);
        let mut at = BEGIN;
        for step in steps {
            match step {
                Step::Buy(user, card, ip, device, ends) => {
                    let ip = (ip > 0).then(|| format!("192.0.2.{ip}"));
                    let device = (device > 0).then(|| format!("d{device}"));
                    let command = buy_command(
                        &format!("u{user}"),
                        &format!("tok_{card}"),
                        ip.as_deref(),
                        device.as_deref(),
                    );
                    let refused = buy(&journal, &command, ends);
                    prop_assert_eq!(refused, None);
                }
                Step::Rules(a, b) => put_rules(&journal, &observing(a, b)),
                Step::Snapshot => {
                    journal.upkeep().snapshot().expect("a snapshot");
                }
                Step::Restart => journal = reopen(journal, directory.path(), &clock),
                Step::Later(ms) => {
                    at = at.plus_ms(ms);
                    set(&clock, at);
                }
            }
        }
        let journal = reopen(journal, directory.path(), &clock);
        let digest = journal.upkeep().digest();
        journal.close();
        drop(journal);
        let report = check(directory.path(), &EngineSettings::default());
        prop_assert_eq!(report.expect("it is clean").digest, digest);
    }
}

/// Buyers on two threads, while rules change and snapshots are taken, all at once.
#[test]
fn the_log_leads_to_the_same_counters_whatever_runs_concurrently() {
    for round in 0..4_u16 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let journal = open(directory.path(), &clock);
        put_product(&journal);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let buyers: Vec<_> = (0..2_u32)
                .map(|thread| {
                    let journal = &journal;
                    scope.spawn(move || {
                        for number in 0..1_500_u32 {
                            let user = format!("u{}", (number * 7 + thread) % 97);
                            let card = format!("tok_{}", number % 5);
                            let ip = format!("192.0.2.{}", number % 3);
                            let ends = match number % 3 {
                                0 => Ends::Captured,
                                1 => Ends::Declined,
                                _ => Ends::Open,
                            };
                            let command = buy_command(&user, &card, Some(&ip), Some("d1"));
                            assert_eq!(buy(journal, &command, ends), None);
                        }
                    })
                })
                .collect();
            let (journal, done) = (&journal, &done);
            let operator = scope.spawn(move || {
                let mut depth = 1;
                while !done.load(Ordering::Relaxed) {
                    depth = depth % 60 + 7;
                    put_rules(journal, &observing(depth, 61 - depth.min(60) + round));
                    if depth % 3 == 0 {
                        journal.upkeep().snapshot().expect("a snapshot");
                    }
                }
            });
            for buyer in buyers {
                buyer.join().expect("no buyer panics");
            }
            done.store(true, Ordering::Relaxed);
            operator.join().expect("the operator does not panic");
        });
        drop(reopen(journal, directory.path(), &clock));
    }
}

#[test]
fn the_shipped_rules_let_an_ordinary_crowd_pass_and_stop_a_card_tester() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let journal = open(directory.path(), &clock);
    put_product(&journal);
    put_rules(&journal, SHIPPED);
    // A hundred people of one office, each with a card; one in twenty is declined and tries again.
    for number in 0..100 {
        let (user, card) = (format!("u{number}"), format!("tok_{number}"));
        let address = Some("192.0.2.1");
        if number % 20 == 0 {
            let first = buy_command(&user, &card, address, None);
            assert_eq!(buy(&journal, &first, Ends::Declined), None);
        }
        let command = buy_command(&user, &card, address, None);
        assert_eq!(buy(&journal, &command, Ends::Captured), None, "{user}");
    }
    // One who tries cards from a list, each once.
    let refused: Vec<_> = (0..20)
        .map(|number| {
            let card = format!("tok_stolen_{number}");
            let command = buy_command("mallory", &card, Some("198.51.100.7"), Some("d9"));
            buy(&journal, &command, Ends::Declined)
        })
        .collect();
    let first = refused.iter().position(Option::is_some);
    assert_eq!(first, Some(8), "{refused:?}");
    assert!(
        refused[8..]
            .iter()
            .all(|it| *it == Some(Refusal::RiskBlocked))
    );
    // And the same card under changing names.
    let refused: Vec<_> = (0..6)
        .map(|number| {
            let user = format!("mallory-{number}");
            buy(
                &journal,
                &buy_command(&user, "tok_one", None, None),
                Ends::Declined,
            )
        })
        .collect();
    assert_eq!(refused.iter().position(Option::is_some), Some(5));
}
