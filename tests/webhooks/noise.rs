//! Webhooks against the real binary: large ones, foreign ones, inquiries, and disputes that cannot
//! be placed yet.

use serde_json::{Value, json};
use support::signing::{
    Own, SECRETS, bought, event, id_of, now_s, start, status_of, stripe, tell, with,
};
use support::{ADMIN, Request, Server, Setup, until};

fn appended(server: &Server) -> u64 {
    let status = server.ask(&Request::get("/admin/status").key(ADMIN));
    status.json()["appended_lsn"].as_u64().unwrap()
}

fn stripe_event(id: &str, kind: &str, created: u64, object: &Value) -> Request {
    let event = json!({
        "id": id, "object": "event", "type": kind, "created": created,
        "data": {"object": object},
    });
    stripe(now_s(), &event)
}

fn dispute(status: &str, intent: &str) -> Value {
    json!({
        "object": "dispute", "id": "dp_1", "status": status, "amount": 1999, "metadata": {},
        "payment_intent": intent, "reason": "fraudulent",
    })
}

fn intent_of(purchase: &Value) -> &str {
    purchase["gateway"]["authorization_id"].as_str().unwrap()
}

#[test]
fn a_dispute_comes_with_all_of_its_evidence_and_larger_bodies_are_refused() {
    let server = start();
    let purchase = bought(&server, "ana");
    let with_evidence = |bytes: usize| {
        let mut object = dispute("needs_response", intent_of(&purchase));
        object["evidence"] = json!({"uncategorized_text": "e".repeat(bytes)});
        stripe_event("evt_1", "charge.dispute.created", now_s(), &object)
    };
    let refused = tell(&server, &with_evidence(600_000));
    assert_eq!(refused, "413 body_too_large");
    assert_eq!(tell(&server, &with_evidence(300_000)), "processed");
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
}

/// Only the head is ever sent: nothing of the body is waited for.
#[test]
fn what_cannot_be_genuine_is_refused_before_its_body() {
    let server = start();
    for (path, headers) in [
        ("/webhooks/payment", ""),
        (
            "/webhooks/payment",
            "x-timestamp: 1\r\nx-nonce: n\r\nx-signature: sha256=ab\r\n",
        ),
        ("/webhooks/stripe", "stripe-signature: t=1\r\n"),
    ] {
        let mut client = server.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: 400000\r\n{headers}\r\n"
        );
        client.send(head.as_bytes()).unwrap();
        let answer = client.receive().unwrap();
        let told = (answer.status, answer.reason());
        assert_eq!(
            told,
            (401, "invalid_signature".to_owned()),
            "{path} {headers}"
        );
    }
}

#[test]
fn an_inquiry_is_no_dispute_until_the_money_is_withdrawn() {
    let server = start();
    let purchase = bought(&server, "ana");
    let cases = [
        ("created", "warning_needs_response", "ignored", "captured"),
        ("created", "warning_under_review", "ignored", "captured"),
        ("funds_withdrawn", "needs_response", "processed", "disputed"),
        ("created", "needs_response", "ignored", "disputed"),
        ("closed", "won", "processed", "captured"),
        ("created", "needs_response", "processed", "disputed"),
        ("funds_withdrawn", "needs_response", "ignored", "disputed"),
        ("closed", "warning_closed", "processed", "captured"),
        ("created", "needs_response", "processed", "disputed"),
        ("closed", "prevented", "processed", "captured"),
        ("created", "prevented", "ignored", "captured"),
        ("created", "needs_response", "processed", "disputed"),
        ("closed", "lost", "processed", "charged_back"),
    ];
    let first = now_s() - 100;
    for (place, (kind, status, expected, state)) in cases.into_iter().enumerate() {
        let object = dispute(status, intent_of(&purchase));
        let request = stripe_event(
            &format!("evt_{place}"),
            &format!("charge.dispute.{kind}"),
            first + place as u64,
            &object,
        );
        let told = tell(&server, &request);
        let now = status_of(&server, id_of(&purchase));
        let found = (told.as_str(), now.as_str());
        assert_eq!(found, (expected, state), "{place}: {kind} {status}");
    }
}

