//! The Stripe gateway against a server that speaks Stripe's protocol: every call, what it moves,
//! and what it says.

use crate::stripe_calls::*;
use crate::stripe_stage::Stage;
use holdfast::ids::AuthorizationId;
use holdfast::money::Currency;
use holdfast::payments::gateway::{
    AuthorizationClaim, AuthorizeRequest, CallClass, CallResult, Charged, DeclinedBy, FoundRefund,
    Gateway, Inquiry, LookupResult, PageMark, Trouble,
};
use holdfast::time::UnixMs;
use std::io::Read;
use std::sync::Arc;
use support::stripe_server::SECRET_KEY;
use support::stripe_server::books::Booked;
use support::stripe_server::wire::Op;

#[test]
fn a_payment_is_authorized_captured_and_refunded_once_however_often_requested() {
    let stage = Stage::new();
    let (stripe, server) = (&stage.stripe, &stage.server);
    assert_eq!(stage.look_up(1, None), LookupResult::Nothing);
    let authorization = stage.authorized(1);
    let days = authorization.capture_before.unwrap().since_ms(now()) / (24 * HOUR_MS);
    assert!((6..=7).contains(&days), "{authorization:?}");
    assert_eq!(stage.authorized(1), authorization);
    assert_eq!(
        stage.look_up(1, None),
        LookupResult::Authorized(authorization.clone())
    );

    let id = Some(&authorization.id);
    let captured = stage.run(stripe.capture(claim(1, id)));
    let CallResult::Approved(money) = captured.clone() else {
        panic!("{captured:?}");
    };
    assert!(money.capture.as_str().starts_with("ch_"), "{money:?}");
    assert_eq!((money.captured.get(), money.refunded.get()), (2_500, 0));
    assert_eq!(stage.run(stripe.capture(claim(1, id))), captured);
    let found = LookupResult::Captured(money);
    assert_eq!(stage.look_up(1, id), found);
    assert_eq!(stage.look_up(1, None), found);
    let void = stage.run(stripe.void(claim(1, id)));
    let unexpected = declined(DeclinedBy::Gateway, "payment_intent_unexpected_state");
    assert_eq!(void, CallResult::Declined(unexpected));

    let part = refund(1, &authorization.id, 1, 1_000);
    let nothing = stage.run(stripe.look_up_refund(part.clone()));
    assert_eq!(nothing, Ok(FoundRefund::Nothing));
    for _ in 0..2 {
        let answer = stage.run(stripe.refund(part.clone()));
        assert_eq!(answer, CallResult::Approved(()));
        let found = stage.run(stripe.look_up_refund(part.clone()));
        assert_eq!(found, Ok(FoundRefund::Succeeded));
        assert_eq!(server.books()[0].refunded, 1_000);
    }
    let too_much = stage.run(stripe.refund(refund(1, &authorization.id, 2, 1_501)));
    let already = declined(DeclinedBy::Gateway, "charge_already_refunded");
    assert_eq!(too_much, CallResult::Declined(already));
    let rest = stage.run(stripe.refund(refund(1, &authorization.id, 3, 1_500)));
    assert_eq!(rest, CallResult::Approved(()));
    assert!(matches!(stage.look_up(1, id), LookupResult::Refunded(_)));
    // The key is forgotten after a day; the refund is still the same one.
    server.forget_keys();
    assert_eq!(stage.run(stripe.refund(part)), CallResult::Approved(()));
    assert_eq!(server.books()[0].refunded, PRICE);
    assert_eq!(server.books().len(), 1);
    server.check();
}

