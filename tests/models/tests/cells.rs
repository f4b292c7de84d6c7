//! Models of the cells: every interleaving loom can find, of the very code that runs live.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --package models
//! ```
//!
//! In an ordinary build this file is empty. The small models are walked through completely; the
//! larger ones up to the number of preemptions named with them (each thread may also stop wherever
//! it ends).
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use models::engine::cells::{
    Admission, AmountCell, AttemptInstant, CLOCK_SKEW_MS, Cell, Claim, DistinctCell, Fingerprint,
    PromotionCell, ReplayGuard, StockCell, Taken, ValueSeen, VelocityCell,
};

const RETENTION: u64 = 5_000;
const GENERATION: u64 = RETENTION + CLOCK_SKEW_MS;

fn stock(total: u32) -> Arc<StockCell> {
    Arc::new(StockCell::new(total).expect("in range"))
}

/// Walks through every interleaving with at most so many preemptions.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Runs both on threads of their own and returns what they return.
fn both<A: 'static, B: 'static>(
    a: impl FnOnce() -> A + 'static,
    b: impl FnOnce() -> B + 'static,
) -> (A, B) {
    let a = thread::spawn(a);
    let b = b();
    (a.join().expect("a model's thread does not panic"), b)
}

#[test]
fn two_claims_never_pass_the_total() {
    loom::model(|| {
        let cell = stock(3);
        let claim = |cell: &Arc<StockCell>| {
            let cell = Arc::clone(cell);
            move || cell.claim(2).map(Claim::keep).is_some()
        };
        let (a, b) = both(claim(&cell), claim(&cell));
        assert!(a ^ b, "one of two claims on two of three units");
        assert_eq!(cell.read().held, 2);
    });
}

#[test]
fn a_claim_and_a_lowering_of_the_total_exclude_each_other() {
    loom::model(|| {
        let cell = stock(2);
        let (claimer, admin) = (Arc::clone(&cell), Arc::clone(&cell));
        let (claimed, lowered) = both(
            move || claimer.claim(2).map(Claim::keep).is_some(),
            move || admin.set_total(1).is_ok(),
        );
        assert!(claimed ^ lowered);
        let end = cell.read();
        assert!(end.held + end.sold <= end.total, "{end:?}");
    });
}

#[test]
fn a_dropped_claim_a_sale_and_a_claim_account_for_every_unit() {
    loom::model(|| {
        let cell = stock(2);
        cell.add_held(1);
        let seller = Arc::clone(&cell);
        let dropper = Arc::clone(&cell);
        let (_, kept) = both(
            move || {
                seller.sell(1);
                seller.claim(1).map(drop).is_some()
            },
            move || dropper.claim(1).map(Claim::keep).is_some(),
        );
        let end = cell.read();
        assert_eq!((end.held, end.sold), (u32::from(kept), 1));
    });
}

/// "Take before the log, give back after it": who takes a unit that was given back sees the event that freed it.
#[test]
fn a_returned_unit_is_visible_together_with_earlier_writes() {
    loom::model(|| {
        let cell = stock(1);
        cell.add_held(1);
        let log = Arc::new(AtomicU64::new(0));
        let (freer, freed) = (Arc::clone(&cell), Arc::clone(&log));
        let ((), ()) = both(
            move || {
                freed.store(1, Ordering::Relaxed);
                freer.give_back(1);
            },
            move || {
                if let Some(claim) = cell.claim(1) {
                    assert_eq!(log.load(Ordering::Relaxed), 1);
                    claim.keep();
                }
            },
        );
    });
}

#[test]
fn uses_never_pass_the_maximum_also_while_it_is_lowered() {
    loom::model(|| {
        let cell = Arc::new(PromotionCell::new(2));
        let (user, admin) = (Arc::clone(&cell), Arc::clone(&cell));
        let user_thread = thread::spawn(move || {
            let first = user.claim(1).map(Claim::keep).is_some();
            let second = user.claim(1).is_some();
            (first, second)
        });
        let lowered = admin.set_max(0).is_ok();
        let (first, second) = user_thread.join().expect("a model's thread does not panic");
        let end = cell.read();
        assert!(end.uses <= end.max, "{end:?}");
        assert!(!(lowered && second) || !first || end.max == 0);
        assert_eq!(end.uses, u32::from(first));
        assert_eq!(end.max, if lowered { 0 } else { 2 });
    });
}

