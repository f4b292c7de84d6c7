//! What is read: holds, a buyer's purchases, lists in pages, the audit trail by its filters.

use serde_json::{Value, json};
use support::money::{admin, buy, id_of, told};
use support::{ADMIN, Request, Response, SHOP, Server, Setup};

fn shop(server: &Server, path: &str) -> Response {
    server.ask(&Request::get(path).key(SHOP))
}

/// Every entry of a list that is read `limit` at a time, and how many pages it took.
fn paged(server: &Server, path: &str, list: &str, limit: usize) -> (Vec<Value>, usize) {
    let (mut all, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    let joint = if path.contains('?') { '&' } else { '?' };
    loop {
        let from = after
            .take()
            .map_or(String::new(), |it| format!("&after={it}"));
        let answer = admin(server, &format!("{path}{joint}limit={limit}{from}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.json();
        let entries = body[list].as_array().unwrap();
        assert!(entries.len() <= limit, "{body}");
        all.extend(entries.iter().cloned());
        pages += 1;
        match &body["next"] {
            Value::Null => return (all, pages),
            Value::String(next) => after = Some(next.clone()),
            other => panic!("next is {other}"),
        }
        assert!(pages < 100, "{path} does not end");
    }
}

#[test]
fn a_hold_is_read_until_and_after_it_is_paid() {
    let server = Setup::demo().start();
    let held = server.ask(&Request::hold("ana", "drop-1", 1, "key-read-1"));
    let held = held.json();
    let path = format!("/limited/holds/{}", held["hold_id"].as_str().unwrap());
    let read = shop(&server, &path).json();
    for (name, value) in held.as_object().unwrap() {
        assert_eq!(read[name], *value, "{name}");
    }
    assert_eq!(read["purchase_id"], Value::Null);

    // Only its owner's, where a buyer is named.
    assert_eq!(shop(&server, &format!("{path}?user_id=ana")).status, 200);
    let foreign = shop(&server, &format!("{path}?user_id=bo"));
    assert_eq!(told(&foreign), (404, "hold_not_found".to_owned()));
    let wrong = shop(&server, &format!("{path}?user_id=%20"));
    assert_eq!(told(&wrong), (400, "invalid_request".to_owned()));
    let unknown = shop(&server, &format!("{path}?user=ana"));
    assert_eq!(told(&unknown), (400, "invalid_request".to_owned()));
    let release = Request::delete(&format!("{path}?user_id=bo")).key(SHOP);
    assert_eq!(
        told(&server.ask(&release)),
        (404, "hold_not_found".to_owned())
    );
    assert_eq!(server.stock("drop-1")[1], 1);

    let pay = json!({
        "user_id": "ana", "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok", "hold_id": held["hold_id"],
    });
    let pay = Request::post("/limited/buy")
        .key(SHOP)
        .once("key-read-2")
        .json(&pay);
    let paid = server.ask(&pay).json();
    let read = shop(&server, &path).json();
    assert_eq!(read["status"], "captured");
    assert_eq!(read["purchase_id"], paid["purchase_id"]);

    let purchase = format!("/limited/purchases/{}", id_of(&paid));
    let receipt = format!(
        "/limited/receipts/{}",
        paid["receipt"]["receipt_id"].as_str().unwrap()
    );
    for (path, reason) in [
        (purchase, "purchase_not_found"),
        (receipt, "receipt_not_found"),
    ] {
        assert_eq!(shop(&server, &format!("{path}?user_id=ana")).status, 200);
        let foreign = shop(&server, &format!("{path}?user_id=bo"));
        assert_eq!(told(&foreign), (404, reason.to_owned()));
    }
    let other = server
        .ask(&Request::hold("bo", "drop-1", 1, "key-read-3"))
        .json();
    let path = format!(
        "/limited/holds/{}?user_id=bo",
        other["hold_id"].as_str().unwrap()
    );
    let released = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!(
        (released.status, released.json()["status"].as_str()),
        (200, Some("released"))
    );
    let again = server.ask(&Request::delete(&path).key(SHOP));
    assert_eq!((again.status, &again.body), (200, &released.body));
}

#[test]
fn lists_are_read_in_pages_to_their_end() {
    let server = Setup::demo().start();
    for number in 0..5 {
        server.put_product(&format!("p-{number}"), 10);
    }
    let names = |entries: &[Value]| -> Vec<String> {
        let name = |it: &Value| it["product_id"].as_str().unwrap().to_owned();
        entries.iter().map(name).collect()
    };
    let all = ["drop-1", "p-0", "p-1", "p-2", "p-3", "p-4"];
    let (products, pages) = paged(&server, "/limited/products", "products", 2);
    assert_eq!(
        (names(&products), pages),
        (all.map(str::to_owned).to_vec(), 3)
    );
    assert_eq!(products[1], shop(&server, "/limited/products/p-0").json());
    let (conserved, pages) = paged(&server, "/admin/status", "conservation", 4);
    assert_eq!(
        (names(&conserved), pages),
        (all.map(str::to_owned).to_vec(), 2)
    );

    let mut bought = Vec::new();
    for number in 0..3 {
        bought.push(buy(
            &server,
            "ana",
            &format!("p-{number}"),
            &format!("key-list-{number}"),
        ));
        buy(&server, "bo", "p-4", &format!("key-list-b{number}"));
    }
    let path = "/admin/users/ana/purchases";
    for limit in [1, 2, 3, 100] {
        let (purchases, pages) = paged(&server, path, "purchases", limit);
        assert_eq!(purchases, bought, "{limit}");
        assert_eq!(pages, bought.len().div_ceil(limit), "{limit}");
    }
    let nobody = admin(&server, "/admin/users/nobody/purchases");
    assert_eq!(told(&nobody), (404, "user_not_found".to_owned()));
    for wrong in ["?limit=0", "?limit=1001", "?after=x", "?from=1"] {
        let answer = admin(&server, &format!("{path}{wrong}"));
        assert_eq!(
            told(&answer),
            (400, "invalid_request".to_owned()),
            "{wrong}"
        );
    }
    for list in [
        "/admin/products",
        "/admin/promotions",
        "/admin/status",
        "/admin/sandbox/charges",
        "/limited/products",
    ] {
        for wrong in ["after=", "after=%20", "after=zz%00", "limit=%2B5", "limit="] {
            let answer = admin(&server, &format!("{list}?{wrong}"));
            let told = told(&answer);
            assert_eq!(told, (400, "invalid_request".to_owned()), "{list} {wrong}");
        }
    }
    let (charges, pages) = paged(&server, "/admin/sandbox/charges", "charges", 4);
    assert_eq!((charges.len(), pages), (6, 2));
}

#[test]
fn reviews_and_open_payments_are_read_in_pages() {
    let server = Setup::demo()
        .config("[review]\namount_over = { USD = 1000 }")
        .start();
    for number in 0..5 {
        let user = format!("user-{number}");
        let request = Request::buy(&user, "drop-1", "tok_ok", &format!("key-rev-{number}"));
        assert_eq!(server.ask(&request).status, 202);
    }
    let (reviews, pages) = paged(&server, "/admin/reviews", "reviews", 2);
    let mut ids: Vec<_> = reviews.iter().map(id_of).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), pages), (5, 3));
    let (open, _) = paged(&server, "/admin/payments", "payments", 2);
    assert_eq!(open.len(), 0, "a person is waited for, not the gateway");
}

