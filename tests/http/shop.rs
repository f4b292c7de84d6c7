//! The shop's calls through the real binary: what each answers, and that it answers so again.

mod capture_refused;
mod reads;
mod terms;

use serde_json::json;
use support::money::reconciled;
use support::{ADMIN, Request, SHOP, Setup, until};

#[test]
fn a_hold_is_placed_replayed_and_released() {
    let server = Setup::demo().start();
    let hold = server.ask(&Request::hold("ana", "drop-1", 2, "key-hold-1"));
    assert_eq!(hold.status, 201, "{hold:?}");
    let body = hold.json();
    assert_eq!(body["status"], "held");
    assert_eq!(body["amount"], json!({"value": 3998, "currency": "USD"}));
    assert_eq!(server.stock("drop-1"), [100, 2, 0, 98]);

    // The same key quoted, the fields in another order: the same request.
    let same = br#" { "quantity" : 2, "product_id":"drop-1", "promotion_code":null, "user_id":"\u0061na"} "#;
    let again = Request::post("/limited/holds")
        .key(SHOP)
        .once("\"key-hold-1\"")
        .body(same);
    let again = server.ask(&again);
    assert_eq!((again.status, &again.body), (201, &hold.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_ne!(again.header("x-request-id"), hold.header("x-request-id"));

    let other = server.ask(&Request::hold("ana", "drop-1", 1, "key-hold-1"));
    assert_eq!(
        (other.status, other.reason().as_str()),
        (422, "idempotency_key_reused")
    );

    let path = format!("/limited/holds/{}", body["hold_id"].as_str().unwrap());
    let released = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!(
        (released.status, &released.json()["status"]),
        (200, &json!("released"))
    );
    let twice = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!((twice.status, &twice.body), (200, &released.body));
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
}

#[test]
fn a_purchase_is_captured_with_its_receipt_and_replayed() {
    let server = Setup::demo().start();
    let request = Request::buy("bo", "drop-1", "tok_ok", "key-buy-01");
    let bought = server.ask(&request);
    assert_eq!(bought.status, 201, "{bought:?}");
    let purchase = bought.json();
    assert_eq!(purchase["status"], "captured");
    let again = server.ask(&request);
    assert_eq!((again.status, &again.body), (201, &bought.body));

    let path = format!(
        "/limited/purchases/{}",
        purchase["purchase_id"].as_str().unwrap()
    );
    assert_eq!(server.ask(&Request::get(&path).key(SHOP)).json(), purchase);
    assert_eq!(server.ask(&Request::get(&path).key(ADMIN)).json(), purchase);
    let receipt = purchase["receipt"].clone();
    let path = format!(
        "/limited/receipts/{}",
        receipt["receipt_id"].as_str().unwrap()
    );
    assert_eq!(server.ask(&Request::get(&path).key(SHOP)).json(), receipt);

    let verify = |receipt: &serde_json::Value| {
        server
            .ask(&Request::post("/receipts/verify").json(receipt))
            .json()
    };
    assert_eq!(
        verify(&receipt),
        json!({
            "valid": true,
            "key_id": "demo-r1",
            "reason": "genuine",
            "seals": {"hmac": "genuine", "ed25519": "genuine"},
        })
    );
    let mut forged = receipt.clone();
    forged["quantity"] = json!(2);
    assert_eq!(verify(&forged)["valid"], false);
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);

    let charges = server
        .ask(&Request::get("/admin/sandbox/charges").key(ADMIN))
        .json();
    assert_eq!(charges["total"], 1);
    assert_eq!(charges["charges"][0]["captured"], 1999);
}

#[test]
fn a_declined_card_pays_nothing_and_gives_the_units_back() {
    let server = Setup::demo().start();
    let request = Request::buy("cy", "drop-1", "tok_declined", "key-decl-1");
    let declined = server.ask(&request);
    assert_eq!(
        (declined.status, declined.reason().as_str()),
        (402, "payment_declined")
    );
    let body = declined.json();
    assert_eq!(body["request_id"].as_str(), declined.header("x-request-id"));
    let again = server.ask(&request);
    assert_eq!((again.status, &again.body), (402, &declined.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
}

/// A buy of drop-1 that pays for the hold with this id.
fn pay(user: &str, hold: &str, card: &str, key: &str) -> Request {
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&json!({
            "user_id": user, "product_id": "drop-1", "quantity": 1, "currency": "USD",
            "card_token": card, "hold_id": hold,
        }))
}

fn events_of(purchase: &serde_json::Value) -> Vec<&str> {
    let history = purchase["history"].as_array().unwrap();
    history
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect()
}

#[test]
fn a_decline_leaves_the_earlier_hold_to_another_card() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Setup::demo().data_dir(dir.path()).start();
    let server = start();
    let hold = server.ask(&Request::hold("ana", "drop-1", 1, "key-hold-1"));
    let hold = hold.json();
    let id = hold["hold_id"].as_str().unwrap();
    let purchase_id = id.replacen("h_", "p_", 1);
    let path = format!("/limited/purchases/{purchase_id}");
    let wrong_card = pay("ana", id, "tok_insufficient_funds", "key-pay-1");
    let declined = server.ask(&wrong_card);
    assert_eq!(declined.status, 402, "{declined:?}");
    let body = declined.json();
    assert_eq!(body["reason"], "payment_declined");
    assert_eq!(body["purchase_id"], purchase_id.as_str());
    assert_eq!(body["code"], "insufficient_funds");
    assert_eq!(body["retry_advice"], "later");
    let kept = json!({"hold_id": id, "expires_at": hold["expires_at"]});
    assert_eq!(body["hold"], kept);
    assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);

    let between = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(between["status"], "held");
    assert_eq!(between["gateway"]["authorization_id"], json!(null));
    let tried = ["hold_placed", "payment_started", "payment_declined"];
    assert_eq!(events_of(&between), tried);
    // Whoever asks under the same key hears the same, and the hold waits for another one.
    let again = server.ask(&wrong_card);
    assert_eq!((again.status, &again.body), (402, &declined.body));

    let stolen = server.ask(&pay("ana", id, "tok_stolen", "key-pay-2"));
    assert_eq!(stolen.json()["retry_advice"], "never");
    let paid = server.ask(&pay("ana", id, "tok_ok", "key-pay-3"));
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(paid.json()["purchase_id"], purchase_id.as_str());
    assert_eq!(paid.json()["status"], "captured");
    assert_eq!(server.stock("drop-1"), [100, 0, 1, 99]);

    // The first key's answer stays what it was, after the hold was paid and after a restart.
    assert_eq!(server.ask(&wrong_card).body, declined.body);
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let server = start();
    let again = server.ask(&wrong_card);
    assert_eq!((again.status, &again.body), (402, &declined.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let ended = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(ended, paid.json());
    // Each try has a charge of its own at the gateway, and all are known here.
    let charges = Request::get("/admin/sandbox/charges").key(ADMIN);
    assert_eq!(server.ask(&charges).json()["total"], 3);
    let report = reconciled(&server, "");
    assert_eq!(report["differences"], json!([]), "{report}");
}

#[test]
fn the_last_decline_ends_the_hold_and_a_buy_of_its_own_has_none() {
    let server = Setup::demo()
        .config("[payments]\ntries_per_hold_max = 2")
        .start();
    let held = |user: &str, key: &str| {
        let hold = server.ask(&Request::hold(user, "drop-1", 1, key)).json();
        hold["hold_id"].as_str().unwrap().to_owned()
    };
    let id = held("ana", "key-hold-1");
    let first = server.ask(&pay("ana", &id, "tok_declined", "key-pay-1"));
    assert_eq!(first.json()["hold"]["hold_id"], id.as_str());
    let last = server.ask(&pay("ana", &id, "tok_declined", "key-pay-2"));
    assert_eq!(last.status, 402);
    assert_eq!(last.json().get("hold"), None);
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
    let closed = server.ask(&pay("ana", &id, "tok_ok", "key-pay-3"));
    assert_eq!(closed.reason(), "hold_closed");
    let path = format!("/limited/purchases/{}", id.replacen("h_", "p_", 1));
    let purchase = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(purchase["status"], "declined");

    // A buy without a hold has none to live on.
    let own = server.ask(&Request::buy("bo", "drop-1", "tok_declined", "key-own-1"));
    assert_eq!((own.status, own.json().get("hold")), (402, None));
    let purchase_id = own.json()["purchase_id"].as_str().unwrap().to_owned();
    let path = format!("/limited/purchases/{purchase_id}");
    let purchase = server.ask(&Request::get(&path).key(SHOP)).json();
    assert_eq!(purchase["status"], "declined");
    assert_eq!(purchase["reason"], "declined_by_issuer");
    assert_eq!(server.stock("drop-1"), [100, 0, 0, 100]);
}

#[test]
fn a_slow_payment_is_answered_202_and_ends_by_itself() {
    let server = Setup::demo()
        .config("[payments]\nanswer_within_ms = 50")
        .start();
    let answer = server.ask(&Request::buy("di", "drop-1", "tok_slow_600", "key-slow-1"));
    assert_eq!(answer.status, 202, "{answer:?}");
    let at = answer.header("location").unwrap().to_owned();
    until("the payment ends", || {
        let now = server.ask(&Request::get(&at).key(SHOP)).json();
        (now["status"] == "captured").then_some(())
    });
    let again = server.ask(&Request::buy("di", "drop-1", "tok_slow_600", "key-slow-1"));
    assert_eq!(again.status, 201);
}

#[test]
fn a_payment_outlives_its_client() {
    let server = Setup::demo().start();
    let mut client = server.connect();
    client
        .send(&Request::buy("ed", "drop-1", "tok_slow_300", "key-gone-1").bytes())
        .unwrap();
    // Held: the request has arrived.
    until("the units are held", || {
        (server.stock("drop-1")[1] == 1).then_some(())
    });
    drop(client);
    until("the units are sold", || {
        (server.stock("drop-1")[2] == 1).then_some(())
    });
}

#[test]
fn the_rate_limit_says_when_to_come_back() {
    let server = Setup::demo()
        .config("[limits]\nrate = { count = 2, per_s = 60 }")
        .start();
    for number in 0..2 {
        let answer = server.ask(&Request::hold(
            "fay",
            "drop-1",
            1,
            &format!("key-rate-{number}"),
        ));
        assert_eq!(answer.status, 201);
    }
    let refused = server.ask(&Request::hold("fay", "drop-1", 1, "key-rate-3"));
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (429, "rate_limited")
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"attempts\";q=2;w=60")
    );
    assert_eq!(
        refused.header("ratelimit").unwrap(),
        format!("\"attempts\";r=0;t={wait}")
    );
    // A finished key is told again all the same.
    let again = server.ask(&Request::hold("fay", "drop-1", 1, "key-rate-0"));
    assert_eq!(again.status, 201);
}