#[test]
fn a_sum_never_passes_its_bound_and_a_retired_one_takes_nothing() {
    loom::model(|| {
        let cell = Arc::new(AmountCell::new());
        let (payer, other) = (Arc::clone(&cell), Arc::clone(&cell));
        let (first, second) = both(
            move || {
                let taken = payer.take(6, 10);
                if taken == Taken::Yes {
                    payer.give_back(6);
                    payer.retire_empty();
                }
                taken
            },
            move || other.take(5, 10),
        );
        // Whoever kept its amount, the cell lives and has it; nothing is taken from a retired one.
        match second {
            Taken::Yes => assert_eq!(cell.read(), 5),
            Taken::NoRoom => assert_eq!((first, cell.read()), (Taken::Yes, 0)),
            Taken::Retired => {
                assert_eq!(first, Taken::Yes);
                assert_eq!(cell.take(1, 10), Taken::Retired);
            }
        }
    });
}

fn admit(guard: &Arc<ReplayGuard>, bits: u64, at: u64) -> impl FnOnce() -> Admission + 'static {
    let guard = Arc::clone(guard);
    move || guard.admit(Fingerprint::new(bits), at)
}

fn fresh(answers: &[Admission]) -> usize {
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Admission::Fresh | Admission::Replayed)),
        "{answers:?}"
    );
    answers
        .iter()
        .filter(|answer| **answer == Admission::Fresh)
        .count()
}

#[test]
fn of_two_with_the_same_fingerprint_one_is_fresh() {
    loom::model(|| {
        let guard = Arc::new(ReplayGuard::new(1, RETENTION));
        let (a, b) = both(admit(&guard, 7, 1), admit(&guard, 7, 2));
        assert_eq!(fresh(&[a, b]), 1);
    });
}

#[test]
fn two_fingerprints_that_want_the_same_slots_are_both_fresh() {
    loom::model(|| {
        // Two slots: whoever comes second moves on to the other.
        let guard = Arc::new(ReplayGuard::new(1, RETENTION));
        let (a, b) = both(admit(&guard, 7, 1), admit(&guard, 8, 1));
        assert_eq!(fresh(&[a, b]), 2);
        assert_eq!(guard.admit(Fingerprint::new(7), 1), Admission::Replayed);
        assert_eq!(guard.admit(Fingerprint::new(8), 1), Admission::Replayed);
    });
}

#[test]
fn two_on_either_side_of_the_turn_are_decided_once() {
    bounded(6, || {
        let guard = Arc::new(ReplayGuard::new(1, RETENTION));
        let (a, b) = both(
            admit(&guard, 7, GENERATION - 1),
            admit(&guard, 7, GENERATION),
        );
        assert_eq!(fresh(&[a, b]), 1);
    });
}

#[test]
fn an_admission_that_races_with_the_turn_of_a_generation_is_decided_once() {
    bounded(2, || {
        let turn = GENERATION;
        let guard = Arc::new(ReplayGuard::new(1, RETENTION));
        // One caller's clock stands before the turn, two after it; the turn itself happens in the race.
        let late = thread::spawn(admit(&guard, 7, turn + 1));
        let (a, b) = both(admit(&guard, 7, turn - 1), admit(&guard, 7, turn));
        let c = late.join().expect("a model's thread does not panic");
        assert_eq!(fresh(&[a, b, c]), 1);
        assert_eq!(
            guard.admit(Fingerprint::new(7), turn - 1 + RETENTION),
            Admission::Replayed
        );
    });
}

#[test]
fn a_straggler_two_generations_late_lets_nothing_in_within_the_retention() {
    bounded(4, || {
        let guard = Arc::new(ReplayGuard::new(1, RETENTION));
        let straggler_at = GENERATION - 1;
        let (straggler, (first, second)) = both(admit(&guard, 7, straggler_at), {
            let guard = Arc::clone(&guard);
            move || {
                let first = guard.admit(Fingerprint::new(7), GENERATION);
                let second = guard.admit(Fingerprint::new(7), 2 * GENERATION);
                (first, second)
            }
        });
        let admitted: Vec<u64> = [
            (straggler, straggler_at),
            (first, GENERATION),
            (second, 2 * GENERATION),
        ]
        .into_iter()
        .filter(|(answer, _)| *answer == Admission::Fresh)
        .map(|(_, at)| at)
        .collect();
        for pair in admitted.windows(2) {
            assert!(pair[1] - pair[0] > RETENTION, "{admitted:?}");
        }
        // Whoever was first, the one in the middle is within the retention of it.
        assert!(straggler == Admission::Fresh || first == Admission::Fresh);
    });
}