#[test]
fn cards_are_declined_with_the_word_of_their_issuer_and_go_on_being_declined() {
    use DeclinedBy::{Gateway as Stripes, Issuer};
    for (token, by, code) in [
        ("pm_card_chargeDeclined", Issuer, "generic_decline"),
        ("pm_card_chargeCustomerFail", Issuer, "generic_decline"),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            Issuer,
            "insufficient_funds",
        ),
        ("pm_card_chargeDeclinedLostCard", Issuer, "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", Issuer, "expired_card"),
        (
            "pm_card_chargeDeclinedIncorrectCvc",
            Issuer,
            "incorrect_cvc",
        ),
        (
            "pm_card_authenticationRequired",
            Issuer,
            "authentication_required",
        ),
        ("tok_ok", Stripes, "resource_missing"),
    ] {
        let stage = Stage::new();
        let expected = declined(by, code);
        let answer = stage.run(stage.stripe.authorize(order(1, token)));
        assert_eq!(answer, CallResult::Declined(expected.clone()), "{token}");
        let again = stage.run(stage.stripe.authorize(order(1, token)));
        let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
        assert_eq!(again, CallResult::Declined(expected.clone()), "{token}");
        assert_eq!(found, Ok(LookupResult::Declined(expected)), "{token}");
        if code == "authentication_required" {
            assert_eq!(stage.server.books()[0].status, "canceled");
        }
        let money = |it: &Booked| it.authorizations + it.captures;
        let books = stage.server.books();
        assert_eq!(books.iter().map(money).sum::<u32>(), 0, "{token}");
        assert!(books.iter().all(|it| it.declines <= 1), "{books:?}");
    }
}

#[test]
fn a_void_without_an_authorization_also_closes_an_unknown_payment() {
    let stage = Stage::new();
    for _ in 0..2 {
        let void = stage.run(stage.stripe.void(claim(1, None)));
        assert_eq!(void, CallResult::Approved(()));
    }
    let answer = stage.run(stage.stripe.authorize(order(1, "pm_card_visa")));
    let canceled = declined(DeclinedBy::Gateway, "canceled");
    assert_eq!(answer, CallResult::Declined(canceled));
    assert_eq!(stage.server.books()[0].authorizations, 0);
}

#[test]
fn a_payment_too_old_for_its_keys_is_found_by_metadata_and_not_begun_again() {
    let old = |number| Inquiry {
        started_at: hours_ago(23),
        ..inquiry(number, None)
    };
    let many = 120;
    for searchable in [true, false] {
        let stage = Stage::new();
        let (stripe, server) = (&stage.stripe, &stage.server);
        if searchable {
            server.searchable();
        }
        for number in 1..=many {
            stage.authorized(number);
        }
        server.forget_keys();
        // The very first one: on the second page of the list.
        let found = stage.run(stripe.look_up(old(1)));
        assert!(
            matches!(found, Ok(LookupResult::Authorized(_))),
            "{found:?}"
        );
        let found = stage.run(stripe.look_up(old(many + 1)));
        assert_eq!(found, Ok(LookupResult::Nothing));
        let pages = if searchable { 0 } else { 4 };
        assert_eq!(server.requests(Op::List), pages);
        if !searchable {
            // Outside the time in which it can have been made.
            let long_ago = Inquiry {
                started_at: hours_ago(72),
                ..inquiry(1, None)
            };
            assert_eq!(
                stage.run(stripe.look_up(long_ago)),
                Ok(LookupResult::Nothing)
            );
        }
        for hours in [22, 23] {
            let order = AuthorizeRequest {
                started_at: hours_ago(hours),
                ..order(many + 1, "pm_card_visa")
            };
            let answer = stage.run(stripe.authorize(order));
            let too_old = declined(DeclinedBy::Gateway, "started_too_long_ago");
            assert_eq!(answer, CallResult::Declined(too_old));
        }
        let void = AuthorizationClaim {
            started_at: hours_ago(23),
            ..claim(1, None)
        };
        assert_eq!(stage.run(stripe.void(void)), CallResult::Approved(()));
        assert_eq!(stage.run(stripe.look_up(old(1))), Ok(LookupResult::Voided));
        assert_eq!(server.books().len(), usize::try_from(many).unwrap());
    }
}

/// By the wall clock, read when it is wrong, a payment may be years old.
#[test]
fn a_payment_is_as_old_as_the_core_says() {
    let stage = Stage::new();
    let started_at = hours_ago(400 * 24);
    let long_ago = || AuthorizeRequest {
        started_at,
        ..order(1, "pm_card_visa")
    };
    let answer = stage.run(stage.stripe.authorize(long_ago()));
    let too_old = declined(DeclinedBy::Gateway, "started_too_long_ago");
    assert_eq!(answer, CallResult::Declined(too_old));
    let now = started_at.plus_ms(1_000);
    stage.stripe.keep_time(std::sync::Arc::new(move || now));
    let answer = stage.run(stage.stripe.authorize(long_ago()));
    assert!(matches!(answer, CallResult::Approved(_)), "{answer:?}");
}

