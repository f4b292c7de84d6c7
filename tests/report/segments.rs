//! Segments of buyers in a real PostgreSQL: what the database computes, held against a computation
//! by hand over a random history; in batches, cut off anywhere, again from scratch; by time alone;
//! who may do what. The way back into the core is in `segments_feedback.rs`.

use std::collections::BTreeMap;
use support::postgres_server::Postgres;
use support::{binary, until};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, Row};

const DAY_MS: i64 = 86_400_000;
const T0_MS: i64 = 1_700_000_000_000;
const LOG: &str = "00000000000000aa";

/// A database with the schema and a sink's cursor, and no core.
fn database() -> Postgres {
    let postgres = Postgres::start();
    let printed = binary().args(["schema", "postgres"]).output().unwrap();
    assert!(printed.status.success());
    postgres.execute(&String::from_utf8(printed.stdout).unwrap());
    postgres.execute(&format!(
        "INSERT INTO holdfast.sink_cursor (sink, log_id, lsn, generation, chain) VALUES ('postgres', '{LOG}', 0, '1-0000000000000000', 0);
         CREATE ROLE sink LOGIN IN ROLE holdfast_writer; CREATE ROLE analyst LOGIN IN ROLE holdfast_reader"
    ));
    postgres
}

/// A session of a job's, which holds its lock until it ends.
struct Session {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Session {
    fn open(postgres: &Postgres) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = postgres.url().replace("app@", "sink@");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        });
        Self { runtime, client }
    }

    fn row(&self, sql: &str) -> Row {
        self.runtime
            .block_on(self.client.query_one(sql, &[]))
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    fn begin(&self, now_ms: i64, fed: &str) -> Option<i64> {
        self.row(&format!(
            "SELECT holdfast.segments_begin('{LOG}', (SELECT lsn FROM holdfast.sink_cursor), {now_ms},
                'request', {fed})"
        ))
        .get(0)
    }

    /// What it was about, how many were seen and how many changed.
    fn step(&self, run: i64, batch: i32) -> (String, i64, i64) {
        let row = self.row(&format!(
            "SELECT phase, seen, changed FROM holdfast.segments_step({run}, {batch})"
        ));
        (row.get(0), row.get(1), row.get(2))
    }

    fn end(&self, run: i64) {
        self.row(&format!("SELECT holdfast.segments_end({run}, 0, NULL)"));
    }
}

/// One whole run; what its steps were about, how many were seen and how many changed.
fn run(postgres: &Postgres, now_ms: i64, batch: i32) -> (Vec<String>, i64, i64) {
    let session = Session::open(postgres);
    // Who was cut off lets go of the lock when the server notices.
    let run = until("the lock is free", || session.begin(now_ms, "NULL, NULL"));
    let (mut phases, mut seen, mut changed) = (Vec::new(), 0, 0);
    loop {
        let (phase, some_seen, some_changed) = session.step(run, batch);
        seen += some_seen;
        changed += some_changed;
        if phase == "done" {
            session.end(run);
            return (phases, seen, changed);
        }
        assert!(some_seen > 0 && some_seen <= i64::from(batch), "{phase}");
        phases.push(phase);
        assert!(phases.len() < 1_000, "a run comes to an end");
    }
}

/// A purchase as the test knows it.
struct Bought {
    user: String,
    currency: &'static str,
    amount: i64,
    refunded: i64,
    charged_back: i64,
    lost: bool,
    at_ms: i64,
}

impl Bought {
    fn left(&self) -> i64 {
        self.amount - self.refunded - self.charged_back
    }

    fn stands(&self) -> bool {
        !(self.lost || self.refunded > 0 && self.refunded == self.amount)
    }
}

/// A shop's history, in the test's memory and as rows.
struct History<'p> {
    postgres: &'p Postgres,
    bought: Vec<Bought>,
    lsn: i64,
    random: u64,
}

