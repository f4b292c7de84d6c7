//! Crash after every operation of a scripted run, in every way a disk may then look: the log opens,
//! holds everything that was acknowledged and nothing that was not appended, and goes on. The same
//! for a crash during the repair that follows.

mod common;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use common::{Expected, Script, check_content, open, tiny};
use wal::sim::{CrashImage, SimStorage, SimulatedRun};
use wal::{LogConfig, Lsn, SyncPolicy, Witness};

/// A run with everything in it: single and grouped appends, batches that gather, rolling over,
/// removal, new generations, closing and opening again. Returns its history and what was appended.
fn scripted_run(config: &LogConfig) -> (SimulatedRun, Vec<Expected>) {
    let sim = SimStorage::new();
    let mut script = Script::default();
    for session in 0..4 {
        let (log, _) = open(&sim, config.clone()).expect("a healthy disk");
        for i in 0..12 {
            script.commit(&log, 1 + i % 3);
        }
        for _ in 0..6 {
            script.append(&log, 1).expect("the log runs");
        }
        script.commit(&log, 1);
        if session % 2 == 0 {
            log.remove_before(Lsn::new(log.durable().get() / 2))
                .expect("removed");
            script.commit(&log, 2);
        } else {
            script.append(&log, 1).expect("the log runs");
            log.begin_generation(0).expect("the log runs");
            script.commit(&log, 1);
        }
        log.close().expect("closed");
        if session > 0 {
            // Of the second in a row the segment of the first has no frame yet.
            for _ in 0..2 {
                wal::begin_generation(&sim, config).expect("closed");
            }
        }
    }
    (sim.history(), script.expected)
}

/// Opens a crashed disk; says whether its tail was torn. The history of the opening is kept in `sim`.
fn survives(
    sim: &SimStorage,
    image: &CrashImage,
    config: &LogConfig,
    expected: &[Expected],
) -> bool {
    let fail = |what: &str| -> ! {
        panic!(
            "{:?} acknowledged {}: {what}",
            image.crash, image.acknowledged
        )
    };
    let (log, report) = open(sim, config.clone()).unwrap_or_else(|e| fail(&e.to_string()));
    check_content(&log, expected, image.acknowledged).unwrap_or_else(|e| fail(&e));
    if let Some((tail, copy)) = &report.torn {
        let at = usize::try_from(tail.offset).expect("small");
        let bytes = usize::try_from(tail.bytes).expect("small");
        let cut = &image.files[&tail.segment][at..at + bytes];
        if sim.files()[copy] != cut {
            fail("the copy of the torn tail is not what was cut");
        }
    }
    let torn = report.torn.is_some();
    let kept: Vec<_> = expected
        .iter()
        .filter(|e| e.end <= report.end.get())
        .cloned()
        .collect();
    let mut script = Script { expected: kept };
    let end = script.commit(&log, 2);
    log.close().unwrap_or_else(|e| fail(&e.to_string()));
    let (log, report) = open(sim, config.clone()).unwrap_or_else(|e| fail(&e.to_string()));
    if report.torn.is_some() {
        fail("torn again after a clean close");
    }
    check_content(&log, &script.expected, end.get()).unwrap_or_else(|e| fail(&e));
    torn
}

fn fingerprint(image: &CrashImage) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&image.files, image.acknowledged).hash(&mut hasher);
    hasher.finish()
}

/// Returns how many cases there were, how many of them differed, how many tails were torn, and how
/// many cases a second crash, during the repair of a torn tail, made of those.
fn crash_everywhere(config: &LogConfig) -> (usize, usize, usize, usize) {
    /// Of the torn tails, every so manyth is crashed again at each operation of its repair.
    const SECOND_CRASH_EVERY: usize = 7;
    let (history, expected) = scripted_run(config);
    let mut seen = HashSet::new();
    let (mut cases, mut torn, mut second) = (0, 0, 0);
    for after in 0..=history.len() {
        for image in history.crashes_after(after) {
            cases += 1;
            if !seen.insert(fingerprint(&image)) {
                continue;
            }
            let sim = SimStorage::with_files(image.files.clone());
            if !survives(&sim, &image, config, &expected) {
                continue;
            }
            torn += 1;
            if torn % SECOND_CRASH_EVERY == 0 {
                second += crash_again(&image, config, &expected, &mut seen);
            }
        }
    }
    (cases, seen.len(), torn, second)
}

/// Crashes at each operation of opening a crashed disk.
fn crash_again(
    image: &CrashImage,
    config: &LogConfig,
    expected: &[Expected],
    seen: &mut HashSet<u64>,
) -> usize {
    let sim = SimStorage::with_files(image.files.clone());
    let (log, _) = open(&sim, config.clone()).expect("it has opened before");
    drop(log);
    let mut cases = 0;
    let history = sim.history();
    for after in 0..=history.len() {
        for mut again in history.crashes_after(after) {
            again.acknowledged = image.acknowledged;
            cases += 1;
            if seen.insert(fingerprint(&again)) {
                let sim = SimStorage::with_files(again.files.clone());
                survives(&sim, &again, config, expected);
            }
        }
    }
    cases
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_crash() {
    let (cases, distinct, torn, second) = crash_everywhere(&tiny());
    println!(
        "crash: {cases} cases, {distinct} distinct disks, {torn} torn tails, {second} cases of a second crash"
    );
    assert!(
        cases > 1_000 && torn > 100 && second > 100,
        "the script exercises the rules"
    );
}

#[test]
fn nor_without_a_witness() {
    let config = LogConfig {
        witness: Witness::Off,
        ..tiny()
    };
    let (cases, distinct, torn, second) = crash_everywhere(&config);
    println!(
        "crash without witness: {cases} cases, {distinct} distinct disks, {torn} torn tails, {second} cases of a second crash"
    );
    assert!(
        cases > 1_000 && torn > 100,
        "the script exercises the rules"
    );
}

/// Under an interval what was acknowledged may be lost, but only a suffix: the log always opens and
/// holds a prefix of what was appended.
#[test]
fn an_interval_loses_a_suffix_only() {
    let hour = std::time::Duration::from_hours(1);
    let config = LogConfig {
        sync: SyncPolicy::Interval(hour),
        ..tiny()
    };
    let (history, expected) = scripted_run(&config);
    let mut seen = HashSet::new();
    let mut cases = 0;
    for after in 0..=history.len() {
        for mut image in history.crashes_after(after) {
            image.acknowledged = 0;
            cases += 1;
            if seen.insert(fingerprint(&image)) {
                let sim = SimStorage::with_files(image.files.clone());
                survives(&sim, &image, &config, &expected);
            }
        }
    }
    println!(
        "crash under an interval: {cases} cases, {} distinct disks",
        seen.len()
    );
}
