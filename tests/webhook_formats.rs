//! Webhooks in the forms of others, against the real binary: Standard Webhooks and Stripe's.

mod support;

use serde_json::{Value, json};
use support::signing::{
    NEW, Own, bought, event_of, id_of, mac, now_s, standard, start, status_of, stripe, tell, with,
};
use support::{ADMIN, Request};

#[test]
fn standard_webhooks_are_taken_at_the_same_path() {
    let server = start();
    let purchase = bought(&server, "ana");
    let body = json!({
        "type": "dispute.opened", "timestamp": "2026-01-02T03:04:05.678Z",
        "data": {"purchase_id": id_of(&purchase), "amount": 1999, "reason": "fraudulent"},
    })
    .to_string();
    let now = now_s();
    let first = standard("msg_1", now, &body);
    let steps = [
        ("the first", first.clone(), "processed"),
        ("the same bytes", first.clone(), "duplicate"),
        (
            "a redelivery",
            standard("msg_1", now + 1, &body),
            "duplicate",
        ),
        (
            "another event",
            standard(
                "msg_2",
                now,
                &body.replace("dispute.opened", "payment.captured"),
            ),
            "processed",
        ),
        (
            "too old",
            standard("msg_3", now - 310, &body),
            "401 stale_timestamp",
        ),
        (
            "another id",
            with(first.clone(), "webhook-id", "msg_9"),
            "401 invalid_signature",
        ),
        (
            "a full stop in the id",
            standard("msg.1", now, &body),
            "401 invalid_signature",
        ),
        (
            "no version of ours",
            with(first.clone(), "webhook-signature", "v1a,AAAA"),
            "401 invalid_signature",
        ),
        (
            "the id twice",
            first.header("webhook-id", "msg_1"),
            "401 invalid_signature",
        ),
        (
            "no JSON",
            standard("msg_4", now, "no JSON"),
            "400 invalid_request",
        ),
        ("the id is free", standard("msg_4", now, &body), "ignored"),
    ];
    for (name, request, expected) in steps {
        assert_eq!(tell(&server, &request), expected, "{name}");
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "disputed");
    // The same bytes again are no second line of the log.
    let audit = Request::get("/admin/audit?kind=webhook_received").key(ADMIN);
    let audit = server.ask(&audit).json();
    assert_eq!(audit["events"].as_array().unwrap().len(), 4);
    let opened = Request::get("/admin/audit?kind=dispute_opened").key(ADMIN);
    let opened = &server.ask(&opened).json()["events"][0];
    assert_eq!(
        (&opened["amount"], &opened["code"], &opened["happened_at"]),
        (
            &json!(1999),
            &json!("fraudulent"),
            &json!("2026-01-02T03:04:05.678Z")
        )
    );
}

fn stripe_event(id: &str, kind: &str, created: u64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": created,
        "data": {"object": object},
    })
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn stripes_events_find_the_purchase_by_reference_or_payment_intent() {
    let server = start();
    let purchase = bought(&server, "ana");
    let charges = server.ask(&Request::get("/admin/sandbox/charges").key(ADMIN));
    let reference = charges.json()["charges"][0]["reference"]
        .as_str()
        .unwrap()
        .to_owned();
    let intent = purchase["gateway"]["authorization_id"].as_str().unwrap();
    let foreign = format!("hf-{}{}", "0".repeat(16), &reference[19..]);
    let earlier = format!("{}{}", &reference[..reference.len() - 16], "0".repeat(16));
    let of = |reference: &str| {
        json!({
            "object": "payment_intent", "id": "pi_other", "status": "succeeded", "amount": 1999,
            "metadata": {"holdfast_reference": reference},
        })
    };
    let by_intent = |object: &str, status: &str, intent: Value| {
        json!({
            "object": object, "id": "x_1", "status": status, "amount": 1999, "metadata": {},
            "payment_intent": intent, "reason": "fraudulent",
        })
    };
    let whole = json!({"object": "payment_intent", "id": intent});
    let cases = [
        ("payment_intent.succeeded", of(&reference), "processed"),
        ("payment_intent.succeeded", of(&foreign), "ignored"),
        ("payment_intent.succeeded", of(&earlier), "ignored"),
        ("payment_intent.succeeded", of("order-17"), "ignored"),
        (
            "payment_intent.amount_capturable_updated",
            of(&reference),
            "processed",
        ),
        ("payment_intent.canceled", of(&reference), "processed"),
        ("payment_intent.payment_failed", of(&reference), "processed"),
        ("payment_intent.created", of(&reference), "ignored"),
        (
            "refund.updated",
            by_intent("refund", "succeeded", json!(intent)),
            "processed",
        ),
        (
            "refund.updated",
            by_intent("refund", "pending", json!(intent)),
            "ignored",
        ),
        (
            "refund.updated",
            json!({
                "object": "refund", "id": "re_1", "status": "succeeded",
                "metadata": {"holdfast_refund": format!("{reference}:1")},
            }),
            "processed",
        ),
        (
            "refund.failed",
            by_intent("refund", "failed", json!(intent)),
            "processed",
        ),
        (
            "charge.refunded",
            by_intent("charge", "succeeded", whole),
            "processed",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!("pi_1")),
            "ignored",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "warning_closed", json!(intent)),
            "ignored",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "won", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.created",
            by_intent("dispute", "needs_response", json!(intent)),
            "processed",
        ),
        (
            "charge.dispute.closed",
            by_intent("dispute", "lost", json!(intent)),
            "processed",
        ),
    ];
    let now = now_s();
    for (place, (kind, object, expected)) in cases.into_iter().enumerate() {
        let created = now - 100 + place as u64;
        let event = stripe_event(&format!("evt_{place}"), kind, created, &object);
        assert_eq!(
            tell(&server, &stripe(now, &event)),
            expected,
            "{place}: {kind}"
        );
        let again = tell(&server, &stripe(now, &event));
        let later = tell(&server, &stripe(now + 1, &event));
        assert_eq!((again.as_str(), later.as_str()), ("duplicate", "duplicate"));
    }
    assert_eq!(status_of(&server, id_of(&purchase)), "charged_back");
    let event = stripe_event("evt_x", "payment_intent.succeeded", now, &of(&reference));
    let good = stripe(now, &event);
    let value = good.headers[0].1.clone();
    let signed = |value: &str| with(good.clone(), "stripe-signature", value);
    for (name, request, expected) in [
        ("stale", stripe(now - 310, &event), "401 stale_timestamp"),
        (
            "two timestamps",
            signed(&format!("t={now},{value}")),
            "401 invalid_signature",
        ),
        (
            "no timestamp",
            signed(value.split_once(',').unwrap().1),
            "401 invalid_signature",
        ),
        (
            "twice",
            good.clone().header("stripe-signature", &value),
            "401 invalid_signature",
        ),
        (
            "no id",
            stripe(now, &json!({"type": "x", "created": now})),
            "400 invalid_request",
        ),
        (
            "our form's secret",
            signed(&format!(
                "t={now},v1={}",
                hex::encode(mac(NEW.as_bytes(), &format!("{now}.{event}")))
            )),
            "401 invalid_signature",
        ),
        (
            "good",
            signed(&format!("{value},v1={}", "0".repeat(64))),
            "processed",
        ),
    ] {
        assert_eq!(tell(&server, &request), expected, "{name}");
    }
    // Names of ours and of Stripe's do not get in each other's way.
    let ours = event_of(&purchase, "evt_0");
    assert_eq!(
        tell(&server, &Own::new("n-1", &ours).request()),
        "processed"
    );
}
