//! What a refund frees: the buyer's limit and the promotion's use once nothing is left, and the
//! units where the refund says that the goods are back. All of it over restarts and from a snapshot.

use serde_json::{Value, json};
use support::money::{
    admin, assert_checks_clean, buy, charges, events_of, id_of, part, refund, refunds_of, told,
};
use support::signing::{Own, SECRETS, event};
use support::{ADMIN, Request, SHOP, Server, Setup, product_terms, promotion_terms};

/// A product of one unit a buyer, and a promotion of one use.
fn put_single(server: &Server, stock: u64, percent_off: u64) {
    let product = product_terms(&json!({
        "name": "single", "price": {"USD": 2000}, "stock": stock, "per_user_limit": 1,
    }));
    let promotion = promotion_terms(&json!({
        "percent_off": percent_off, "uses_max": 1, "uses_per_user_max": 1,
    }));
    for (path, body) in [
        ("/admin/products/single", product),
        ("/admin/promotions/ONCE", promotion),
    ] {
        let put = server.ask(&Request::put(path).key(ADMIN).json(&body));
        assert_eq!(put.status, 201, "{put:?}");
    }
}

fn order(user: &str, key: &str, promotion: Option<&str>) -> Request {
    let body = json!({
        "user_id": user, "product_id": "single", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok", "promotion_code": promotion,
    });
    Request::post("/limited/buy")
        .key(SHOP)
        .once(key)
        .json(&body)
}

fn used(server: &Server) -> Value {
    admin(server, "/admin/promotions/ONCE").json()["uses"].clone()
}

fn rest(before: u64, restock: Option<bool>) -> Value {
    let mut body = json!({"previously_refunded": before, "reason": "sent back"});
    if let Some(restock) = restock {
        body["restock"] = restock.into();
    }
    body
}

/// Ends the process and begins it again; from a snapshot, too.
fn again(mut server: Server, start: impl Fn() -> Server, snapshot: bool) -> Server {
    if snapshot {
        let taken = server.ask(&Request::post("/admin/snapshot").key(ADMIN));
        assert_eq!(taken.status, 200);
    }
    server.kill();
    start()
}

