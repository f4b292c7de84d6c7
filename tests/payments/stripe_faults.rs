//! The Stripe gateway while things go wrong: every fault at every request, and what is charged at
//! the end.

use crate::stripe_calls::*;
use crate::stripe_stage::Stage;
use holdfast::payments::gateway::{
    CallClass, CallResult, DeclinedBy, FoundRefund, Gateway, LookupResult, Trouble,
};
use support::stripe_server::faults::{Effect, Fault, Kept, Silence};
use support::stripe_server::wire::Op;
use support::until;

#[test]
fn the_lost_answer_that_a_card_wants_its_holder_is_a_decline_all_the_same() {
    let stage = Stage::new();
    let token = "pm_card_authenticationRequired";
    stage
        .server
        .script(Op::Confirm, Fault::Cut(Effect::After), 1);
    let answer = stage.run(stage.stripe.authorize(order(1, token)));
    assert_eq!(answer.class(), CallClass::Unknown);
    let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
    let expected = declined(DeclinedBy::Issuer, "authentication_required");
    assert_eq!(found, Ok(LookupResult::Declined(expected)));
    assert_eq!(stage.server.books()[0].status, "canceled");
}

#[test]
fn the_lost_answer_to_its_cancellation_leaves_it_a_decline_of_the_issuer() {
    let stage = Stage::new();
    let token = "pm_card_authenticationRequired";
    stage
        .server
        .script(Op::Cancel, Fault::Cut(Effect::After), 1);
    let answer = stage.run(stage.stripe.authorize(order(1, token)));
    assert_eq!(answer.class(), CallClass::Unknown);
    let expected = declined(DeclinedBy::Issuer, "authentication_required");
    for _ in 0..2 {
        let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
        assert_eq!(found, Ok(LookupResult::Declined(expected.clone())));
    }
    let again = stage.run(stage.stripe.authorize(order(1, token)));
    assert_eq!(again, CallResult::Declined(expected));
    let void = stage.run(stage.stripe.void(claim(1, None)));
    assert_eq!(void, CallResult::Approved(()), "nothing is set aside");
}

/// Every fault there is, what it means where money may have moved, and where none can have.
fn faults() -> [(Fault, CallClass, CallClass); 11] {
    use CallClass::{Retriable, Unknown};
    use Effect::{After, Before};
    [
        (Fault::Error(Before, Kept::No), Unknown, Retriable),
        (Fault::Error(Before, Kept::Yes), Unknown, Retriable),
        (Fault::Error(After, Kept::No), Unknown, Retriable),
        (Fault::Error(After, Kept::Yes), Unknown, Retriable),
        // Given up by whoever waits, who has to take it for unknown.
        (Fault::NoAnswer(Before), Unknown, Unknown),
        (Fault::NoAnswer(After), Unknown, Unknown),
        (Fault::Cut(Before), Unknown, Retriable),
        (Fault::Cut(After), Unknown, Retriable),
        (Fault::CutInTheMiddle, Unknown, Retriable),
        (Fault::TooMany, Retriable, Retriable),
        (Fault::Garbage, Unknown, Retriable),
    ]
}

#[test]
fn money_is_authorized_once_whatever_fails() {
    for op in [Op::Create, Op::Confirm] {
        for (fault, moves, does_not) in faults() {
            for times in [1, 3] {
                let stage = Stage::new();
                stage.server.script(op, fault, times);
                let send = || stage.attempt(stage.stripe.authorize(order(1, "pm_card_visa")));
                let is = |found: &LookupResult| matches!(found, LookupResult::Authorized(_));
                let classes = stage.to_the_end(None, send, is);
                let expected = if op == Op::Create { does_not } else { moves };
                assert_eq!(classes[0], expected, "{op:?} {fault:?}: {classes:?}");
                stage.server.check();
                let books = stage.server.books();
                let set_aside: u32 = books.iter().map(|it| it.authorizations).sum();
                assert_eq!(set_aside, 1, "{op:?} {fault:?} {times}: {books:?}");
            }
        }
    }
}

#[test]
fn a_declined_card_is_charged_once_whatever_fails() {
    let token = "pm_card_chargeDeclinedStolenCard";
    let expected = declined(DeclinedBy::Issuer, "stolen_card");
    for op in [Op::Create, Op::Confirm] {
        for (fault, _, _) in faults() {
            let stage = Stage::new();
            stage.server.script(op, fault, 1);
            let decline = until("it is declined", || {
                match stage.attempt(stage.stripe.authorize(order(1, token)))? {
                    CallResult::Declined(decline) => Some(decline),
                    CallResult::Approved(_) => panic!("{fault:?}"),
                    CallResult::Retriable(_) | CallResult::Unknown(_) => None,
                }
            });
            assert_eq!(decline, expected, "{op:?} {fault:?}");
            let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
            assert_eq!(found, Ok(LookupResult::Declined(decline)));
            let books = stage.server.books();
            let asked: u32 = books.iter().map(|it| it.declines).sum();
            assert_eq!(asked, 1, "{op:?} {fault:?}: {books:?}");
        }
    }
}

