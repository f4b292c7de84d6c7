//! What somebody does at the gateway's own site: captures of another sum, refunds, disputes of part;
//! against `holdfast serve` with Stripe, over the server that has such a site.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::money::{purchase_of, reconciled, until_status};
use support::stripe_server::books::Booked;
use support::stripe_server::hooks::Webhooks;
use support::stripe_server::wire::Op;
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, Response, SHOP, Server, Setup, until};

const CARD: &str = "pm_card_visa";
const HOOK_SECRET: &str = "whsec_of_the_test_by_hand";

/// Every purchase is reviewed, so that somebody can be faster than the capture.
const REVIEWED: &str = "[review]\namount_over = { USD = 1 }\n";

fn start(stripe: &StripeServer, more: &str) -> Server {
    setup(stripe, more).start()
}

fn setup(stripe: &StripeServer, more: &str) -> Setup {
    let config = format!(
        "[payments]\n\
         gateway = \"stripe\"\n\
         attempt_timeout_ms = 1000\n\
         backoff_first_ms = 5\n\
         backoff_max_ms = 50\n\
         [payments.stripe]\n\
         secret_key = \"{SECRET_KEY}\"\n\
         api_base = \"{}\"\n\
         [reconcile]\n\
         every_s = 0\n\
         [[webhooks.secrets]]\n\
         id = \"s1\"\n\
         format = \"stripe\"\n\
         key = \"{HOOK_SECRET}\"\n\
         {more}",
        stripe.base()
    );
    Setup::demo().config(&config)
}

/// A purchase with the status `202` or `201` brings, and its reference at the gateway.
fn buy(server: &Server, status: u16) -> (String, String) {
    let answer = server.ask(&Request::buy("ana", "drop-1", CARD, "key-of-ana"));
    assert_eq!(answer.status, status, "{}", answer.text());
    let id = answer.json()["purchase_id"].as_str().unwrap().to_owned();
    let seen = purchase_of(server, &id);
    let reference = seen["gateway_reference"].as_str().unwrap().to_owned();
    (id, reference)
}

fn post(server: &Server, path: &str, body: &Value) -> Response {
    server.ask(&Request::post(path).key(ADMIN).json(body))
}

fn decide(server: &Server, id: &str, verdict: &str) -> Response {
    let path = format!("/admin/reviews/{id}/{verdict}");
    post(server, &path, &json!({"note": "looked at it"}))
}

fn settle(server: &Server, id: &str, how: &str) -> Response {
    let path = format!("/admin/purchases/{id}/settle");
    post(server, &path, &json!({"as": how, "note": "asked the bank"}))
}

fn refund(server: &Server, id: &str, key: &str, body: &Value) -> Response {
    let path = format!("/admin/purchases/{id}/refunds");
    let request = Request::post(&path).key(ADMIN).once(key).json(body);
    server.ask(&request)
}

/// The key of the purchase hears that it was declined, and what was captured and went back.
fn assert_told_of_return(server: &Server, returned: &Value, sentence: &str) {
    let again = server.ask(&Request::buy("ana", "drop-1", CARD, "key-of-ana"));
    assert_eq!(again.status, 402, "{}", again.text());
    let body = again.json();
    assert_eq!(&body["returned"], returned, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(sentence), "{detail}");
    assert!(!detail.contains("Nothing was charged"), "{detail}");
}

/// The differences that a whole comparison finds.
fn differences(server: &Server) -> Vec<String> {
    let report = reconciled(server, "?full=true");
    assert_eq!(report["complete"], true, "{report}");
    let found = report["differences"].as_array().unwrap().iter();
    found
        .map(|it| it["kind"].as_str().unwrap().to_owned())
        .collect()
}

fn only(stripe: &StripeServer) -> Booked {
    let books = stripe.books();
    assert_eq!(books.len(), 1, "{books:?}");
    books.into_iter().next().unwrap()
}

fn usd(value: i64) -> Value {
    json!({"value": value, "currency": "USD"})
}

