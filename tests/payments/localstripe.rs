//! The Stripe gateway against localstripe, a server of Stripe's protocol that others wrote: that
//! requests and answers are understood beyond our own idea of them. It knows no idempotency keys;
//! `docs/stripe.md` lists what else it has not.

use crate::stripe_calls::*;
use holdfast::ids::GatewayCode;
use holdfast::money::Amount;
use holdfast::payments::gateway::{
    Authorization, CallClass, CallResult, CapturedMoney, Charged, DeclinedBy, FoundRefund, Gateway,
    LookupResult,
};
use holdfast::payments::stripe::Stripe;
use serde_json::json;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use support::{Client, Request, Setup};
use tokio::runtime::Runtime;

const SECRET_KEY: &str = "sk_test_for_localstripe";

/// A running localstripe; it ends with its standard input.
struct Localstripe {
    address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Localstripe {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let servers = root.join("target/servers");
        assert!(
            servers.join("installed").exists(),
            "localstripe is not installed: run `./dev servers` once"
        );
        let mut child = Command::new(servers.join("bin/python"))
            .arg(root.join("tests/servers/start_localstripe.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.trim().strip_prefix("listening ");
        let port = port.expect("it says where; run `./dev servers` where it does not start");
        Self {
            address: (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into(),
            child,
            stdin,
        }
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A payment method of this card number, as a shop's page makes one.
    fn payment_method(&self, number: &str) -> String {
        let card = json!({"number": number, "exp_month": 12, "exp_year": 2030, "cvc": "123"});
        let request = Request::post("/v1/payment_methods")
            .key(SECRET_KEY)
            .json(&json!({"type": "card", "card": card}));
        let made = Client::connect(self.address).ask(&request).json();
        made["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Localstripe {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

struct Stage {
    localstripe: Localstripe,
    stripe: Stripe,
    runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let localstripe = Localstripe::start();
        let stripe = gateway(&localstripe.base(), SECRET_KEY);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            localstripe,
            stripe,
            runtime,
        }
    }

    fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    fn authorized(&self, number: u64) -> Authorization {
        match self.run(self.stripe.authorize(order(number, "pm_card_visa"))) {
            CallResult::Approved(authorization) => authorization,
            other => panic!("{other:?}"),
        }
    }

    fn captured(&self, number: u64) -> (Authorization, CapturedMoney) {
        let authorization = self.authorized(number);
        match self.run(self.stripe.capture(claim(number, Some(&authorization.id)))) {
            CallResult::Approved(money) => (authorization, money),
            other => panic!("{other:?}"),
        }
    }

    fn found(&self, number: u64, authorization: &Authorization) -> LookupResult {
        let inquiry = inquiry(number, Some(&authorization.id));
        self.run(self.stripe.look_up(inquiry)).unwrap()
    }
}

#[test]
fn money_is_authorized_captured_refunded_and_listed() {
    let stage = Stage::new();
    let authorization = stage.authorized(1);
    let expected = LookupResult::Authorized(authorization.clone());
    assert_eq!(stage.found(1, &authorization), expected);
    let answer = stage.run(stage.stripe.capture(claim(1, Some(&authorization.id))));
    let CallResult::Approved(money) = answer.clone() else {
        panic!("{answer:?}");
    };
    // A second time is refused there, and the intent says why.
    assert_eq!(
        stage.run(stage.stripe.capture(claim(1, Some(&authorization.id)))),
        answer
    );
    let expected = LookupResult::Captured(money);
    assert_eq!(stage.found(1, &authorization), expected);

    let part = refund(1, &authorization.id, 1, 1_000);
    let look_up = || stage.run(stage.stripe.look_up_refund(part.clone()));
    assert_eq!(look_up(), Ok(FoundRefund::Nothing));
    let answer = stage.run(stage.stripe.refund(part.clone()));
    assert_eq!(answer, CallResult::Approved(()));
    assert_eq!(look_up(), Ok(FoundRefund::Succeeded));

    let let_go = stage.authorized(2);
    let page = stage.run(stage.stripe.list(None)).unwrap();
    let line = |number| {
        let is = |it: &&Charged| it.reference == Some(reference(number));
        let it = page.charges.iter().find(is).unwrap();
        [it.authorized, it.captured, it.refunded].map(Amount::get)
    };
    assert_eq!(line(1), [0, PRICE, 1_000]);
    assert_eq!(line(2), [PRICE, 0, 0]);
    assert_eq!(page.next, None);

    let rest = stage.run(stage.stripe.refund(refund(1, &authorization.id, 2, 1_500)));
    assert_eq!(rest, CallResult::Approved(()));
    assert!(matches!(
        stage.found(1, &authorization),
        LookupResult::Refunded(_)
    ));
    for _ in 0..2 {
        let void = stage.run(stage.stripe.void(claim(2, Some(&let_go.id))));
        assert_eq!(void, CallResult::Approved(()));
    }
    assert_eq!(stage.found(2, &let_go), LookupResult::Voided);
}

#[test]
fn cards_are_declined_by_their_issuer() {
    let stage = Stage::new();
    let wants_its_holder = stage.localstripe.payment_method("4000002500003155");
    for (card, code) in [
        ("pm_card_chargeCustomerFail", "card_declined"),
        (&wants_its_holder, "authentication_required"),
    ] {
        let answer = stage.run(stage.stripe.authorize(order(1, card)));
        let CallResult::Declined(decline) = answer else {
            panic!("{card}: {answer:?}");
        };
        assert_eq!(decline.by, DeclinedBy::Issuer);
        assert_eq!(decline.code, GatewayCode::parse(code), "{card}");
    }
    let answer = stage.run(stage.stripe.authorize(order(2, "pm_unheard_of")));
    let CallResult::Declined(decline) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(decline.by, DeclinedBy::Gateway);
}

#[test]
fn a_captured_payment_cannot_be_voided() {
    let stage = Stage::new();
    let (authorization, money) = stage.captured(1);
    let void = stage.run(stage.stripe.void(claim(1, Some(&authorization.id))));
    assert_eq!(void.class(), CallClass::Declined);
    let expected = LookupResult::Captured(money);
    assert_eq!(stage.found(1, &authorization), expected);
}

#[test]
fn holdfast_sells_over_it() {
    let localstripe = Localstripe::start();
    let server = Setup::demo()
        .config(&format!(
            "[payments]\ngateway = \"stripe\"\n\
             [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"",
            localstripe.base()
        ))
        .start();
    let bought = server.ask(&Request::buy("ana", "drop-1", "pm_card_visa", "key-of-ana"));
    assert_eq!(bought.status, 201, "{}", bought.text());
    let card = "pm_card_chargeCustomerFail";
    let declined = server.ask(&Request::buy("bo", "drop-1", card, "key-of-bo-1"));
    assert_eq!(declined.status, 402, "{}", declined.text());
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
    let id = bought.json()["gateway"]["authorization_id"].clone();
    let path = format!("/v1/payment_intents/{}", id.as_str().unwrap());
    let intent = Client::connect(localstripe.address).ask(&Request::get(&path).key(SECRET_KEY));
    assert_eq!(intent.json()["status"], "succeeded");
}
