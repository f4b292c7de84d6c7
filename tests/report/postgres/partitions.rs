//! Months of the growing tables: made ahead, read alone, dropped by the recipe of `docs/tables.md`, and
//! never filled again.

use super::{a_days_business, admin, caught_up, printed, setup};
use serde_json::json;
use support::postgres_server::Postgres;
use support::wall_clock::WallClock;
use support::{ADMIN, Request, Server, until};

/// The recipe of the page, for months before this one.
fn recipe(month: &str) -> String {
    let page = include_str!("../../../docs/tables.md");
    let (_, sql) = page.split_once("```sql\n").unwrap();
    let (sql, _) = sql.split_once("```").unwrap();
    assert!(sql.contains("'2026-01-01 00:00:00+00'"), "{sql}");
    sql.replace("'2026-01-01 00:00:00+00'", month)
}

fn count(postgres: &Postgres, of: &str) -> i64 {
    postgres.value(&format!("SELECT count(*) FROM holdfast.{of}"))
}

#[test]
fn months_are_dropped_by_the_recipe_the_sink_goes_on_and_nothing_comes_back() {
    let postgres = Postgres::start();
    let (clock, dir) = (WallClock::right(), tempfile::tempdir().unwrap());
    let start = || {
        let setup = setup(&postgres.url()).data_dir(dir.path());
        clock.read_by(setup).start()
    };
    clock.set("-62d");
    let server = start();
    caught_up(&server);
    postgres
        .execute("ALTER TABLE holdfast.audit_log ADD CONSTRAINT poison CHECK (user_id <> 'eve')");
    let made = a_days_business(&server);
    let bought = Request::buy("eve", "drop", "tok_ok", "buy-eve-key");
    assert_eq!(server.ask(&bought).status, 201);
    caught_up(&server);
    server.stop();
    clock.set("+0");
    let server = start();
    let bought = Request::buy("new", "drop", "tok_ok", "buy-new-key");
    assert_eq!(server.ask(&bought).status, 201);
    caught_up(&server);
    postgres.execute("ALTER TABLE holdfast.audit_log DROP CONSTRAINT poison");
    let tables = [
        "audit_log",
        "purchase_attempts",
        "user_actions",
        "ledger_entries",
    ];
    for table in tables {
        assert_eq!(count(&postgres, &format!("{table}_default")), 0, "{table}");
    }
    // The month of the newest event.
    let month: String = postgres.value(
        "SELECT quote_literal(date_trunc('month', max(at), 'UTC')) || '::timestamptz'
         FROM holdfast.audit_log",
    );
    let old = |table: &str| count(&postgres, &format!("{table} WHERE at < {month}"));
    assert!(tables.iter().all(|it| old(it) > 0));
    let ledger = old("ledger_entries");

    postgres.psql(&recipe(&month));
    assert_eq!(old("purchase_attempts"), 0);
    assert_eq!(old("user_actions"), 0);
    assert_eq!(old("ledger_entries"), ledger, "the books stay");
    assert_what_is_needed_stays(&postgres, &month);

    // Out of the dead letters: the purchase and its books, but no attempt in a month that is gone.
    let redrive = json!({"sink": "postgres"});
    admin(&server, "/admin/dead-letters/redrive", &redrive);
    let path = format!("/admin/purchases/{}/refunds", made["kept"]);
    let body = json!({"amount": 100, "previously_refunded": 0, "reason": "late"});
    admin(&server, &path, &body);
    caught_up(&server);
    until_no_letter_is_left(&server);
    assert_eq!(
        count(&postgres, "shop_transactions WHERE user_id = 'eve'"),
        1
    );
    assert_eq!(old("purchase_attempts"), 0);
    assert_eq!(old("user_actions"), 0);
    let refunds = "purchase_attempts WHERE flow = 'refund' AND result = 'success'";
    assert_eq!(count(&postgres, refunds), 1, "the one of this month");
    for view in ["ledger_unbalanced", "revenue_mismatch", "unlinked"] {
        assert_eq!(count(&postgres, view), 0, "{view}");
    }

    assert_other_months_are_refused(&postgres, &month);
    server.stop();
}

/// A month is dropped once, whole, and not before the sink is there; and not by the sink.
fn assert_other_months_are_refused(postgres: &Postgres, month: &str) {
    for (other, state) in [
        (format!("{month} + interval '1 day'"), "22023"),
        (format!("{month} - interval '1 month'"), "55000"),
        (
            format!("date_trunc('month', {month} + interval '99 days', 'UTC')"),
            "55000",
        ),
    ] {
        let drop = format!("SELECT holdfast.drop_before({other})");
        let refused = postgres.try_execute(&drop).expect_err(&other);
        assert_eq!(refused.code().unwrap().code(), state, "{other}: {refused}");
    }
    postgres.execute("CREATE ROLE sink LOGIN IN ROLE holdfast_writer");
    let drop = format!("SELECT holdfast.drop_before({month})");
    let refused = postgres.try_query_as("sink", &drop).unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501", "{refused}");
}

/// Events that later ones may need.
fn assert_what_is_needed_stays(postgres: &Postgres, month: &str) {
    let kinds: Vec<String> = postgres.column(&format!(
        "SELECT DISTINCT kind FROM holdfast.audit_log WHERE at < {month} ORDER BY kind"
    ));
    let needed = [
        "payment_declined",
        "product_set",
        "promotion_set",
        "refund_succeeded",
    ];
    assert_eq!(kinds, needed);
}

fn until_no_letter_is_left(server: &Server) {
    let left = Request::get("/admin/dead-letters?sink=postgres").key(ADMIN);
    until("the dead letters are delivered", || {
        let listed = server.ask(&left).json();
        listed["dead_letters"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
}

#[test]
fn a_row_of_any_time_is_written_and_a_month_with_rows_stays_where_it_is() {
    let postgres = Postgres::start();
    postgres.psql(&printed());
    postgres.execute("CREATE ROLE sink LOGIN IN ROLE holdfast_writer");
    let as_sink = |sql: &str| postgres.try_query_as("sink", sql).expect("it is written");
    let row = |lsn: u32, at: &str| {
        format!("INSERT INTO holdfast.audit_log VALUES ({lsn}, '{at}', 'x', NULL, NULL, '{{}}')")
    };
    // 2030-03-01.
    let make = "SELECT holdfast.make_partitions(ARRAY[21974])";
    for (lsn, at) in [
        (1, "1970-01-01Z"),
        (2, "9999-12-31Z"),
        (3, "2030-03-31 23:59:59.999Z"),
    ] {
        as_sink(&row(lsn, at));
    }
    // A row of the month is there already, so the audit log keeps it where it is.
    as_sink(make);
    as_sink(&row(4, "2030-03-31Z"));
    assert_eq!(count(&postgres, "audit_log_default"), 4);
    as_sink(&row(5, "2030-04-01Z"));
    assert_eq!(count(&postgres, "audit_log_2030_04"), 1);
    assert_eq!(count(&postgres, "purchase_attempts_2030_03"), 0);
    let plan: Vec<String> = postgres.column(
        "EXPLAIN (COSTS OFF) SELECT * FROM holdfast.audit_log
         WHERE at >= '2030-04-01Z' AND at < '2030-05-01Z'",
    );
    let plan = plan.join("\n");
    assert!(
        plan.contains("audit_log_2030_04") && !plan.contains("_default"),
        "{plan}"
    );
}