#[test]
fn a_capture_of_another_sum_has_no_receipt_until_it_is_settled_at_the_gateways_sum() {
    for taken in [1_000, 1] {
        let stripe = StripeServer::start();
        let server = start(&stripe, REVIEWED);
        let (id, reference) = buy(&server, 202);
        stripe.capture_at_site(&reference, taken);
        // Not stuck yet: a person decides first.
        assert_eq!(settle(&server, &id, "captured").reason(), "wrong_state");
        decide(&server, &id, "approve");
        let stuck = until_status(&server, &id, "stuck");
        assert_eq!(stuck["reason"], "captured_amount_differs");
        assert_eq!(stuck["gateway"]["captured_amount"], usd(taken));
        assert_eq!(stuck["amount"], usd(1_999));
        assert_eq!(stuck["receipt"], Value::Null);
        assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);
        let open = server
            .ask(&Request::get("/admin/payments").key(ADMIN))
            .json();
        assert_eq!(open["payments"][0]["purchase_id"], id.as_str());
        assert_eq!(open["payments"][0]["stuck"], true);
        let metrics = server.ask(&Request::get("/metrics").key(ADMIN)).text();
        assert!(metrics.contains("holdfast_differing_captures 1\n"));
        let logged = server.log.wait_for("capture_differs").unwrap();
        assert_eq!(logged["purchase_id"], id.as_str());

        let path = format!("/admin/purchases/{id}/settle");
        for wrong in [
            json!({"as": "captured"}),
            json!({"as": "sold", "note": "n"}),
            json!({"as": "captured", "note": "n", "amount": 1}),
        ] {
            assert_eq!(post(&server, &path, &wrong).reason(), "invalid_request");
        }
        let by_shop = Request::post(&path).key(SHOP).json(&json!({}));
        assert_eq!(server.ask(&by_shop).status, 403);

        let settled = settle(&server, &id, "captured");
        assert_eq!(settled.status, 200, "{}", settled.text());
        let settled = settled.json();
        assert_eq!(settled["status"], "captured");
        assert_eq!(settled["amount"], usd(taken));
        assert_eq!(settled["receipt"]["amount"], usd(taken));
        assert_eq!(settled["gateway"]["captured_amount"], usd(taken));
        let receipt = settled["receipt"].to_string();
        let verified = server.ask(&Request::post("/receipts/verify").body(receipt.as_bytes()));
        assert_eq!(verified.json()["valid"], true, "{}", verified.text());
        assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);
        let buyer = server.ask(&Request::get("/admin/users/ana").key(ADMIN));
        assert_eq!(buyer.json()["spending"][0]["lifetime"], taken);
        // The buyer's key tells of the purchase as it was booked.
        let again = server.ask(&Request::buy("ana", "drop-1", CARD, "key-of-ana"));
        assert_eq!((again.status, &again.json()["amount"]), (201, &usd(taken)));
        for how in ["captured", "voided"] {
            assert_eq!(settle(&server, &id, how).reason(), "wrong_state");
        }
        assert_eq!(differences(&server), [""; 0]);
        let acts = Request::get("/admin/audit?kind=admin_acted").key(ADMIN);
        let acts = server.ask(&acts).json();
        let acts = acts["events"].as_array().unwrap();
        let act = acts.iter().find(|it| it["act"] == "settle").unwrap();
        assert_eq!(act["after"]["note"], "asked the bank");
        assert_eq!(act["after"]["amount"], taken);

        let all = json!({"previously_refunded": 0, "reason": "whole"});
        let back = refund(&server, &id, "refund-1", &all);
        assert_eq!(back.status, 201, "{}", back.text());
        assert_eq!(
            (only(&stripe).captured, only(&stripe).refunded),
            (taken, taken)
        );
        assert_eq!(differences(&server), [""; 0]);
        stripe.check();
    }
}