#[test]
fn sold_out_is_remembered_under_its_key() {
    let server = Setup::demo().start();
    server.put_product("one", 1);
    assert_eq!(
        server
            .ask(&Request::hold("a", "one", 1, "key-one-01"))
            .status,
        201
    );
    let refused = server.ask(&Request::hold("b", "one", 1, "key-one-02"));
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (409, "sold_out")
    );
    server.put_product("one", 2);
    let again = server.ask(&Request::hold("b", "one", 1, "key-one-02"));
    assert_eq!((again.status, &again.body), (409, &refused.body));
    assert_eq!(
        server
            .ask(&Request::hold("b", "one", 1, "key-one-03"))
            .status,
        201
    );
}

#[test]
fn answers_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Setup::demo().data_dir(dir.path()).start();
    let hold = Request::hold("gil", "drop-1", 1, "key-again1");
    let buy = Request::buy("gil", "drop-1", "tok_ok", "key-again2");
    let declined = Request::buy("hal", "drop-1", "tok_declined", "key-again3");
    let before = [&hold, &buy, &declined].map(|request| server.ask(request).body);
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    let server = Setup::demo().data_dir(dir.path()).start();
    let after = [&hold, &buy, &declined].map(|request| server.ask(request).body);
    assert_eq!(before, after);
    assert_eq!(server.stock("drop-1"), [100, 1, 1, 98]);
}