/// Banks send money back days after a refund was made.
#[test]
fn a_refund_that_fails_after_success_is_logged_as_an_error() {
    let server = start();
    let purchase = bought(&server, "ana");
    let id = id_of(&purchase);
    let charges = server.ask(&Request::get("/admin/sandbox/charges").key(ADMIN));
    let charges = charges.json();
    let reference = charges["charges"][0]["reference"].as_str().unwrap();
    let refund = Request::post(&format!("/admin/purchases/{id}/refunds"))
        .key(ADMIN)
        .once("key-refund-1")
        .json(&json!({"amount": 500, "previously_refunded": 0, "reason": "late"}));
    let refunded = server.ask(&refund);
    assert_eq!(refunded.status, 201, "{refunded:?}");
    let failed = |event: &str, name: &str| {
        let object = json!({
            "object": "refund", "id": "re_1", "status": "failed", "amount": 500,
            "metadata": {"holdfast_refund": format!("{reference}:{name}")},
        });
        tell(
            &server,
            &stripe_event(event, "refund.failed", now_s(), &object),
        )
    };
    let count = || {
        let metrics = server.ask(&Request::get("/metrics")).text();
        let mut lines = metrics.lines();
        let line = lines.find_map(|it| it.strip_prefix("holdfast_refunds_failed_late_total "));
        line.unwrap().to_owned()
    };
    // One that we never heard of is none that was told as done.
    assert_eq!(failed("evt_2", "2"), "processed");
    assert_eq!(failed("evt_0", "0"), "processed");
    assert_eq!(count(), "0");
    assert_eq!(failed("evt_1", "1"), "processed");
    assert_eq!(failed("evt_1", "1"), "duplicate");
    assert_eq!(count(), "1");
    let line = server.log.wait_for("refund_failed_late").unwrap();
    assert_eq!(
        (&line["purchase_id"], &line["number"]),
        (&json!(id), &json!(1))
    );
}

#[test]
fn a_webhook_that_changes_nothing_is_ignored_and_not_stored() {
    let room_for_two = "[webhooks]\nevents_max = 1";
    let server = Setup::demo().config(room_for_two).config(SECRETS).start();
    let purchase = bought(&server, "ana");
    let intent = |id: &str| json!({"object": "payment_intent", "id": id, "status": "succeeded", "amount": 1999, "metadata": {}});
    let before = appended(&server);
    for place in 0..8 {
        let kinds = [
            ("payout.paid", json!({"object": "payout", "id": "po_1"})),
            ("payment_intent.created", intent("pi_other")),
            ("payment_intent.succeeded", intent("pi_other")),
            // Ours say so themselves; no purchase is searched for.
            ("payment_intent.succeeded", intent(intent_of(&purchase))),
        ];
        for (kind, object) in kinds {
            let request = stripe_event(&format!("evt_{kind}_{place}"), kind, now_s(), &object);
            assert_eq!(tell(&server, &request), "ignored", "{kind}");
            assert_eq!(tell(&server, &request), "ignored", "{kind} again");
        }
        let nonce = format!("n-{place}");
        let body = event(&nonce, "payout.paid", id_of(&purchase), 0);
        assert_eq!(tell(&server, &Own::new(&nonce, &body).request()), "ignored");
        let body = event(
            &nonce,
            "payment.captured",
            "p_00000000000fff075a17c0de5a17c0de",
            0,
        );
        assert_eq!(tell(&server, &Own::new(&nonce, &body).request()), "ignored");
    }
    assert_eq!(appended(&server), before, "noise reached the log");
    for (kind, state) in [("opened", "disputed"), ("lost", "charged_back")] {
        let body = event(kind, &format!("dispute.{kind}"), id_of(&purchase), 0);
        let request = Own::new(kind, &body).request();
        assert_eq!(tell(&server, &request), "processed", "{kind}");
        assert_eq!(status_of(&server, id_of(&purchase)), state);
    }
    // It is full now, and noise is no reason to have the gateway send it again and again.
    let request = stripe_event("evt_full", "payout.paid", now_s(), &json!({}));
    assert_eq!(tell(&server, &request), "ignored");
}