#[test]
fn settled_as_voided_exactly_the_rest_is_refunded() {
    let stripe = StripeServer::start();
    let server = start(&stripe, REVIEWED);
    let (id, reference) = buy(&server, 202);
    stripe.capture_at_site(&reference, 1_000);
    stripe.refund_at_site(&reference, 300);
    decide(&server, &id, "approve");
    until_status(&server, &id, "stuck");
    let settled = settle(&server, &id, "voided");
    assert!([200, 202].contains(&settled.status), "{}", settled.text());
    let voided = until_status(&server, &id, "voided");
    assert_eq!(voided["reason"], "settled");
    assert_eq!(
        (only(&stripe).captured, only(&stripe).refunded),
        (1_000, 1_000)
    );
    assert_eq!(stripe.requests(Op::Refund), 1);
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    assert_eq!(differences(&server), [""; 0]);
    let sentence = "The gateway captured 10.00 USD and refunded it.";
    assert_told_of_return(&server, &usd(1_000), sentence);
}

#[test]
fn a_reject_after_a_capture_by_hand_asks_for_what_is_there_once() {
    let stripe = StripeServer::start();
    let server = start(&stripe, REVIEWED);
    let (id, reference) = buy(&server, 202);
    stripe.capture_at_site(&reference, 1_000);
    decide(&server, &id, "reject");
    until_status(&server, &id, "voided");
    assert_eq!(
        (only(&stripe).captured, only(&stripe).refunded),
        (1_000, 1_000)
    );
    assert_eq!(stripe.requests(Op::Refund), 1);
    let sentence = "The gateway captured 10.00 USD and refunded it.";
    assert_told_of_return(&server, &usd(1_000), sentence);
}

#[test]
fn a_refused_void_is_stuck_and_retried_rarely() {
    let stripe = StripeServer::start();
    let server = start(&stripe, REVIEWED);
    let (id, reference) = buy(&server, 202);
    stripe.capture_at_site(&reference, 1_999);
    stripe.refuse_refunds(true);
    decide(&server, &id, "reject");
    let stuck = until_status(&server, &id, "stuck");
    assert_eq!(stuck["reason"], "give_back_refused");
    let calls = || {
        [Op::Refund, Op::ListRefunds, Op::Get, Op::List]
            .map(|op| stripe.requests(op))
            .into_iter()
            .sum::<u32>()
    };
    let before = calls();
    assert!(before < 20, "{before} calls");
    // Backoff alone (50 ms at most) would ask some hundred times.
    let since = Instant::now();
    until("three seconds are over", || {
        (since.elapsed() > Duration::from_secs(3)).then_some(())
    });
    assert_eq!(calls(), before, "it is not asked again so soon");
    stripe.refuse_refunds(false);
    let path = format!("/admin/purchases/{id}/void");
    let voided = server.ask(&Request::post(&path).key(ADMIN));
    assert!([200, 202].contains(&voided.status), "{}", voided.text());
    until_status(&server, &id, "voided");
    assert_eq!(
        (only(&stripe).captured, only(&stripe).refunded),
        (1_999, 1_999)
    );
}

#[test]
fn a_capture_in_another_currency_is_given_back_and_never_booked() {
    let stripe = StripeServer::start();
    let server = start(&stripe, REVIEWED);
    let (id, reference) = buy(&server, 202);
    stripe.capture_at_site(&reference, 1_999);
    stripe.change_currency(&reference, "eur");
    decide(&server, &id, "approve");
    let stuck = until_status(&server, &id, "stuck");
    assert_eq!(stuck["reason"], "captured_currency_differs");
    let euros = json!({"value": 1_999, "currency": "EUR"});
    assert_eq!(stuck["gateway"]["captured_amount"], euros);
    assert_eq!(settle(&server, &id, "captured").reason(), "wrong_state");
    settle(&server, &id, "voided");
    until_status(&server, &id, "voided");
    assert_eq!(only(&stripe).refunded, 1_999);
    let sentence = "The gateway captured 19.99 EUR and refunded it.";
    assert_told_of_return(&server, &euros, sentence);
}