/// What was made a moment ago is in the list, and not in the search yet.
#[test]
fn a_recent_payment_that_keys_do_not_find_is_found_in_the_list_and_not_by_search() {
    let stage = Stage::new();
    let (stripe, server) = (&stage.stripe, &stage.server);
    server.searchable();
    server.search_is_behind();
    let authorization = stage.authorized(1);
    let other = |hours| Inquiry {
        started_at: hours_ago(hours),
        ..inquiry_with(1, None, "pm_card_other")
    };
    for hours in [0, 21, 22] {
        let found = stage.run(stripe.look_up(other(hours)));
        let expected = LookupResult::Authorized(authorization.clone());
        assert_eq!(found, Ok(expected), "{hours}");
    }
    assert_eq!(server.requests(Op::Search), 0);
    let claim = AuthorizationClaim {
        card: card("pm_card_other"),
        ..claim(1, None)
    };
    assert_eq!(stage.run(stripe.void(claim)), CallResult::Approved(()));
    assert_eq!(server.books()[0].status, "canceled");
}

#[test]
fn of_two_intents_that_forgotten_keys_made_the_one_with_money_is_the_payment() {
    let stage = Stage::new();
    stage.server.searchable();
    let authorization = stage.authorized(1);
    stage.server.forget_keys();
    let again = stage.look_up(1, None);
    assert_eq!(again, LookupResult::Nothing, "another intent was made");
    assert_eq!(stage.server.books().len(), 2);
    let old = Inquiry {
        started_at: hours_ago(23),
        ..inquiry(1, None)
    };
    let found = stage.run(stage.stripe.look_up(old));
    assert_eq!(found, Ok(LookupResult::Authorized(authorization)));
}

#[test]
fn an_unreachable_gateway_and_a_refused_key_decline_no_payment() {
    let stage = Stage::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let cases = [
        (gateway(&nobody, SECRET_KEY), Trouble::Unreachable),
        (
            gateway(&stage.server.base(), "sk_test_of_another"),
            Trouble::KeyRefused,
        ),
    ];
    let id = AuthorizationId::parse("pi_1").unwrap();
    for (stripe, trouble) in cases {
        let answer = stage.run(stripe.authorize(order(1, "pm_card_visa")));
        assert_eq!(answer, CallResult::Retriable(trouble));
        let answer = stage.run(stripe.capture(claim(1, Some(&id))));
        assert_eq!(answer, CallResult::Retriable(trouble));
        let answer = stage.run(stripe.void(claim(1, None)));
        assert_eq!(answer, CallResult::Retriable(trouble));
        let answer = stage.run(stripe.refund(refund(1, &id, 1, 1)));
        assert_eq!(answer, CallResult::Retriable(trouble));
        assert_eq!(stage.run(stripe.look_up(inquiry(1, None))), Err(trouble));
        assert_eq!(stage.run(stripe.list(None)), Err(trouble));
        assert!(!format!("{stripe:?}").contains("sk_test"));
    }
    assert_eq!(stage.server.books().len(), 0);
}

#[test]
fn a_server_without_stripes_certificate_gets_no_request() {
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key.unwrap())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(Arc::new(tls)).unwrap();
        let mut read = Vec::new();
        let _ = rustls::StreamOwned::new(session, stream).read_to_end(&mut read);
        read
    });
    let stripe = gateway(&base, SECRET_KEY);
    let stage = Stage::new();
    let answer = stage.run(stripe.authorize(order(1, "pm_card_visa")));
    assert_eq!(answer, CallResult::Retriable(Trouble::Unreachable));
    assert_eq!(served.join().unwrap(), b"");
}

#[test]
fn a_missing_authorization_is_an_error_and_never_no_payment() {
    let stage = Stage::new();
    let id = AuthorizationId::parse("pi_of_another_account").unwrap();
    let found = stage.run(stage.stripe.look_up(inquiry(1, Some(&id))));
    assert_eq!(found, Err(Trouble::Internal));
    let found = stage.run(stage.stripe.look_up_refund(refund(1, &id, 1, 1)));
    assert_eq!(found, Err(Trouble::Internal));
}

