//! Disputes against the real binary: each at its own amount, several of one purchase, lost and later
//! won, in another currency; what is left can be refunded, and reward tokens follow the money.

use serde_json::{Value, json};
use std::sync::LazyLock;
use support::signing::{Own, SECRETS, bought, id_of, now_s, start, stripe, tell};
use support::{ADMIN, Request, SHOP, Server, Setup, product_terms};

/// What a purchase of 1999 says of its money.
#[derive(Debug, PartialEq)]
struct ShownMoney {
    status: String,
    refunded: u64,
    charged_back: u64,
    /// Each with its amount and its status.
    disputes: Vec<(u64, String)>,
}

fn shown(server: &Server, id: &str) -> Value {
    let path = format!("/limited/purchases/{id}");
    server.ask(&Request::get(&path).key(SHOP)).json()
}

fn money(server: &Server, id: &str) -> ShownMoney {
    let it = shown(server, id);
    let value = |field: &str| it[field]["value"].as_u64().unwrap();
    let disputes = it["disputes"].as_array().unwrap().iter();
    let one = |it: &Value| {
        let amount = it["amount"]["value"].as_u64().unwrap();
        assert!(it["opened_at"].as_str().unwrap().ends_with('Z'), "{it}");
        (amount, it["status"].as_str().unwrap().to_owned())
    };
    ShownMoney {
        status: it["status"].as_str().unwrap().to_owned(),
        refunded: value("refunded_amount"),
        charged_back: value("charged_back_amount"),
        disputes: disputes.map(one).collect(),
    }
}

fn is(status: &str, refunded: u64, charged_back: u64, disputes: &[(u64, &str)]) -> ShownMoney {
    let disputes = disputes
        .iter()
        .map(|(amount, it)| (*amount, (*it).to_owned()));
    ShownMoney {
        status: status.to_owned(),
        refunded,
        charged_back,
        disputes: disputes.collect(),
    }
}

/// When these tests began: words keep their order, however long each takes.
fn begun_s() -> u64 {
    static BEGUN: LazyLock<u64> = LazyLock::new(now_s);
    *BEGUN
}

/// A word of holdfast's own form; each happened a second after the one before.
fn word(id: &str, place: u64, kind: &str, data: &Value) -> Request {
    let second = i64::try_from(begun_s() - 100 + place).unwrap();
    let at = jiff::Timestamp::from_second(second).unwrap().to_string();
    let mut data = data.clone();
    data["purchase_id"] = id.into();
    let name = format!("{id}-{place}");
    let body = json!({
        "event_id": name, "type": format!("dispute.{kind}"), "created_at": at, "data": data,
    });
    Own::new(&name, &body.to_string()).request()
}

fn refund(server: &Server, id: &str, key: &str, body: &Value) -> (u16, String) {
    let path = format!("/admin/purchases/{id}/refunds");
    let answer = server.ask(&Request::post(&path).key(ADMIN).once(key).json(body));
    let reason = answer.json()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, reason)
}

#[test]
fn a_dispute_of_a_part_takes_that_part_and_the_rest_can_be_refunded() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().config(SECRETS).data_dir(&data_dir).start();
    let mut server = start();
    let id = id_of(&bought(&server, "ana")).to_owned();
    let part = json!({"amount": 500, "currency": "USD", "reason": "fraudulent"});
    let tell = |server: &Server, place: u64, kind: &str| {
        assert_eq!(tell(server, &word(&id, place, kind, &part)), "processed");
    };
    let again = |mut server: Server, snapshot: bool| {
        if snapshot {
            let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
            assert_eq!(taken.status, 200);
        }
        server.kill();
        start()
    };
    assert_eq!(money(&server, &id), is("captured", 0, 0, &[]));

    tell(&server, 1, "opened");
    assert_eq!(
        money(&server, &id),
        is("disputed", 0, 0, &[(500, "opened")])
    );
    // What the dispute is about cannot be refunded, and the goods are not back while it is open.
    let more = json!({"amount": 1500, "previously_refunded": 0, "reason": "back"});
    let more = refund(&server, &id, "key-part-1", &more);
    assert_eq!(more, (409, "refund_exceeds_captured".to_owned()));
    let goods = json!({"previously_refunded": 0, "reason": "back", "restock": true});
    let goods = refund(&server, &id, "key-part-2", &goods);
    assert_eq!(goods, (409, "refund_conflict".to_owned()));

    tell(&server, 2, "lost");
    for snapshot in [false, true] {
        let expected = is("captured", 0, 500, &[(500, "lost")]);
        assert_eq!(money(&server, &id), expected);
        server = again(server, snapshot);
    }
    let rest = json!({"previously_refunded": 0, "reason": "back"});
    assert_eq!(refund(&server, &id, "key-part-3", &rest).0, 201);
    for snapshot in [false, true] {
        let expected = is("charged_back", 1499, 500, &[(500, "lost")]);
        assert_eq!(money(&server, &id), expected);
        server = again(server, snapshot);
    }
    let none = json!({"previously_refunded": 1499, "reason": "back"});
    let none = refund(&server, &id, "key-part-4", &none);
    assert_eq!(none, (409, "wrong_state".to_owned()));

    // Won after all: the money is there again, and can be refunded.
    tell(&server, 3, "won");
    for snapshot in [false, true] {
        let expected = is("partially_refunded", 1499, 0, &[(500, "won")]);
        assert_eq!(money(&server, &id), expected);
        server = again(server, snapshot);
    }
    let last = json!({"previously_refunded": 1499, "reason": "back"});
    assert_eq!(refund(&server, &id, "key-part-5", &last).0, 201);
    assert_eq!(
        money(&server, &id),
        is("refunded", 1999, 0, &[(500, "won")])
    );
    let history = shown(&server, &id)["history"].clone();
    let words: Vec<_> = history.as_array().unwrap().iter().collect();
    let words: Vec<_> = words
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    let disputed = ["dispute_opened", "dispute_lost", "refund_started"];
    assert!(words.windows(3).any(|it| it == disputed), "{words:?}");
    assert!(server.stop().0.success());
}

