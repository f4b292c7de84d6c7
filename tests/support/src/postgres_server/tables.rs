//! What the sink's tables have to say, beside the log that they come from.

use super::Postgres;
use crate::binary;
use serde_json::Value;
use std::path::Path;

/// The events of a stopped directory.
pub fn events(data_dir: &Path) -> Vec<Value> {
    let printed = binary().arg("log").arg(data_dir).output().unwrap();
    assert!(printed.status.success());
    let lines = String::from_utf8(printed.stdout).unwrap();
    lines
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

/// Every event of the log once, in the audit log; what follows from it, in the other tables; and
/// every sum as it must be.
pub fn assert_tables_are_the_log(postgres: &Postgres, events: &[Value]) {
    let rows = postgres.query("SELECT lsn, event FROM holdfast.audit_log ORDER BY lsn");
    let cursor: i64 = postgres.value("SELECT lsn FROM holdfast.sink_cursor");
    let delivered = events
        .iter()
        .filter(|it| it["lsn"].as_i64().unwrap() < cursor);
    let delivered: Vec<&Value> = delivered.collect();
    assert_eq!(
        rows.len(),
        delivered.len(),
        "I7: a prefix of the log, each event once"
    );
    for (row, event) in rows.iter().zip(&delivered) {
        let text: i64 = row.get(0);
        assert_eq!(text, event["lsn"].as_i64().unwrap());
    }
    let differing = postgres.query(
        "SELECT lsn FROM holdfast.audit_log
         WHERE (event->>'lsn')::bigint <> lsn OR event->>'kind' <> kind",
    );
    assert!(differing.is_empty());
    let counted = |kind: &str| delivered.iter().filter(|it| it["kind"] == kind).count();
    let count = |sql: &str| -> usize {
        let count: i64 = postgres.value(&format!("SELECT count(*) FROM holdfast.{sql}"));
        usize::try_from(count).unwrap()
    };
    assert_eq!(count("shop_transactions"), counted("payment_captured"));
    let holds = delivered
        .iter()
        .filter(|it| it["kind"] == "hold_placed" && it["flow"] == "hold");
    let begun = holds.count()
        + [
            "payment_started",
            "attempt_refused",
            "refund_started",
            "tokens_spent",
        ]
        .map(counted)
        .iter()
        .sum::<usize>();
    assert_eq!(
        count("purchase_attempts"),
        begun,
        "every attempt, refused ones too"
    );
    assert_eq!(count("ledger_unbalanced"), 0, "the ledger sums to zero");
    assert_eq!(count("revenue_mismatch"), 0, "I5");
    assert_eq!(
        count("unlinked"),
        0,
        "actions and rewards hang on purchases"
    );
    let ended = "purchase_attempts WHERE (result = 'pending') <> (ended_lsn IS NULL)";
    assert_eq!(count(ended), 0);
}