impl<'p> History<'p> {
    fn new(postgres: &'p Postgres, seed: u64) -> Self {
        Self {
            postgres,
            bought: Vec::new(),
            lsn: 64,
            random: seed,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn buy(&mut self, user: &str, currency: &'static str, amount: i64, at_ms: i64) -> String {
        let id = self.bought.len();
        self.bought.push(Bought {
            user: user.to_owned(),
            currency,
            amount,
            refunded: 0,
            charged_back: 0,
            lost: false,
            at_ms,
        });
        self.lsn += 64;
        format!(
            "INSERT INTO holdfast.shop_transactions (purchase_id, user_id, product_id, quantity, currency,
                unit_price, discount, amount, captured_lsn, captured_at, receipt_id, integrity_hash,
                receipt_key_id, receipt_hmac, updated_lsn)
             VALUES ('p{id}', '{user}', 'drop', 1, '{currency}', {amount}, 0, {amount}, {lsn},
                to_timestamp({at_ms} / 1000.0), 'r{id}', decode(repeat('00', 32), 'hex'), 'k',
                decode(repeat('00', 32), 'hex'), {lsn});",
            lsn = self.lsn,
        )
    }

    fn refund(&mut self, id: usize, amount: i64) -> String {
        self.bought[id].refunded += amount;
        self.lsn += 64;
        format!(
            "UPDATE holdfast.shop_transactions SET refunds = refunds + 1, refunded_amount = refunded_amount + {amount},
                updated_lsn = {} WHERE purchase_id = 'p{id}';",
            self.lsn,
        )
    }

    fn lose(&mut self, id: usize) -> String {
        let left = self.bought[id].left();
        self.bought[id].charged_back += left;
        self.bought[id].lost = true;
        self.lsn += 64;
        format!(
            "UPDATE holdfast.shop_transactions SET charged_back_amount = {left}, dispute = 'lost',
                dispute_lsn = {lsn}, updated_lsn = {lsn} WHERE purchase_id = 'p{id}';",
            lsn = self.lsn,
        )
    }

    /// So many events between these instants.
    fn events(&mut self, count: u64, from_ms: i64, to_ms: i64) -> Vec<String> {
        let span = u64::try_from(to_ms - from_ms).unwrap();
        (0..count)
            .map(|_| {
                let at_ms = from_ms + i64::try_from(self.random(span)).unwrap();
                let which = usize::try_from(self.random(self.bought.len() as u64 + 1)).unwrap();
                let open = self
                    .bought
                    .get(which)
                    .is_some_and(|it| !it.lost && it.left() > 0);
                match self.random(10) {
                    0 | 1 if open => {
                        let left = self.bought[which].left();
                        let part = i64::try_from(self.random(2)).unwrap();
                        self.refund(which, if part == 0 { left } else { (left / 2).max(1) })
                    }
                    2 if open => self.lose(which),
                    _ => {
                        let user = format!("u{}", self.random(40));
                        let (currency, scale) = [("USD", 1), ("KRW", 10), ("CHF", 1)]
                            [usize::try_from(self.random(3)).unwrap()];
                        let amount = i64::try_from(self.random(60_000)).unwrap() * scale;
                        self.buy(&user, currency, amount, at_ms)
                    }
                }
            })
            .collect()
    }

    /// Delivers them as the sink would: rows and cursor in one transaction.
    fn deliver(&self, rows: &[String]) {
        self.postgres.execute(&format!(
            "BEGIN; {} UPDATE holdfast.sink_cursor SET lsn = {}; COMMIT",
            rows.concat(),
            self.lsn + 64
        ));
    }

    /// By hand: segment, scores, purchases of each buyer; money of each buyer and currency.
    fn by_hand(&self, now_ms: i64) -> (Vec<String>, Vec<String>) {
        let mut buyers: BTreeMap<&str, BTreeMap<&str, Vec<&Bought>>> = BTreeMap::new();
        for it in &self.bought {
            let of_user = buyers.entry(&it.user).or_default();
            of_user.entry(it.currency).or_default().push(it);
        }
        let (mut segments, mut values) = (Vec::new(), Vec::new());
        for (user, currencies) in buyers {
            let (mut stand, mut monetary, mut last_ms) = (0, 0, 0);
            for (currency, bought) in currencies {
                let sum = |of: fn(&Bought) -> i64| bought.iter().map(|it| of(it)).sum::<i64>();
                let standing = bought.iter().filter(|it| it.stands()).count();
                let net = sum(Bought::left);
                let score = score(&money_bounds(currency), net);
                stand += standing;
                monetary = monetary.max(score);
                last_ms = last_ms.max(bought.iter().map(|it| it.at_ms).max().unwrap());
                values.push(format!(
                    "{user} {currency} {standing} {} {} {} {net} {score}",
                    sum(|it| it.amount),
                    sum(|it| it.refunded),
                    sum(|it| it.charged_back)
                ));
            }
            let age_ms = now_ms - last_ms;
            let recency = match age_ms {
                _ if age_ms < 30 * DAY_MS => 5,
                _ if age_ms < 90 * DAY_MS => 4,
                _ if age_ms < 180 * DAY_MS => 3,
                _ if age_ms < 365 * DAY_MS => 2,
                _ => 1,
            };
            let frequency = match stand {
                0 => 0,
                1 | 2 => stand,
                3 | 4 => 3,
                5..=9 => 4,
                _ => 5,
            };
            let segment = match (recency, frequency, monetary) {
                (_, 0, _) => "returned",
                (1, _, _) => "lapsed",
                (4.., 4.., 4..) => "champion",
                (3.., 3.., _) => "loyal",
                (2, 2.., _) => "at_risk",
                (5, 1, _) => "new",
                (_, 1, _) => "one_time",
                _ => "regular",
            };
            segments.push(format!(
                "{user} {segment} {recency} {frequency} {monetary} {stand}"
            ));
        }
        (segments, values)
    }
}

fn money_bounds(currency: &str) -> [i64; 4] {
    let scale = if currency == "KRW" { 10 } else { 1 };
    [5_000, 20_000, 50_000, 100_000].map(|it| it * scale)
}

fn score(bounds: &[i64; 4], net: i64) -> usize {
    1 + bounds.iter().filter(|bound| net >= **bound).count()
}

/// What the database has computed, likewise.
fn computed(postgres: &Postgres) -> (Vec<String>, Vec<String>) {
    let segments =
        "SELECT concat_ws(' ', user_id, segment, recency, frequency, monetary, purchases)
        FROM holdfast.user_segments ORDER BY user_id COLLATE \"C\"";
    let values =
        "SELECT concat_ws(' ', user_id, currency, purchases, captured, refunded, charged_back,
            net, monetary)
        FROM holdfast.user_values ORDER BY user_id COLLATE \"C\", currency COLLATE \"C\"";
    (postgres.column(segments), postgres.column(values))
}

