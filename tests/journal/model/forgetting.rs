//! What is forgotten is forgotten by the events alone: recovery, from a snapshot and from the first
//! record, leads to the state that a process had that forgot as it went; and nothing is forgotten
//! that is under way, paid, or named by a key.

use super::{
    BEGIN_MS, CardToken, HOUR_MS, buy, open_behind, origin, payment_step, product_id, product_set,
    user_id, wall_steps,
};
use crate::came::Came;
use holdfast::engine::command::{PlaceHold, ReleaseHold};
use holdfast::engine::lifecycle::PurchaseState as S;
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{Digest16, PurchaseId};
use holdfast::journal::{Answered, Audit, ClockBehind, Journal, ManualClock, Submitted, check};
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use support::commands;

const RETENTION_MS: u64 = 30_000;
const USERS: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    Hold {
        user: u8,
        key: u8,
    },
    Buy {
        user: u8,
        key: u8,
    },
    Pay {
        place: u8,
        key: u8,
    },
    Release {
        place: u8,
    },
    Record {
        place: u8,
        step: u8,
    },
    Tick {
        ms: u64,
    },
    Correct {
        ms: i64,
    },
    Snapshot,
    Reopen,
    /// The same with a clock that far behind the log, which the operator accepts, and other limits.
    ReopenBehind {
        ms: i64,
        keep_ms: u64,
        rate: u32,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        6 => (0..USERS, 0..12u8).prop_map(|(user, key)| Step::Hold { user, key }),
        4 => (0..USERS, 0..12u8).prop_map(|(user, key)| Step::Buy { user, key }),
        2 => (any::<u8>(), 0..12u8).prop_map(|(place, key)| Step::Pay { place, key }),
        3 => any::<u8>().prop_map(|place| Step::Release { place }),
        8 => (any::<u8>(), prop_oneof![3 => Just(1u8), 2 => 0..6u8, 1 => Just(10u8)]).prop_map(|(place, step)| Step::Record { place, step }),
        6 => prop_oneof![1..5_000u64, 10_000..50_000u64, HOUR_MS..HOUR_MS * 24 * 20].prop_map(|ms| Step::Tick { ms }),
        1 => wall_steps().prop_map(|ms| Step::Correct { ms }),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
        1 => (3_000..36_000_000_i64, RETENTION_MS..4 * RETENTION_MS, 3..20u32)
            .prop_map(|(ms, keep_ms, rate)| Step::ReopenBehind { ms, keep_ms, rate }),
    ];
    prop::collection::vec(one, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: super::cases(), ..ProptestConfig::default() })]

    #[test]
    fn recovery_forgets_what_the_running_process_forgot(
        steps in steps(),
        keep_ms in prop_oneof![Just(RETENTION_MS), RETENTION_MS..4 * RETENTION_MS],
    ) {
        let mut run = ForgettingRun::new(keep_ms);
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.reopen();
        run.all_leaves();
    }
}

struct ForgettingRun {
    keep_ms: u64,
    retention_ms: u64,
    /// Attempts of a buyer in the window; `None`: as they come.
    rate: Option<u32>,
    directory: tempfile::TempDir,
    clock: ManualClock,
    journal: Option<Arc<Journal>>,
    /// Each with the state that was last seen; `None`: it was forgotten.
    ids: Vec<(PurchaseId, Option<S>)>,
    /// What came of the first request under each key.
    told: HashMap<u8, KeyOutcome>,
}

#[derive(Clone, Debug, PartialEq)]
struct KeyOutcome {
    purchase: Option<PurchaseId>,
    word: &'static str,
}

impl ForgettingRun {
    fn new(keep_ms: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = ManualClock::new(UnixMs::new(BEGIN_MS));
        let mut run = Self {
            keep_ms,
            retention_ms: RETENTION_MS,
            rate: None,
            directory,
            clock,
            journal: None,
            ids: Vec::new(),
            told: HashMap::new(),
        };
        run.open(ClockBehind::Refuse);
        let put = run.journal().catalogue().put_product(product_set(0, 1_000));
        put.expect("it is written");
        run
    }

