//! Owns the document around the conditions: `[[rule]]` tables with `name`, `when` and `then`, as
//! TOML, which is what the log keeps, or as JSON, which becomes TOML.

use super::language::{self, nearest};
use super::place::{RulesError, WrittenString};
use super::{TEXT_BYTES_MAX, WHEN_BYTES_MAX};
use crate::engine::event::{RULE_NAME_CHARS_MAX, RuleName, RuleOutcome};
use crate::engine::risk::program::{RULES_MAX, Rule, RuleSet};
use crate::ids::holds_card_number;
use serde::Deserialize;
use std::fmt::Write as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text of rules, understood.
#[derive(Debug)]
pub struct Compiled {
    /// What the engine evaluates.
    pub set: RuleSet,
    /// The rules in their order, as they were written.
    pub shown: Vec<WrittenRule>,
}

/// A rule as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRule {
    pub name: String,
    /// Its condition.
    pub when: String,
    /// What follows.
    pub then: RuleOutcome,
}

const CARD_NUMBER: &str = "rules must not contain a card number";

const KEYS: [&str; 3] = ["name", "when", "then"];

struct RuleWritten {
    /// Where its table begins.
    at: usize,
    fields: [Option<WrittenString>; 3],
}

/// The rules that `text` says, which is TOML.
pub fn compile(text: &str) -> Result<Compiled, RulesError> {
    bounded(text)?;
    // Comments are kept, too; escapes in strings are read below.
    if holds_card_number(text) {
        let lines = text.split_inclusive('\n').scan(0, |at, line| {
            let begins = *at;
            *at += line.len();
            Some((begins, line))
        });
        let mut found = lines.filter(|(_, line)| holds_card_number(line));
        let at = found.next().map_or(0, |(begins, _)| begins);
        return Err(RulesError::at(text, at, CARD_NUMBER));
    }
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().next().unwrap_or("is not TOML");
        RulesError::at(text, at, format!("this is not TOML: {message}"))
    })?;
    let mut rules = Vec::new();
    for (key, value) in table.get_ref() {
        if key.get_ref() != "rule" {
            let at = key.span().start;
            let message = unknown("key", key.get_ref(), &["rule"]);
            return Err(RulesError::at(text, at, message));
        }
        let DeValue::Array(entries) = value.get_ref() else {
            let message = "expected [[rule]], with double brackets";
            return Err(RulesError::at(text, value.span().start, message));
        };
        for entry in entries {
            rules.push(rule_written(text, entry)?);
        }
    }
    build(text, &rules)
}

/// The same of rules that are to be put in force: at least one. A text that was emptied by accident
/// must not switch all rules off.
pub fn compile_to_enforce(text: &str) -> Result<Compiled, RulesError> {
    let compiled = compile(text)?;
    if compiled.shown.is_empty() {
        let message = "there is no rule; to let everything through, put one that only observes";
        return Err(RulesError::at(text, 0, message));
    }
    Ok(compiled)
}

fn rule_written(text: &str, entry: &Spanned<DeValue<'_>>) -> Result<RuleWritten, RulesError> {
    let at = entry.span().start;
    let DeValue::Table(table) = entry.get_ref() else {
        return Err(RulesError::at(
            text,
            at,
            "expected a table with name, when and then",
        ));
    };
    let mut rule = RuleWritten {
        at,
        fields: [None, None, None],
    };
    for (key, value) in table {
        let Some(place) = KEYS.iter().position(|known| known == key.get_ref()) else {
            let message = unknown("key", key.get_ref(), &KEYS);
            return Err(RulesError::at(text, key.span().start, message));
        };
        let DeValue::String(said) = value.get_ref() else {
            let message = format!("expected {} to be a text in quotes", KEYS[place]);
            return Err(RulesError::at(text, value.span().start, message));
        };
        rule.fields[place] = Some(WrittenString {
            value: said.clone().into_owned(),
            span: value.span(),
        });
    }
    Ok(rule)
}

