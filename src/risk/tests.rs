//! The language: what it takes, what it means, where it says that something is wrong.

use super::{SHIPPED, TEXT_BYTES_MAX, compile, toml_of_json};
use crate::engine::counter::{By, Counted, Counter};
use crate::engine::event::RuleOutcome;
use crate::engine::risk::program::{Counts, Facts};
use crate::engine::velocity::Named;
use crate::ids::Segment;
use crate::money::Currency;
use crate::time::UnixMs;
use std::cell::Cell;

/// Counters that are all the same, and remember the window they were asked for.
struct Fixed {
    count: u32,
    captured: i64,
    asked_since: Cell<u64>,
}

impl Counts for Fixed {
    fn count(&self, _: Counter, _: &Named<'_>, since_ms: u64, cap: u32) -> Option<u32> {
        self.asked_since.set(since_ms);
        Some(self.count.min(cap))
    }

    fn captured(&self, _: &Named<'_>, currency: Currency, since_ms: u64) -> i64 {
        self.asked_since.set(since_ms);
        assert_eq!(currency.as_str(), "USD");
        self.captured
    }
}

const AT: UnixMs = UnixMs::new(1_800_000_000_000);

fn rule(when: &str) -> String {
    format!("[[rule]]\nname = \"r\"\nwhen = '{when}'\nthen = \"block\"\n")
}

fn holds(when: &str, count: u32) -> bool {
    let compiled = compile(&rule(when)).unwrap_or_else(|error| panic!("{when}: {error}"));
    let vip = Segment::parse("vip").expect("an id");
    let facts = Facts {
        named: Named::default(),
        at: AT,
        amount: 5_000,
        currency: Currency::parse("USD").expect("listed"),
        quantity: 2,
        risk_score: None,
        account_since: Some(UnixMs::new(AT.get() - 7 * 86_400_000)),
        segment: Some(&vip),
    };
    let counts = Fixed {
        count,
        captured: 700,
        asked_since: Cell::new(0),
    };
    compiled.set.evaluate(&facts, &counts).strictest().is_some()
}

/// A number that every counter has, a condition, and whether it holds.
const TABLE: &[(u32, &str, bool)] = &[
    (3, "count(expired by device last 1h) >= 3", true),
    (3, "count(declined by card_token last 10m) >= 3", true),
    (2, "count(declined by card_token last 10m) >= 3", false),
    (3, "count(attempt by user last 10s) > 3", false),
    (4, "count(attempt by user last 10s) > 3", true),
    (3, "count(purchase by product last 30d) == 3", true),
    (4, "count(purchase by product last 30d) == 3", false),
    (4, "count(purchase by ip last 30d) != 3", true),
    (3, "count(attempt by device last 1h) <= 3", true),
    (4, "count(attempt by device last 1h) <= 3", false),
    (2, "count(attempt by device last 1h) < 3", true),
    (3, "count(attempt by device last 1h) < 3", false),
    (5, "distinct(card_token by user last 1d) >= 5", true),
    (5, "distinct(user by card_token last 1d) > 5", false),
    (0, "amount(captured by user last 7d) >= 700", true),
    (0, "amount(captured by user last 7d) > 700", false),
    (0, "amount >= 5_000", true),
    (0, "amount < 5000", false),
    (0, "quantity == 2", true),
    (0, "currency == \"USD\"", true),
    (0, "currency != \"USD\"", false),
    (0, "segment == \"vip\"", true),
    (0, "segment == \"new\"", false),
    (0, "segment != \"new\"", true),
    // Not known: neither holds, and `not` turns that over.
    (0, "risk_score >= 0", false),
    (0, "risk_score < 1000", false),
    (0, "not risk_score >= 500", true),
    (0, "account_age >= 7d", true),
    (0, "account_age > 7d", false),
    (0, "account_age < 168h", false),
    (0, "quantity == 2 and amount == 1", false),
    (0, "quantity == 2 or amount == 1", true),
    // `and` binds closer than `or`, `not` closer than both.
    (0, "quantity == 2 or quantity == 2 and amount == 1", true),
    (0, "(quantity == 2 or quantity == 2) and amount == 1", false),
    (0, "amount == 1 and quantity == 2 or quantity == 2", true),
    (0, "not quantity == 2 and amount == 1", false),
    (0, "not (quantity == 2 and amount == 1)", true),
    (0, "not not quantity == 2", true),
    (
        0,
        "not (amount == 1 or not (quantity == 2 and currency == \"USD\"))",
        true,
    ),
    (0, "quantity == 1 or quantity == 3 or quantity == 2", true),
    (
        0,
        "quantity == 2 and amount == 5000 and currency == \"EUR\"",
        false,
    ),
];

