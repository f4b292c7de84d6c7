//! The Stripe gateway against a server that speaks Stripe's protocol and goes wrong on demand:
//! every call, every fault at every request, and `holdfast serve` over it.

mod stripe_server;
mod support;

use holdfast::ids::{AuthorizationId, CardToken, GatewayCode, PurchaseId, RequestId, ShardId};
use holdfast::money::{Amount, Currency};
use holdfast::payments::gateway::{
    Answer, Authorization, Claim, Class, Decline, DeclinedBy, Found, FoundRefund, Gateway, Inquiry,
    Order, PageMark, Reference, Refund, Trouble,
};
use holdfast::payments::stripe::{ApiBase, Stripe, StripeSettings};
use holdfast::time::UnixMs;
use secrecy::SecretString;
use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stripe_server::faults::{Effect, Fault, Kept, Silence};
use stripe_server::wire::Op;
use stripe_server::{SECRET_KEY, StripeServer};
use support::until;
use tokio::runtime::Runtime;

const PRICE: i64 = 2_500;
const HOUR_MS: u64 = 3_600_000;

/// As long as the driver would wait for one call.
const ATTEMPT: Duration = Duration::from_millis(150);

/// A gateway with its server.
struct Stage {
    server: StripeServer,
    stripe: Stripe,
    runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let server = StripeServer::start();
        let stripe = gateway(&server.base(), SECRET_KEY);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            server,
            stripe,
            runtime,
        }
    }

    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// What a call is answered while it may take; `None`: it is given up.
    fn attempt<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        self.run(async { tokio::time::timeout(ATTEMPT, call).await.ok() })
    }

    fn authorized(&self, number: u64) -> Authorization {
        match self.run(self.stripe.authorize(order(number, "pm_card_visa"))) {
            Answer::Approved(authorization) => authorization,
            other => panic!("{other:?}"),
        }
    }

    fn captured(&self, number: u64) -> Authorization {
        let authorization = self.authorized(number);
        let answer = self.run(self.stripe.capture(claim(number, Some(&authorization.id))));
        assert_eq!(answer.class(), Class::Approved, "{answer:?}");
        authorization
    }

    /// Looks up until there is an answer, as the saga does when in doubt.
    fn look_up(&self, number: u64, authorization: Option<&AuthorizationId>) -> Found {
        until("a look-up is answered", || {
            self.attempt(self.stripe.look_up(inquiry(number, authorization)))?
                .ok()
        })
    }

    /// Does what `send` says until the gateway has what `done` wants; in doubt, it looks first.
    fn to_the_end<T>(
        &self,
        authorization: Option<&AuthorizationId>,
        mut send: impl FnMut() -> Option<Answer<T>>,
        done: impl Fn(&Found) -> bool,
    ) -> Vec<Class> {
        let mut classes = Vec::new();
        for _ in 0..40 {
            let class = send().map_or(Class::Unknown, |answer| answer.class());
            classes.push(class);
            match class {
                Class::Approved | Class::Declined => {
                    let found = self.look_up(1, authorization);
                    assert!(done(&found), "{classes:?}: {found:?}");
                    return classes;
                }
                Class::Retriable => {}
                Class::Unknown => {
                    if done(&self.look_up(1, authorization)) {
                        return classes;
                    }
                }
            }
        }
        panic!("it does not end: {classes:?}");
    }
}

fn gateway(base: &str, key: &str) -> Stripe {
    Stripe::new(StripeSettings {
        secret_key: SecretString::from(key),
        api_base: ApiBase::parse(base).unwrap(),
        connections_max: 8,
        connect_timeout: Duration::from_secs(5),
        body_bytes_max: 4 << 20,
    })
    .unwrap()
}

fn reference(number: u64) -> Reference {
    let purchase = PurchaseId::new(ShardId::new(3), number);
    Reference::new(0xfeed, purchase, RequestId(number))
}

fn now() -> UnixMs {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMs::new(u64::try_from(now.as_millis()).unwrap())
}