#[test]
fn without_an_amount_a_dispute_is_about_all_that_is_left() {
    let server = start();
    let id = id_of(&bought(&server, "ana")).to_owned();
    let some = json!({"amount": 700, "previously_refunded": 0, "reason": "back"});
    assert_eq!(refund(&server, &id, "key-left-1", &some).0, 201);
    let nothing_said = json!({});
    assert_eq!(
        tell(&server, &word(&id, 1, "lost", &nothing_said)),
        "processed"
    );
    let all = is("charged_back", 700, 1299, &[(1299, "lost")]);
    assert_eq!(money(&server, &id), all);
    // The beginning comes late, and says how much it was.
    let part = json!({"amount": {"value": 1000, "currency": "USD"}});
    assert_eq!(tell(&server, &word(&id, 0, "opened", &part)), "processed");
    let known = is("partially_refunded", 700, 1000, &[(1000, "lost")]);
    assert_eq!(money(&server, &id), known);
}

#[test]
fn a_dispute_in_another_currency_books_nothing_and_is_an_error_in_the_log() {
    let server = start();
    let id = id_of(&bought(&server, "ana")).to_owned();
    for (place, data) in [
        json!({"amount": 500, "currency": "EUR"}),
        json!({"amount": {"value": 500, "currency": "EUR"}}),
    ]
    .iter()
    .enumerate()
    {
        let told = tell(&server, &word(&id, place as u64, "lost", data));
        assert_eq!(told, "ignored", "{data}");
    }
    let line = server.log.wait_for("dispute_unplaced").unwrap();
    assert_eq!(line["level"], "error");
    assert_eq!(line["reason"], "other_currency");
    assert_eq!(line["purchase_id"], id.as_str());
    assert_eq!(money(&server, &id), is("captured", 0, 0, &[]));
    for data in [
        json!({"amount": 500, "currency": "usd"}),
        json!({"amount": {"value": 500, "currency": "USD"}, "currency": "EUR"}),
    ] {
        let told = tell(&server, &word(&id, 9, "lost", &data));
        assert_eq!(told, "400 invalid_request", "{data}");
    }
}

#[test]
fn a_dispute_of_more_than_was_captured_is_the_same_one_in_every_word_and_order() {
    let server = start();
    let much = json!({"amount": 5000, "currency": "USD"});
    let ended = is("charged_back", 0, 1999, &[(1999, "lost")]);
    for (user, words) in [
        (
            "ana",
            [("opened", 1, "processed"), ("lost", 2, "processed")],
        ),
        ("bo", [("lost", 2, "processed"), ("opened", 1, "processed")]),
    ] {
        let id = id_of(&bought(&server, user)).to_owned();
        for (kind, place, expected) in words {
            let told = tell(&server, &word(&id, place, kind, &much));
            assert_eq!(told, expected, "{user} {kind}");
        }
        assert_eq!(money(&server, &id), ended, "{user}");
    }
    let id = id_of(&bought(&server, "cy")).to_owned();
    let nothing = json!({"amount": 0, "currency": "USD"});
    assert_eq!(tell(&server, &word(&id, 1, "opened", &nothing)), "ignored");
    assert_eq!(money(&server, &id), is("captured", 0, 0, &[]));
}

