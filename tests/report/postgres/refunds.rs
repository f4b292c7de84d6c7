//! What the tables say once nothing is left of a purchase: its status, and the promotion's use; and
//! once money that had gone back came back.

use super::{caught_up, setup, stopped};
use serde_json::json;
use support::postgres_server::Postgres;
use support::postgres_server::tables::{assert_tables_are_the_log, events};
use support::stripe_server::{SECRET_KEY, StripeServer};
use support::{ADMIN, Request, SHOP, Server, promotion_terms, until};

fn put_promotion(server: &Server, code: &str, percent_off: u64) {
    let terms = promotion_terms(&json!({"percent_off": percent_off, "uses_max": 10}));
    let put = Request::put(&format!("/admin/promotions/{code}")).key(ADMIN);
    assert_eq!(server.ask(&put.json(&terms)).status, 201);
}

/// Buys one unit with the promotion; the purchase's id.
fn bought(server: &Server, user: &str, code: &str) -> String {
    let body = json!({
        "user_id": user, "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": "tok_ok", "promotion_code": code,
    });
    let key = format!("key-of-{user}");
    let buy = Request::post("/limited/buy").key(SHOP).once(&key);
    let answer = server.ask(&buy.json(&body));
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["purchase_id"].as_str().unwrap().to_owned()
}

fn refund(server: &Server, purchase: &str, amount: u64, previously: u64) {
    let body = json!({
        "amount": amount, "previously_refunded": previously, "reason": "as asked",
    });
    let path = format!("/admin/purchases/{purchase}/refunds");
    let key = format!("refund-{amount}-{previously}-{purchase}");
    let post = Request::post(&path).key(ADMIN).once(&key);
    assert_eq!(server.ask(&post.json(&body)).status, 201);
}

#[test]
fn a_free_order_that_ends_reads_refunded() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    put_promotion(&server, "FREE", 100);
    let kept = bought(&server, "ana", "FREE");
    let ended = bought(&server, "bo", "FREE");
    // In a transaction of its own first: the refund then changes a row that is there.
    caught_up(&server);
    refund(&server, &ended, 0, 0);
    caught_up(&server);
    let both = bought(&server, "cy", "FREE");
    refund(&server, &both, 0, 0);
    caught_up(&server);
    for (purchase, status) in [
        (&kept, "captured"),
        (&ended, "refunded"),
        (&both, "refunded"),
    ] {
        let row: String = postgres.value(&format!(
            "SELECT status || ' ' || amount || ' ' || refunded_amount
             FROM holdfast.shop_transactions WHERE purchase_id = '{purchase}'"
        ));
        assert_eq!(row, format!("{status} 0 0"));
    }
    let (status, _) = stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
    assert!(status.success());
}

#[test]
fn the_refund_that_leaves_nothing_closes_the_promotions_use_and_no_other_does() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    put_promotion(&server, "HALF", 50);
    put_promotion(&server, "FREE", 100);
    let kept = bought(&server, "ana", "HALF");
    let whole = bought(&server, "bo", "HALF");
    let free = bought(&server, "cy", "FREE");
    let uses = || -> Vec<String> {
        postgres.column(
            "SELECT user_id || ' ' || promotion_code || ' ' || (used_lsn IS NOT NULL)
                || ' ' || coalesce(given_back_lsn = (
                    SELECT max(a.ended_lsn) FROM holdfast.purchase_attempts a
                    WHERE a.purchase_id = u.purchase_id AND a.flow = 'refund'
                ) AND given_back_at IS NOT NULL, false)
             FROM holdfast.promotion_uses u ORDER BY user_id",
        )
    };
    let view = shown(&server, &whole);
    let half = view["amount"]["value"].as_u64().unwrap();
    refund(&server, &kept, 1, 0);
    refund(&server, &whole, 1, 0);
    caught_up(&server);
    let open = [
        "ana HALF true false",
        "bo HALF true false",
        "cy FREE true false",
    ];
    assert_eq!(uses(), open, "a part went back");
    refund(&server, &whole, half - 1, 1);
    refund(&server, &free, 0, 0);
    caught_up(&server);
    let closed = [
        "ana HALF true false",
        "bo HALF true true",
        "cy FREE true true",
    ];
    assert_eq!(uses(), closed, "nothing is left");
    let (status, _) = stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
    assert!(status.success());
}

fn shown(server: &Server, purchase: &str) -> serde_json::Value {
    let path = format!("/limited/purchases/{purchase}");
    server.ask(&Request::get(&path).key(SHOP)).json()
}

#[test]
fn money_of_refunds_that_failed_late_is_back_in_the_ledger() {
    let postgres = Postgres::start();
    let stripe = StripeServer::start();
    let config = format!(
        "[payments]\ngateway = \"stripe\"\n\
         [payments.stripe]\nsecret_key = \"{SECRET_KEY}\"\napi_base = \"{}\"\n\
         [reconcile]\nevery_s = 0\n",
        stripe.base()
    );
    let server = setup(&postgres.url()).config(&config).start();
    let body = json!({
        "user_id": "ana", "product_id": "drop-1", "quantity": 1, "currency": "USD",
        "card_token": "pm_card_visa",
    });
    let buy = Request::post("/limited/buy").key(SHOP).once("key-of-ana");
    let answer = server.ask(&buy.json(&body));
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["purchase_id"].as_str().unwrap().to_owned();
    let row = || -> String {
        postgres.value(&format!(
            "SELECT t.status || ' ' || t.refunded_amount || ' ' || (
                SELECT coalesce(sum(amount) FILTER (WHERE account = 'refunds'), 0) || ' '
                    || sum(amount) FILTER (WHERE account = 'cash_clearing') || ' ' || sum(amount)
                FROM holdfast.ledger_entries e
                WHERE e.purchase_id = t.purchase_id AND e.currency = 'USD')
             FROM holdfast.shop_transactions t WHERE purchase_id = '{id}'"
        ))
    };
    refund(&server, &id, 500, 0);
    caught_up(&server);
    assert_eq!(row(), "partially_refunded 500 500 1499 0");

    let path = format!("/admin/purchases/{id}");
    let seen = server.ask(&Request::get(&path).key(ADMIN)).json();
    stripe.fail_refunds(seen["gateway_reference"].as_str().unwrap());
    let compare = Request::post("/admin/reconcile?full=true").key(ADMIN);
    assert_eq!(server.ask(&compare).status, 202);
    until("it is booked back", || {
        (shown(&server, &id)["status"] == "captured").then_some(())
    });
    caught_up(&server);
    assert_eq!(row(), "captured 0 0 1999 0");
    // The whole goes back by another way.
    refund(&server, &id, 1_999, 0);
    caught_up(&server);
    assert_eq!(row(), "refunded 1999 1999 0 0");
    for view in ["ledger_unbalanced", "revenue_mismatch", "unlinked"] {
        let rows: i64 = postgres.value(&format!("SELECT count(*) FROM holdfast.{view}"));
        assert_eq!(rows, 0, "{view}");
    }
    let (status, _) = stopped(server, |server| {
        assert_tables_are_the_log(&postgres, &events(&server.data_dir));
    });
    assert!(status.success());
}
