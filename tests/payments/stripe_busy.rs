//! `holdfast serve` at a Stripe that is busy, refuses our key, is down or silent: every good card
//! ends captured or is told that the gateway was not available, and no buyer hears a decline.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::stripe_server::faults::{Fault, Silence};
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{PATIENCE, Request, SHOP, Server, Setup, until};

const CARD: &str = "pm_card_visa";

fn config(stripe: &StripeServer, payments: &str, more: &str) -> Setup {
    Setup::demo().config(&format!(
        "[payments]\n\
         gateway = \"stripe\"\n\
         attempt_timeout_ms = 500\n\
         backoff_first_ms = 5\n\
         backoff_max_ms = 200\n\
         circuit.open_ms = 200\n\
         {payments}\n\
         [payments.stripe]\n\
         secret_key = \"{SECRET_KEY}\"\n\
         api_base = \"{}\"\n\
         {more}\n",
        stripe.base()
    ))
}

/// So many buyers with good cards, eight at a time, each of whom asks until the answer is final or
/// the payment goes on by itself. Nobody may hear anything but that.
fn everybody_buys(server: &Server, buyers: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.connect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= buyers {
                        return;
                    }
                    let (user, key) = (format!("buyer-{number}"), format!("key-of-buyer-{number}"));
                    let request = Request::buy(&user, "drop", CARD, &key);
                    let began = Instant::now();
                    loop {
                        let answer = client.ask(&request);
                        match (answer.status, answer.json()["reason"].as_str()) {
                            (201, _) => break,
                            (202, _) => {
                                assert!(answer.header("location").is_some(), "{answer:?}");
                                break;
                            }
                            // Nothing was done, or it ended without an answer: the key is free.
                            (503, Some("gateway_unavailable")) => {
                                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                            }
                            _ => panic!("{user}: {}", answer.text()),
                        }
                        assert!(began.elapsed() < PATIENCE, "{user} waits for ever");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            });
        }
    });
}

/// All are captured, once each, for the whole price.
fn everybody_has_bought(server: &Server, stripe: &StripeServer, buyers: usize) {
    let buyers = u64::try_from(buyers).unwrap();
    until("every payment has ended", || {
        let [_, held, sold, _] = server.stock("drop");
        (held == 0 && sold == buyers).then_some(())
    });
    stripe.check();
    let books = stripe.books();
    let captured = books.iter().filter(|it| it.captures == 1).count();
    assert_eq!(u64::try_from(captured), Ok(buyers));
    let metrics = server.ask(&Request::get("/metrics")).text();
    let declined = |line: &&str| line.contains("reason=\"payment_declined\"");
    let declined: Vec<&str> = metrics.lines().filter(declined).collect();
    let none = declined.iter().all(|line| line.ends_with(" 0"));
    assert!(none, "{declined:?}");
}

#[test]
fn at_the_gateways_limit_every_good_card_is_captured() {
    const BUYERS: usize = 300;
    let stripe = StripeServer::start();
    stripe.limit(100);
    let server = config(&stripe, "", "").start();
    server.put_product("drop", 1_000);
    everybody_buys(&server, BUYERS);
    everybody_has_bought(&server, &stripe, BUYERS);
    assert_eq!(stripe.too_many(), 0, "the pace keeps below the limit");
}

#[test]
fn without_pacing_refused_calls_continue_in_the_background() {
    const BUYERS: usize = 100;
    let stripe = StripeServer::start();
    stripe.limit(50);
    let server = config(&stripe, "retries_max = 1", "requests_per_s = 0").start();
    server.put_product("drop", 1_000);
    everybody_buys(&server, BUYERS);
    everybody_has_bought(&server, &stripe, BUYERS);
    assert!(stripe.too_many() > 0, "it went over the limit");
}

#[test]
fn busy_broken_and_a_key_that_is_being_changed_are_no_declines() {
    const BUYERS: usize = 40;
    for fault in [
        Fault::TooMany,
        Fault::Status(429, Some(1)),
        Fault::Status(503, Some(1)),
        Fault::Status(503, None),
        Fault::Status(401, None),
        Fault::Status(403, None),
    ] {
        let stripe = StripeServer::start();
        stripe.every(Some(fault));
        let server = config(&stripe, "answer_within_ms = 300", "requests_per_s = 1000").start();
        server.put_product("drop", 1_000);
        std::thread::scope(|scope| {
            let buying = scope.spawn(|| everybody_buys(&server, BUYERS));
            std::thread::sleep(Duration::from_millis(700));
            stripe.every(None);
            buying.join().unwrap();
        });
        everybody_has_bought(&server, &stripe, BUYERS);
    }
}

#[test]
fn a_closed_port_is_no_decline() {
    const BUYERS: usize = 60;
    let mut stripe = StripeServer::start();
    let server = config(&stripe, "answer_within_ms = 300", "requests_per_s = 1000").start();
    server.put_product("drop", 1_000);
    stripe.go_down();
    std::thread::scope(|scope| {
        let buying = scope.spawn(|| everybody_buys(&server, BUYERS));
        std::thread::sleep(Duration::from_millis(2_500));
        stripe.come_back();
        buying.join().unwrap();
    });
    everybody_has_bought(&server, &stripe, BUYERS);
}

fn read(server: &Server, path: &str) -> Value {
    server.ask(&Request::get(path).key(SHOP)).json()
}