/// A capture of half, which waits for a person.
fn half_captured(server: &Server, user: &str) -> String {
    let key = format!("key-half-{user}");
    let half = server.ask(&Request::buy(user, "drop-1", "tok_capture_half", &key));
    assert_eq!(half.status, 202, "{half:?}");
    let id = id_of(&half.json()).to_owned();
    support::until("the capture differs", || {
        (shown(server, &id)["reason"] == "captured_amount_differs").then_some(())
    });
    id
}

#[test]
fn a_dispute_of_an_unsettled_capture_is_refused_until_it_is_settled() {
    let server = start();
    let id = half_captured(&server, "ana");
    let all = json!({"amount": 1000, "currency": "USD"});
    let lost = word(&id, 1, "lost", &all);
    let early = server.ask(&lost);
    assert_eq!(early.status, 409, "{early:?}");
    let told = early.json();
    assert_eq!(told["reason"], "wrong_state");
    assert_eq!(
        (&told["purchase_id"], &told["state"]),
        (&json!(id), &json!("stuck"))
    );

    let settle = json!({"as": "captured", "note": "half is right"});
    let settled = server.ask(
        &Request::post(&format!("/admin/purchases/{id}/settle"))
            .key(ADMIN)
            .json(&settle),
    );
    assert_eq!(settled.status, 200, "{settled:?}");
    let lost = word(&id, 1, "lost", &all);
    assert_eq!(tell(&server, &lost), "processed");
    let money = money(&server, &id);
    assert_eq!(
        (money.status.as_str(), money.charged_back),
        ("charged_back", 1000)
    );
}

#[test]
fn a_capture_that_waits_for_a_person_is_given_back_by_settling_alone() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().config(SECRETS).data_dir(&data_dir).start();
    let server = start();
    let id = half_captured(&server, "ana");
    let post = |server: &Server, what: &str, body: &Value| {
        let path = format!("/admin/purchases/{id}/{what}");
        server.ask(&Request::post(&path).key(ADMIN).json(body))
    };
    let voided = server.ask(&Request::post(&format!("/admin/purchases/{id}/void")).key(ADMIN));
    assert_eq!(
        (voided.status, voided.reason()),
        (409, "wrong_state".to_owned())
    );
    assert_eq!(voided.json()["state"], "stuck");
    assert!(server.stop().0.success());
    support::money::assert_checks_clean(&data_dir);

    let server = start();
    let settled = post(
        &server,
        "settle",
        &json!({"as": "voided", "note": "too little"}),
    );
    assert_eq!(settled.status, 200, "{settled:?}");
    let taken = json!({"value": 1000, "currency": "USD"});
    for restart in ["no", "yes"] {
        let shown = shown(&server, &id);
        assert_eq!(shown["status"], "voided", "{restart}");
        assert_eq!(shown["gateway"]["captured_amount"], taken, "{restart}");
        if restart == "no" {
            let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
            assert_eq!(taken.status, 200);
        }
    }
    // Settled, it is nobody's any more: settling it again says where it is.
    let again = post(
        &server,
        "settle",
        &json!({"as": "captured", "note": "again"}),
    );
    assert_eq!(
        (again.status, again.reason()),
        (409, "wrong_state".to_owned())
    );
    assert!(server.stop().0.success());
    support::money::assert_checks_clean(&data_dir);
    let server = start();
    assert_eq!(shown(&server, &id)["gateway"]["captured_amount"], taken);
}

/// What is told of one dispute of Stripe's, at so many seconds.
fn stripe_word(
    server: &Server,
    intent: &str,
    (id, kind, status): (&str, &str, &str),
    at: u64,
) -> String {
    let (amount, currency) = match id {
        "du_small" => (500, "usd"),
        "du_large" => (1499, "usd"),
        _ => (100, "eur"),
    };
    let created = begun_s() - 200 + at;
    let event = json!({
        "id": format!("evt_{id}_{at}"), "object": "event", "created": created,
        "type": format!("charge.dispute.{kind}"),
        "data": {"object": {
            "object": "dispute", "id": id, "status": status, "amount": amount,
            "currency": currency, "payment_intent": intent, "metadata": {}, "reason": "fraudulent",
        }},
    });
    tell(server, &stripe(now_s(), &event))
}