#[test]
fn the_trail_is_read_by_place_time_order_buyer_and_purchase() {
    let server = Setup::demo().start();
    let (ana, bo) = (
        id_of(&buy(&server, "ana", "drop-1", "key-trail-1")),
        id_of(&buy(&server, "bo", "drop-1", "key-trail-2")),
    );
    let refund = json!({"amount": 500, "previously_refunded": 0, "reason": "late"});
    let path = format!("/admin/purchases/{ana}/refunds");
    let refunded = server.ask(
        &Request::post(&path)
            .key(ADMIN)
            .once("key-trail-3")
            .json(&refund),
    );
    assert_eq!(refunded.status, 201, "{refunded:?}");

    let events = |query: &str| -> Vec<Value> {
        let answer = admin(&server, &format!("/admin/audit?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["events"].as_array().unwrap().clone()
    };
    let lsns = |events: &[Value]| -> Vec<u64> {
        events
            .iter()
            .map(|it| it["lsn"].as_u64().unwrap())
            .collect()
    };
    let all = events("limit=1000");
    let places = lsns(&all);
    assert!(places.is_sorted() && places.len() > 10);

    // Both ends are within.
    let (third, fifth) = (places[2], places[4]);
    let some = events(&format!("from_lsn={third}&to_lsn={fifth}"));
    assert_eq!(lsns(&some), places[2..=4]);
    let newest = events(&format!("from_lsn={third}&to_lsn={fifth}&order=desc"));
    let mut turned = places[2..=4].to_vec();
    turned.reverse();
    assert_eq!(lsns(&newest), turned);
    for order in ["asc", "desc"] {
        let path = format!("/admin/audit?order={order}");
        let (read, pages) = paged(&server, &path, "events", 3);
        let mut read = lsns(&read);
        if order == "desc" {
            read.reverse();
        }
        assert_eq!(read, places, "{order}");
        assert!(pages >= places.len().div_ceil(3), "{order}");
    }

    let mine = events(&format!("purchase_id={ana}"));
    let kinds: Vec<_> = mine.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert!(
        kinds.contains(&"hold_placed") && kinds.contains(&"admin_acted"),
        "{kinds:?}"
    );
    assert!(kinds.contains(&"refund_succeeded"), "{kinds:?}");
    assert!(!Value::from(mine).to_string().contains(&bo));
    let theirs = events("user_id=bo");
    assert!(!theirs.is_empty() && theirs.iter().all(|it| it["user_id"] == "bo"));

    let at = all[4]["at"].as_str().unwrap();
    let from = events(&format!("from={at}&limit=1000"));
    assert!(from.iter().all(|it| it["at"].as_str().unwrap() >= at));
    let to = events(&format!("to={at}&limit=1000"));
    assert!(to.iter().all(|it| it["at"].as_str().unwrap() <= at));
    assert!(lsns(&from).contains(&places[4]) && lsns(&to).contains(&places[4]));
    assert_eq!(events("from=2999-01-01T00:00:00Z"), Vec::<Value>::new());

    for wrong in [
        "kind=nonsense",
        "order=newest",
        "from=yesterday",
        "to=2026-11-30",
        "purchase_id=p_1",
        "to_lsn=-1",
        "after=x",
        "since=1",
    ] {
        let answer = admin(&server, &format!("/admin/audit?{wrong}"));
        assert_eq!(
            told(&answer),
            (400, "invalid_request".to_owned()),
            "{wrong}"
        );
    }
}

#[test]
fn an_admin_key_reads_under_limited_and_does_nothing_there() {
    let server = Setup::demo().start();
    let hold = server
        .ask(&Request::hold("ana", "drop-1", 1, "key-adm-1"))
        .json();
    let path = format!("/limited/holds/{}", hold["hold_id"].as_str().unwrap());
    let read = server.ask(&Request::get(&path).key(ADMIN));
    assert_eq!(read.status, 200);
    assert_eq!(read.header("cache-control"), Some("no-store"));
    let mut asked = vec![Request::delete(&path).key(ADMIN)];
    for mut request in [
        Request::hold("ana", "drop-1", 1, "key-adm-2"),
        Request::buy("ana", "drop-1", "tok_ok", "key-adm-3"),
    ] {
        request.headers.retain(|(name, _)| name != "authorization");
        asked.push(request.key(ADMIN));
    }
    for request in &asked {
        let refused = server.ask(request);
        assert_eq!(told(&refused), (403, "forbidden".to_owned()));
        assert!(refused.header("x-request-id").is_some());
    }
    assert_eq!(server.stock("drop-1"), [100, 1, 0, 99]);
    let trail = admin(&server, "/admin/audit?kind=admin_refused").json();
    let targets: Vec<_> = trail["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["act"].as_str().unwrap(), it["target"].as_str().unwrap()))
        .collect();
    assert_eq!(
        targets,
        [
            ("shop_call", "/limited/holds/{hold_id}"),
            ("shop_call", "/limited/holds"),
            ("shop_call", "/limited/buy"),
        ]
    );
}

#[test]
fn the_trail_of_a_purchase_has_refused_payments_and_a_buyers_has_acts_on_their_purchases() {
    let server = Setup::demo().start();
    let hold = server.ask(&Request::hold("ana", "drop-1", 1, "key-trail-1"));
    let hold = hold.json()["hold_id"].as_str().unwrap().to_owned();
    let released = Request::delete(&format!("/limited/holds/{hold}")).key(SHOP);
    assert_eq!(server.ask(&released).status, 200);
    let closed = server.ask(&super::pay("ana", &hold, "tok_ok", "key-trail-2"));
    assert_eq!(closed.reason(), "hold_closed");
    let (ana, bo) = (
        id_of(&buy(&server, "ana", "drop-1", "key-trail-3")),
        id_of(&buy(&server, "bo", "drop-1", "key-trail-4")),
    );
    for id in [&ana, &bo] {
        let void = Request::post(&format!("/admin/purchases/{id}/void")).key(ADMIN);
        assert_eq!(server.ask(&void).reason(), "wrong_state");
        let refund = json!({"amount": 500, "previously_refunded": 0, "reason": "late"});
        let refund = Request::post(&format!("/admin/purchases/{id}/refunds"))
            .key(ADMIN)
            .once("key-trail-5")
            .json(&refund);
        assert_eq!(server.ask(&refund).status, 201);
    }
    let kinds = |query: &str| -> Vec<String> {
        let answer = admin(&server, &format!("/admin/audit?limit=1000&{query}"));
        let events = answer.json()["events"].as_array().unwrap().clone();
        let kind = |it: &Value| it["kind"].as_str().unwrap().to_owned();
        events.iter().map(kind).collect()
    };
    let purchase = hold.replacen("h_", "p_", 1);
    assert_eq!(
        kinds(&format!("purchase_id={purchase}")),
        ["hold_placed", "hold_released", "attempt_refused"]
    );
    for order in ["asc", "desc"] {
        let of_ana = kinds(&format!("user_id=ana&order={order}"));
        let count = |kind: &str| of_ana.iter().filter(|it| *it == kind).count();
        assert_eq!(
            (count("admin_acted"), count("admin_refused")),
            (1, 1),
            "{of_ana:?}"
        );
    }
}