#[test]
fn a_refund_by_hand_is_booked_from_its_webhook_and_bounds_the_next_one() {
    let stripe = StripeServer::start();
    let server = start(&stripe, "");
    stripe.webhooks(Webhooks::of_every_event(server.address, HOOK_SECRET));
    let (id, reference) = buy(&server, 201);
    stripe.refund_at_site(&reference, 500);
    let shown = until_status(&server, &id, "partially_refunded");
    assert_eq!(shown["refunded_amount"], usd(500));
    let history = shown["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["event"], "refund_found");
    assert_eq!(differences(&server), [""; 0]);
    let stale = json!({"amount": 100, "previously_refunded": 0, "reason": "stale"});
    let stale = refund(&server, &id, "refund-1", &stale);
    assert_eq!(stale.reason(), "refund_conflict");
    let much = json!({"amount": 1_500, "previously_refunded": 500, "reason": "much"});
    let much = refund(&server, &id, "refund-2", &much);
    assert_eq!(much.reason(), "refund_exceeds_captured");
    let rest = json!({"previously_refunded": 500, "reason": "the rest"});
    let rest = refunded(&server, &id, "refund-3", &rest);
    assert_eq!(rest.json()["amount"], 1_499);
    let shown = until_status(&server, &id, "refunded");
    assert_eq!(shown["refunded_amount"], usd(1_999));
    assert_eq!(only(&stripe).refunded, 1_999);
    assert_eq!(differences(&server), [""; 0]);
}

#[test]
fn a_refund_that_the_gateway_made_already_is_looked_up_and_booked() {
    for by_hand in [500, 1_999] {
        let stripe = StripeServer::start();
        let server = start(&stripe, "");
        let (id, reference) = buy(&server, 201);
        stripe.refund_at_site(&reference, by_hand);
        let whole = json!({"previously_refunded": 0, "reason": "whole"});
        let answer = refund(&server, &id, "refund-1", &whole);
        assert_eq!(answer.reason(), "refund_conflict", "{}", answer.text());
        let told = answer.json();
        assert_eq!(told["refunded_amount"], by_hand, "{told}");
        assert_eq!(told["currency"], "USD");
        let again = refund(&server, &id, "refund-1", &whole);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!((again.status, again.text()), (409, answer.text()));
        let shown = purchase_of(&server, &id);
        assert_eq!(shown["refunded_amount"], usd(by_hand));
        assert_eq!(only(&stripe).refunded, by_hand);
        assert_eq!(differences(&server), [""; 0]);
    }
}

#[test]
fn a_refund_by_hand_is_booked_by_reconciliation_which_then_finds_nothing() {
    let stripe = StripeServer::start();
    let server = start(&stripe, "");
    let (id, reference) = buy(&server, 201);
    stripe.refund_at_site(&reference, 1_999);
    assert_eq!(differences(&server), ["amount_differs"]);
    let shown = until_status(&server, &id, "refunded");
    assert_eq!(shown["refunded_amount"], usd(1_999));
    assert_eq!(differences(&server), [""; 0]);
}

/// What a refund answers in the end: the webhook of it may be faster than its own answer.
fn refunded(server: &Server, id: &str, key: &str, body: &Value) -> Response {
    until("it is refunded", || {
        let answer = refund(server, id, key, body);
        let under_way = answer.status == 202 || answer.reason() == "idempotency_in_flight";
        assert!(under_way || answer.status == 201, "{}", answer.text());
        (answer.status == 201).then_some(answer)
    })
}

/// The status, what went back in all, and the words of the history.
fn standing(server: &Server, id: &str) -> (Value, Value, Vec<Value>) {
    let shown = purchase_of(server, id);
    let history = shown["history"].as_array().unwrap().iter();
    let history = history.map(|it| it["event"].clone()).collect();
    (
        shown["status"].clone(),
        shown["refunded_amount"].clone(),
        history,
    )
}

#[test]
fn a_refund_that_failed_late_is_booked_back_from_its_webhook_once() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let stripe = StripeServer::start();
    let start = || setup(&stripe, "").data_dir(&data_dir).start();
    let mut server = start();
    stripe.webhooks(Webhooks::of_every_event(server.address, HOOK_SECRET));
    let (id, reference) = buy(&server, 201);
    let part = json!({"amount": 500, "previously_refunded": 0, "reason": "part"});
    let made = refunded(&server, &id, "refund-1", &part);
    until_status(&server, &id, "partially_refunded");
    stripe.fail_refunds(&reference);
    let shown = until_status(&server, &id, "captured");
    assert_eq!(shown["refunded_amount"], usd(0));
    let refunds = shown["refunds"].as_array().unwrap();
    assert_eq!(refunds[0]["status"], "returned", "{shown}");
    assert_eq!(differences(&server), [""; 0]);

    // Told twice, it changes nothing.
    let before = standing(&server, &id);
    assert_eq!(before.2.last().unwrap(), "refund_returned");
    stripe.tell_failed_refunds(&reference);
    until("both were taken", || {
        let delivered = stripe.delivered();
        let taken = delivered
            .iter()
            .filter(|it| it.kind == "refund.failed" && it.status == 200);
        (taken.count() == 2).then_some(())
    });
    assert_eq!(differences(&server), [""; 0]);
    assert_eq!(standing(&server, &id), before);

    server.kill();
    let server = start();
    assert_eq!(standing(&server, &id), before);
    let again = refund(&server, &id, "refund-1", &part);
    assert_eq!((again.status, again.text()), (201, made.text()));
    // The money is there to be given back.
    let whole = json!({"previously_refunded": 0, "reason": "another way"});
    refunded(&server, &id, "refund-2", &whole);
    assert_eq!(only(&stripe).refunded, 1_999);
    let shown = until_status(&server, &id, "refunded");
    assert_eq!(shown["refunded_amount"], usd(1_999));
    assert_eq!(differences(&server), [""; 0]);
}

