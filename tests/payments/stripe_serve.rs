//! `holdfast serve` with Stripe as its gateway, over the server that goes wrong on demand: what a
//! buyer is told, what is charged, and that neither key nor card is ever logged.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::stripe_server::books::Booked;
use support::stripe_server::faults::{Effect, Fault, Kept, Rates};
use support::stripe_server::hooks::Webhooks;
use support::stripe_server::wire::Op;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{
    ADMIN, PATIENCE, Request, SHOP, Server, Setup, product_terms, promotion_terms, until,
};

const CARD: &str = "pm_card_visa";

fn config(stripe: &StripeServer) -> Setup {
    Setup::demo().config(&format!(
        "[payments]\n\
         gateway = \"stripe\"\n\
         attempt_timeout_ms = 250\n\
         backoff_first_ms = 5\n\
         backoff_max_ms = 50\n\
         [payments.stripe]\n\
         secret_key = \"{SECRET_KEY}\"\n\
         api_base = \"{}\"\n\
         [telemetry]\n\
         log = \"holdfast=trace\"",
        stripe.base()
    ))
}

fn buy(user: &str, card: &str, key: &str) -> Request {
    Request::buy(user, "drop-1", card, key)
}

/// Asks for the purchase until it is in this state.
fn until_state(server: &Server, purchase: &str, state: &str) {
    let path = format!("/limited/purchases/{purchase}");
    until("the purchase is there", || {
        let body = server.ask(&Request::get(&path).key(SHOP)).json();
        (body["status"] == state).then_some(())
    });
}

fn only(stripe: &StripeServer) -> Booked {
    let books = stripe.books();
    assert_eq!(books.len(), 1, "{books:?}");
    books.into_iter().next().unwrap()
}

#[test]
fn a_buy_is_captured_and_a_declined_card_charges_nothing() {
    let stripe = StripeServer::start();
    let server = config(&stripe).start();
    let bought = server.ask(&buy("ana", CARD, "key-of-ana"));
    assert_eq!(bought.status, 201, "{}", bought.text());
    let body = bought.json();
    assert_eq!(body["gateway"]["name"], "stripe");
    let intent = only(&stripe);
    assert_eq!((intent.captured, intent.captures), (1_999, 1));
    assert_eq!(body["gateway"]["authorization_id"], intent.id.as_str());

    let declined = server.ask(&buy(
        "bo",
        "pm_card_chargeDeclinedInsufficientFunds",
        "key-of-bo-2",
    ));
    assert_eq!(declined.status, 402, "{}", declined.text());
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
    assert_eq!(stripe.books()[1].captured, 0);
    let charges = server.ask(&Request::get("/admin/sandbox/charges").key(ADMIN));
    assert_eq!(charges.status, 404);
    let shown = server.ask(&Request::get("/admin/config").key(ADMIN)).text();
    stripe.check();
    let (status, log) = server.stop();
    assert!(status.success());
    let log = log.join("\n");
    for secret in [SECRET_KEY, CARD, "pm_card_chargeDeclinedInsufficientFunds"] {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!shown.contains(secret), "{secret} is in the configuration");
    }
}

#[test]
fn a_lost_answer_at_any_request_ends_captured_exactly_once() {
    use Effect::{After, Before};
    for op in [Op::Create, Op::Confirm, Op::Capture] {
        for fault in [
            Fault::NoAnswer(Before),
            Fault::NoAnswer(After),
            Fault::Cut(After),
            Fault::CutInTheMiddle,
            Fault::Error(After, Kept::Yes),
            Fault::Error(Before, Kept::Yes),
            Fault::TooMany,
        ] {
            let stripe = StripeServer::start();
            let server = config(&stripe).start();
            stripe.script(op, fault, 1);
            let answer = server.ask(&buy("ana", CARD, "key-of-ana"));
            assert!(
                matches!(answer.status, 201 | 202),
                "{op:?} {fault:?}: {}",
                answer.text()
            );
            let body = answer.json();
            until_state(&server, body["purchase_id"].as_str().unwrap(), "captured");
            stripe.check();
            let captured: i64 = stripe.books().iter().map(|it| it.captured).sum();
            assert_eq!(captured, 1_999, "{op:?} {fault:?}");
        }
    }
}

#[test]
fn killed_at_any_request_it_ends_captured_exactly_once_after_a_restart() {
    for op in [Op::Create, Op::Confirm, Op::Capture] {
        for effect in [Effect::Before, Effect::After] {
            let stripe = StripeServer::start();
            let dir = tempfile::tempdir().unwrap();
            killed(&stripe, dir.path(), op, effect);
            let server = config(&stripe).data_dir(dir.path()).start();
            let answer = until("the key has its outcome", || {
                let answer = server.ask(&buy("ana", CARD, "key-of-ana"));
                (answer.status == 201).then_some(answer)
            });
            assert_eq!(answer.json()["status"], "captured");
            stripe.check();
            let captured: i64 = stripe.books().iter().map(|it| it.captured).sum();
            assert_eq!(captured, 1_999, "{op:?} {effect:?}");
            assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
        }
    }
}

