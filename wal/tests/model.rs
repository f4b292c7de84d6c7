//! Random steps against a simple model, a vector of what was appended, with closing and opening,
//! crashing, removing and reading among the steps.
// Its helpers are no dependencies under loom, which has tests of its own.
#![cfg(not(loom))]

mod common;

use common::{Script, check_content, open, tiny};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use wal::sim::SimStorage;
use wal::{Log, Lsn};

#[derive(Clone, Debug)]
enum Step {
    /// Append so many records in one call.
    Append(usize),
    /// Append and wait.
    Commit(usize),
    /// Remove what lies before this part of the log, in percent.
    Remove(u64),
    /// Close and open.
    Reopen,
    /// Lose power, in the way chosen by the number, and open.
    Crash(usize),
    /// Read from a record on, chosen by the number.
    ReadFrom(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..4_usize).prop_map(Step::Append),
        6 => (1..4_usize).prop_map(Step::Commit),
        1 => (0..=100_u64).prop_map(Step::Remove),
        1 => Just(Step::Reopen),
        2 => any::<usize>().prop_map(Step::Crash),
        2 => any::<usize>().prop_map(Step::ReadFrom),
    ];
    prop::collection::vec(step, 1..60)
}

struct World {
    sim: SimStorage,
    log: Log,
    script: Script,
}

impl World {
    fn new() -> Self {
        let sim = SimStorage::new();
        let (log, _) = open(&sim, tiny()).expect("a healthy disk");
        Self {
            sim,
            log,
            script: Script::default(),
        }
    }

    fn step(mut self, step: &Step) -> Result<Self, TestCaseError> {
        match *step {
            Step::Append(count) => {
                self.script.append(&self.log, count).expect("the log runs");
            }
            Step::Commit(count) => {
                self.script.commit(&self.log, count);
            }
            Step::Remove(percent) => {
                let before = Lsn::new(self.log.durable().get() * percent / 100);
                let removed = self.log.remove_before(before).expect("a healthy disk");
                prop_assert!(removed.first <= before || removed.segments == 0);
            }
            Step::Reopen => {
                let end = self.log.appended();
                self.log.close().expect("a healthy disk");
                let (log, report) = open(&self.sim, tiny()).expect("it was closed in good order");
                prop_assert_eq!(report.end, end, "closing leaves nothing behind");
                prop_assert!(report.torn.is_none());
                self.log = log;
            }
            Step::Crash(choice) => return self.crash(choice),
            Step::ReadFrom(choice) => self.read_from(choice)?,
        }
        Ok(self)
    }

    fn crash(mut self, choice: usize) -> Result<Self, TestCaseError> {
        let history = self.sim.history();
        let images: Vec<_> = history.crashes_after(history.len()).collect();
        let image = images[choice % images.len()].clone();
        // The old machine goes on for nobody.
        drop(self.log);
        self.sim = SimStorage::with_files(image.files);
        let (log, report) = open(&self.sim, tiny()).expect("a crash damages nothing");
        prop_assert!(report.end.get() >= image.acknowledged);
        self.script.expected.retain(|e| e.end <= report.end.get());
        self.log = log;
        check_content(&self.log, &self.script.expected, image.acknowledged)
            .map_err(TestCaseError::fail)?;
        Ok(self)
    }

    fn read_from(&self, choice: usize) -> Result<(), TestCaseError> {
        let (first, durable) = (self.log.first_lsn().get(), self.log.durable().get());
        let there: Vec<_> = self
            .script
            .expected
            .iter()
            .filter(|e| e.lsn >= first && e.end <= durable)
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let from = choice % there.len();
        let mut reader = self
            .log
            .reader(Lsn::new(there[from].lsn))
            .expect("a record starts there");
        for expected in &there[from..] {
            let record = reader
                .next()
                .expect("a healthy disk")
                .expect("it is durable");
            prop_assert_eq!(record.lsn.get(), expected.lsn);
            prop_assert_eq!(record.payload, &expected.payload[..]);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_was_appended(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world = world.step(step)?;
        }
        let end = world.log.appended();
        world.log.wait_durable(end).expect("the log runs");
        check_content(&world.log, &world.script.expected, end.get()).map_err(TestCaseError::fail)?;
    }
}