/// The place and the random part of an id: 16 hexadecimal digits each.
fn halves(id: &str) -> (u64, u64) {
    let digits = &id[2..];
    assert_eq!(digits.len(), 32, "{id}");
    let half = |text| u64::from_str_radix(text, 16).unwrap();
    (half(&digits[..16]), half(&digits[16..]))
}

#[test]
fn ids_cannot_be_guessed_from_one_another() {
    let server = Setup::demo().start();
    server.put_product("many", 100);
    let users: Vec<String> = (0..4).map(|number| format!("user-{number}")).collect();
    let mut known = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let bought = server.ask(&Request::buy(
            user,
            "many",
            "tok_ok",
            &format!("key-ids-{number}"),
        ));
        let id = bought.json()["purchase_id"].as_str().unwrap().to_owned();
        let path = format!("/limited/purchases/{id}");
        assert_eq!(server.ask(&Request::get(&path).key(SHOP)).status, 200);
        known.push(halves(&id));
    }
    let held = server
        .ask(&Request::hold("ana", "many", 1, "key-ids-hold"))
        .json();
    let (place, tag) = halves(held["hold_id"].as_str().unwrap());
    known.push((place, tag));

    // Whoever knows every place and all tags but one finds nothing.
    let mut client = server.connect();
    for (place, own) in &known {
        let others = known.iter().map(|(_, tag)| *tag).filter(|tag| tag != own);
        for tag in others.chain([0, own ^ 1, own ^ (1 << 63), own.wrapping_add(1)]) {
            let digits = format!("{place:016x}{tag:016x}");
            let asked = [
                Request::get(&format!("/limited/purchases/p_{digits}")).key(SHOP),
                Request::get(&format!("/limited/receipts/r_{digits}")).key(SHOP),
                Request::delete(&format!("/limited/holds/h_{digits}")).key(SHOP),
                Request::get(&format!("/admin/purchases/p_{digits}")).key(ADMIN),
            ];
            for request in asked {
                assert_eq!(client.ask(&request).status, 404, "{request:?}");
            }
        }
    }
    assert_eq!(server.stock("many"), [100, 1, 4, 95]);
}