#[test]
fn a_full_refund_frees_the_limit_and_the_use_and_keeps_the_units_sold() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    put_single(&server, 10, 50);
    let bought = server.ask(&order("ana", "key-stand-1", Some("ONCE")));
    assert_eq!(bought.status, 201, "{bought:?}");
    let id = id_of(&bought.json());

    // Part of the money back: it stands.
    let some = server.ask(&refund(&id, "key-stand-2", &part(400, 0)));
    assert_eq!(some.status, 201, "{some:?}");
    let second = server.ask(&order("ana", "key-stand-3", None));
    assert_eq!(told(&second), (409, "per_user_limit".to_owned()));
    let other = server.ask(&order("bo", "key-stand-4", Some("ONCE")));
    assert_eq!(told(&other), (409, "promotion_exhausted".to_owned()));

    let whole = server.ask(&refund(&id, "key-stand-5", &rest(400, None)));
    assert_eq!(whole.status, 201, "{whole:?}");
    assert_eq!(whole.json()["restock"], false);
    for snapshot in [false, true] {
        assert_eq!(server.stock("single"), [10, 0, 1, 9]);
        assert_eq!(used(&server), 0);
        server = again(server, start, snapshot);
    }
    let second = server.ask(&order("ana", "key-stand-6", Some("ONCE")));
    assert_eq!(second.status, 201, "{second:?}");
    for snapshot in [false, true] {
        assert_eq!(server.stock("single"), [10, 0, 2, 8]);
        assert_eq!(used(&server), 1);
        server = again(server, start, snapshot);
    }
    let third = server.ask(&order("ana", "key-stand-7", None));
    assert_eq!(told(&third), (409, "per_user_limit".to_owned()));
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn units_go_back_into_stock_with_the_refund_that_leaves_nothing_and_says_so() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    put_single(&server, 1, 50);
    let id = id_of(&buy(&server, "ana", "single", "key-stock-1"));
    let gone = server.ask(&order("bo", "key-stock-2", None));
    assert_eq!(told(&gone), (409, "sold_out".to_owned()));

    let mut some = part(400, 0);
    some["restock"] = true.into();
    let refused = server.ask(&refund(&id, "key-stock-3", &some));
    assert_eq!(told(&refused), (409, "refund_conflict".to_owned()));
    assert_eq!(server.stock("single"), [1, 0, 1, 0]);
    assert_eq!(charges(&server), [("captured".to_owned(), 2000, 0)]);
    let some = server.ask(&refund(&id, "key-stock-4", &part(400, 0)));
    assert_eq!(some.json()["restock"], false, "{some:?}");

    let back = refund(&id, "key-stock-5", &rest(400, Some(true)));
    let done = server.ask(&back);
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(
        (&done.json()["restock"], &done.json()["refunded_amount"]),
        (&json!(true), &json!(2000))
    );
    let other = rest(400, Some(false));
    let other = server.ask(&refund(&id, "key-stock-5", &other));
    assert_eq!(told(&other), (422, "idempotency_key_reused".to_owned()));
    for snapshot in [false, true] {
        assert_eq!(server.stock("single"), [1, 0, 0, 1]);
        let replayed = server.ask(&back);
        assert_eq!((replayed.status, replayed.text()), (201, done.text()));
        server = again(server, start, snapshot);
    }
    for kind in ["refund_started", "refund_succeeded"] {
        let trail = admin(&server, &format!("/admin/audit?kind={kind}")).json();
        let restock: Vec<_> = trail["events"].as_array().unwrap().iter().collect();
        let restock: Vec<_> = restock.iter().map(|it| it["restock"].clone()).collect();
        assert_eq!(restock, [json!(false), json!(true)], "{kind}");
    }
    // The unit is somebody else's now, once.
    let sold = server.ask(&order("bo", "key-stock-6", None));
    assert_eq!(sold.status, 201, "{sold:?}");
    let gone = server.ask(&order("ana", "key-stock-7", None));
    assert_eq!(told(&gone), (409, "sold_out".to_owned()));
    for snapshot in [false, true] {
        assert_eq!(server.stock("single"), [1, 0, 1, 0]);
        server = again(server, start, snapshot);
    }
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn a_refund_of_0_ends_a_free_order_and_no_other() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || Setup::demo().data_dir(&data_dir).start();
    let mut server = start();
    put_single(&server, 10, 100);
    let free = server.ask(&order("ana", "key-free-1", Some("ONCE")));
    assert_eq!(free.status, 201, "{free:?}");
    assert_eq!(free.json()["amount"]["value"], 0);
    let id = id_of(&free.json());
    let paid = id_of(&buy(&server, "bo", "single", "key-free-2"));
    let wrong = server.ask(&refund(&paid, "key-free-3", &part(0, 0)));
    assert_eq!(told(&wrong), (400, "invalid_request".to_owned()));
    assert_eq!(wrong.json()["errors"][0]["field"], "amount");

    let before = charges(&server);
    let mut body = part(0, 0);
    body["restock"] = true.into();
    let ends = refund(&id, "key-free-4", &body);
    let ended = server.ask(&ends);
    assert_eq!(ended.status, 201, "{ended:?}");
    let shown = ended.json();
    assert_eq!(
        (&shown["amount"], &shown["status"], &shown["restock"]),
        (&json!(0), &json!("succeeded"), &json!(true))
    );
    assert_eq!(charges(&server), before, "the gateway was not asked");
    for snapshot in [false, true] {
        let path = format!("/limited/purchases/{id}");
        let after = server.ask(&Request::get(&path).key(SHOP)).json();
        assert_eq!(after["status"], "refunded");
        assert!(events_of(&after).ends_with(&["refund_started", "refund_succeeded"]));
        assert_eq!(used(&server), 0);
        assert_eq!(server.stock("single"), [10, 0, 1, 9]);
        let replayed = server.ask(&ends);
        assert_eq!((replayed.status, replayed.text()), (201, ended.text()));
        server = again(server, start, snapshot);
    }
    // Once.
    let twice = server.ask(&refund(&id, "key-free-5", &part(0, 0)));
    assert_eq!(told(&twice), (409, "wrong_state".to_owned()));
    let free = server.ask(&order("ana", "key-free-6", Some("ONCE")));
    assert_eq!(free.status, 201, "{free:?}");
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}