/// Kills it while Stripe does not answer this request.
fn killed(stripe: &StripeServer, dir: &Path, op: Op, effect: Effect) {
    stripe.script(op, Fault::NoAnswer(effect), 1);
    let mut server = config(stripe).data_dir(dir).start();
    let mut client = server.connect();
    client
        .send(&buy("ana", CARD, "key-of-ana").bytes())
        .unwrap();
    until("the request arrived", || {
        (stripe.requests(op) == 1).then_some(())
    });
    server.kill();
}

#[test]
fn a_card_that_needs_authentication_is_declined_even_if_every_answer_is_lost_once() {
    for lost in [vec![Op::Cancel], vec![Op::Confirm, Op::Cancel]] {
        let stripe = StripeServer::start();
        let server = config(&stripe).start();
        for op in &lost {
            stripe.script(*op, Fault::Cut(Effect::After), 1);
        }
        let request = buy("ana", "pm_card_authenticationRequired", "key-of-ana");
        let answer = until("the payment has ended", || {
            let answer = server.ask(&request);
            (!matches!(answer.status, 202 | 409)).then_some(answer)
        });
        assert_eq!(answer.status, 402, "{lost:?}: {}", answer.text());
        let body = answer.json();
        assert_eq!(body["reason"], "payment_declined", "{lost:?}: {body}");
        assert_eq!(body["code"], "authentication_required", "{lost:?}: {body}");
        assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
        stripe.check();
    }
}

/// A bad day, drawn with a seed: every purchase ends, and what was charged is what was sold.
#[test]
fn on_a_bad_day_what_was_charged_is_what_was_sold() {
    use Effect::{After, Before};
    const BUYERS: usize = 200;
    let stripe = StripeServer::start();
    stripe.rates(Rates {
        seed: 7,
        per_mille: vec![
            (Fault::Error(Before, Kept::Yes), 20),
            (Fault::Error(After, Kept::Yes), 20),
            (Fault::Error(Before, Kept::No), 20),
            (Fault::Error(After, Kept::No), 20),
            (Fault::NoAnswer(Before), 10),
            (Fault::NoAnswer(After), 10),
            (Fault::Cut(Before), 20),
            (Fault::Cut(After), 20),
            (Fault::CutInTheMiddle, 20),
            (Fault::TooMany, 20),
            (Fault::Garbage, 20),
            (Fault::Slow(40), 20),
        ],
    });
    let server = config(&stripe).start();
    server.put_product("bad-day", 1_000);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.connect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= BUYERS {
                        return;
                    }
                    let card = match number % 10 {
                        3 => "pm_card_chargeDeclinedLostCard",
                        7 => "pm_card_authenticationRequired",
                        _ => CARD,
                    };
                    let user = format!("buyer-{number}");
                    let key = format!("key-of-buyer-{number}");
                    let answer = client.ask(&Request::buy(&user, "bad-day", card, &key));
                    let known = matches!(answer.status, 201 | 202 | 402 | 502 | 503);
                    assert!(known, "{}", answer.text());
                }
            });
        }
    });
    stripe.rates(Rates {
        seed: 0,
        per_mille: Vec::new(),
    });
    let sold = until("every payment has ended", || {
        let [_, held, sold, _] = server.stock("bad-day");
        (held == 0).then_some(sold)
    });
    stripe.check();
    let books = stripe.books();
    let captured = books.iter().filter(|it| it.captures == 1).count();
    assert_eq!(u64::try_from(captured), Ok(sold));
    assert!(captured > BUYERS / 2, "{captured}");
    let set_aside: Vec<&Booked> = books
        .iter()
        .filter(|it| it.status == "requires_capture" || it.status == "requires_action")
        .collect();
    assert!(set_aside.is_empty(), "{set_aside:#?}");
}

#[test]
fn a_key_that_stripe_refuses_is_logged_once_and_sells_nothing() {
    let stripe = StripeServer::start();
    let key = "sk_test_revoked_yesterday";
    let server = config(&stripe)
        .env("HOLDFAST_PAYMENTS__STRIPE__SECRET_KEY", key)
        .env("HOLDFAST_PAYMENTS__GIVE_UP_AFTER_S", "1")
        .start();
    for user in ["ana", "bo"] {
        let answer = server.ask(&buy(user, CARD, &format!("key-of-{user}-1")));
        assert!(matches!(answer.status, 202 | 503), "{answer:?}");
    }
    server.log.wait_for("stripe_key_refused").unwrap();
    until("the units are back", || {
        (server.stock("drop-1") == [100, 0, 0, 100]).then_some(())
    });
    let log = server.log.lines();
    let said = |line: &&String| line.contains("stripe_key_refused");
    assert_eq!(log.iter().filter(said).count(), 1);
    assert!(!log.join("\n").contains(key));
    assert_eq!(stripe.books().len(), 0);
}