#[test]
fn conditions_mean_what_they_say() {
    for (count, when, expected) in TABLE {
        assert_eq!(holds(when, *count), *expected, "{when} with {count}");
    }
}

#[test]
fn and_or_not_agree_with_logic_on_every_assignment() {
    // Three facts that are each true or false, in every shape of two operators.
    for bits in 0..8_u32 {
        let is = |place: u32| bits >> place & 1 == 1;
        let said = [0, 1, 2].map(|place| {
            if is(place) {
                "quantity == 2"
            } else {
                "quantity == 1"
            }
        });
        let [first, second, third] = said;
        for (when, expected) in [
            (
                format!("{first} and {second} or {third}"),
                is(0) && is(1) || is(2),
            ),
            (
                format!("{first} or {second} and {third}"),
                is(0) || is(1) && is(2),
            ),
            (
                format!("({first} or {second}) and {third}"),
                (is(0) || is(1)) && is(2),
            ),
            (
                format!("not ({first} and {second}) or {third}"),
                !(is(0) && is(1)) || is(2),
            ),
            (
                format!("not {first} and not ({second} or {third})"),
                bits == 0,
            ),
        ] {
            assert_eq!(holds(&when, 0), expected, "{when}");
        }
    }
}

/// A condition, the column in it where it is wrong, and words that the message has.
const WRONG: &[(&str, usize, &str)] = &[
    ("", 1, "found the end"),
    (
        "cuont(attempt by user last 10m) > 1",
        1,
        "did you mean `count`?",
    ),
    (
        "count(declines by user last 10m) > 1",
        7,
        "did you mean `declined`?",
    ),
    (
        "count(attempt by card last 10m) > 1",
        18,
        "did you mean `card_token`?",
    ),
    (
        "count(attempt on user last 10m) > 1",
        15,
        "expected `by`, found `on`",
    ),
    (
        "count(attempt by user lst 10m) > 1",
        23,
        "did you mean `last`?",
    ),
    ("count(attempt by user last 9s) > 1", 28, "from 10s to 30d"),
    ("count(attempt by user last 31d) > 1", 28, "from 10s to 30d"),
    (
        "count(attempt by user last 10) > 1",
        28,
        "a duration such as 10m",
    ),
    ("count(attempt by user last 10w) > 1", 30, "s, m, h or d"),
    ("count(attempt by user last 10m > 1", 32, "expected `)`"),
    (
        "count(attempt by user last 10m) = 1",
        33,
        "expected `==`, found `=`",
    ),
    ("count(attempt by user last 10m) > 1001", 35, "at most 1000"),
    (
        "count(attempt by user last 10m) > ten",
        35,
        "expected a number, found `ten`",
    ),
    (
        "distinct(card_token by product last 1h) > 1",
        24,
        "expected `user` or `ip` or `device`",
    ),
    (
        "distinct(user by user last 1h) > 1",
        18,
        "`card_token` or `ip` or `device`",
    ),
    ("amount(captured by ip last 1h) > 1", 20, "expected `user`"),
    ("amount > 10m", 10, "expected a number, found a duration"),
    ("account_age > 7", 15, "a duration such as 7d"),
    ("currency > \"USD\"", 10, "texts have no order"),
    ("currency == \"usd\"", 13, "ISO 4217"),
    ("currency == USD", 13, "found `USD`"),
    ("segment == \"a b\"", 12, "segment's name"),
    ("amount > 1 amd quantity > 1", 12, "did you mean `and`?"),
    ("amount > 1 && quantity > 1", 12, "expected `and`"),
    ("amount > 1)", 11, "found `)`"),
    ("(amount > 1", 12, "expected `)`, found the end"),
    ("amount > \"1", 10, "found the end"),
    ("amount > 99999999999999999999", 10, "below"),
    ("ä > 1", 1, "no word begins"),
];

