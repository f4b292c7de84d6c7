//! The operator's list of open disputes.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::signing::{Own, bought, id_of, start, tell};
use support::{ADMIN, Request, SHOP, Server};

fn word(id: &str, kind: &str) -> Request {
    let name = format!("{id}-{kind}");
    let body = json!({
        "event_id": name, "type": format!("dispute.{kind}"),
        "created_at": jiff::Timestamp::now().to_string(), "data": {"purchase_id": id},
    });
    Own::new(&name, &body.to_string()).request()
}

fn page(server: &Server, query: &str) -> Value {
    let path = format!("/admin/disputes{query}");
    let answer = server.ask(&Request::get(&path).key(ADMIN));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ids_of(page: &Value) -> Vec<String> {
    let purchases = page["purchases"].as_array().unwrap().iter();
    let ids = purchases.map(|it| it["purchase_id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn open_disputes_are_listed_page_by_page_until_they_end() {
    let server = start();
    let buyers = ["ana", "bo", "cy", "di"];
    let ids = buyers.map(|it| id_of(&bought(&server, it)).to_owned());
    assert_eq!(page(&server, ""), json!({"purchases": [], "next": null}));
    // The last one is not disputed.
    let disputed = &ids[..3];
    for id in disputed {
        assert_eq!(tell(&server, &word(id, "opened")), "processed");
    }
    let all = page(&server, "");
    let listed: BTreeSet<String> = ids_of(&all).into_iter().collect();
    assert_eq!(listed, disputed.iter().cloned().collect());
    assert_eq!(all["purchases"][0]["disputes"][0]["status"], "opened");
    assert_eq!(all["next"], Value::Null);
    // Each once, in pages of one, in the same order.
    let (mut paged, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let one = page(&server, &query);
        assert_eq!(one["purchases"].as_array().unwrap().len(), 1, "{one}");
        paged.extend(ids_of(&one));
        assert!(paged.len() <= disputed.len(), "{paged:?}");
        let Some(next) = one["next"].as_str() else {
            break;
        };
        query = format!("?limit=1&after={next}");
    }
    assert_eq!(paged, ids_of(&all));

    assert_eq!(tell(&server, &word(&ids[0], "won")), "processed");
    assert_eq!(tell(&server, &word(&ids[1], "lost")), "processed");
    assert_eq!(ids_of(&page(&server, "")), [ids[2].clone()]);

    let wrong = Request::get("/admin/disputes?after=nowhere").key(ADMIN);
    assert_eq!(server.ask(&wrong).status, 400);
    let by_shop = Request::get("/admin/disputes").key(SHOP);
    assert_eq!(server.ask(&by_shop).status, 403);
}