#[test]
fn a_different_amount_with_the_same_reference_is_never_authorized() {
    let stage = Stage::new();
    stage.authorized(1);
    let more = AuthorizeRequest {
        amount: amount(PRICE + 1),
        ..order(1, "pm_card_visa")
    };
    let answer = stage.run(stage.stripe.authorize(more));
    assert_eq!(answer, CallResult::Retriable(Trouble::Internal));
    let other = AuthorizeRequest {
        currency: Currency::parse("ISK").unwrap(),
        ..order(2, "pm_card_visa")
    };
    let answer = stage.run(stage.stripe.authorize(other));
    let unit = declined(DeclinedBy::Gateway, "currency_not_supported");
    assert_eq!(answer, CallResult::Declined(unit));
    assert_eq!(stage.server.books().len(), 1);
}

#[test]
fn a_refund_that_is_not_finished_is_no_success() {
    for (token, status, expected) in [
        ("pm_card_pendingRefund", "succeeded", FoundRefund::Succeeded),
        ("pm_card_pendingRefund", "failed", FoundRefund::Failed),
        ("pm_card_refundFail", "", FoundRefund::Failed),
    ] {
        let stage = Stage::new();
        let stripe = &stage.stripe;
        let authorized = stage.run(stripe.authorize(order(1, token)));
        let CallResult::Approved(authorization) = authorized else {
            panic!("{authorized:?}");
        };
        stage.run(stripe.capture(claim(1, Some(&authorization.id))));
        let part = refund(1, &authorization.id, 1, 1_000);
        let answer = stage.run(stripe.refund(part.clone()));
        if token == "pm_card_pendingRefund" {
            assert_eq!(answer, CallResult::Unknown(Trouble::Busy));
            let found = stage.run(stripe.look_up_refund(part.clone()));
            assert_eq!(found, Ok(FoundRefund::Pending));
            stage.server.settle_refunds(status);
            // Asked again, the answer from store is the one of then.
            let class = stage.run(stripe.refund(part.clone())).class();
            let succeeded = expected == FoundRefund::Succeeded;
            assert_eq!(class == CallClass::Approved, succeeded, "{status}");
            assert_eq!(class == CallClass::Declined, !succeeded, "{status}");
        } else {
            let why = declined(DeclinedBy::Gateway, "expired_or_canceled_card");
            assert_eq!(answer, CallResult::Declined(why));
        }
        assert_eq!(stage.run(stripe.look_up_refund(part)), Ok(expected));
    }
}

#[test]
fn a_list_since_an_instant_leaves_out_what_is_older() {
    let stage = Stage::new();
    stage.authorized(1);
    let listed = |since_ms| {
        let page = stage.stripe.list_since(UnixMs::new(since_ms), None);
        stage.run(page).unwrap().charges.len()
    };
    assert_eq!(listed(now().get() - HOUR_MS), 1);
    assert_eq!(listed(now().get() + HOUR_MS), 0);
}

#[test]
fn the_list_has_every_payment_for_which_a_card_was_asked() {
    let stage = Stage::new();
    let stripe = &stage.stripe;
    for number in 1..=230 {
        stage.authorized(number);
    }
    stage.look_up(500, None); // made, never confirmed
    let taken = stage.authorized(1);
    stage.run(stripe.capture(claim(1, Some(&taken.id))));
    stage.run(stripe.refund(refund(1, &taken.id, 1, 400)));
    let let_go = stage.authorized(2);
    stage.run(stripe.void(claim(2, Some(&let_go.id))));
    stage.server.lapse(&reference(3).to_string());
    let mut charges = Vec::new();
    let mut after: Option<PageMark> = None;
    loop {
        let page = stage.run(stripe.list(after)).unwrap();
        charges.extend(page.charges);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(charges.len(), 230);
    for (number, expected) in [
        (1, (0, PRICE, 400)),
        (2, (0, 0, 0)),
        (3, (0, 0, 0)),
        (4, (PRICE, 0, 0)),
    ] {
        let is = |it: &&Charged| it.reference == Some(reference(number));
        let line = charges.iter().find(is).unwrap();
        let sums = (
            line.authorized.get(),
            line.captured.get(),
            line.refunded.get(),
        );
        assert_eq!((sums, line.currency), (expected, usd()), "{number}");
    }
}
