//! `rules_parser`: risk rules from an operator.
//!
//! Input: a byte that selects the form, then its bytes: TOML, JSON, or one condition within a rule.
//! Accepted rules can be evaluated, use limited counters, and can be parsed from the TOML that JSON
//! is converted to; a refusal names a place within the text.

use crate::{take, within};
use holdfast::engine::counter::{Counter, WINDOW_MS_MAX, WINDOW_MS_MIN};
use holdfast::engine::event::RuleHit;
use holdfast::engine::risk::program::{Counts, Facts, RULES_MAX};
use holdfast::engine::velocity::Named;
use holdfast::money::Currency;
use holdfast::risk::{Compiled, RulesError, SHIPPED, compile, toml_of_json};
use holdfast::time::UnixMs;

/// What parsing takes beside a few times its input.
const SLACK_BYTES: usize = 1 << 20;

/// The target.
pub fn run(mut input: &[u8]) {
    let [which] = take(&mut input);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    within(512 * text.len() + SLACK_BYTES, || match which % 3 {
        0 => toml(text),
        1 => match toml_of_json(text) {
            Ok(toml) => understood(&compile(&toml).expect("it is made of rules that are fine")),
            Err(error) => refused(text, &error),
        },
        _ => {
            let quoted = text.replace(['\'', '\n', '\r'], " ");
            toml(&format!(
                "[[rule]]\nname = 'r'\nwhen = '{quoted}'\nthen = 'block'\n"
            ));
        }
    });
}

fn toml(text: &str) {
    match compile(text) {
        Ok(compiled) => understood(&compiled),
        Err(error) => refused(text, &error),
    }
}

fn refused(text: &str, error: &RulesError) {
    let lines = text.split('\n').count();
    assert!((1..=lines.max(1)).contains(&error.line), "{error}");
    assert!(error.column >= 1 && !error.message.is_empty());
}

struct Fixed(u32);

impl Counts for Fixed {
    fn count(&self, _: Counter, _: &Named<'_>, _: u64, cap: u32) -> Option<u32> {
        assert!(cap <= 1_001);
        (self.0 > 0).then(|| self.0.min(cap))
    }

    fn captured(&self, _: &Named<'_>, _: Currency, _: u64) -> i64 {
        i64::from(self.0)
    }
}

fn understood(compiled: &Compiled) {
    let count = compiled.set.rules().count();
    assert!(count <= RULES_MAX && count == compiled.shown.len());
    for (rule, ask) in compiled.set.asks() {
        assert!(rule < count && (1..=1_001).contains(&ask.depth));
        assert!((WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&ask.window_ms));
    }
    for count in [0, 1, 1_001] {
        let facts = Facts {
            named: Named::default(),
            at: UnixMs::new(1_800_000_000_000),
            amount: i64::from(count),
            currency: Currency::parse("USD").expect("ISO 4217 lists it"),
            quantity: count,
            risk_score: None,
            account_since: None,
            segment: None,
        };
        let found = compiled.set.evaluate(&facts, &Fixed(count));
        let hits: Vec<RuleHit> = compiled.set.hits(found);
        let strictest = hits.iter().map(|hit| hit.outcome).max();
        assert_eq!(found.strictest(), strictest);
    }
}

/// The shipped rules, and a few that are not fine.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let conditions = "not (count(declined by card_token last 10m) >= 3 and amount > 5_000) or currency == \"USD\" and account_age < 7d";
    let seeds: [(&str, u8, &str); 6] = [
        ("shipped", 0, SHIPPED),
        (
            "escapes",
            0,
            "[[rule]]\nname = \"a\"\nwhen = \"segment == \\\"vip\\\" adn quantity > 1\"\nthen = \"observe\"\n",
        ),
        (
            "long-string",
            0,
            "[[rule]]\nname = 'a'\nthen = 'review'\nwhen = \"\"\"\namount(captured by user last 7d) \\\n  > 1\"\"\"\n",
        ),
        (
            "json",
            1,
            r#"{"rule": [{"name": "a b", "when": "currency == \"USD\" and quantity >= 2", "then": "block"}]}"#,
        ),
        ("condition", 2, conditions),
        (
            "condition-wrong",
            2,
            "distinct(card_token by product last 1h) > 1",
        ),
    ];
    let seed = |(name, which, text): (&str, u8, &str)| {
        let mut bytes = vec![which];
        bytes.extend_from_slice(text.as_bytes());
        (name.to_owned(), bytes)
    };
    seeds.into_iter().map(seed).collect()
}
