//! What the schema says about itself: every table and column has a comment, and `docs/tables.md` is
//! printed from these comments (`HOLDFAST_BLESS=1` prints it again).

use super::printed;
use std::fmt::Write;
use support::postgres_server::Postgres;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tables.md");

const HEAD: &str = "# Tables: what is in PostgreSQL

The schema `holdfast`, printed from the comments of its tables and columns (`\\d+` in psql shows them,
too). [reporting.md](reporting.md#postgresql-reportpostgres) explains how they are written,
[segments.md](segments.md) how segments are computed. `holdfast_reader` may read all of them.
";

const RETENTION: &str = "
## Retention
`audit_log`, `purchase_attempts`, `user_actions` and `ledger_entries` are partitioned by month of `at`, UTC. The
sink makes each month, and the one after it, before it writes; what has no month goes to the partition
`…_default`, so no row is refused for its time. A query with bounds on `at` reads only its months.

`drop_before` drops all months before one, from `audit_log`, `purchase_attempts` and `user_actions`. It runs as
`holdfast_migrator`, while the sink goes on; it waits for readers of these tables. Resolve dead letters of
those months first.

```sql
SET ROLE holdfast_migrator;
SELECT holdfast.drop_before('2026-01-01 00:00:00+00');
RESET ROLE;
```

- The books stay: `ledger_entries`, `shop_transactions`, `user_rewards`, `promotion_uses`, `risk_profiles`.
- Events that later ones may need stay in `audit_log`: terms, refunds, disputes, declines.
- Nothing of a dropped month comes back: a late end of an attempt, or an event out of the dead letters, changes the
  other tables only. `retention` says from when on the tables are complete.
- If a restored copy takes back events afterwards, `risk_profiles.risk_blocks` of the buyers concerned is counted from
  the months that are left.
- To keep a month elsewhere, copy it first: `pg_dump --table='holdfast.audit_log_2025_12'`.
";

/// Tables before views, each with its columns in their order.
const RELATIONS: &str = "SELECT c.oid::bigint, c.relname::text, c.relkind = 'v',
        coalesce(obj_description(c.oid, 'pg_class'), '')
    FROM pg_class c
    WHERE c.relnamespace = 'holdfast'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        AND NOT c.relispartition
    ORDER BY c.relkind = 'v', c.relname";

fn columns_of(relation: i64) -> String {
    format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),
            coalesce(col_description(a.attrelid, a.attnum), '')
         FROM pg_attribute a
         WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
}

#[test]
fn every_table_and_column_has_a_comment_and_the_page_shows_them() {
    let postgres = Postgres::start();
    postgres.psql(&printed());
    let mut page = HEAD.to_owned();
    let mut without = Vec::new();
    for relation in postgres.query(RELATIONS) {
        let (name, comment): (String, String) = (relation.get(1), relation.get(3));
        let view = if relation.get(2) { " (view)" } else { "" };
        if comment.is_empty() {
            without.push(name.clone());
        }
        let _ = write!(
            page,
            "\n## `{name}`{view}\n{comment}\n\n| column | type | meaning |\n|---|---|---|\n"
        );
        for column in postgres.query(&columns_of(relation.get(0))) {
            let [column, kind, meaning]: [String; 3] = [0, 1, 2].map(|it| column.get(it));
            if meaning.is_empty() {
                without.push(format!("{name}.{column}"));
            }
            let kind = kind.replace("timestamp with time zone", "timestamptz");
            let _ = writeln!(page, "| `{column}` | `{kind}` | {meaning} |");
        }
    }
    page.push_str(RETENTION);
    assert!(without.is_empty(), "without a comment: {without:?}");
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let there = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        there == page,
        "docs/tables.md is not what the comments say: HOLDFAST_BLESS=1 prints it again"
    );
}
