//! Velocity against sorted lists: any order, any threads, exactly N and exactly W; and what happens at the bound.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use crate::engine::cells::{
    AT_MS_MAX, AttemptInstant, Cell, KEYS_MIN, VelocityCell, VelocityTable,
};

fn at(at_ms: u64, tiebreak: u64) -> AttemptInstant {
    AttemptInstant::new(at_ms, tiebreak)
}

fn contents(cell: &VelocityCell) -> Vec<AttemptInstant> {
    let mut all: Vec<_> = cell.instants().collect();
    all.sort_unstable();
    all
}

#[test]
fn an_instant_keeps_its_millisecond_and_tells_apart_what_happened_in_it() {
    for ms in [0, 1, 1_800_000_000_000, AT_MS_MAX] {
        let instant = at(ms, u64::MAX);
        assert_eq!(instant.at_ms(), ms);
        assert_eq!(AttemptInstant::from_bits(instant.to_bits()), Some(instant));
        assert!(at(ms, 0) < at(ms, 1));
    }
    assert!(at(1, u64::MAX) < at(2, 0));
    assert_ne!(
        AttemptInstant::at_lsn(5, 4_096),
        AttemptInstant::at_lsn(5, 4_104)
    );
    assert_eq!(AttemptInstant::from_bits(0), None);
}

#[test]
fn exactly_n_and_exactly_w() {
    let table = <VelocityTable>::new(KEYS_MIN);
    for ms in [100, 200, 300] {
        table.record(9, at(ms, 0), 4);
    }
    assert!(
        !table.more_than(9, 3, 1_000, 300),
        "three are not more than three"
    );
    table.record(9, at(400, 0), 4);
    assert!(table.more_than(9, 3, 1_000, 400));
    assert!(table.more_than(9, 3, 301, 400), "the first is 300 ms old");
    assert!(!table.more_than(9, 3, 300, 400), "exactly W old is out");
    assert_eq!(table.count_since(9, 200, 10), Some(3));
    assert_eq!(table.count_since(9, 201, 10), Some(2));
    assert_eq!(table.count_since(9, 0, 2), Some(2), "capped");
    assert_eq!(table.count_since(8, 0, 10), None);
    assert_eq!(table.count_since(9, 401, 10), Some(0));
    assert_eq!(table.latest(9, 1), Some(at(400, 0)));
    assert_eq!(table.latest(9, 4), Some(at(100, 0)));
    assert_eq!((table.latest(9, 0), table.latest(9, 5)), (None, None));
    table.record(9, at(350, 0), 4);
    assert_eq!(table.latest(9, 4), Some(at(200, 0)), "the oldest went");
    assert_eq!(table.count_since(9, 0, 10), Some(4), "at least the depth");
}

#[test]
fn an_export_taken_over_twice_is_the_same_table() {
    let table = <VelocityTable>::new(KEYS_MIN);
    for n in 0..200 {
        table.record(u128::from(n % 20), at(n * 37 % 101, n), 3);
    }
    let recovered = <VelocityTable>::new(KEYS_MIN);
    for _ in 0..2 {
        table.export(|key, instants| recovered.import(key, instants));
    }
    let all = |table: &VelocityTable| {
        let mut all = Vec::new();
        table.export(|key, instants| {
            let mut instants = instants.to_vec();
            instants.sort_unstable();
            all.push((key, instants));
        });
        all.sort_unstable();
        all
    };
    assert_eq!(all(&recovered), all(&table));
}

