//! The words of a dispute in every order of arrival: what is kept of it is the same.

use serde_json::{Value, json};
use support::money::put_rewarded;
use support::signing::{Own, bought, id_of, now_s, start, tell};
use support::{Request, SHOP, Server};

/// The instant of a word: so many seconds after the first one.
fn at(first: u64, second: u64) -> String {
    let second = i64::try_from(first + second).unwrap();
    let at = jiff::Timestamp::from_second(second).unwrap();
    format!("{at:.3}")
}

fn word(id: &str, kind: &str, at: &str) -> Request {
    let name = format!("{id}-{kind}");
    let body = json!({
        "event_id": name, "type": format!("dispute.{kind}"), "created_at": at,
        "data": {"purchase_id": id, "amount": 500, "currency": "USD"},
    });
    Own::new(&name, &body.to_string()).request()
}

fn shown(server: &Server, id: &str) -> Value {
    let path = format!("/limited/purchases/{id}");
    server.ask(&Request::get(&path).key(SHOP)).json()
}

#[test]
fn a_dispute_is_the_same_whichever_of_its_words_comes_first() {
    let server = start();
    let first = now_s() - 100;
    for (end, status) in [("lost", "lost"), ("won", "won")] {
        let mut entries = Vec::new();
        for (user, order) in [("ana", ["opened", end]), ("bo", [end, "opened"])] {
            let id = id_of(&bought(&server, &format!("{user}-{end}"))).to_owned();
            for kind in order {
                let at = at(first, if kind == "opened" { 10 } else { 60 });
                assert_eq!(tell(&server, &word(&id, kind, &at)), "processed", "{user}");
            }
            let now = shown(&server, &id);
            let charged_back = &now["charged_back_amount"]["value"];
            let expected = if end == "lost" { 500 } else { 0 };
            assert_eq!(charged_back, expected, "{now}");
            entries.push(now["disputes"].clone());
        }
        let expected = json!([{
            "opened_at": at(first, 10),
            "amount": {"value": 500, "currency": "USD"},
            "status": status,
        }]);
        assert_eq!(entries, [expected.clone(), expected]);
    }
}

/// One word of a named dispute, as the gateway sends it.
struct Said {
    kind: &'static str,
    second: u64,
    amount: u64,
}

const fn said(kind: &'static str, second: u64, amount: u64) -> Said {
    Said {
        kind,
        second,
        amount,
    }
}

/// Every order of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let places = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    shorter.into_iter().flat_map(places).collect()
}

/// Words of one dispute, and where it is after them in every order.
fn odd_words() -> Vec<(Vec<Said>, &'static str)> {
    vec![
        // The beginning bears a later instant than the loss: it is lost all the same.
        (vec![said("opened", 60, 500), said("lost", 10, 500)], "lost"),
        (
            vec![
                said("opened", 5, 500),
                said("opened", 60, 300),
                said("lost", 10, 400),
            ],
            "lost",
        ),
        // A win between the two gives back what the loss took, whether it is opened again or not.
        (
            vec![
                said("opened", 60, 500),
                said("lost", 10, 500),
                said("won", 20, 500),
            ],
            "opened",
        ),
        (
            vec![
                said("opened", 5, 500),
                said("lost", 10, 500),
                said("won", 20, 500),
            ],
            "won",
        ),
        // After a win a later beginning counts.
        (
            vec![said("won", 20, 500), said("opened", 60, 500)],
            "opened",
        ),
        (
            vec![
                said("lost", 10, 500),
                said("won", 20, 400),
                said("lost", 20, 100),
            ],
            "won",
        ),
    ]
}

/// A clock of the gateway's that is wrong for one word makes a dispute odd, and the same in every order.
#[test]
fn words_with_odd_instants_mean_the_same_in_every_order() {
    let server = start();
    put_rewarded(&server, 20);
    let first = now_s() - 200;
    for (number, (words, status)) in odd_words().iter().enumerate() {
        let mut seen: Option<Value> = None;
        for (run, order) in orders(words.len()).into_iter().enumerate() {
            let buyer = format!("buyer-{number}-{run}");
            let buy = Request::buy(&buyer, "gift", "tok_ok", &format!("key-{buyer}"));
            let id = id_of(&server.ask(&buy).json()).to_owned();
            for word in order.iter().map(|place| &words[*place]) {
                let name = format!("{id}-{}-{}", word.kind, word.second);
                let body = json!({
                    "event_id": name, "type": format!("dispute.{}", word.kind),
                    "created_at": at(first, word.second),
                    "data": {
                        "purchase_id": id, "dispute_id": "du_1",
                        "amount": word.amount, "currency": "USD",
                    },
                });
                tell(&server, &Own::new(&name, &body.to_string()).request());
            }
            let now = shown(&server, &id);
            let tokens = Request::get(&format!("/limited/rewards/{buyer}")).key(SHOP);
            let tokens = server.ask(&tokens).json()["balance"].clone();
            let all = json!([
                now["disputes"],
                now["charged_back_amount"],
                now["status"],
                tokens
            ]);
            assert_eq!(all[0].as_array().unwrap().len(), 1, "{order:?}: {now}");
            assert_eq!(all[0][0]["status"], *status, "{order:?}: {now}");
            assert_eq!(*seen.get_or_insert_with(|| all.clone()), all, "{order:?}");
        }
    }
}