/// Forgets all that was computed.
fn forget(postgres: &Postgres) {
    postgres.execute(
        "TRUNCATE holdfast.user_segments, holdfast.user_values;
         UPDATE holdfast.segment_state SET changes = 0, lsn = 0, settings = NULL, walking = NULL",
    );
}

#[test]
fn a_random_history_is_computed_as_by_hand_in_batches_cut_off_anywhere_and_from_scratch() {
    for seed in [0x9e37_79b9_7f4a_7c15, 0x1234_5678_9abc_def1] {
        let postgres = database();
        let mut history = History::new(&postgres, seed);
        let mut now_ms = T0_MS;
        let mut numbers = 0;
        for round in 0..12 {
            let later = now_ms + i64::try_from(history.random(70)).unwrap() * DAY_MS + 1_000;
            let rows = history.events(60, now_ms, later);
            now_ms = later;
            let (early, late) = rows.split_at(rows.len() / 2);
            let whole = history.lsn;
            history.lsn -= 64 * i64::try_from(late.len()).unwrap();
            history.deliver(early);
            history.lsn = whole;
            // Cut off after some steps, with more delivered between two of them.
            let session = Session::open(&postgres);
            let cut = until("the lock is free", || session.begin(now_ms, "NULL, NULL"));
            for _ in 0..round % 4 {
                session.step(cut, 5);
            }
            history.deliver(late);
            for _ in 0..history.random(5) {
                session.step(cut, 5);
            }
            drop(session);
            run(&postgres, now_ms, 7);
            let by_hand = history.by_hand(now_ms);
            assert_eq!(computed(&postgres), by_hand, "seed {seed:x}, round {round}");
            // Nothing is left to do, and doing it again changes nothing.
            let again = run(&postgres, now_ms, 7);
            assert_eq!(again, (vec![], 0, 0));
            let changes: i64 = postgres.value("SELECT changes FROM holdfast.segment_state");
            let last: i64 = postgres.value("SELECT max(change) FROM holdfast.user_segments");
            assert!(changes >= last && last > 0 && changes >= numbers);
            numbers = changes;
        }
        let incremental = computed(&postgres);
        forget(&postgres);
        let (phases, seen, _) = run(&postgres, now_ms, 1_000);
        assert_eq!(phases, ["all"], "once for each buyer");
        assert_eq!(usize::try_from(seen).unwrap(), incremental.0.len());
        assert_eq!(computed(&postgres), incremental, "from scratch");
        // The trail: every run has its row, and those that were cut off say so.
        let outcomes: Vec<String> = postgres.column(
            "SELECT outcome || ' ' || count(*) FROM holdfast.segment_runs GROUP BY outcome ORDER BY 1",
        );
        assert_eq!(outcomes, ["abandoned 12", "done 25"]);
        let wrong = postgres.query(
            "SELECT run FROM holdfast.segment_runs
             WHERE finished_at IS NULL OR from_lsn > to_lsn OR changed > seen",
        );
        assert!(wrong.is_empty());
    }
}

