//! Products and promotions in their tables: the newest terms, whatever the order in which events
//! come, and only from the log.

use super::{admin, caught_up, setup};
use serde_json::json;
use support::postgres_server::Postgres;
use support::{ADMIN, Request, Server, product_terms, promotion_terms};

fn put(server: &Server, path: &str, terms: &serde_json::Value) {
    let answer = server.ask(&Request::put(path).key(ADMIN).json(terms));
    assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
}

fn product(postgres: &Postgres, id: &str) -> String {
    postgres.value(&format!(
        "SELECT concat_ws(' ', name, price->>'USD', stock, coalesce(per_user_limit::text, '-'),
            coalesce(to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS'), '-'),
            active, set_by)
         FROM holdfast.products WHERE product_id = '{id}'"
    ))
}

#[test]
fn products_and_promotions_have_their_newest_terms() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    let terms = product_terms(&json!({
        "name": "Shoe", "price": {"USD": 1999, "KRW": 25000}, "stock": 10, "per_user_limit": 2,
        "starts_at": "2020-01-02T03:04:05.678Z",
    }));
    put(&server, "/admin/products/shoe", &terms);
    caught_up(&server);
    let owner: String =
        postgres.value("SELECT set_by FROM holdfast.products WHERE product_id = 'shoe'");
    let expected = |rest: &str| format!("Shoe {rest} {owner}");
    let first = expected("1999 10 2 2020-01-02T03:04:05.678 t");
    assert_eq!(product(&postgres, "shoe"), first);

    // Twice in one batch or in two, and by a change of the stock.
    let cheaper = product_terms(&json!({"name": "Shoe", "price": {"USD": 999}, "stock": 10}));
    put(&server, "/admin/products/shoe", &cheaper);
    admin(&server, "/admin/products/shoe/stock", &json!({"add": 5}));
    let code = |code: &str, terms: serde_json::Value| {
        put(
            &server,
            &format!("/admin/promotions/{code}"),
            &promotion_terms(&terms),
        );
    };
    code("HALF", json!({"percent_off": 50, "uses_max": 10}));
    code(
        "half",
        json!({"percent_off": 40, "uses_max": 7, "product_ids": ["shoe"]}),
    );
    caught_up(&server);
    let newest = product(&postgres, "shoe");
    assert!(newest.starts_with("Shoe 999 15 "), "{newest}");
    let promotions: Vec<String> = postgres.column(
        "SELECT concat_ws(' ', promotion_code, percent_off, amount_off, uses_max, product_ids, segments)
         FROM holdfast.promotions WHERE lower(promotion_code) = 'half'",
    );
    assert_eq!(promotions, ["HALF 40 7 {shoe}"]);

    // Every event again, older ones too, in whatever order: nothing changes.
    postgres.execute("CREATE ROLE sink LOGIN IN ROLE holdfast_writer");
    let lsns = "SELECT lsn FROM holdfast.audit_log WHERE kind LIKE '%\\_set' ORDER BY lsn DESC";
    for lsn in postgres.column::<i64>(lsns) {
        let again = format!("SELECT holdfast.set_terms(ARRAY[{lsn}])");
        postgres.try_query_as("sink", &again).unwrap();
    }
    assert_eq!(product(&postgres, "shoe"), newest);
    // The writer sets no terms but those of events.
    for statement in [
        "UPDATE holdfast.products SET stock = 1",
        "INSERT INTO holdfast.promotions SELECT * FROM holdfast.promotions",
        "DELETE FROM holdfast.products",
        "SELECT holdfast.take_back_terms('1-0000000000000000', 0)",
    ] {
        let refused = postgres
            .try_query_as("sink", statement)
            .expect_err(statement);
        assert_eq!(refused.code().unwrap().code(), "42501", "{statement}");
    }
    postgres.execute("CREATE ROLE analyst LOGIN IN ROLE holdfast_reader");
    for table in ["products", "promotions", "admin_acts"] {
        let read = format!("SELECT * FROM holdfast.{table}");
        assert!(postgres.try_query_as("analyst", &read).is_ok(), "{table}");
    }
}

#[test]
fn terms_out_of_the_dead_letters_do_not_replace_newer_ones() {
    let postgres = Postgres::start();
    let server = setup(&postgres.url()).start();
    caught_up(&server);
    postgres.execute(
        "CREATE FUNCTION holdfast.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF NEW.event->>'name' = 'Old' THEN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END IF; \
           RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON holdfast.audit_log \
           FOR EACH ROW EXECUTE FUNCTION holdfast.refuse()",
    );
    for (id, name) in [("shoe", "Old"), ("shoe", "New"), ("hat", "Old")] {
        let path = format!("/admin/products/{id}");
        put(
            &server,
            &path,
            &product_terms(&json!({"name": name, "price": {"USD": 1}, "stock": 1})),
        );
    }
    caught_up(&server);
    let names = || -> Vec<String> {
        postgres.column(
            "SELECT product_id || ' ' || name FROM holdfast.products
             WHERE product_id IN ('shoe', 'hat') ORDER BY 1",
        )
    };
    assert_eq!(names(), ["shoe New"]);
    postgres.execute("DROP TRIGGER refuse ON holdfast.audit_log");
    admin(
        &server,
        "/admin/dead-letters/redrive",
        &json!({"sink": "postgres"}),
    );
    support::until("both are delivered", || (names().len() == 2).then_some(()));
    assert_eq!(names(), ["hat Old", "shoe New"]);
}