#[test]
fn webhooks_are_signed_and_come_again_until_they_are_taken() {
    let stripe = StripeServer::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stripe.webhooks(Webhooks {
        delay_ms_max: 5,
        ..Webhooks::of_every_event(listener.local_addr().unwrap(), "whsec_of_the_test")
    });
    let server = config(&stripe).start();
    assert_eq!(server.ask(&buy("ana", CARD, "key-of-ana")).status, 201);
    // Two events, the first delivery of which is refused.
    for status in ["500 Oops", "200 OK", "200 OK"] {
        let (head, body) = take(&listener, status);
        let signature = header(&head, "stripe-signature");
        let (at, v1) = signature.split_once(",v1=").unwrap();
        let at = at.strip_prefix("t=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_of_the_test").unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        assert_eq!(v1, hex::encode(mac.finalize().into_bytes()));
        let event: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(event["data"]["object"]["metadata"]["holdfast_reference"].is_string());
    }
    let taken = until("both are taken", || {
        let delivered = stripe.delivered();
        (delivered.len() == 3).then_some(delivered)
    });
    assert_eq!(taken.iter().filter(|it| it.status == 200).count(), 2);
}

fn take(listener: &TcpListener, status: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4_096];
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "it closed early");
        read.extend_from_slice(&part[..length]);
        let text = String::from_utf8(read.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = header(head, "content-length").parse().unwrap();
            if body.len() == length {
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                return (head.to_owned(), body.to_owned());
            }
        }
    }
}

fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(it, _)| it.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_owned()).unwrap()
}

#[test]
fn nothing_is_sent_that_stripe_cannot_take_or_give_back() {
    let stripe = StripeServer::start();
    let mut setup = config(&stripe);
    setup = setup.config("[drop]\ncurrencies = [\"USD\", \"EUR\", \"KRW\", \"KWD\"]");
    let server = setup.start();
    let product = product_terms(&json!({"name": "Dinar", "price": {"KWD": 1_230}, "stock": 9}));
    let promotion = promotion_terms(&json!({"percent_off": 10, "uses_max": 9}));
    for (path, body) in [
        ("/admin/products/dinar", product),
        ("/admin/promotions/TENTH", promotion),
    ] {
        let put = server.ask(&Request::put(path).key(ADMIN).json(&body));
        assert_eq!(put.status, 201, "{put:?}");
    }
    let order = json!({
        "user_id": "ana", "product_id": "dinar", "quantity": 1, "currency": "KWD",
        "card_token": CARD, "promotion_code": "tenth",
    });
    let buy = Request::post("/limited/buy").key(SHOP).once("key-dinar-1");
    let bought = server.ask(&buy.json(&order));
    assert_eq!(bought.status, 201, "{bought:?}");
    // 10 % of 1230 is 123; Stripe takes 1110 and not 1107.
    assert_eq!(bought.json()["amount"]["value"], 1_110);
    assert_eq!(only(&stripe).captured, 1_110);
    let purchase = bought.json()["purchase_id"].as_str().unwrap().to_owned();
    let refund = |amount: u64, before: u64, key: &str| {
        let path = format!("/admin/purchases/{purchase}/refunds");
        let body = json!({"amount": amount, "previously_refunded": before, "reason": "scratched"});
        server.ask(&Request::post(&path).key(ADMIN).once(key).json(&body))
    };
    let odd = refund(105, 0, "key-refund-1");
    assert_eq!(
        (odd.status, odd.reason().as_str()),
        (409, "amount_not_payable")
    );
    let told = odd.json();
    let bounds = ["amount", "amount_step", "amount_min", "amount_max"].map(|it| told[it].clone());
    assert_eq!(json!(bounds), json!([105, 10, null, null]), "{told}");
    assert_eq!(told["currency"], "KWD");
    let replayed = refund(105, 0, "key-refund-1");
    assert_eq!((replayed.status, &replayed.body), (409, &odd.body));
    assert_eq!(only(&stripe).refunded, 0);
    assert_eq!(refund(100, 0, "key-refund-2").status, 201);
    assert_eq!(refund(1_010, 100, "key-refund-3").status, 201);
    assert_eq!(only(&stripe).refunded, 1_110);
    // What an operator was refused is no attempt of the buyer's.
    let tried = server
        .ask(&Request::get("/admin/users/ana").key(ADMIN))
        .json();
    assert!(!tried.to_string().contains("amount_not_payable"), "{tried}");
}