#[test]
fn a_buyer_lapses_by_time_alone_and_only_who_is_touched_is_computed_again() {
    let postgres = database();
    let mut history = History::new(&postgres, 1);
    let mut rows: Vec<String> = (0..50)
        .map(|number| history.buy(&format!("u{number}"), "USD", 1_000, T0_MS))
        .collect();
    rows.push(history.buy("old", "USD", 1_000, T0_MS - 300 * DAY_MS));
    history.deliver(&rows);
    let segment = |user: &str| -> String {
        postgres.value(&format!(
            "SELECT segment FROM holdfast.user_segments WHERE user_id = '{user}'"
        ))
    };
    assert_eq!(run(&postgres, T0_MS + 1, 10).1, 51);
    assert_eq!(
        (segment("u1"), segment("old")),
        ("new".into(), "one_time".into())
    );
    // Nobody did anything; one is a year old now, the other ones are not younger than 30 days.
    assert_eq!(run(&postgres, T0_MS + 29 * DAY_MS, 10), (vec![], 0, 0));
    let (phases, seen, changed) = run(&postgres, T0_MS + 65 * DAY_MS, 10);
    assert_eq!((seen, changed), (51, 51));
    assert!(phases.iter().all(|it| it == "aged"), "{phases:?}");
    assert_eq!(
        (segment("u1"), segment("old")),
        ("one_time".into(), "lapsed".into())
    );
    // One event: one buyer.
    let row = history.buy("u7", "USD", 1_000, T0_MS + 65 * DAY_MS);
    history.deliver(&[row]);
    assert_eq!(
        run(&postgres, T0_MS + 65 * DAY_MS, 10),
        (vec!["changed".to_owned()], 1, 1)
    );
    assert_eq!(segment("u7"), "regular");
    // A clock that is a little behind makes nobody younger; one that was ahead by days had aged them.
    let late = T0_MS + 65 * DAY_MS - 3_600_000;
    assert_eq!(run(&postgres, late, 100), (vec![], 0, 0));
    assert_eq!(segment("old"), "lapsed");
    let (phases, seen, _) = run(&postgres, T0_MS + 1, 100);
    assert_eq!((phases, seen), (vec!["all".to_owned()], 51));
    assert_eq!(
        (segment("u1"), segment("old")),
        ("new".into(), "one_time".into())
    );
    run(&postgres, T0_MS + 65 * DAY_MS, 100);
    assert_eq!(segment("old"), "lapsed");
    // What came late has an LSN that the job is past.
    postgres.execute(
        "UPDATE holdfast.shop_transactions SET refunds = 1, refunded_amount = 1000 WHERE user_id = 'old';
         INSERT INTO holdfast.segment_late (user_id) VALUES ('old'), ('old'), ('stranger')",
    );
    assert_eq!(run(&postgres, T0_MS + 65 * DAY_MS, 10).0, ["late"]);
    assert_eq!(segment("old"), "returned");
    let left: i64 = postgres.value("SELECT count(*) FROM holdfast.segment_late");
    assert_eq!(left, 0);
    // Worth: what was kept, and a year more at the pace of at least 90 days, weighed by recency 5.
    let worth = postgres.query(
        "SELECT historic, projected_year FROM holdfast.lifetime_values WHERE user_id = 'u7'",
    );
    assert_eq!(
        (worth[0].get::<_, i64>(0), worth[0].get::<_, i64>(1)),
        (2_000, 8_111)
    );
}

