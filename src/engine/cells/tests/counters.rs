//! Stock and promotion: levels step by step, edges, refusals, and conservation under threads.

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use crate::engine::cells::{
    AmountCell, BoundedCounter, Claim, MaxBelowUses, PromotionCell, StockCell, StockLevels, Taken,
    TotalRefused, UNITS_MAX, UnitsOutOfRange,
};

fn stock(total: u32) -> StockCell {
    StockCell::new(total).expect("in range")
}

fn levels(total: u32, held: u32, sold: u32) -> StockLevels {
    StockLevels { total, held, sold }
}

#[test]
fn a_claim_that_is_dropped_gives_back_and_one_that_is_kept_does_not() {
    let cell = stock(3);
    let claim = cell.claim(2).expect("three are there");
    assert_eq!(claim.units(), 2);
    assert_eq!(cell.read(), levels(3, 2, 0));
    assert!(cell.claim(2).is_none());
    drop(claim);
    assert_eq!(cell.read(), levels(3, 0, 0));
    assert_eq!(cell.claim(3).expect("all three").keep(), 3);
    assert_eq!(cell.read(), levels(3, 3, 0));
    assert_eq!(cell.read().available(), 0);
}

#[test]
fn an_owned_claim_outlives_the_borrow_and_a_product_can_carry_its_cell() {
    struct TestProduct(StockCell);
    impl BoundedCounter for TestProduct {
        fn take(&self, units: u32) -> bool {
            self.0.take(units)
        }
        fn give_back(&self, units: u32) {
            self.0.give_back(units);
        }
    }
    let cell = Arc::new(stock(1));
    let claim = cell.claim_owned(1).expect("one is there");
    assert!(cell.claim_owned(1).is_none());
    thread::spawn(move || drop(claim))
        .join()
        .expect("gives back elsewhere");
    assert_eq!(cell.read().available(), 1);

    let product = Arc::new(TestProduct(stock(1)));
    let claim = Claim::take(Arc::clone(&product), 1).expect("one is there");
    assert_eq!(claim.keep(), 1);
    assert_eq!(
        Arc::strong_count(&product),
        1,
        "a kept claim lets go of its product"
    );
    assert_eq!(product.0.read(), levels(1, 1, 0));
}

#[test]
fn the_life_of_a_unit() {
    let cell = stock(2);
    cell.add_held(1);
    cell.add_sold(1);
    assert_eq!(cell.read(), levels(2, 1, 1));
    cell.sell(1);
    assert_eq!(cell.read(), levels(2, 0, 2));
    cell.take_back(1);
    assert_eq!(cell.read(), levels(2, 0, 1));
}

#[test]
fn totals_at_the_edges() {
    assert_eq!(
        StockCell::new(UNITS_MAX + 1).err(),
        Some(UnitsOutOfRange(UNITS_MAX + 1))
    );
    let cell = stock(UNITS_MAX);
    assert_eq!(cell.claim(UNITS_MAX).expect("all").keep(), UNITS_MAX);
    assert!(cell.claim(1).is_none());
    assert!(cell.claim(u32::MAX).is_none());
    assert_eq!(cell.set_total(UNITS_MAX + 1), Err(TotalRefused::OutOfRange));
    assert_eq!(
        cell.set_total(UNITS_MAX - 1),
        Err(TotalRefused::BelowCommitted)
    );
    cell.sell(UNITS_MAX);
    assert_eq!(cell.read(), levels(UNITS_MAX, 0, UNITS_MAX));
    cell.take_back(1);
    assert_eq!(cell.set_total(UNITS_MAX - 1), Ok(()));
    assert_eq!(cell.read().available(), 0);
    assert_eq!(
        stock(0).claim(0).map(Claim::keep),
        Some(0),
        "nothing always fits"
    );
}

#[test]
#[should_panic(expected = "I1: more units given back than were held")]
fn giving_back_what_was_not_held_is_a_bug() {
    stock(5).give_back(1);
}

#[test]
#[should_panic(expected = "I1: more units sold than were held")]
fn selling_what_was_not_held_is_a_bug() {
    stock(5).sell(1);
}

#[test]
#[should_panic(expected = "I1: more units taken back than were sold")]
fn taking_back_what_was_not_sold_is_a_bug() {
    stock(5).take_back(1);
}

#[test]
#[should_panic(expected = "I1: more units held and sold than there are")]
fn recovering_more_than_there_is_is_a_bug() {
    stock(5).add_held(6);
}

#[test]
fn a_promotion_is_used_up_and_given_back() {
    let cell = PromotionCell::new(2);
    let first = cell.claim(1).expect("two are left");
    assert_eq!(cell.claim(1).expect("one is left").keep(), 1);
    assert!(cell.claim(1).is_none());
    assert_eq!(cell.set_max(1), Err(MaxBelowUses));
    drop(first);
    assert_eq!(cell.set_max(1), Ok(()));
    assert!(cell.claim(1).is_none());
    assert_eq!(cell.set_max(u32::MAX), Ok(()));
    cell.add_uses(u32::MAX - 1);
    assert_eq!((cell.read().uses, cell.read().available()), (u32::MAX, 0));
    cell.give_back(u32::MAX);
    assert_eq!(cell.read().uses, 0);
}

