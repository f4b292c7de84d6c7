//! The queries of `docs/queries.md`: each runs, by a reader, on the tables of a drop that was sold,
//! and says what is true of it.

use super::{admin, caught_up, setup_with};
use serde_json::json;
use std::collections::BTreeMap;
use support::postgres_server::Postgres;
use support::signing::{Own, SECRETS, event};
use support::{ADMIN, Request, Response, SHOP, Server, product_terms, promotion_terms};

/// The query below each heading of the page.
fn queries() -> BTreeMap<&'static str, &'static str> {
    let page = include_str!("../../../docs/queries.md");
    let sections = page.split("\n## ").skip(1);
    let query = |section: &'static str| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let (_, from_sql) = rest.split_once("```sql\n").expect(heading);
        let (sql, _) = from_sql.split_once("```").expect(heading);
        (heading, sql.trim().trim_end_matches(';'))
    };
    sections.map(query).collect()
}

fn buy(server: &Server, user: &str, card: &str, promotion: Option<&str>) -> Response {
    let mut body = json!({
        "user_id": user, "product_id": "drop", "quantity": 1, "currency": "USD",
        "card_token": card, "device_id": "phone-1",
    });
    if let Some(code) = promotion {
        body["promotion_code"] = json!(code);
    }
    let key = format!("buy-{user}-{card}");
    let mut buy = Request::post("/limited/buy").key(SHOP).once(&key);
    if user == "di" {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        buy = buy.header("traceparent", parent);
    }
    server.ask(&buy.json(&body))
}

/// Ten units at 20.00 USD: six sold, two of them with 25 % off; one refund in part, one dispute lost, one
/// open; three cards declined for one buyer, one of them for two buyers more; one buyer refused twice.
fn a_drop(server: &Server) {
    let put = |path: &str, terms: &serde_json::Value| {
        let answer = server.ask(&Request::put(path).key(ADMIN).json(terms));
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    };
    let terms = json!({"name": "Drop", "price": {"USD": 2000}, "stock": 10, "per_user_limit": 1});
    put("/admin/products/drop", &product_terms(&terms));
    let terms = json!({"percent_off": 25, "uses_max": 5});
    put("/admin/promotions/QUARTER", &promotion_terms(&terms));
    let mut bought = Vec::new();
    for (user, promotion) in [
        ("ana", None),
        ("bo", None),
        ("cy", None),
        ("di", None),
        ("ed", Some("QUARTER")),
        ("flo", Some("quarter")),
    ] {
        let answer = buy(server, user, "tok_ok", promotion);
        assert_eq!(answer.status, 201, "{answer:?}");
        bought.push(answer.json()["purchase_id"].as_str().unwrap().to_owned());
    }
    let path = format!("/admin/purchases/{}/refunds", bought[0]);
    let body = json!({"amount": 500, "previously_refunded": 0, "reason": "late"});
    admin(server, &path, &body);
    for (word, purchase) in [("lost", &bought[1]), ("opened", &bought[2])] {
        let body = event(
            &format!("evt-{word}"),
            &format!("dispute.{word}"),
            purchase,
            0,
        );
        let sent = Own::new(&format!("nonce-{word}"), &body);
        assert_eq!(server.ask(&sent.request()).json()["status"], "processed");
    }
    for (user, card) in [
        ("gil", "tok_declined_a"),
        ("gil", "tok_declined_b"),
        ("gil", "tok_declined_c"),
        ("hal", "tok_declined_a"),
        ("ida", "tok_declined_a"),
    ] {
        assert_eq!(buy(server, user, card, None).status, 402);
    }
    // The limit is one unit for each buyer.
    for card in ["tok_again", "tok_more"] {
        assert_eq!(buy(server, "ana", card, None).status, 409);
    }
}

/// What to look at in the answer of each query, and what it says.
const FIGURES: [(&str, &str, &str); 11] = [
    (
        "Conversion of a drop",
        "tried || ' ' || got_units || ' ' || bought || ' ' || bought_percent",
        "9 9 6 66.7",
    ),
    (
        "Units sold and stock",
        "string_agg(stock || ' ' || captured_units, ',') FILTER (WHERE product_id = 'drop')",
        "10 6",
    ),
    (
        "Refusals by reason",
        "min(reason) || ' ' || sum(attempts)",
        "per_user_limit 2",
    ),
    (
        "Revenue by drop and currency",
        "string_agg(concat_ws(' ', captured, refunded, charged_back, net, at_risk), ',')",
        "11000 500 2000 8500 2000",
    ),
    ("Revenue by day", "sum(net)::text", "8500"),
    (
        "Promotion use",
        "string_agg(concat_ws(' ', uses_max, standing, given_back, discounts), ',')
            FILTER (WHERE promotion_code = 'QUARTER')",
        "5 2 0 {\"USD\": 1000}",
    ),
    (
        "Cards with many declines",
        "string_agg(concat_ws(' ', card_token, declines, buyers), ',')",
        "tok_declined_a 3 3",
    ),
    (
        "Devices with many declines",
        "string_agg(concat_ws(' ', device_id, declines, cards, buyers), ',')",
        "phone-1 5 3 3",
    ),
    (
        "Open disputes",
        "string_agg(user_id || ' ' || kept, ',')",
        "cy 2000",
    ),
    (
        "Administrative acts",
        "count(*) FILTER (WHERE kind = 'refund_started')::text",
        "1",
    ),
    (
        "Events of a trace",
        "min(user_id) || ' ' || max(user_id) || ' ' || string_agg(kind, ',')
            FILTER (WHERE kind LIKE 'hold%' OR kind LIKE '%captured')",
        "di di hold_placed,payment_captured",
    ),
];

#[test]
fn the_queries_of_the_page_say_what_is_true_of_a_drop() {
    let postgres = Postgres::start();
    let server = setup_with(&postgres.url(), SECRETS).start();
    a_drop(&server);
    caught_up(&server);
    postgres.execute("CREATE ROLE analyst LOGIN IN ROLE holdfast_reader");
    let queries = queries();
    assert_eq!(queries.len(), FIGURES.len(), "a figure for each query");
    for (heading, figure, expected) in FIGURES {
        let sql = format!("SELECT {figure} FROM ({}) answer", queries[heading]);
        let rows = postgres.try_query_as("analyst", &sql).expect(heading);
        let found: Option<String> = rows[0].get(0);
        assert_eq!(found.as_deref(), Some(expected), "{heading}");
    }
}