#[test]
fn a_buyer_whose_purchases_are_erased_is_in_no_segment_and_not_due_for_ever() {
    let postgres = database();
    let mut history = History::new(&postgres, 1);
    let mut rows: Vec<String> = ["ana", "bo", "cy"]
        .map(|user| history.buy(user, "USD", 1_000, T0_MS))
        .into();
    rows.push(history.buy("cy", "KRW", 1_000, T0_MS));
    history.deliver(&rows);
    assert_eq!(run(&postgres, T0_MS, 10).1, 3);
    postgres.execute(
        "DELETE FROM holdfast.shop_transactions
         WHERE user_id = 'ana' OR (user_id = 'cy' AND currency = 'KRW')",
    );
    // Fewer in a batch than are due: those who are erased do not stand before the others.
    let (phases, seen, _) = run(&postgres, T0_MS + 65 * DAY_MS, 1);
    assert_eq!((phases, seen), (vec!["aged".to_owned(); 3], 3));
    let left = (
        vec![
            "bo one_time 4 1 1 1".to_owned(),
            "cy one_time 4 1 1 1".to_owned(),
        ],
        vec![
            "bo USD 1 1000 0 0 1000 1".to_owned(),
            "cy USD 1 1000 0 0 1000 1".to_owned(),
        ],
    );
    assert_eq!(computed(&postgres), left);
    forget(&postgres);
    run(&postgres, T0_MS + 65 * DAY_MS, 10);
    assert_eq!(computed(&postgres), left, "from scratch");
}

#[test]
fn new_rules_compute_every_buyer_and_continue_after_an_interruption() {
    let postgres = database();
    let mut history = History::new(&postgres, 1);
    let rows: Vec<String> = (0..30)
        .map(|number| history.buy(&format!("u{number:02}"), "USD", 1_000, T0_MS))
        .collect();
    history.deliver(&rows);
    run(&postgres, T0_MS, 100);
    postgres.execute("UPDATE holdfast.segment_rules SET segment = 'fresh' WHERE segment = 'new'");
    let session = Session::open(&postgres);
    let cut = until("the lock is free", || session.begin(T0_MS, "NULL, NULL"));
    assert_eq!(session.step(cut, 12), ("all".to_owned(), 12, 12));
    let fresh = || -> i64 {
        postgres.value("SELECT count(*) FROM holdfast.user_segments WHERE segment = 'fresh'")
    };
    assert_eq!(fresh(), 12);
    // A second one waits, whoever asks; the first one's is not its.
    let other = Session::open(&postgres);
    assert_eq!(other.begin(T0_MS, "NULL, NULL"), None);
    let refused = other.runtime.block_on(other.client.query_one(
        "SELECT phase FROM holdfast.segments_step((SELECT max(run) FROM holdfast.segment_runs), 10)",
        &[],
    ));
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "55P03");
    drop(session);
    assert_eq!(
        run(&postgres, T0_MS, 12),
        (vec!["all".into(), "all".into()], 18, 18)
    );
    assert_eq!(fresh(), 30);
    // There and back again in the middle: nobody is left with the other rules.
    postgres.execute("UPDATE holdfast.segment_rules SET segment = 'newer' WHERE segment = 'fresh'");
    let session = Session::open(&postgres);
    let cut = until("the lock is free", || session.begin(T0_MS, "NULL, NULL"));
    session.step(cut, 12);
    drop(session);
    postgres.execute("UPDATE holdfast.segment_rules SET segment = 'fresh' WHERE segment = 'newer'");
    run(&postgres, T0_MS, 12);
    assert_eq!(fresh(), 30);
    // A database that went back behind what the core has taken over begins a new series.
    let series = || -> String { postgres.value("SELECT series FROM holdfast.segment_state") };
    let before = series();
    let session = Session::open(&postgres);
    for (change, kept) in [(1, true), (1_000, false)] {
        let fed = format!("'{before}', {change}");
        let run = until("the lock is free", || session.begin(T0_MS, &fed));
        session.end(run);
        assert_eq!(series() == before, kept, "{change}");
    }
    // Of another log, or further than the sink has come: nothing.
    for (log, delivered) in [("00000000000000bb", 0), (LOG, history.lsn + 65)] {
        let begun = session.runtime.block_on(session.client.query_one(
            &format!(
                "SELECT holdfast.segments_begin('{log}', {delivered}, 0, 'request', NULL, NULL)"
            ),
            &[],
        ));
        assert_eq!(begun.unwrap_err().code().unwrap().code(), "55000");
    }
}