/// Its payment may be one whose authorization is not known here yet.
#[test]
fn a_dispute_of_no_purchase_is_refused_while_a_payment_has_no_gateway_id() {
    let config = "[payments]\nanswer_within_ms = 50";
    let server = Setup::demo().config(SECRETS).config(config).start();
    let buy = Request::buy("ana", "drop-1", "tok_slow_1500", "key-slow-1");
    let answer = server.ask(&buy);
    assert_eq!(answer.status, 202, "{answer:?}");
    let purchase = answer.json();
    let told = |id: &str, created: u64| {
        let object = dispute("needs_response", "pi_not_of_ours");
        tell(
            &server,
            &stripe_event(id, "charge.dispute.created", created, &object),
        )
    };
    assert_eq!(told("evt_1", now_s()), "409 wrong_state");
    // Before the payment was begun, there was nothing of it to dispute.
    assert_eq!(told("evt_2", now_s() - 3_600), "ignored");
    until("the payment is captured", || {
        (status_of(&server, id_of(&purchase)) == "captured").then_some(())
    });
    assert_eq!(told("evt_1", now_s()), "ignored");
    assert_eq!(told("evt_1", now_s()), "duplicate");
}

#[test]
fn a_dispute_of_a_purchase_under_review_is_refused_until_it_is_decided() {
    let review = "[review]\namount_over = { USD = 2000 }";
    let server = Setup::demo().config(SECRETS).config(review).start();
    let buy = json!({
        "user_id": "ana", "product_id": "drop-1", "quantity": 2, "currency": "USD",
        "card_token": "tok_ok",
    });
    let request = Request::post("/limited/buy")
        .key(support::SHOP)
        .once("key-review-1");
    let answer = server.ask(&request.json(&buy));
    assert_eq!(answer.status, 202, "{answer:?}");
    let purchase = answer.json();
    assert_eq!(purchase["status"], "under_review");
    let body = event("e-1", "dispute.opened", id_of(&purchase), 0);
    let dispute = Own::new("n-1", &body).request();
    assert_eq!(tell(&server, &dispute), "409 wrong_state");
    let path = format!("/admin/reviews/{}/approve", id_of(&purchase));
    let approve = Request::post(&path)
        .key(ADMIN)
        .json(&json!({"note": "fine"}));
    assert_eq!(server.ask(&approve).status, 200);
    assert_eq!(tell(&server, &dispute), "processed");
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
}

#[test]
fn a_dispute_of_a_purchase_that_ended_without_money_is_an_error_in_the_log() {
    let server = start();
    let buy = Request::buy("ana", "drop-1", "tok_declined", "key-declined-1");
    let answer = server.ask(&buy);
    assert_eq!(answer.status, 402, "{answer:?}");
    let audit = Request::get("/admin/audit?kind=payment_declined").key(ADMIN);
    let declined = server.ask(&audit).json();
    let id = declined["events"][0]["purchase_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = event("e-1", "dispute.opened", &id, 0);
    assert_eq!(tell(&server, &Own::new("n-1", &body).request()), "ignored");
    let line = server.log.wait_for("dispute_unplaced").unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["purchase_id"], id.as_str());
    assert_eq!(line["status"], "declined");
    // Of one that the body names otherwise than it was signed, nothing is said.
    let forged = with(Own::new("n-2", &body).request(), "x-nonce", "n-3");
    assert_eq!(tell(&server, &forged), "401 invalid_signature");
}