proptest! {
    #[test]
    fn keeps_the_largest_in_any_order(
        depth in 1..9_usize,
        recorded in proptest::collection::vec((0..40_u64, 0..3_u64), 0..60),
        since in 0..42_u64,
    ) {
        let cell = VelocityCell::default();
        let mut model = BTreeSet::new();
        for (ms, tiebreak) in recorded {
            cell.record(at(ms, tiebreak), depth);
            model.insert(at(ms, tiebreak));
            let expected: Vec<_> = model.iter().rev().take(depth).rev().copied().collect();
            prop_assert_eq!(contents(&cell), expected);
        }
        let count = model.iter().filter(|instant| instant.at_ms() >= since).count();
        prop_assert_eq!(cell.count_since(since) as usize, count.min(depth));
        for n in 1..=depth {
            prop_assert_eq!(cell.latest(n), model.iter().rev().nth(n - 1).copied());
        }
    }

    #[test]
    fn more_than_n_in_w_is_what_counting_says(
        recorded in proptest::collection::btree_set((0..60_u64, 0..2_u64), 0..30),
        n in 0..6_usize,
        window in 1..50_u64,
        past in 0..20_u64,
    ) {
        let now = recorded.iter().next_back().map_or(0, |(ms, _)| *ms) + past;
        let table = <VelocityTable>::new(KEYS_MIN);
        for (ms, tiebreak) in recorded.iter().rev() {
            table.record(1, at(*ms, *tiebreak), 6);
        }
        let younger = recorded.iter().filter(|(ms, _)| now - ms < window).count();
        prop_assert_eq!(table.more_than(1, n, window, now), younger > n);
    }

    #[test]
    fn threads_in_any_order_leave_the_same(
        recorded in proptest::collection::vec((0..500_u64, 0..2_u64), 1..400),
        depth in 1..7_usize,
    ) {
        let table = <VelocityTable>::new(KEYS_MIN);
        thread::scope(|scope| {
            // Each records everything, from another place and in another direction.
            for start in 0..4 {
                let (table, recorded) = (&table, &recorded);
                scope.spawn(move || {
                    let turned = recorded.iter().cycle().skip(start * 97 % recorded.len()).take(recorded.len());
                    let mut turned: Vec<_> = turned.collect();
                    if start % 2 == 1 {
                        turned.reverse();
                    }
                    for (ms, tiebreak) in turned {
                        table.record(u128::from(ms % 3), at(*ms, *tiebreak), depth);
                    }
                });
            }
        });
        for key in 0..3_u64 {
            let model: BTreeSet<_> =
                recorded.iter().filter(|(ms, _)| ms % 3 == key).map(|(ms, tiebreak)| at(*ms, *tiebreak)).collect();
            for n in 1..=depth {
                prop_assert_eq!(table.latest(key.into(), n), model.iter().rev().nth(n - 1).copied());
            }
        }
    }
}

#[test]
fn at_the_bound_old_keys_go_and_young_ones_stay() {
    let table = <VelocityTable>::new(KEYS_MIN);
    let bound = KEYS_MIN as u64;
    for n in 0..bound {
        table.record(n.into(), at(n, 0), 2);
    }
    assert_eq!(table.keys(), KEYS_MIN);
    // A key that is tried all the time outlives ten tables full of others.
    for n in bound..10 * bound {
        table.record(7, at(n, 1), 2);
        table.record(n.into(), at(n, 0), 2);
        assert!(table.keys() <= KEYS_MIN, "{} keys", table.keys());
        assert_eq!(table.latest(7, 1), Some(at(n, 1)));
    }
    assert_eq!((table.keys(), exported(&table)), (KEYS_MIN, KEYS_MIN));
    let survivors = (0..bound)
        .filter(|n| *n != 7 && table.latest((*n).into(), 1).is_some())
        .count();
    assert!(
        survivors < KEYS_MIN / 20,
        "{survivors} of the oldest are left"
    );
}

/// One thread fills a full table with new keys, so that the oldest go; two others write to just those. Afterwards they
/// are the youngest, and every one must be there: nothing was written into an entry that was on its way out and lost.
#[test]
fn a_key_written_to_while_it_goes_out_stays() {
    const OLD: u64 = 0;
    const OLD_KEYS: u128 = KEYS_MIN as u128 / 16;
    for round in 1..=100 {
        let table = <VelocityTable>::new(KEYS_MIN);
        for key in 0..KEYS_MIN as u128 {
            // Old and young side by side, so that no sample holds old ones alone.
            table.record(key, at(if key % 16 == 0 { OLD } else { 1_000 }, 0), 3);
        }
        let start = Barrier::new(3);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                for key in 0..4 * OLD_KEYS {
                    table.record(u128::MAX - key, at(2_000, round), 3);
                    let keys = table.keys();
                    assert!(keys <= KEYS_MIN + 3, "{keys} keys");
                }
            });
            for writer in 0..2 {
                let (table, start) = (&table, &start);
                scope.spawn(move || {
                    start.wait();
                    for key in 0..OLD_KEYS {
                        table.record(key * 16, at(3_000, writer), 3);
                    }
                });
            }
        });
        for key in 0..OLD_KEYS {
            assert_eq!(
                table.count_since(key * 16, 3_000, 9),
                Some(2),
                "key {key} in round {round}"
            );
        }
        // Threads that added the same key at once have put places back; whoever comes next takes them.
        assert!(exported(&table) <= KEYS_MIN);
        for key in 0..4 * KEYS_MIN as u64 {
            table.record((u64::MAX - key).into(), at(4_000 + key, 0), 3);
        }
        assert_eq!((table.keys(), exported(&table)), (KEYS_MIN, KEYS_MIN));
    }
}

fn exported(table: &VelocityTable) -> usize {
    let mut keys = 0;
    table.export(|_, _| keys += 1);
    keys
}