#[test]
fn only_the_captured_amount_limits_a_refund() {
    let server = Setup::demo().start();
    let price = 800_000_000_000_u64;
    let body = product_terms(&json!({"name": "house", "price": {"KRW": price}, "stock": 2}));
    let put = Request::put("/admin/products/house").key(ADMIN).json(&body);
    assert_eq!(server.ask(&put).status, 201);
    let body = json!({
        "user_id": "ana", "product_id": "house", "quantity": 2, "currency": "KRW",
        "card_token": "tok_ok",
    });
    let order = Request::post("/limited/buy")
        .key(SHOP)
        .once("key-house-1")
        .json(&body);
    let bought = server.ask(&order);
    assert_eq!(bought.status, 201, "{bought:?}");
    let id = id_of(&bought.json());
    for (key, amount) in [
        ("key-house-2", 2 * price + 1),
        ("key-house-3", i64::MAX as u64),
    ] {
        let more = server.ask(&refund(&id, key, &part(amount, 0)));
        assert_eq!(told(&more), (409, "refund_exceeds_captured".to_owned()));
    }
    let some = server.ask(&refund(&id, "key-house-4", &part(2 * price - 1, 0)));
    assert_eq!(some.status, 201, "{some:?}");
    let last = server.ask(&refund(&id, "key-house-5", &part(1, 2 * price - 1)));
    assert_eq!(last.status, 201, "{last:?}");
    let listed = admin(&server, &refunds_of(&id)).json();
    assert_eq!(listed["refunds"][1]["refunded_amount"], 2 * price);
}

#[test]
fn a_lost_dispute_frees_the_limit_and_the_use_and_counts_again_once_it_is_won() {
    let kept = tempfile::tempdir().unwrap();
    let data_dir = kept.path().join("data");
    let start = || {
        let setup = Setup::demo().config(SECRETS);
        setup.data_dir(&data_dir).start()
    };
    let mut server = start();
    put_single(&server, 10, 50);
    let bought = server.ask(&order("ana", "key-lost-1", Some("ONCE")));
    let id = id_of(&bought.json());
    let tell = |server: &Server, number: u64, kind: &str| {
        // Each happened a second after the one before.
        let body = event(&format!("e-{number}"), kind, &id, 100 - number);
        let told = server.ask(&Own::new(&format!("n-{number}"), &body).request());
        assert_eq!(told.json()["status"], "processed", "{told:?}");
    };
    tell(&server, 1, "dispute.opened");
    let second = server.ask(&order("ana", "key-lost-2", None));
    assert_eq!(told(&second), (409, "per_user_limit".to_owned()));
    assert_eq!(used(&server), 1);
    tell(&server, 2, "dispute.lost");
    for snapshot in [false, true] {
        assert_eq!(used(&server), 0);
        assert_eq!(server.stock("single"), [10, 0, 1, 9]);
        server = again(server, start, snapshot);
    }
    let other = server.ask(&order("bo", "key-lost-3", Some("ONCE")));
    assert_eq!(other.status, 201, "{other:?}");
    // Won after all: it counts for the limit again. The use is somebody else's now.
    tell(&server, 3, "dispute.won");
    for snapshot in [false, true] {
        let second = server.ask(&order("ana", &format!("key-lost-4-{snapshot}"), None));
        assert_eq!(told(&second), (409, "per_user_limit".to_owned()));
        assert_eq!(used(&server), 1);
        assert_eq!(server.stock("single"), [10, 0, 2, 8]);
        server = again(server, start, snapshot);
    }
    // Lost once more: the limit is free, and no use is given back a second time.
    tell(&server, 4, "dispute.lost");
    for snapshot in [false, true] {
        assert_eq!(used(&server), 1);
        server = again(server, start, snapshot);
    }
    let second = server.ask(&order("ana", "key-lost-5", None));
    assert_eq!(second.status, 201, "{second:?}");
    assert!(server.stop().0.success());
    assert_checks_clean(&data_dir);
}
