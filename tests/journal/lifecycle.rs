//! The life cycle's table, pair by pair: every state with every step, legal or refused.
//!
//! The expected table stands here as text, written by hand from the rules, so that a change of the
//! program's table is a change of this one too.

use holdfast::engine::lifecycle::{PaidState, PurchaseState, Step, Units, next_state};
use std::collections::BTreeSet;

/// One row a step, by its name in the program (`_`: each state of the money); then every state in which it is legal, and where it
/// leads. What is not here is refused.
const TABLE: &str = "
    HoldPlaced              -:held
    HoldReleased            held:released
    HoldExpired             held:expired
    PaymentStarted          held:authorizing
    PaymentAuthorized       authorizing:authorized
    PaymentDeclined         authorizing:declined
    PaymentDeclinedHoldKept authorizing:held
    ReviewOpened            authorized:under_review
    CaptureStarted          authorized:capturing
    ReviewApproved          under_review:capturing
    ReviewRejected          under_review:voiding
    PaymentCaptured         capturing:captured differs:captured stuck:captured
    CaptureDiffered         capturing:differs
    VoidStarted             authorizing:voiding authorized:voiding under_review:voiding capturing:voiding differs:voiding stuck:voiding
    PaymentVoided           voiding:voided stuck:voided
    PaymentVoidedHoldKept   voiding:held stuck:held
    VoidStuck               voiding:stuck
    RefundStarted           captured:captured partially_refunded:partially_refunded disputed:disputed
    RefundFailed            captured:captured partially_refunded:partially_refunded disputed:disputed charged_back:charged_back
    DisputeOpened           captured:disputed partially_refunded:disputed refunded:disputed disputed:disputed charged_back:disputed
    Refunded(_)             captured:_ partially_refunded:_ disputed:_ charged_back:_
    RefundFound(_)          captured:_ partially_refunded:_ disputed:_ charged_back:_
    RefundReturned(_)       partially_refunded:_ refunded:_ disputed:_ charged_back:_
    DisputeWon(_)           captured:_ partially_refunded:_ refunded:_ disputed:_ charged_back:_
    DisputeLost(_)          captured:_ partially_refunded:_ refunded:_ disputed:_ charged_back:_
";

fn expected() -> BTreeSet<(String, String, String)> {
    let mut rows = BTreeSet::new();
    for line in TABLE.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let step = words.next().expect("a row names its step");
        for pair in words {
            let (from, to) = pair.split_once(':').expect("from:to");
            // What a step says of the money is where it leads.
            let payloads: &[PaidState] = if to == "_" { &PaidState::ALL } else { &[] };
            let mut leads: Vec<_> = payloads
                .iter()
                .map(|to| (step.replace('_', &format!("{to:?}")), to.state().as_str()))
                .collect();
            if leads.is_empty() {
                leads.push((step.to_owned(), to));
            }
            for (step, to) in leads {
                let row = (step.clone(), from.to_owned(), to.to_owned());
                assert!(rows.insert(row), "{step} {pair} stands there twice");
            }
        }
    }
    rows
}

fn states() -> impl Iterator<Item = Option<PurchaseState>> {
    std::iter::once(None).chain(PurchaseState::ALL.into_iter().map(Some))
}

fn word(state: Option<PurchaseState>) -> String {
    match state {
        // It is told as `stuck`, as an overdue void is.
        Some(PurchaseState::CaptureDiffers) => "differs".to_owned(),
        state => state.map_or("-", PurchaseState::as_str).to_owned(),
    }
}

#[test]
fn every_pair_of_state_and_step_is_legal_or_refused_as_the_table_says() {
    let mut found = BTreeSet::new();
    let mut pairs = 0;
    for state in states() {
        for step in Step::ALL {
            pairs += 1;
            if let Some(next) = next_state(state, step) {
                found.insert((format!("{step:?}"), word(state), word(Some(next))));
            }
        }
    }
    assert_eq!(pairs, 18 * 45);
    assert_eq!(found, expected());
}

#[test]
fn units_never_come_back_once_they_are_sold_and_never_leave_what_ended() {
    for state in PurchaseState::ALL {
        for step in Step::ALL {
            let Some(next) = next_state(Some(state), step) else {
                continue;
            };
            match state.units() {
                Units::Held => {}
                units @ (Units::Sold | Units::None) => assert_eq!(next.units(), units, "{step:?}"),
            }
        }
    }
}

#[test]
fn every_state_is_reached_and_whatever_is_open_can_end() {
    let leads_on = |from: PurchaseState| {
        let next = move |step| next_state(Some(from), step);
        Step::ALL.into_iter().filter_map(next)
    };
    let mut reached = BTreeSet::from([PurchaseState::Held]);
    loop {
        let more: BTreeSet<_> = reached.iter().copied().flat_map(leads_on).collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            break;
        }
    }
    assert_eq!(reached.len(), PurchaseState::ALL.len());
    for state in PurchaseState::ALL
        .into_iter()
        .filter(|it| it.is_open_payment())
    {
        let mut seen = BTreeSet::from([state]);
        let mut ends = false;
        while !ends {
            let more: BTreeSet<_> = seen.iter().copied().flat_map(leads_on).collect();
            ends = more.iter().any(|next| !next.is_open_payment());
            let before = seen.len();
            seen.extend(more);
            assert!(ends || seen.len() > before, "{} cannot end", state.as_str());
        }
    }
}
