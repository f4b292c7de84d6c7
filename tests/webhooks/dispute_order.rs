//! The words of a dispute in every order of arrival: what is kept of it is the same.

use serde_json::{Value, json};
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