#[test]
fn refunds_that_failed_late_are_booked_back_by_reconciliation() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let stripe = StripeServer::start();
    let start = || setup(&stripe, "").data_dir(&data_dir).start();
    let mut server = start();
    let (id, reference) = buy(&server, 201);
    let part = json!({"amount": 500, "previously_refunded": 0, "reason": "part"});
    refunded(&server, &id, "refund-1", &part);
    stripe.refund_at_site(&reference, 1_499);
    assert_eq!(differences(&server), ["amount_differs"]);
    until_status(&server, &id, "refunded");
    // Ours and the one that was made at the gateway's own site.
    stripe.fail_refunds(&reference);
    assert_eq!(differences(&server), ["amount_differs"]);
    let shown = until_status(&server, &id, "captured");
    assert_eq!(shown["refunded_amount"], usd(0));
    assert_eq!(differences(&server), [""; 0]);
    let before = standing(&server, &id);
    let returned = before.2.iter().filter(|it| *it == "refund_returned");
    assert_eq!(returned.count(), 2);
    server.kill();
    let server = start();
    assert_eq!(standing(&server, &id), before);
    assert_eq!(differences(&server), [""; 0]);
}

#[test]
fn a_look_up_that_lags_behind_a_refund_takes_nothing_for_a_loss() {
    let stripe = StripeServer::start();
    let server = start(&stripe, "");
    let (id, reference) = buy(&server, 201);
    let part = json!({"amount": 500, "previously_refunded": 0, "reason": "part"});
    refunded(&server, &id, "refund-1", &part);
    stripe.refund_at_site(&reference, 300);
    assert_eq!(differences(&server), ["amount_differs"]);
    until("both are booked", || {
        (purchase_of(&server, &id)["refunded_amount"] == usd(800)).then_some(())
    });
    // A third one brings a look-up, which does not show the second yet.
    stripe.webhooks(Webhooks::of_every_event(server.address, HOOK_SECRET));
    let looks = stripe.requests(Op::Get);
    stripe.lag_once(&reference, 300);
    until("the lagging books were looked at", || {
        (stripe.requests(Op::Get) > looks).then_some(())
    });
    let more = json!({"amount": 100, "previously_refunded": 800, "reason": "more"});
    refunded(&server, &id, "refund-2", &more);
    let (status, total, history) = standing(&server, &id);
    assert_eq!((status, total), (json!("partially_refunded"), usd(900)));
    assert!(!history.contains(&json!("refund_returned")), "{history:?}");
    assert_eq!(differences(&server), [""; 0]);
}
