//! The replay guard against a plain list of what was admitted when, at its edges, and under threads that disagree
//! about the time.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::*;

use crate::engine::cells::{Admission, CLOCK_SKEW_MS, Fingerprint, GuardFull, ReplayGuard};

const RETENTION: u64 = 5_000;
const GENERATION: u64 = RETENTION + CLOCK_SKEW_MS;
const NOW: u64 = 1_800_000_000_000;

fn f(bits: u64) -> Fingerprint {
    Fingerprint::new(bits)
}

#[test]
fn fresh_once_then_replayed_through_the_retention_then_fresh_again() {
    let guard = ReplayGuard::new(8, RETENTION);
    assert_eq!(guard.admit(f(1), NOW), Admission::Fresh);
    assert_eq!(guard.admit(f(1), NOW), Admission::Replayed);
    assert_eq!(guard.admit(f(2), NOW), Admission::Fresh);
    assert_eq!(guard.admit(f(1), NOW + RETENTION), Admission::Replayed);
    assert_eq!(guard.admit(f(1), NOW + 2 * GENERATION), Admission::Fresh);
}

#[test]
fn a_look_says_what_admitting_would_and_remembers_nothing() {
    let start = GENERATION * 1_000;
    for at in [
        start,
        start + RETENTION,
        start + GENERATION,
        start + 2 * GENERATION - 1,
        start + 2 * GENERATION,
        start + 5 * GENERATION,
    ] {
        let guard = ReplayGuard::new(8, RETENTION);
        assert_eq!(guard.admit(f(1), start), Admission::Fresh);
        for fingerprint in [f(1), f(2)] {
            let looked = [guard.look(fingerprint, at), guard.look(fingerprint, at)];
            let admitted = guard.admit(fingerprint, at);
            assert_eq!(looked, [admitted; 2], "{fingerprint:?} at {at}");
        }
    }
    let guard = ReplayGuard::new(1, RETENTION);
    assert_eq!(guard.admit(f(1), start), Admission::Fresh);
    assert_eq!(guard.admit(f(2), start), Admission::Fresh);
    assert_eq!(guard.look(f(3), start), Admission::Full);
    assert_eq!(guard.look(f(1), start), Admission::Replayed);
    assert_eq!(guard.look(f(3), start + GENERATION), Admission::Fresh);
    assert_eq!(guard.look(f(3), start - CLOCK_SKEW_MS - 1), Admission::Late);
}

#[test]
fn the_turn_of_a_generation_at_every_edge() {
    let start = GENERATION * 1_000;
    for admitted in [start, start + 1, start + GENERATION - 1] {
        for later in [0, 1, RETENTION - 1, RETENTION] {
            let guard = ReplayGuard::new(8, RETENTION);
            assert_eq!(guard.admit(f(7), admitted), Admission::Fresh);
            assert_eq!(
                guard.admit(f(7), admitted + later),
                Admission::Replayed,
                "{admitted} + {later}"
            );
        }
        let guard = ReplayGuard::new(8, RETENTION);
        assert_eq!(guard.admit(f(7), admitted), Admission::Fresh);
        assert_eq!(guard.admit(f(8), start + 2 * GENERATION), Admission::Fresh);
        assert_eq!(
            guard.admit(f(7), start + 2 * GENERATION - CLOCK_SKEW_MS),
            Admission::Fresh,
            "two turns forget"
        );
    }
}

#[test]
fn a_clock_that_lags_finds_what_a_later_one_admitted() {
    let start = GENERATION * 1_000;
    let guard = ReplayGuard::new(8, RETENTION);
    assert_eq!(guard.admit(f(1), start + 1), Admission::Fresh);
    assert_eq!(guard.admit(f(1), start - 1), Admission::Replayed);
    assert_eq!(guard.admit(f(2), start - 1), Admission::Fresh);
    assert_eq!(guard.admit(f(2), start + RETENTION), Admission::Replayed);
}

#[test]
fn a_clock_that_lags_too_far_is_turned_away_but_recovery_is_not() {
    let start = GENERATION * 1_000;
    let guard = ReplayGuard::new(8, RETENTION);
    assert_eq!(guard.admit(f(1), start), Admission::Fresh);
    assert_eq!(guard.admit(f(2), start - CLOCK_SKEW_MS), Admission::Fresh);
    assert_eq!(
        guard.admit(f(3), start - CLOCK_SKEW_MS - 1),
        Admission::Late
    );
    assert_eq!(
        guard.admit(f(3), start),
        Admission::Fresh,
        "nothing was remembered"
    );
    assert_eq!(guard.insert(f(4), start - 3 * GENERATION), Ok(()));
    assert_eq!(guard.admit(f(4), start), Admission::Replayed);
}

#[test]
fn a_full_generation_lets_nothing_through_and_the_next_one_does() {
    let guard = ReplayGuard::new(4, RETENTION);
    let admitted = (1..100)
        .filter(|bits| guard.admit(f(*bits), NOW) == Admission::Fresh)
        .count();
    assert_eq!(admitted, 8, "twice the capacity fits");
    assert_eq!(guard.admit(f(200), NOW), Admission::Full);
    assert_eq!(guard.insert(f(200), NOW), Err(GuardFull));
    assert_eq!(guard.admit(f(1), NOW), Admission::Replayed);
    assert_eq!(guard.admit(f(200), NOW + GENERATION), Admission::Fresh);
    assert_eq!(
        guard.admit(f(1), NOW + RETENTION),
        Admission::Replayed,
        "a full table still remembers"
    );
}