fn hours_ago(hours: u64) -> UnixMs {
    UnixMs::new(now().get() - hours * HOUR_MS)
}

fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).unwrap()
}

fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

fn card(token: &str) -> CardToken {
    CardToken::parse(token).unwrap()
}

fn order(number: u64, token: &str) -> Order {
    Order {
        reference: reference(number),
        amount: amount(PRICE),
        currency: usd(),
        card: card(token),
        started_at: now(),
    }
}

fn claim(number: u64, authorization: Option<&AuthorizationId>) -> Claim {
    Claim {
        reference: reference(number),
        authorization: authorization.cloned(),
        amount: amount(PRICE),
        currency: usd(),
        card: card("pm_card_visa"),
        started_at: now(),
    }
}

fn inquiry(number: u64, authorization: Option<&AuthorizationId>) -> Inquiry {
    inquiry_with(number, authorization, "pm_card_visa")
}

fn inquiry_with(number: u64, authorization: Option<&AuthorizationId>, token: &str) -> Inquiry {
    Inquiry {
        reference: reference(number),
        authorization: authorization.cloned(),
        amount: amount(PRICE),
        currency: usd(),
        card: card(token),
        started_at: now(),
    }
}

fn refund(payment: u64, authorization: &AuthorizationId, number: u32, sum: i64) -> Refund {
    Refund {
        reference: reference(payment),
        capture: None,
        authorization: Some(authorization.clone()),
        number,
        amount: amount(sum),
        currency: usd(),
    }
}

fn declined(by: DeclinedBy, code: &str) -> Decline {
    Decline {
        by,
        code: GatewayCode::parse(code),
    }
}

#[test]
fn a_payment_is_set_aside_taken_and_given_back_once_however_often_it_is_asked_for() {
    let stage = Stage::new();
    let (stripe, server) = (&stage.stripe, &stage.server);
    assert_eq!(stage.look_up(1, None), Found::Nothing);
    let authorization = stage.authorized(1);
    let days = authorization.capture_before.unwrap().since_ms(now()) / (24 * HOUR_MS);
    assert!((6..=7).contains(&days), "{authorization:?}");
    assert_eq!(stage.authorized(1), authorization);
    assert_eq!(
        stage.look_up(1, None),
        Found::Authorized(authorization.clone())
    );

    let id = Some(&authorization.id);
    let captured = stage.run(stripe.capture(claim(1, id)));
    let Answer::Approved(capture) = captured.clone() else {
        panic!("{captured:?}");
    };
    assert!(capture.as_str().starts_with("ch_"), "{capture}");
    assert_eq!(stage.run(stripe.capture(claim(1, id))), captured);
    let found = Found::Captured(authorization.clone(), capture);
    assert_eq!(stage.look_up(1, id), found);
    assert_eq!(stage.look_up(1, None), found);
    let void = stage.run(stripe.void(claim(1, id)));
    let unexpected = declined(DeclinedBy::Gateway, "payment_intent_unexpected_state");
    assert_eq!(void, Answer::Declined(unexpected));

    let part = refund(1, &authorization.id, 1, 1_000);
    let nothing = stage.run(stripe.look_up_refund(part.clone()));
    assert_eq!(nothing, Ok(FoundRefund::Nothing));
    for _ in 0..2 {
        let answer = stage.run(stripe.refund(part.clone()));
        assert_eq!(answer, Answer::Approved(()));
        let found = stage.run(stripe.look_up_refund(part.clone()));
        assert_eq!(found, Ok(FoundRefund::Succeeded));
        assert_eq!(server.books()[0].refunded, 1_000);
    }
    let too_much = stage.run(stripe.refund(refund(1, &authorization.id, 2, 1_501)));
    let already = declined(DeclinedBy::Gateway, "charge_already_refunded");
    assert_eq!(too_much, Answer::Declined(already));
    let rest = stage.run(stripe.refund(refund(1, &authorization.id, 3, 1_500)));
    assert_eq!(rest, Answer::Approved(()));
    assert_eq!(stage.look_up(1, id), Found::Refunded);
    // The key is forgotten after a day; the refund is still the same one.
    server.forget_keys();
    assert_eq!(stage.run(stripe.refund(part)), Answer::Approved(()));
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
        assert_eq!(answer, Answer::Declined(expected.clone()), "{token}");
        let again = stage.run(stage.stripe.authorize(order(1, token)));
        let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
        if code == "authentication_required" {
            let canceled = declined(Stripes, "canceled");
            assert_eq!(again, Answer::Declined(canceled));
            assert_eq!(found, Ok(Found::Voided));
            assert_eq!(stage.server.books()[0].status, "canceled");
        } else {
            assert_eq!(again, Answer::Declined(expected.clone()), "{token}");
            assert_eq!(found, Ok(Found::Declined(expected)), "{token}");
        }
        let money = |it: &stripe_server::books::Booked| it.authorizations + it.captures;
        let books = stage.server.books();
        assert_eq!(books.iter().map(money).sum::<u32>(), 0, "{token}");
        assert!(books.iter().all(|it| it.declines <= 1), "{books:?}");
    }
}