/// Nothing was ever sent, so it ends while the port is still closed.
#[test]
fn given_up_it_ends_as_gateway_unavailable_and_its_key_is_free() {
    let mut stripe = StripeServer::start();
    let patience = "give_up_after_s = 1\ncircuit.failures = 0";
    let server = config(&stripe, patience, "").start();
    stripe.go_down();
    let own = Request::buy("ana", "drop-1", CARD, "key-of-ana");
    let begun = server.ask(&own);
    assert_eq!(begun.status, 202, "{begun:?}");
    let hold = server.ask(&Request::hold("bo", "drop-1", 1, "key-of-bo-1"));
    let hold = hold.json();
    let id = hold["hold_id"].as_str().unwrap();
    let body = json!({
        "user_id": "bo", "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": CARD, "hold_id": id,
    });
    let pay = Request::post("/limited/buy").key(SHOP).once("key-of-bo-2");
    let pay = pay.json(&body);
    let paying = server.ask(&pay);
    assert_eq!(paying.status, 202, "{paying:?}");
    let (of_own, of_hold) = (
        begun.header("location").unwrap().to_owned(),
        paying.header("location").unwrap().to_owned(),
    );
    until("the payment without a hold has ended", || {
        (read(&server, &of_own)["status"] == "declined").then_some(())
    });
    assert_eq!(read(&server, &of_own)["reason"], "gateway_unavailable");
    until("the hold is one again", || {
        (read(&server, &of_hold)["status"] == "held").then_some(())
    });
    assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);

    stripe.come_back();
    let bought = server.ask(&own);
    assert_eq!(bought.status, 201, "{bought:?}");
    assert_ne!(bought.json()["purchase_id"], begun.json()["purchase_id"]);
    let paid = server.ask(&pay);
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(paid.json()["purchase_id"], paying.json()["purchase_id"]);
    assert_eq!(server.stock("drop-1"), [100, 0, 2, 98]);
    stripe.check();
    let references = stripe.by_reference();
    assert_eq!(references.len(), 2, "{references:?}");
}

/// How many calls wait for their turn, of each class.
fn waiting(server: &Server) -> [u64; 2] {
    let metrics = server.ask(&Request::get("/metrics")).text();
    ["urgent", "new"].map(|class| {
        let name = format!("holdfast_gateway_waiting{{class=\"{class}\"}} ");
        let line = metrics.lines().find_map(|it| it.strip_prefix(&name));
        line.expect("the gauge").parse().expect("a number")
    })
}

#[test]
fn waiting_calls_are_shown_by_class() {
    let stripe = StripeServer::start();
    let server = config(&stripe, "answer_within_ms = 1", "requests_per_s = 4").start();
    server.put_product("drop", 100);
    assert_eq!(waiting(&server), [0, 0]);
    for number in 0..6 {
        let (user, key) = (format!("buyer-{number}"), format!("key-of-buyer-{number}"));
        let answer = server.ask(&Request::buy(&user, "drop", CARD, &key));
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    until("authorizations wait, and nobody else", || {
        let [urgent, new] = waiting(&server);
        (urgent == 0 && new >= 2).then_some(())
    });
    until("a capture waits, too", || {
        (waiting(&server)[0] >= 1).then_some(())
    });
    until("all of it was sent", || {
        (waiting(&server) == [0, 0]).then_some(())
    });
}

/// Whoever still waits is told.
#[test]
fn a_waiting_client_learns_that_the_gateway_was_unavailable() {
    let stripe = StripeServer::start();
    let patience = "give_up_after_s = 1\nretries_max = 100\ncircuit.failures = 0";
    let server = config(&stripe, patience, "").start();
    stripe.every(Some(Fault::Status(401, None)));
    let told = server.ask(&Request::buy("ana", "drop-1", CARD, "key-of-ana"));
    assert_eq!(told.status, 503, "{told:?}");
    assert_eq!(told.reason(), "gateway_unavailable");
    assert!(told.header("retry-after").is_some());
    let body = told.json();
    let of_a_decline = ["code", "retry_advice", "hold"].map(|it| body.get(it));
    assert_eq!(of_a_decline, [None; 3], "{body}");
    let path = told.json()["purchase_id"].as_str().unwrap().to_owned();
    let purchase = read(&server, &format!("/limited/purchases/{path}"));
    assert_eq!(purchase["status"], "declined");
    assert_eq!(purchase["reason"], "gateway_unavailable");
    stripe.every(None);
    let bought = server.ask(&Request::buy("ana", "drop-1", CARD, "key-of-ana"));
    assert_eq!(bought.status, 201, "{bought:?}");
}

/// A request was sent and never answered: until the gateway says that nothing can come of it any
/// more, the units are nobody else's.
#[test]
fn a_late_authorization_is_closed_before_the_payment_ends() {
    let stripe = StripeServer::start();
    let patience = "give_up_after_s = 1\ncircuit.failures = 0";
    let server = config(&stripe, patience, "").start();
    stripe.silence(Silence::Deaf);
    let begun = Instant::now();
    let request = Request::buy("ana", "drop-1", CARD, "key-of-ana");
    let answer = server.ask(&request);
    assert_eq!(answer.status, 202, "{answer:?}");
    let path = answer.header("location").unwrap().to_owned();
    until("the time to give up is over", || {
        (begun.elapsed() > Duration::from_millis(1_500)).then_some(())
    });
    assert_eq!(read(&server, &path)["status"], "authorizing");
    assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);
    let again = server.ask(&request);
    assert_eq!(again.reason(), "idempotency_in_flight");
    assert_eq!(again.header("location"), Some(path.as_str()));
    stripe.silence(Silence::Off);
    until("it has ended", || {
        (read(&server, &path)["status"] == "declined").then_some(())
    });
    assert_eq!(read(&server, &path)["reason"], "gateway_unavailable");
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    let open: Vec<_> = stripe.books().into_iter().collect();
    assert!(open.iter().all(|it| it.status == "canceled"), "{open:?}");
}