#[test]
fn what_is_wrong_is_said_with_line_column_and_the_nearest_word() {
    for (when, column, words) in WRONG {
        let text = format!("# a comment\n{}", rule(when));
        let error = compile(&text).expect_err(when);
        // The condition begins behind `when = '`.
        let place = (error.line, error.column);
        assert_eq!(place, (4, "when = '".len() + column), "{when}: {error}");
        assert!(error.message.contains(words), "{when}: {error}");
    }
}

#[test]
fn places_are_found_through_escapes_and_long_strings() {
    let head = "[[rule]]\nname = \"r\"\nthen = \"block\"\n";
    let cases = [
        ("when = \"currency == \\\"USD\\\" amd\"", (4, 29)),
        ("when = \"currency == \\u0022USD\\u0022 amd\"", (4, 37)),
        ("when = \"\"\"\namount > 1\n  amd\"\"\"", (6, 3)),
        ("when = '''amount > 1\n  amd'''", (5, 3)),
        ("when = \"\"\"amount > 1 \\\n   amd\"\"\"", (5, 4)),
    ];
    for (when, place) in cases {
        let error = compile(&format!("{head}{when}\n")).expect_err(when);
        assert_eq!((error.line, error.column), place, "{when}: {error}");
    }
    let json = "{\"rule\": [\n {\"then\":\"block\", \"name\":\"a\", \"when\":\"amount > 1\"},\n {\"name\":\"when\", \"when\":\"currency == \\\"USD\\\" amd\", \"then\":\"block\"}]}";
    let error = toml_of_json(json).expect_err("amd");
    assert_eq!((error.line, error.column), (3, 46), "{error}");
}