#[test]
fn the_lost_answer_that_a_card_wants_its_holder_is_a_decline_all_the_same() {
    let stage = Stage::new();
    let token = "pm_card_authenticationRequired";
    stage
        .server
        .script(Op::Confirm, Fault::Cut(Effect::After), 1);
    let answer = stage.run(stage.stripe.authorize(order(1, token)));
    assert_eq!(answer.class(), Class::Unknown);
    let found = stage.run(stage.stripe.look_up(inquiry_with(1, None, token)));
    let expected = declined(DeclinedBy::Issuer, "authentication_required");
    assert_eq!(found, Ok(Found::Declined(expected)));
    assert_eq!(stage.server.books()[0].status, "canceled");
}

/// Every fault there is, what it means where money may have moved, and where none can have.
fn faults() -> [(Fault, Class, Class); 11] {
    use Class::{Retriable, Unknown};
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
fn whatever_goes_wrong_while_authorizing_money_is_set_aside_once() {
    for op in [Op::Create, Op::Confirm] {
        for (fault, moves, does_not) in faults() {
            for times in [1, 3] {
                let stage = Stage::new();
                stage.server.script(op, fault, times);
                let send = || stage.attempt(stage.stripe.authorize(order(1, "pm_card_visa")));
                let is = |found: &Found| matches!(found, Found::Authorized(_));
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
fn whatever_goes_wrong_while_capturing_money_is_taken_once() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.authorized(1);
        let id = Some(&authorization.id);
        stage.server.script(Op::Capture, fault, 2);
        let send = || stage.attempt(stage.stripe.capture(claim(1, id)));
        let is = |found: &Found| matches!(found, Found::Captured(..));
        let classes = stage.to_the_end(id, send, is);
        assert_eq!(classes[0], expected, "{fault:?}: {classes:?}");
        stage.server.check();
        assert_eq!(stage.server.books()[0].captured, PRICE, "{fault:?}");
    }
}

#[test]
fn whatever_goes_wrong_while_voiding_money_is_let_go_once() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.authorized(1);
        let id = Some(&authorization.id);
        stage.server.script(Op::Cancel, fault, 2);
        let send = || stage.attempt(stage.stripe.void(claim(1, id)));
        let is = |found: &Found| *found == Found::Voided;
        let classes = stage.to_the_end(id, send, is);
        assert_eq!(classes[0], expected, "{fault:?}: {classes:?}");
        stage.server.check();
        assert_eq!(stage.server.books()[0].cancels, 1, "{fault:?}");
    }
}

#[test]
fn whatever_goes_wrong_while_refunding_money_goes_back_once() {
    for (fault, expected, _) in faults() {
        let stage = Stage::new();
        let authorization = stage.captured(1);
        let part = refund(1, &authorization.id, 1, 1_000);
        stage.server.script(Op::Refund, fault, 2);
        let mut first = None;
        until("the refund ends", || {
            let answer = stage.attempt(stage.stripe.refund(part.clone()));
            let class = answer.map_or(Class::Unknown, |answer| answer.class());
            first.get_or_insert(class);
            match class {
                Class::Approved => Some(()),
                Class::Declined => panic!("{fault:?}"),
                Class::Retriable => None,
                Class::Unknown => {
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
            assert!(matches!(stage.look_up(1, id), Found::Captured(..)));
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
        assert_eq!(stage.look_up(1, None), Found::Nothing);
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
    assert_eq!(again, Answer::Unknown(Trouble::Busy), "the key is in use");
    assert_eq!(stage.look_up(1, None), Found::Nothing);
    let void = stage.run(stage.stripe.void(claim(1, None)));
    assert_eq!(void, Answer::Approved(()));
    let canceled = declined(DeclinedBy::Gateway, "canceled");
    let answer = stage.run(stage.stripe.authorize(order(1, "pm_card_visa")));
    assert_eq!(answer, Answer::Declined(canceled));
    until("the late confirmation arrived", || {
        // The key says what became of it once it is not in use any more.
        let path = format!("/v1/payment_intents/{}/confirm", stage.server.books()[0].id);
        stage.server.stored(&path).then_some(())
    });
    assert_eq!(stage.server.books()[0].authorizations, 0);
    assert_eq!(stage.look_up(1, None), Found::Voided);
}

#[test]
fn a_void_without_an_authorization_closes_what_nobody_heard_of_too() {
    let stage = Stage::new();
    for _ in 0..2 {
        let void = stage.run(stage.stripe.void(claim(1, None)));
        assert_eq!(void, Answer::Approved(()));
    }
    let answer = stage.run(stage.stripe.authorize(order(1, "pm_card_visa")));
    let canceled = declined(DeclinedBy::Gateway, "canceled");
    assert_eq!(answer, Answer::Declined(canceled));
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
        assert!(matches!(found, Ok(Found::Authorized(_))), "{found:?}");
        let found = stage.run(stripe.look_up(old(many + 1)));
        assert_eq!(found, Ok(Found::Nothing));
        let pages = if searchable { 0 } else { 4 };
        assert_eq!(server.requests(Op::List), pages);
        if !searchable {
            // Outside the time in which it can have been made.
            let long_ago = Inquiry {
                started_at: hours_ago(72),
                ..inquiry(1, None)
            };
            assert_eq!(stage.run(stripe.look_up(long_ago)), Ok(Found::Nothing));
        }
        for hours in [22, 23] {
            let order = Order {
                started_at: hours_ago(hours),
                ..order(many + 1, "pm_card_visa")
            };
            let answer = stage.run(stripe.authorize(order));
            let too_old = declined(DeclinedBy::Gateway, "started_too_long_ago");
            assert_eq!(answer, Answer::Declined(too_old));
        }
        let void = Claim {
            started_at: hours_ago(23),
            ..claim(1, None)
        };
        assert_eq!(stage.run(stripe.void(void)), Answer::Approved(()));
        assert_eq!(stage.run(stripe.look_up(old(1))), Ok(Found::Voided));
        assert_eq!(server.books().len(), usize::try_from(many).unwrap());
    }
}

#[test]
fn of_two_intents_that_forgotten_keys_made_the_one_with_money_is_the_payment() {
    let stage = Stage::new();
    stage.server.searchable();
    let authorization = stage.authorized(1);
    stage.server.forget_keys();
    let again = stage.look_up(1, None);
    assert_eq!(again, Found::Nothing, "another intent was made");
    assert_eq!(stage.server.books().len(), 2);
    let old = Inquiry {
        started_at: hours_ago(23),
        ..inquiry(1, None)
    };
    let found = stage.run(stage.stripe.look_up(old));
    assert_eq!(found, Ok(Found::Authorized(authorization)));
}

#[test]
fn what_cannot_be_reached_and_a_key_that_is_not_accepted_decline_nobody() {
    let stage = Stage::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let cases = [
        (gateway(&nobody, SECRET_KEY), Trouble::Unreachable),
        (
            gateway(&stage.server.base(), "sk_test_of_another"),
            Trouble::Internal,
        ),
    ];
    let id = AuthorizationId::parse("pi_1").unwrap();
    for (stripe, trouble) in cases {
        let answer = stage.run(stripe.authorize(order(1, "pm_card_visa")));
        assert_eq!(answer, Answer::Retriable(trouble));
        let answer = stage.run(stripe.capture(claim(1, Some(&id))));
        assert_eq!(answer, Answer::Retriable(trouble));
        let answer = stage.run(stripe.void(claim(1, None)));
        assert_eq!(answer, Answer::Retriable(trouble));
        let answer = stage.run(stripe.refund(refund(1, &id, 1, 1)));
        assert_eq!(answer, Answer::Retriable(trouble));
        assert_eq!(stage.run(stripe.look_up(inquiry(1, None))), Err(trouble));
        assert_eq!(stage.run(stripe.list(None)), Err(trouble));
        assert!(!format!("{stripe:?}").contains("sk_test"));
    }
    assert_eq!(stage.server.books().len(), 0);
}

#[test]
fn a_server_that_cannot_prove_that_it_is_stripe_is_told_nothing() {
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
    assert_eq!(answer, Answer::Retriable(Trouble::Unreachable));
    assert_eq!(served.join().unwrap(), b"");
}

#[test]
fn an_authorization_that_is_not_there_is_trouble_and_not_nothing() {
    let stage = Stage::new();
    let id = AuthorizationId::parse("pi_of_another_account").unwrap();
    let found = stage.run(stage.stripe.look_up(inquiry(1, Some(&id))));
    assert_eq!(found, Err(Trouble::Internal));
    let found = stage.run(stage.stripe.look_up_refund(refund(1, &id, 1, 1)));
    assert_eq!(found, Err(Trouble::Internal));
}

#[test]
fn another_sum_under_the_same_reference_is_never_set_aside() {
    let stage = Stage::new();
    stage.authorized(1);
    let more = Order {
        amount: amount(PRICE + 1),
        ..order(1, "pm_card_visa")
    };
    let answer = stage.run(stage.stripe.authorize(more));
    assert_eq!(answer, Answer::Retriable(Trouble::Internal));
    let other = Order {
        currency: Currency::parse("ISK").unwrap(),
        ..order(2, "pm_card_visa")
    };
    let answer = stage.run(stage.stripe.authorize(other));
    let unit = declined(DeclinedBy::Gateway, "currency_not_supported");
    assert_eq!(answer, Answer::Declined(unit));
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
        let Answer::Approved(authorization) = authorized else {
            panic!("{authorized:?}");
        };
        stage.run(stripe.capture(claim(1, Some(&authorization.id))));
        let part = refund(1, &authorization.id, 1, 1_000);
        let answer = stage.run(stripe.refund(part.clone()));
        if token == "pm_card_pendingRefund" {
            assert_eq!(answer, Answer::Unknown(Trouble::Busy));
            let found = stage.run(stripe.look_up_refund(part.clone()));
            assert_eq!(found, Ok(FoundRefund::Pending));
            stage.server.settle_refunds(status);
        } else {
            let why = declined(DeclinedBy::Gateway, "expired_or_canceled_card");
            assert_eq!(answer, Answer::Declined(why));
        }
        assert_eq!(stage.run(stripe.look_up_refund(part)), Ok(expected));
    }
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
        let is =
            |it: &&holdfast::payments::gateway::Charged| it.reference == Some(reference(number));
        let line = charges.iter().find(is).unwrap();
        let sums = (
            line.authorized.get(),
            line.captured.get(),
            line.refunded.get(),
        );
        assert_eq!((sums, line.currency), (expected, usd()), "{number}");
    }
}