#[test]
#[should_panic(expected = "I2: more uses given back than were made")]
fn giving_back_a_use_that_was_not_made_is_a_bug() {
    PromotionCell::new(5).give_back(1);
}

#[derive(Clone, Copy, Debug)]
enum CounterStep {
    Claim(u32),
    GiveBack(u32),
    Sell(u32),
    TakeBack(u32),
    SetTotal(u32),
}

fn steps() -> impl Strategy<Value = Vec<CounterStep>> {
    let units = prop_oneof![0..6_u32, UNITS_MAX - 3..UNITS_MAX + 3];
    let step = prop_oneof![
        units.clone().prop_map(CounterStep::Claim),
        units.clone().prop_map(CounterStep::GiveBack),
        units.clone().prop_map(CounterStep::Sell),
        units.clone().prop_map(CounterStep::TakeBack),
        units.prop_map(CounterStep::SetTotal),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn stock_follows_three_plain_numbers(start in 0..10_u32, steps in steps()) {
        let cell = stock(start);
        let (mut total, mut held, mut sold) = (u64::from(start), 0_u64, 0_u64);
        for step in steps {
            match step {
                CounterStep::Claim(units) => {
                    let fits = held + sold + u64::from(units) <= total;
                    prop_assert_eq!(cell.claim(units).map(Claim::keep).is_some(), fits);
                    held += if fits { u64::from(units) } else { 0 };
                }
                // Bugs of the caller are not the model's subject.
                CounterStep::GiveBack(units) if u64::from(units) <= held => {
                    cell.give_back(units);
                    held -= u64::from(units);
                }
                CounterStep::Sell(units) if u64::from(units) <= held => {
                    cell.sell(units);
                    held -= u64::from(units);
                    sold += u64::from(units);
                }
                CounterStep::TakeBack(units) if u64::from(units) <= sold => {
                    cell.take_back(units);
                    sold -= u64::from(units);
                }
                CounterStep::SetTotal(units) => {
                    let expected = if units > UNITS_MAX {
                        Err(TotalRefused::OutOfRange)
                    } else if u64::from(units) < held + sold {
                        Err(TotalRefused::BelowCommitted)
                    } else {
                        total = u64::from(units);
                        Ok(())
                    };
                    prop_assert_eq!(cell.set_total(units), expected);
                }
                CounterStep::GiveBack(_) | CounterStep::Sell(_) | CounterStep::TakeBack(_) => {}
            }
            let read = cell.read();
            prop_assert_eq!((read.total.into(), read.held.into(), read.sold.into()), (total, held, sold));
            prop_assert_eq!(u64::from(read.available()), total - held - sold);
        }
    }
}

#[test]
fn four_threads_and_a_changing_total_keep_every_unit_accounted_for() {
    const TOTAL: u32 = 500;
    let cell = Arc::new(stock(TOTAL));
    let kept: u32 = thread::scope(|scope| {
        let buyers: Vec<_> = (0..4_u32)
            .map(|buyer| {
                let cell = &cell;
                scope.spawn(move || {
                    let mut kept = 0;
                    for turn in 0..20_000 {
                        let Some(claim) = cell.claim(1 + (turn + buyer) % 3) else {
                            continue;
                        };
                        if turn % 7 == 0 {
                            kept += claim.keep();
                        }
                        let seen = cell.read();
                        assert!(seen.held + seen.sold <= seen.total, "{seen:?}");
                    }
                    kept
                })
            })
            .collect();
        let admin = scope.spawn(|| {
            for turn in 0..20_000 {
                let _ = cell.set_total(TOTAL - turn % 50);
            }
        });
        admin.join().expect("the admin never panics");
        buyers
            .into_iter()
            .map(|buyer| buyer.join().expect("no buyer panics"))
            .sum()
    });
    let end = cell.read();
    assert_eq!((end.held, end.sold), (kept, 0));
    assert!(kept > 0 && kept <= TOTAL);
}

#[test]
fn an_amount_is_counted_up_to_the_largest_there_is_and_stays_there() {
    let cell = AmountCell::new();
    let largest = i64::MAX.unsigned_abs();
    assert_eq!(cell.take(largest, u64::MAX), Taken::NoRoom);
    assert_eq!(cell.take(largest - 1, largest), Taken::Yes);
    assert_eq!(cell.take(1, largest), Taken::NoRoom);
    cell.give_back(1);
    assert_eq!(cell.take(1, largest), Taken::Yes);
    // What is counted without a bound fills it, and nothing that is given back empties it.
    assert_eq!(cell.count(u64::MAX), Taken::Yes);
    assert_eq!(cell.count(1), Taken::Yes);
    assert_eq!(cell.read(), largest);
    cell.give_back(largest);
    assert_eq!((cell.read(), cell.retire_empty()), (largest, false));
    assert_eq!(cell.take(1, largest), Taken::NoRoom);
    cell.retire();
    assert_eq!(cell.count(1), Taken::Retired);
}