#[test]
fn the_values_that_mark_slots_are_fingerprints_too() {
    let guard = ReplayGuard::new(8, RETENTION);
    for bits in [0, u64::MAX] {
        assert_eq!(guard.admit(f(bits), NOW), Admission::Fresh);
        assert_eq!(guard.admit(f(bits), NOW), Admission::Replayed);
        assert_eq!(f(f(bits).get()), f(bits));
    }
}

#[test]
fn an_export_taken_over_twice_remembers_the_same() {
    let guard = ReplayGuard::new(64, RETENTION);
    let start = GENERATION * 1_000;
    for bits in 1..40 {
        assert_eq!(guard.admit(f(bits), start + bits * 200), Admission::Fresh);
    }
    let at = start + 40 * 200;
    let export = guard.export();
    assert_eq!(export.len(), 2);
    for retention in [RETENTION, RETENTION / 3, RETENTION * 4] {
        let recovered = ReplayGuard::new(64, retention);
        recovered.import(&export, at).expect("room for all");
        recovered.import(&export, at).expect("room for all");
        for bits in (1..40).filter(|bits| start + bits * 200 + retention >= at) {
            assert_eq!(
                recovered.admit(f(bits), at),
                Admission::Replayed,
                "{bits} with {retention}"
            );
        }
    }
    let same = ReplayGuard::new(64, RETENTION);
    same.import(&export, at).expect("room for all");
    let sorted = |guard: &ReplayGuard| -> Vec<(u64, Vec<Fingerprint>)> {
        let sort = |mut all: Vec<Fingerprint>| {
            all.sort_unstable();
            all
        };
        guard
            .export()
            .into_iter()
            .map(|generation| (generation.last_ms, sort(generation.fingerprints)))
            .collect()
    };
    assert_eq!(sorted(&same), sorted(&guard));
}

proptest! {
    /// The guard may remember longer than the model; it may never forget within the retention, nor know what it was
    /// never given. Times wander: forwards mostly, backwards by less than the skew.
    #[test]
    fn never_fresh_twice_within_the_retention(
        steps in proptest::collection::vec((1..13_u64, 0..3_000_u64, 0..CLOCK_SKEW_MS), 1..200),
        restart_every in 5..50_usize,
    ) {
        let mut guard = ReplayGuard::new(256, RETENTION);
        let mut admitted: HashMap<u64, u64> = HashMap::new();
        let mut now = NOW;
        for (turn, (bits, forward, back)) in steps.into_iter().enumerate() {
            now += forward;
            let at = now - back;
            match guard.admit(f(bits), at) {
                Admission::Fresh => {
                    let before = admitted.insert(bits, at);
                    prop_assert!(before.is_none_or(|before| at > before + RETENTION));
                }
                Admission::Replayed => {
                    let before = admitted.get(&bits).copied();
                    prop_assert!(before.is_some_and(|before| at < before + CLOCK_SKEW_MS + 2 * GENERATION));
                }
                Admission::Full | Admission::Late => prop_assert!(false, "there is room, and the clocks agree"),
            }
            if turn % restart_every == 0 {
                let recovered = ReplayGuard::new(256, RETENTION);
                recovered.import(&guard.export(), now).expect("room for all");
                guard = recovered;
            }
        }
    }
}

#[test]
fn of_many_threads_with_one_fingerprint_exactly_one_is_fresh() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let guard = ReplayGuard::new(1 << 15, RETENTION);
    let fresh = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (guard, fresh) = (&guard, &fresh);
            scope.spawn(move || {
                for bits in 1..=EACH {
                    // A generation turns in the middle, each thread a little earlier or later than the others.
                    let at =
                        GENERATION * 1_000 - EACH / 80 + bits / 40 + thread * CLOCK_SKEW_MS / 8;
                    match guard.admit(f(bits), at) {
                        Admission::Fresh => _ = fresh.fetch_add(1, Ordering::Relaxed),
                        Admission::Replayed => {}
                        Admission::Full | Admission::Late => {
                            panic!("there is room, and the clocks agree")
                        }
                    }
                }
            });
        }
    });
    assert_eq!(fresh.into_inner(), EACH);
}

/// Threads race through thousands of generations and fall asleep where it hurts: between reading the clock and asking.
/// Whatever is let in twice must lie more than the retention apart.
#[test]
fn racing_through_turns_lets_nothing_in_twice_within_the_retention() {
    const STEP: u64 = GENERATION / 7;
    const END: u64 = NOW + 5_000 * GENERATION;
    let guard = ReplayGuard::new(256, RETENTION);
    let clock = AtomicU64::new(NOW);
    let admitted: Vec<Vec<(u64, u64)>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let (guard, clock) = (&guard, &clock);
                scope.spawn(move || {
                    let mut admitted = Vec::new();
                    while let now @ ..END = clock.fetch_add(STEP, Ordering::Relaxed) {
                        for bits in 1..=16 {
                            if guard.admit(f(bits), now) == Admission::Fresh {
                                admitted.push((bits, now));
                            }
                        }
                    }
                    admitted
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("no racer panics"))
            .collect()
    });
    let mut all: Vec<(u64, u64)> = admitted.into_iter().flatten().collect();
    all.sort_unstable();
    let distinct: HashSet<u64> = all.iter().map(|(bits, _)| *bits).collect();
    assert_eq!(distinct.len(), 16);
    for pair in all.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        assert!(pair[1].1 - pair[0].1 > RETENTION, "{pair:?}");
    }
}