fn at(ms: u64) -> AttemptInstant {
    AttemptInstant::new(ms, 0)
}

fn sorted(cell: &VelocityCell) -> Vec<u64> {
    let mut all: Vec<u64> = cell.instants().map(AttemptInstant::at_ms).collect();
    all.sort_unstable();
    all
}

#[test]
fn two_records_of_the_same_instant_are_one() {
    loom::model(|| {
        let cell = Arc::new(VelocityCell::default());
        cell.record(at(1), 2);
        let (a, b) = (Arc::clone(&cell), Arc::clone(&cell));
        both(move || a.record(at(5), 2), move || b.record(at(5), 2));
        assert_eq!(sorted(&cell), [1, 5]);
    });
}

#[test]
fn two_records_keep_the_largest() {
    bounded(4, || {
        let cell = Arc::new(VelocityCell::default());
        cell.record(at(2), 2);
        let (a, b) = (Arc::clone(&cell), Arc::clone(&cell));
        both(
            move || {
                a.record(at(5), 2);
                a.record(at(1), 2);
            },
            move || {
                b.record(at(3), 2);
                b.record(at(5), 2);
            },
        );
        assert_eq!(sorted(&cell), [3, 5]);
    });
}

/// A cell begins with six slots; the seventh and eighth instants add more, once, whoever comes first.
#[test]
fn two_records_that_need_more_slots_keep_all() {
    bounded(2, || {
        let cell = Arc::new(VelocityCell::default());
        for ms in 1..=6 {
            cell.record(at(ms), 8);
        }
        let (a, b) = (Arc::clone(&cell), Arc::clone(&cell));
        both(
            move || a.record(at(8), 8),
            move || {
                b.record(at(7), 8);
                b.record(at(8), 8);
            },
        );
        assert_eq!(sorted(&cell), [1, 2, 3, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn three_records_in_two_slots_keep_the_largest() {
    bounded(2, || {
        let cell = Arc::new(VelocityCell::default());
        let (a, b, c) = (Arc::clone(&cell), Arc::clone(&cell), Arc::clone(&cell));
        let third = thread::spawn(move || c.record(at(4), 2));
        both(
            move || a.record(at(4), 2),
            move || {
                b.record(at(6), 2);
                b.record(at(5), 2);
            },
        );
        third.join().expect("a model's thread does not panic");
        assert_eq!(sorted(&cell), [5, 6]);
    });
}

fn seen(value: u64, ms: u64) -> ValueSeen {
    let instant = at(ms);
    ValueSeen { instant, value }
}

fn values(cell: &DistinctCell) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    cell.items(&mut all);
    let mut all: Vec<_> = all
        .iter()
        .map(|it| (it.value, it.instant.at_ms()))
        .collect();
    all.sort_unstable();
    all
}

/// One thread sees the one value again while another makes the list of two.
fn seen_again_while_the_list_is_made(depth: usize, other_ms: u64, left: &'static [(u64, u64)]) {
    loom::model(move || {
        let cell = Arc::new(DistinctCell::of(seen(7, 1)));
        let (a, b) = (Arc::clone(&cell), Arc::clone(&cell));
        both(
            move || a.record(seen(7, 5), depth),
            move || b.record(seen(8, other_ms), depth),
        );
        assert_eq!(values(&cell), left);
    });
}

#[test]
fn the_one_value_seen_again_while_the_list_is_made_keeps_its_instant() {
    seen_again_while_the_list_is_made(2, 3, &[(7, 5), (8, 3)]);
}

#[test]
fn of_two_values_the_later_one_stays_where_one_is_kept() {
    seen_again_while_the_list_is_made(1, 3, &[(7, 5)]);
    seen_again_while_the_list_is_made(1, 9, &[(8, 9)]);
}

#[test]
fn two_threads_that_make_the_list_leave_all_three_values() {
    bounded(3, || {
        let cell = Arc::new(DistinctCell::of(seen(7, 1)));
        let (a, b) = (Arc::clone(&cell), Arc::clone(&cell));
        both(
            move || {
                a.record(seen(8, 2), 3);
                a.record(seen(7, 4), 3);
            },
            move || b.record(seen(9, 3), 3),
        );
        assert_eq!(values(&cell), [(7, 4), (8, 2), (9, 3)]);
    });
}