#[test]
fn documents_are_refused_with_their_place() {
    let long = format!(
        "[[rule]]\nname = \"{}\"\nwhen = 'amount > 1'\nthen = 'block'",
        "a".repeat(65)
    );
    let many = "amount > 1 or ".repeat(64) + "amount > 1";
    let deep = format!("{}amount > 1{}", "(".repeat(17), ")".repeat(17));
    let (many, deep) = (rule(&many), rule(&deep));
    let one = "[[rule]]\nname = 'rNUMBER'\nwhen = 'amount > 1'\nthen = 'observe'\n";
    let crowd: Vec<String> = (0..129)
        .map(|number| one.replace("NUMBER", &number.to_string()))
        .collect();
    let crowd = crowd.concat();
    let huge = "#".repeat(TEXT_BYTES_MAX + 1);
    let cases: [(&str, usize, &str); 14] = [
        ("[[rules]]", 1, "did you mean `rule`?"),
        ("[rule]\nname = 'a'", 1, "[[rule]]"),
        ("rule = 1", 1, "[[rule]]"),
        ("[[rule]]\nname = 'a'\nwhen = 'amount > 1'", 1, "no `then`"),
        ("[[rule]]\nnmae = 'a'", 2, "did you mean `name`?"),
        ("[[rule]]\nname = 7", 2, "text in quotes"),
        (
            "[[rule]]\nname = 'a'\nwhen = 'amount > 1'\nthen = 'blok'",
            4,
            "did you mean `block`?",
        ),
        ("[[rule]]\nname = \"a", 2, "not TOML"),
        (&long, 2, "1 to 64 characters"),
        (&many, 3, "at most 64 comparisons"),
        (&deep, 3, "at most 16 deep"),
        (&crowd, 513, "more than 128 rules"),
        (&huge, 1, "more than 65536 bytes"),
        (
            "[[rule]]\nname='a'\nwhen='amount>1'\nthen='block'\n[[rule]]\nname='a'\nwhen='amount>1'\nthen='block'",
            6,
            "have this name",
        ),
    ];
    for (text, line, words) in cases {
        let error = compile(text).expect_err(words);
        assert_eq!(error.line, line, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    for (json, words) in [
        ("{\"rule\": [{\"name\":\"a\"}]}", "another shape"),
        (
            "{\"rule\": [{\"name\":\"a\",\"when\":\"amount>1\",\"then\":\"block\",\"x\":1}]}",
            "another shape",
        ),
        ("{", "not JSON"),
    ] {
        let error = toml_of_json(json).expect_err(json);
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn json_becomes_the_toml_that_says_the_same() {
    let json = r#"{"rule": [{"name": "a", "when": "currency == \"USD\" and amount > 1", "then": "review"}]}"#;
    let toml = toml_of_json(json).expect("it is fine");
    let compiled = compile(&toml).expect("so is that");
    assert_eq!(compiled.shown[0].when, "currency == \"USD\" and amount > 1");
    assert_eq!(compiled.shown[0].then, RuleOutcome::Review);
    assert_eq!(compile("").expect("no rules").shown, []);
}

#[test]
fn the_shipped_rules_compile_and_block_nobody_by_address() {
    let compiled = compile(SHIPPED).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(compiled.shown.len(), 14);
    for (rule, ask) in compiled.set.asks() {
        let shown = &compiled.shown[rule];
        let by_address = ask.counter.by() == By::Ip;
        assert!(!by_address || shown.then != RuleOutcome::Block, "{shown:?}");
    }
}

#[test]
fn the_strictest_rule_that_holds_wins_and_every_hit_is_named() {
    let text = "
        [[rule]]\nname = 'o'\nwhen = 'quantity >= 1'\nthen = 'observe'
        [[rule]]\nname = 'b'\nwhen = 'quantity >= 3'\nthen = 'block'
        [[rule]]\nname = 'r'\nwhen = 'quantity >= 2'\nthen = 'review'";
    let compiled = compile(text).expect("it is fine");
    let expected: [(u32, Option<RuleOutcome>, &[&str]); 4] = [
        (0, None, &[]),
        (1, Some(RuleOutcome::Observe), &["o"]),
        (2, Some(RuleOutcome::Review), &["o", "r"]),
        (3, Some(RuleOutcome::Block), &["o", "b", "r"]),
    ];
    for (quantity, strictest, names) in expected {
        let facts = Facts {
            named: Named::default(),
            at: AT,
            amount: 0,
            currency: Currency::parse("USD").expect("listed"),
            quantity,
            risk_score: None,
            account_since: None,
            segment: None,
        };
        let counts = Fixed {
            count: 0,
            captured: 0,
            asked_since: Cell::new(0),
        };
        let found = compiled.set.evaluate(&facts, &counts);
        assert_eq!(found.strictest(), strictest);
        let hits = compiled.set.hits(found);
        let hit: Vec<_> = hits.iter().map(|hit| hit.rule.as_str()).collect();
        assert_eq!(hit, names);
    }
}

#[test]
fn a_window_ends_where_an_instant_is_exactly_as_old_as_it_is_long() {
    let compiled = compile(&rule("count(attempt by user last 10s) >= 1")).expect("it is fine");
    let facts = Facts {
        named: Named::default(),
        at: AT,
        amount: 0,
        currency: Currency::parse("USD").expect("listed"),
        quantity: 1,
        risk_score: None,
        account_since: None,
        segment: None,
    };
    let counts = Fixed {
        count: 0,
        captured: 0,
        asked_since: Cell::new(0),
    };
    compiled.set.evaluate(&facts, &counts);
    assert_eq!(counts.asked_since.get(), AT.get() - 10_000 + 1);
}

#[test]
fn depths_are_what_the_comparisons_need() {
    let counter = Counter::new(Counted::Attempt, By::User).expect("there is one");
    for (sign, depth) in [
        (">=", 7),
        ("<", 7),
        (">", 8),
        ("<=", 8),
        ("==", 8),
        ("!=", 8),
    ] {
        let compiled = compile(&rule(&format!("count(attempt by user last 10s) {sign} 7")));
        let compiled = compiled.expect("it is fine");
        let asks: Vec<_> = compiled.set.asks().collect();
        assert_eq!(asks.len(), 1);
        assert_eq!(
            (asks[0].1.counter, asks[0].1.depth),
            (counter, depth),
            "{sign}"
        );
    }
}