#[test]
fn disputes_of_stripe_go_by_their_names_amounts_and_latest_words() {
    let server = start();
    let purchase = bought(&server, "ana");
    let id = id_of(&purchase).to_owned();
    let intent = purchase["gateway"]["authorization_id"].as_str().unwrap();
    let small = |status: &'static str| (500, status);
    let large = |status: &'static str| (1499, status);
    let steps = [
        (
            ("du_small", "created", "needs_response"),
            1,
            "processed",
            "disputed",
            0,
            vec![small("opened")],
        ),
        (
            ("du_small", "funds_withdrawn", "needs_response"),
            2,
            "ignored",
            "disputed",
            0,
            vec![small("opened")],
        ),
        (
            ("du_large", "funds_withdrawn", "needs_response"),
            3,
            "processed",
            "disputed",
            0,
            vec![small("opened"), large("opened")],
        ),
        // One is over, the other is not.
        (
            ("du_small", "closed", "lost"),
            5,
            "processed",
            "disputed",
            500,
            vec![small("lost"), large("opened")],
        ),
        (
            ("du_large", "closed", "lost"),
            6,
            "processed",
            "charged_back",
            1999,
            vec![small("lost"), large("lost")],
        ),
        (
            ("du_euro", "closed", "lost"),
            7,
            "ignored",
            "charged_back",
            1999,
            vec![small("lost"), large("lost")],
        ),
        // An earlier word comes late.
        (
            ("du_small", "closed", "won"),
            4,
            "ignored",
            "charged_back",
            1999,
            vec![small("lost"), large("lost")],
        ),
        (
            ("du_small", "funds_reinstated", "won"),
            8,
            "processed",
            "captured",
            1499,
            vec![small("won"), large("lost")],
        ),
        // A lost one is not opened again.
        (
            ("du_large", "funds_withdrawn", "lost"),
            9,
            "ignored",
            "captured",
            1499,
            vec![small("won"), large("lost")],
        ),
        (
            ("du_large", "closed", "won"),
            10,
            "processed",
            "captured",
            0,
            vec![small("won"), large("won")],
        ),
    ];
    for (words, at, told, status, charged_back, disputes) in steps {
        assert_eq!(stripe_word(&server, intent, words, at), told, "{words:?}");
        let expected = is(status, 0, charged_back, &disputes);
        assert_eq!(money(&server, &id), expected, "{words:?}");
    }
}

#[test]
fn reward_tokens_go_in_proportion_and_come_back_with_the_money() {
    let server = Setup::demo().config(SECRETS).start();
    let body = product_terms(&json!({
        "name": "brings ten", "price": {"USD": 1999}, "stock": 5, "reward_tokens": 10,
    }));
    let put = Request::put("/admin/products/ten").key(ADMIN).json(&body);
    assert_eq!(server.ask(&put).status, 201);
    let buy = server.ask(&Request::buy("ana", "ten", "tok_ok", "key-ten-1"));
    assert_eq!(buy.status, 201, "{buy:?}");
    let id = id_of(&buy.json()).to_owned();
    let tokens = || {
        let user = server
            .ask(&Request::get("/admin/users/ana").key(ADMIN))
            .json();
        let of = |field: &str| user["tokens"][field].as_u64().unwrap();
        (of("balance"), of("debt"))
    };
    let say = |place: u64, kind: &str, amount: u64| {
        let data = json!({"amount": amount});
        assert_eq!(tell(&server, &word(&id, place, kind, &data)), "processed");
    };
    assert_eq!(tokens(), (10, 0));
    // 500 of 1999 are 2.5 tokens of ten.
    say(1, "lost", 500);
    assert_eq!(tokens(), (8, 0));
    say(2, "won", 500);
    assert_eq!(tokens(), (10, 0));
    say(3, "lost", 500);
    assert_eq!(tokens(), (8, 0));
    let spend = Request::post("/limited/rewards/ana/spend").key(SHOP);
    let spend = spend.once("key-ten-2").json(&json!({"tokens": 6}));
    assert_eq!(server.ask(&spend).status, 200);
    // The last part takes the remainder, of which 6 were spent.
    say(4, "lost", 1499);
    assert_eq!(tokens(), (0, 6));
    // What comes back pays the debt first.
    say(5, "won", 500);
    assert_eq!(tokens(), (0, 4));
    say(6, "won", 1499);
    assert_eq!(tokens(), (4, 0));
    let shown = server.ask(&Request::get(&format!("/admin/purchases/{id}")).key(ADMIN));
    let shown = shown.json();
    assert_eq!(
        shown["reward_tokens"],
        json!({"granted": 10, "asked_back": 0}),
        "{shown}"
    );
}
