//! The usual questions are answered by an index: their plans on tables of generated rows.

use super::printed;
use support::postgres_server::Postgres;

/// Rows as many buyers, products and days would make them: 40,000 purchases, 80,000 attempts and
/// 120,000 events.
const ROWS: &str = "
INSERT INTO holdfast.shop_transactions (purchase_id, user_id, product_id, quantity, currency,
        unit_price, discount, amount, captured_lsn, captured_at, receipt_id, integrity_hash,
        receipt_key_id, receipt_hmac, dispute, dispute_lsn, updated_lsn)
    SELECT 'p-' || n, 'user-' || n % 9000, 'drop-' || n % 50, 1, 'USD', 1999, 0, 1999, n,
        '2026-01-01Z'::timestamptz + n * interval '10 minutes', 'r-' || n,
        decode(repeat('ab', 32), 'hex'), 'k', decode(repeat('cd', 32), 'hex'),
        CASE WHEN n % 500 = 0 THEN 'opened' WHEN n % 300 = 0 THEN 'lost' END,
        CASE WHEN n % 500 = 0 OR n % 300 = 0 THEN n END, n
    FROM generate_series(1, 40000) n;
INSERT INTO holdfast.purchase_attempts (lsn, at, flow, result, reason, user_id, product_id, card_token)
    SELECT n, '2026-01-01Z'::timestamptz + n * interval '5 minutes', 'buy',
        CASE WHEN n % 2 = 0 THEN 'success' WHEN n % 21 = 0 THEN 'failed' ELSE 'refused' END,
        CASE WHEN n % 2 = 1 THEN (ARRAY['sold_out', 'per_user_limit', 'risk_blocked'])[1 + n % 3] END,
        'user-' || n % 9000, 'drop-' || n % 50, 'tok-' || n % 5000
    FROM generate_series(1, 80000) n;
INSERT INTO holdfast.audit_log (lsn, at, kind, user_id, purchase_id, event)
    SELECT n, '2026-01-01Z'::timestamptz + n * interval '3 minutes', kind, 'user-' || n % 9000,
        CASE WHEN n % 41 <> 0 THEN 'p-' || n / 3 END,
        jsonb_build_object('kind', kind, 'key_owner',
            CASE WHEN kind = 'admin_acted' THEN 'ops-' || n / 40 % 20 WHEN kind = 'payment_started' THEN 'shop' END,
            'traceparent', CASE WHEN n % 4 = 0 THEN '00-' || lpad((n / 8)::text, 32, '0') || '-b7ad6b7169203331-01' END)
    FROM generate_series(1, 120000) n, LATERAL (SELECT CASE WHEN n % 40 = 0 THEN 'admin_acted'
        WHEN n % 3 = 0 THEN 'payment_started' ELSE 'payment_captured' END AS kind) k;
INSERT INTO holdfast.promotion_uses (promotion_code, purchase_id, user_id, used_lsn, used_at)
    SELECT 'CODE-' || n % 200, 'p-' || n, 'user-' || n % 9000, n, now() FROM generate_series(1, 20000) n;
ANALYZE";

/// The question, the index that answers it, and the query.
const QUESTIONS: [(&str, &str, &str); 10] = [
    (
        "the purchases of a buyer",
        "shop_transactions_buyer",
        "SELECT purchase_id, product_id, amount, status FROM holdfast.shop_transactions
         WHERE user_id = 'user-7' ORDER BY captured_at DESC LIMIT 20",
    ),
    (
        "the story of a purchase",
        "audit_log_story",
        "SELECT at, kind, event FROM holdfast.audit_log WHERE purchase_id = 'p-77' ORDER BY lsn",
    ),
    (
        "refusals of a drop by reason and time",
        "purchase_attempts_refused",
        "SELECT reason, count(*) FROM holdfast.purchase_attempts
         WHERE result = 'refused' AND product_id = 'drop-7'
             AND at >= '2026-03-01Z' AND at < '2026-03-02Z' GROUP BY reason",
    ),
    (
        "revenue of a product by day",
        "shop_transactions_product",
        "SELECT date_trunc('day', captured_at, 'UTC') AS day, currency, sum(amount)
         FROM holdfast.shop_transactions
         WHERE product_id = 'drop-7' AND captured_at >= '2026-03-01Z' AND captured_at < '2026-03-08Z'
         GROUP BY day, currency",
    ),
    (
        "acts of an actor",
        "audit_log_actor",
        "SELECT at, kind, event FROM holdfast.admin_acts WHERE actor = 'ops-7' ORDER BY lsn DESC LIMIT 50",
    ),
    (
        "acts about a purchase",
        "audit_log_story",
        "SELECT at, actor, kind FROM holdfast.admin_acts WHERE purchase_id = 'p-80' ORDER BY lsn",
    ),
    (
        "open disputes",
        "shop_transactions_disputed",
        "SELECT purchase_id, user_id, amount FROM holdfast.shop_transactions
         WHERE dispute = 'opened' ORDER BY dispute_lsn",
    ),
    (
        "failed payments of a day by card",
        "purchase_attempts_failed",
        "SELECT card_token, count(*) FROM holdfast.purchase_attempts
         WHERE result = 'failed' AND at >= '2026-03-01Z' AND at < '2026-03-02Z' GROUP BY card_token",
    ),
    (
        "uses of a promotion",
        "promotion_uses_promotion",
        "SELECT count(*) FROM holdfast.promotion_uses WHERE lower(promotion_code) = lower('code-7')",
    ),
    (
        "events of a trace",
        "audit_log_trace",
        "SELECT at, kind FROM holdfast.audit_log WHERE event->>'traceparent' IS NOT NULL
             AND substr(event->>'traceparent', 4, 32) = lpad('77', 32, '0') ORDER BY lsn",
    ),
];

#[test]
fn the_usual_questions_are_answered_by_an_index() {
    let postgres = Postgres::start();
    postgres.psql(&printed());
    // Days of 2026.
    postgres
        .execute("SELECT holdfast.make_partitions(ARRAY(SELECT generate_series(20454, 20818)))");
    postgres.execute(ROWS);
    for (question, index, sql) in QUESTIONS {
        let plan: Vec<String> = postgres.column(&format!("EXPLAIN (COSTS OFF) {sql}"));
        let plan = plan.join("\n");
        // The index of a month has a name of its own.
        let of_months: Vec<String> = postgres.column(&format!(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'holdfast.{index}'::regclass"
        ));
        let mut names = of_months.iter().map(String::as_str).chain([index]);
        let by_index = names.any(|name| {
            plan.contains(&format!("using {name} ")) || plan.contains(&format!("on {name}"))
        });
        assert!(by_index, "{question}: {plan}");
        // Only months without rows are read as they are.
        for part in plan.split("Seq Scan on ").skip(1) {
            let name = part.split_whitespace().next().unwrap();
            let rows: i64 = postgres.value(&format!("SELECT count(*) FROM holdfast.{name}"));
            assert_eq!(rows, 0, "{question}: {plan}");
        }
        assert!(
            !postgres.query(sql).is_empty(),
            "{question} finds something"
        );
    }
}