#[test]
fn a_request_id_does_not_tell_the_next() {
    // One connection is served by one thread, which draws its ids one after the other.
    let server = Setup::demo().start();
    let mut client = server.connect();
    let mut draw = || {
        let answer = client.ask(&Request::get("/livez"));
        let id = answer.header("x-request-id").unwrap().to_owned();
        u64::from_str_radix(&id[4..], 16).unwrap()
    };
    // SplitMix64, a counter in disguise: undone, counted on, done again.
    let undo_shift = |mixed: u64, by: u32| {
        let mut plain = mixed;
        for _ in 0..64 / by {
            plain = mixed ^ (plain >> by);
        }
        plain
    };
    let undone = |id: u64| {
        let z = undo_shift(id, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
        let z = undo_shift(z, 27).wrapping_mul(0x96de_1b17_3f11_9089);
        undo_shift(z, 30)
    };
    let ids: Vec<u64> = (0..3).map(|_| draw()).collect();
    let steps: Vec<u64> = ids
        .windows(2)
        .map(|pair| undone(pair[1]).wrapping_sub(undone(pair[0])))
        .collect();
    assert_ne!(steps[0], steps[1], "{ids:x?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Setup::demo().start();
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for number in 0..20 {
        let user = format!("user-{number}");
        bytes.extend(Request::hold(&user, "drop-1", 1, &format!("key-pipe-{number}")).bytes());
    }
    bytes.extend(Request::get("/livez").bytes());
    client.send(&bytes).unwrap();
    for _ in 0..20 {
        assert_eq!(client.receive().unwrap().status, 201);
    }
    assert_eq!(client.receive().unwrap().json()["status"], "live");
    assert_eq!(server.stock("drop-1"), [100, 20, 0, 80]);
}
