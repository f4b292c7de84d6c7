//! Profiles and features over random runs: what a buyer's profile says is what the log says, after
//! any restart too; and the features in an attempt's event are what looking back over the log before
//! that event finds, so that nothing of them was known only later.

mod by_hand;
mod run;

use by_hand::{Counted, entries, looks_back_only, profile_of};
use holdfast::engine::profile::{DECISIONS_KEPT, JudgedAs};
use holdfast::engine::refusal::Refusal;
use holdfast::journal::ManualClock;
use proptest::prelude::*;
use run::{
    Attempt, BEGIN, How, MINUTE, PlannedEnd, Run, Step, USERS, profiles, reopen, steps, user,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn profiles_and_features_follow_from_the_log(steps in steps()) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(BEGIN);
        let mut run = Run::begin(directory.path(), &clock);
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

/// A run in which everything that a profile counts happens, and more decisions than are kept.
#[test]
fn everything_that_a_profile_counts_is_in_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = ManualClock::new(BEGIN);
    let mut run = Run::begin(directory.path(), &clock);
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
        attempt(How::BuyTwo, PlannedEnd::Captured),
        attempt(How::Buy, PlannedEnd::Captured),
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
    steps.extend(vec![attempt(How::Buy, PlannedEnd::Declined); 3]);
    steps.extend(vec![attempt(How::Buy, PlannedEnd::Captured); 9]);
    let mut at = BEGIN;
    for step in steps {
        clock.advance_ms(MINUTE);
        at = at.plus_ms(MINUTE);
        run.step(&step, at);
    }
    for _ in 0..2 {
        run.journal.upkeep().snapshot().expect("a snapshot");
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