fn build(text: &str, written: &[RuleWritten]) -> Result<Compiled, RulesError> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut shown = Vec::new();
    for rule in written {
        if rules.len() == RULES_MAX {
            let message = format!("there are more than {RULES_MAX} rules");
            return Err(RulesError::at(text, rule.at, message));
        }
        let mut fields = rule.fields.iter().zip(KEYS).map(|(field, key)| {
            let missing = || RulesError::at(text, rule.at, format!("this rule has no `{key}`"));
            field.as_ref().ok_or_else(missing)
        });
        let mut field = || fields.next().expect("there are three");
        let (name, when, then) = (field()?, field()?, field()?);
        let at = |written: &WrittenString, message: String| {
            RulesError::at(text, written.span.start, message)
        };
        for field in [name, when] {
            if holds_card_number(&field.value) {
                return Err(at(field, CARD_NUMBER.to_owned()));
            }
        }
        let parsed = RuleName::parse(&name.value).ok_or_else(|| {
            let message = format!(
                "expected a name of 1 to {RULE_NAME_CHARS_MAX} characters of A-Z a-z 0-9 _ . : - and single spaces between them"
            );
            at(name, message)
        })?;
        if rules.iter().any(|rule| rule.name == parsed) {
            return Err(at(name, "two rules have this name".to_owned()));
        }
        let outcome = RuleOutcome::ALL
            .into_iter()
            .find(|it| it.as_str() == then.value)
            .ok_or_else(|| at(then, unknown_outcome(&then.value)))?;
        if when.value.len() > WHEN_BYTES_MAX {
            let message = format!("a condition has at most {WHEN_BYTES_MAX} bytes");
            return Err(at(when, message));
        }
        let tests = language::compile(&when.value)
            .map_err(|wrong| RulesError::at(text, when.locate(text, wrong.at), wrong.message))?;
        shown.push(WrittenRule {
            name: name.value.clone(),
            when: when.value.clone(),
            then: outcome,
        });
        rules.push(Rule {
            name: parsed,
            outcome,
            tests,
        });
    }
    let set = RuleSet::new(rules).expect("names are distinct, tests lead on, both are few enough");
    Ok(Compiled { set, shown })
}

fn bounded(text: &str) -> Result<(), RulesError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the rules have more than {TEXT_BYTES_MAX} bytes");
        return Err(RulesError::at(text, TEXT_BYTES_MAX, message));
    }
    Ok(())
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let listed: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    let mut message = format!("expected {}, found another {what}", listed.join(", "));
    if let Some(near) = nearest(found, known) {
        let _ = write!(message, "; did you mean `{near}`?");
    }
    message
}

fn unknown_outcome(found: &str) -> String {
    unknown("word", found, &RuleOutcome::ALL.map(RuleOutcome::as_str))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRules {
    rule: Vec<JsonRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRule {
    name: String,
    when: String,
    then: String,
}

/// The rules of a JSON body, `{"rule": [{"name", "when", "then"}]}`, as TOML that compiles.
pub fn toml_of_json(body: &str) -> Result<String, RulesError> {
    bounded(body)?;
    let rules: JsonRules = serde_json::from_str(body).map_err(|error| RulesError {
        line: error.line(),
        column: error.column().max(1),
        message: json_problem(&error),
    })?;
    let mut spans = json_fields(body);
    let mut written = Vec::new();
    let mut toml = String::new();
    for rule in rules.rule {
        let mut fields = [None, None, None];
        // Each rule has its three keys once, in whatever order; serde refuses any other.
        for _ in KEYS {
            let Some((place, span)) = spans.next() else {
                break;
            };
            let value = [&rule.name, &rule.when, &rule.then][place].clone();
            fields[place] = Some(WrittenString { value, span });
        }
        let starts = fields.iter().flatten().map(|it| it.span.start);
        written.push(RuleWritten {
            at: starts.min().unwrap_or(0),
            fields,
        });
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let (name, when, then) = (quoted(&rule.name), quoted(&rule.when), quoted(&rule.then));
        let _ = writeln!(
            toml,
            "[[rule]]\nname = {name}\nwhen = {when}\nthen = {then}\n"
        );
    }
    build(body, &written)?;
    Ok(toml)
}

/// What serde says, without what stood there.
fn json_problem(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "the JSON has another shape",
        _ => "this is not JSON",
    };
    format!("{what}; expected {{\"rule\": [{{\"name\": …, \"when\": …, \"then\": …}}]}}")
}

/// Where the values of `name`, `when` and `then` stand in JSON that was found well-formed.
fn json_fields(body: &str) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + '_ {
    let mut strings = json_strings(body);
    let mut before: Option<std::ops::Range<usize>> = None;
    std::iter::from_fn(move || {
        for span in strings.by_ref() {
            let key = before.replace(span.clone());
            let Some(key) = key else { continue };
            let between = body[key.end..span.start].trim();
            let said: Option<String> = serde_json::from_str(&body[key]).ok();
            let place = KEYS.iter().position(|known| said.as_deref() == Some(known));
            if let Some(place) = place.filter(|_| between == ":") {
                return Some((place, span));
            }
        }
        None
    })
}

/// Where each string stands, quotes and all.
fn json_strings(body: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + body[at..].find('"')?;
        let mut escaped = false;
        for (step, byte) in body.bytes().enumerate().skip(start + 1) {
            match byte {
                b'"' if !escaped => {
                    at = step + 1;
                    return Some(start..at);
                }
                b'\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        None
    })
}
