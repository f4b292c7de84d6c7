//! Webhooks in the forms of others, against the real binary: Standard Webhooks and Stripe's.

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

/// Types of thin events, which Stripe sends of its older interface's objects, too.
const THIN: [&str; 3] = [
    "v1.payment_intent.succeeded",
    "v1.charge.dispute.created",
    "v2.core.account.updated",
];

/// What Stripe sends of an event where the endpoint asks for thin ones.
fn thin_event(id: &str, kind: &str) -> Value {
    json!({
        "id": id, "object": "v2.core.event", "type": kind, "context": null,
        "created": "2026-11-22T10:00:00.000Z", "livemode": false,
        "related_object": {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_1"},
    })
}

fn header_of(request: &Request, name: &str) -> String {
    let found = request.headers.iter().find(|(it, _)| it == name);
    found.unwrap().1.clone()
}

/// Whatever stands beside a genuine signature takes nothing away from it.
#[test]
fn one_genuine_signature_is_enough_whatever_the_others_look_like() {
    let server = start();
    let purchase = bought(&server, "ana");
    let now = now_s();
    let neighbours = [
        "",
        "sha256=",
        "sha256=00",
        "sha256=zz",
        "sha512=00",
        "v0,AAAA",
        "v1,",
        "v1,AAAA",
        "v1,!!!",
        "v1a,AAAA",
        "v2,AAAA",
        "v1=",
        "v1=00",
        "v0=00",
        "t",
        "=",
        "x=y=z",
        "\u{fc}",
        "v1=\u{fc}",
    ];
    let mut number = 0;
    for neighbour in neighbours {
        for (head, tail) in [(neighbour, ""), ("", neighbour), (neighbour, neighbour)] {
            number += 1;
            let body = event_of(&purchase, &format!("evt_{number}"));
            let own = Own::new(&format!("nonce-{number}"), &body);
            let listed = |good: &str, separator: &str| {
                format!("{head} {separator} {good}\t{separator}  {tail}")
            };
            let with_own = with(own.request(), "x-signature", &listed(&own.signature(), ","));
            let good = standard(&format!("msg_{number}"), now, &body);
            let value = header_of(&good, "webhook-signature");
            let with_standard = with(good, "webhook-signature", &listed(&value, " "));
            let event = stripe_event(&format!("evt_s{number}"), "charge.updated", now, &json!({}));
            let good = stripe(now, &event);
            let value = header_of(&good, "stripe-signature");
            let with_stripe = with(good, "stripe-signature", &listed(&value, ","));
            for (request, expected) in [
                (with_own, "processed"),
                (with_standard, "processed"),
                (with_stripe, "ignored"),
            ] {
                assert_eq!(
                    tell(&server, &request),
                    expected,
                    "{neighbour:?} {:?}",
                    request.headers
                );
            }
        }
    }
    let only = Own::new("nonce-x", &event_of(&purchase, "evt_x")).request();
    let only = with(only, "x-signature", "sha256=00, sha512=00");
    assert_eq!(tell(&server, &only), "401 invalid_signature");
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
            "processed",
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
        // What changes nothing is not remembered; a dispute is, whatever it is about.
        let noise = expected == "ignored" && !kind.starts_with("charge.dispute.");
        let known = if noise { "ignored" } else { "duplicate" };
        assert_eq!((again.as_str(), later.as_str()), (known, known), "{kind}");
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
    for (place, thin) in THIN.into_iter().enumerate() {
        let mut event = thin_event(&format!("evt_thin_{place}"), thin);
        assert_eq!(tell(&server, &stripe(now, &event)), "ignored", "{thin}");
        event["id"] = Value::Null;
        assert_eq!(tell(&server, &stripe(now, &event)), "400 invalid_request");
    }
    assert!(server.log.wait_for("webhook_thin").is_some());
    // Names of ours and of Stripe's do not get in each other's way.
    let ours = event_of(&purchase, "evt_0");
    assert_eq!(
        tell(&server, &Own::new("n-1", &ours).request()),
        "processed"
    );
}