    fn open(&mut self, behind: ClockBehind) {
        let (keep_ms, retention_ms, rate) = (self.keep_ms, self.retention_ms, self.rate);
        let journal = open_behind(self.directory.path(), &self.clock, behind, |engine| {
            engine.rate.count = rate.unwrap_or(engine.rate.count);
            engine.idempotency_retention_ms = retention_ms;
            engine.ended_keep_ms = keep_ms;
            engine.card_retries.window_ms = 2 * keep_ms;
            engine.review.amount_over.clear();
            engine.amounts.daily.clear();
            engine.amounts.lifetime.clear();
        });
        self.journal = Some(journal);
    }

    fn journal(&self) -> &Arc<Journal> {
        self.journal.as_ref().expect("it is open between steps")
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Hold { user, key } => {
                let command = hold(user, key);
                let submitted = self.journal().place_hold(&command);
                self.note(key, submitted.expect("the log takes it"));
            }
            Step::Buy { user, key } => {
                let command = buy(user, 0, 1, scoped(user, key, "buy"), None);
                let submitted = self.journal().buy(&command);
                self.note(key, submitted.expect("the log takes it"));
            }
            Step::Pay { place, key } => {
                let Some(id) = self.pick(place) else { return };
                let Some((view, _)) = self.journal().reads().purchase(id) else {
                    return;
                };
                let user = (0..USERS).find(|user| user_id(*user) == view.user);
                let user = user.expect("it is one of them");
                let mut command = buy(user, 0, 1, scoped(user, key, &id.to_string()), Some(id));
                command.card = CardToken::parse("tok_other").expect("a token");
                let submitted = self.journal().buy(&command);
                self.note(key, submitted.expect("the log takes it"));
            }
            Step::Release { place } => {
                let Some(hold) = self.pick(place) else { return };
                let mut origin = origin(0, "release");
                origin.key = None;
                let user = None;
                let command = ReleaseHold { origin, hold, user };
                let told = self.journal().release_hold(&command);
                told.expect("the log takes it");
            }
            Step::Record { place, step } => {
                let Some(id) = self.pick(place) else { return };
                let Some((view, _)) = self.journal().reads().purchase(id) else {
                    return;
                };
                let recorded =
                    self.journal()
                        .record(id, payment_step(step, view.quote), Audit::Nothing);
                if let Err(error) = recorded {
                    error.refusal().expect("the log takes it");
                }
            }
            Step::Tick { ms } => {
                self.clock.advance_ms(ms);
                self.sweep();
            }
            Step::Correct { ms } => {
                self.clock.step_ms(ms);
                self.sweep();
                self.clock.advance_ms(60_000);
                self.sweep();
            }
            Step::Snapshot => {
                self.journal().upkeep().snapshot().expect("a snapshot");
            }
            Step::Reopen => self.reopen(),
            Step::ReopenBehind { ms, keep_ms, rate } => {
                self.close();
                self.clock.step_ms(-ms);
                (self.keep_ms, self.retention_ms, self.rate) = (keep_ms, keep_ms, Some(rate));
                self.open(ClockBehind::Accept);
                self.reopen();
            }
        }
    }

    fn sweep(&self) {
        self.journal().upkeep().sweep().expect("the log takes it");
    }

    /// Those of late mostly: those from long ago are forgotten.
    fn pick(&self, place: u8) -> Option<PurchaseId> {
        let late = self.ids.len().saturating_sub(8);
        let ids = &self.ids[late..];
        (!ids.is_empty()).then(|| ids[usize::from(place) % ids.len()].0)
    }

    /// A key that is remembered answers what it answered first.
    fn note<Outcome: Into<Came>>(&mut self, key: u8, submitted: Submitted<Outcome>) {
        let told = match submitted.outcome.map(Into::into) {
            Ok(Came::Hold(view)) => KeyOutcome {
                purchase: Some(view.purchase),
                word: "held",
            },
            Ok(Came::PaymentStarted(id)) => KeyOutcome {
                purchase: Some(id),
                word: "started",
            },
            Ok(Came::Paid(view)) => KeyOutcome {
                purchase: Some(view.purchase),
                word: "paid",
            },
            Ok(Came::Declined(view)) => KeyOutcome {
                purchase: Some(view.purchase),
                word: "declined",
            },
            Err(refused) => KeyOutcome {
                purchase: None,
                word: refused.reason.reason(),
            },
            Ok(Came::Refund(_) | Came::Spent) => unreachable!("nothing is refunded or spent here"),
        };
        if matches!(
            told.word,
            "idempotency_in_flight" | "idempotency_key_reused"
        ) {
            return;
        }
        if submitted.replay == Answered::Again {
            let first = &self.told[&key];
            assert_eq!(
                told.purchase, first.purchase,
                "{told:?}, and before {first:?}"
            );
            let settled = matches!(told.word, "paid" | "declined") && first.word == "started";
            assert!(settled || told.word == first.word, "{told:?}, {first:?}");
            return;
        }
        if let Some(id) = told.purchase
            && !self.ids.iter().any(|(known, _)| *known == id)
        {
            self.ids.push((id, Some(S::Held)));
        }
        self.told.insert(key, told);
    }

    /// What is forgotten had ended without a payment, and stays forgotten.
    fn check(&mut self) {
        let journal = Arc::clone(self.journal());
        for (id, state) in &mut self.ids {
            let found = journal.reads().purchase(*id).map(|(view, _)| view.state);
            match (*state, found) {
                (None, Some(_)) => panic!("{id} is there again"),
                // A hold that was open may have run out and be forgotten within one step.
                (Some(before), None) => assert!(
                    before.is_ended_hold() || before == S::Held,
                    "{id} was {before:?}"
                ),
                (_, Some(_)) | (None, None) => {}
            }
            assert_eq!(journal.reads().has_forgotten(*id), found.is_none());
            *state = found;
        }
    }

    fn close(&mut self) {
        self.journal().close();
        drop(self.journal.take());
    }

    fn reopen(&mut self) {
        let before = self.journal().upkeep().digest();
        self.close();
        let checked =
            check(self.directory.path(), &EngineSettings::default()).expect("it is clean");
        assert_eq!(checked.digest, before, "I6, from {:?}", checked.digest_from);
        self.open(ClockBehind::Refuse);
        assert_eq!(self.journal().opened().digest, before, "I6");
    }

    /// As events come, all leaves that is neither under way nor paid, and who has nothing left.
    fn all_leaves(&mut self) {
        for _ in 0..2 {
            self.clock.advance_ms(60_000);
            self.sweep();
        }
        self.clock
            .advance_ms(3 * (self.keep_ms + self.retention_ms) + 400 * 24 * HOUR_MS);
        self.sweep();
        let rounds = u8::try_from(60 + self.ids.len()).expect("few");
        for round in 0..rounds {
            // A key of its own each time, so that each is an event: what is not known is no replay.
            self.clock
                .advance_ms(self.keep_ms + self.retention_ms + 60_000);
            self.sweep();
            let mut command = hold(USERS, 200);
            let mut scope = [round; 16];
            scope[0] = 200;
            command.origin.key.as_mut().expect("it has one").scope = Digest16(scope);
            self.journal().place_hold(&command).expect("it is taken");
        }
        let journal = self.journal();
        let views = self
            .ids
            .iter()
            .filter_map(|(id, _)| journal.reads().purchase(*id));
        let left: Vec<_> = views.map(|(view, _)| view).collect();
        for view in &left {
            assert!(
                !view.state.is_ended_hold(),
                "{} is {:?}",
                view.purchase,
                view.state
            );
        }
        let mut owners: Vec<_> = left.iter().map(|view| view.user.clone()).collect();
        owners.sort_unstable();
        owners.dedup();
        let status = journal.figures().status();
        // And the one who makes the events: a hold, one that has just run out, and those whose keys
        // wait behind keys of payments under way, four at each event.
        assert_eq!(status.buyers, owners.len() + 1, "{owners:?}");
        let more = status.purchases - left.len();
        assert!((1..=8).contains(&more), "{more} more than {left:?}");
        self.reopen();
    }
}

fn hold(user: u8, key: u8) -> PlaceHold {
    commands::hold(user_id(user), product_id(0), scoped(user, key, "hold"))
}

/// The request of one buyer: the same again is a replay.
fn scoped(user: u8, key: u8, what: &str) -> holdfast::engine::event::Origin {
    origin(key, &format!("{user} {what}"))
}