#[test]
fn money_is_captured_once_whatever_fails() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.authorized(1);
        let id = Some(&authorization.id);
        stage.server.script(Op::Capture, fault, 2);
        let send = || stage.attempt(stage.stripe.capture(claim(1, id)));
        let is = |found: &LookupResult| matches!(found, LookupResult::Captured(..));
        let classes = stage.to_the_end(id, send, is);
        assert_eq!(classes[0], expected, "{fault:?}: {classes:?}");
        stage.server.check();
        assert_eq!(stage.server.books()[0].captured, PRICE, "{fault:?}");
    }
}

#[test]
fn money_is_voided_once_whatever_fails() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.authorized(1);
        let id = Some(&authorization.id);
        stage.server.script(Op::Cancel, fault, 2);
        let send = || stage.attempt(stage.stripe.void(claim(1, id)));
        let is = |found: &LookupResult| *found == LookupResult::Voided;
        let classes = stage.to_the_end(id, send, is);
        assert_eq!(classes[0], expected, "{fault:?}: {classes:?}");
        stage.server.check();
        assert_eq!(stage.server.books()[0].cancels, 1, "{fault:?}");
    }
}

#[test]
fn money_is_refunded_once_whatever_fails() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.captured(1);
        let part = refund(1, &authorization.id, 1, 1_000);
        stage.server.script(Op::Refund, fault, 2);
        let mut first = None;
        until("the refund ends", || {
            let answer = stage.attempt(stage.stripe.refund(part.clone()));
            let class = answer.map_or(CallClass::Unknown, |answer| answer.class());
            first.get_or_insert(class);
            match class {
                CallClass::Approved => Some(()),
                CallClass::Declined => panic!("{fault:?}"),
                CallClass::Retriable => None,
                CallClass::Unknown => {
                    let found = stage.run(stage.stripe.look_up_refund(part.clone()));
                    (found == Ok(FoundRefund::Succeeded)).then_some(())
                }
            }
        });
        assert_eq!(first, Some(expected), "{fault:?}");
        assert_eq!(stage.server.books()[0].refunded, 1_000, "{fault:?}");
        stage.server.check();
    }
}

#[test]
fn a_look_up_that_goes_wrong_says_so_and_nothing_else() {
    for (fault, _, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.captured(1);
        for (op, id) in [
            (Op::Get, Some(&authorization.id)),
            (Op::Get, None),
            (Op::Create, None),
        ] {
            stage.server.script(op, fault, 1);
            let answer = stage.attempt(stage.stripe.look_up(inquiry(1, id)));
            // A stored answer is told again whatever the error was to be.
            let stored = op == Op::Create && matches!(fault, Fault::Error(_, Kept::Yes));
            if !stored {
                let failed = matches!(answer, None | Some(Err(_)));
                assert!(failed, "{op:?} {fault:?}: {answer:?}");
            }
            assert!(matches!(stage.look_up(1, id), LookupResult::Captured(..)));
        }
        assert_eq!(stage.server.books().len(), 1);
    }
}

#[test]
fn silence_for_hours_ends_with_one_authorization_or_none() {
    for silence in [Silence::Deaf, Silence::Mute] {
        let stage = Stage::new();
        stage.server.silence(silence);
        for _ in 0..3 {
            let answer = stage.attempt(stage.stripe.authorize(order(1, "pm_card_visa")));
            assert_eq!(answer, None);
            let found = stage.attempt(stage.stripe.look_up(inquiry(1, None)));
            assert_eq!(found, None);
        }
        stage.server.silence(Silence::Off);
        assert_eq!(stage.look_up(1, None), LookupResult::Nothing);
        stage.authorized(1);
        assert_eq!(stage.server.books().len(), 1);
        stage.server.check();
    }
}

#[test]
fn a_void_closes_the_reference_before_a_confirmation_that_is_still_on_its_way() {
    let stage = Stage::new();
    stage.server.script(Op::Confirm, Fault::Slow(600), 1);
    let late = stage.attempt(stage.stripe.authorize(order(1, "pm_card_visa")));
    assert_eq!(late, None, "it was to be given up");
    let again = stage.run(stage.stripe.authorize(order(1, "pm_card_visa")));
    assert_eq!(
        again,
        CallResult::Unknown(Trouble::Busy),
        "the key is in use"
    );
    assert_eq!(stage.look_up(1, None), LookupResult::Nothing);
    let void = stage.run(stage.stripe.void(claim(1, None)));
    assert_eq!(void, CallResult::Approved(()));
    let canceled = declined(DeclinedBy::Gateway, "canceled");
    let answer = stage.run(stage.stripe.authorize(order(1, "pm_card_visa")));
    assert_eq!(answer, CallResult::Declined(canceled));
    until("the late confirmation arrived", || {
        // The key says what became of it once it is not in use any more.
        let path = format!("/v1/payment_intents/{}/confirm", stage.server.books()[0].id);
        stage.server.stored(&path).then_some(())
    });
    assert_eq!(stage.server.books()[0].authorizations, 0);
    assert_eq!(stage.look_up(1, None), LookupResult::Voided);
}