#[test]
fn the_job_may_compute_and_nothing_else() {
    let postgres = database();
    let mut history = History::new(&postgres, 1);
    let row = history.buy("ana", "USD", 1_000, T0_MS);
    history.deliver(&[row]);
    run(&postgres, T0_MS, 10);
    for sql in [
        "DELETE FROM holdfast.shop_transactions",
        "DELETE FROM holdfast.audit_log",
        "DELETE FROM holdfast.user_segments",
        "DELETE FROM holdfast.segment_late",
        "DELETE FROM holdfast.segment_runs",
        "UPDATE holdfast.user_segments SET segment = 'champion'",
        "UPDATE holdfast.user_values SET captured = 0",
        "UPDATE holdfast.segment_state SET lsn = 0",
        "UPDATE holdfast.segment_rules SET segment = 'champion'",
        "UPDATE holdfast.segment_thresholds SET bound = 1",
        "UPDATE holdfast.segment_runs SET outcome = 'done'",
        "INSERT INTO holdfast.segment_rules (place, segment) VALUES (1, 'champion')",
        "INSERT INTO holdfast.user_values (user_id, currency, purchases, captured, refunded,
            charged_back, monetary) VALUES ('bo', 'USD', 1, 1, 0, 0, 1)",
        "UPDATE holdfast.shop_transactions SET amount = 0",
        "TRUNCATE holdfast.user_segments",
        "SELECT holdfast.segments_compute(ARRAY['ana'], now(), 1, 0)",
        "DROP FUNCTION holdfast.segments_step(bigint, integer)",
    ] {
        let refused = postgres.try_query_as("sink", sql).unwrap_err();
        assert_eq!(refused.code().map(SqlState::code), Some("42501"), "{sql}");
    }
    let begin = format!("SELECT holdfast.segments_begin('{LOG}', 0, 0, 'request', NULL, NULL)");
    for sql in [
        &begin[..],
        "SELECT holdfast.segments_step(1, 1)",
        "SELECT holdfast.segments_end(1, 0, NULL)",
        "INSERT INTO holdfast.segment_late (user_id) VALUES ('ana')",
    ] {
        let refused = postgres.try_query_as("analyst", sql).unwrap_err();
        assert_eq!(refused.code().map(SqlState::code), Some("42501"), "{sql}");
    }
    // Everybody who may read may see what came of it.
    for table in [
        "user_segments",
        "user_values",
        "segment_runs",
        "lifetime_values",
        "unlinked",
    ] {
        let read = postgres.try_query_as("analyst", &format!("TABLE holdfast.{table}"));
        assert!(read.is_ok(), "{table}");
    }
}
