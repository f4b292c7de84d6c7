//! Owns the output of a replay: tables, one JSON object, a line of JSON for each change.
//!
//! Invariant: each shows all figures of the report, or says where the rest is; money is in minor
//! units.

use crate::engine::event::RuleHit;
use crate::engine::stamp::Stamp;
use crate::ids::ProductId;
use crate::money::Currency;
use crate::replay::{Change, Exact, Fates, Matrix, Money, Moved, Report, RuleLine, Side};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The report as text.
pub(super) fn text(report: &Report, heading: &str) -> String {
    let mut text = format!("{heading}\n{}\n", read(report));
    let _ = writeln!(text, "{}\n", attempts(report));
    let _ = writeln!(text, "{}\n", matrix(&report.matrix));
    let _ = writeln!(text, "{}\n", rules(report));
    text.push_str(&money(report));
    text.push_str(&fates(&report.moved, &report.fates));
    if report.keys_given_up > 0 {
        let _ = write!(
            text,
            "\n{} counters were dropped because --keys-max was reached: rules may have counted too little",
            report.keys_given_up
        );
    }
    text
}

fn read(report: &Report) -> String {
    let Some((begun, ended)) = report.span else {
        return "The log has no events.".to_owned();
    };
    let mut text = format!(
        "{} events from LSN {} ({}) to {} ({})",
        report.events, begun.lsn, begun.at, ended.lsn, ended.at
    );
    match report.exact {
        Exact::Always => {}
        Exact::From(lsn) => {
            let _ = write!(
                text,
                "\nThe beginning of the log is gone: counters are exact from LSN {lsn}; ratings, prices and holds before LSN {} are unknown",
                report.first
            );
        }
        Exact::Never => {
            let _ = write!(
                text,
                "\nThe beginning of the log is gone, and the rest is shorter than the longest window of the rules: counters count too little; ratings, prices and holds before LSN {} are unknown",
                report.first
            );
        }
    }
    text
}

fn attempts(report: &Report) -> String {
    let mut text = format!(
        "{} attempts evaluated, {} with a different result; not evaluated: {} refused before the rules, {} of paused buyers",
        report.matrix.total(),
        report.matrix.changed(),
        report.refused_before,
        report.paused
    );
    if report.fell_away > 0 {
        let _ = write!(
            text,
            "; {} payments dropped because their hold is blocked now",
            report.fell_away
        );
    }
    if report.unclear > 0 {
        let _ = write!(
            text,
            "; {} unchanged, because the log does not have their currency or product",
            report.unclear
        );
    }
    text
}

fn matrix(matrix: &Matrix) -> Table {
    let mut table = plain();
    let mut header = vec!["as recorded".to_owned()];
    header.extend(Side::ALL.map(|to| format!("now {}", to.as_str())));
    table.set_header(header);
    for from in Side::ALL {
        let mut row = vec![from.as_str().to_owned()];
        row.extend(Side::ALL.map(|to| matrix.get(from, to).to_string()));
        table.add_row(row);
    }
    right_aligned(table, 1)
}

fn rules(report: &Report) -> Table {
    let mut table = plain();
    table.set_header([
        "rule",
        "then",
        "hits then",
        "hits now",
        "newly blocked",
        "reviewed",
        "let through",
        "buyers",
        "captured",
        "refunded",
        "charged back",
    ]);
    for line in &report.rules {
        let name = if line.is_tried {
            line.name.as_str().to_owned()
        } else {
            format!("({})", line.name.as_str())
        };
        let hits = [line.hits_recorded.to_string(), line.hits.to_string()];
        table.add_row(row(&name, line.outcome.as_str(), hits, &line.moved));
    }
    let none = [String::new(), String::new()];
    table.add_row(row("all, each attempt once", "", none, &report.moved));
    right_aligned(table, 2)
}

fn row(name: &str, then: &str, hits: [String; 2], moved: &Moved) -> Vec<String> {
    let sums = |of: fn(&Money) -> i64| {
        let some = moved.money.iter().filter(|(_, money)| of(money) != 0);
        let sums = some.map(|(currency, money)| format!("{} {currency}", of(money)));
        sums.collect::<Vec<_>>().join("\n")
    };
    let [recorded, now] = hits;
    vec![
        name.to_owned(),
        then.to_owned(),
        recorded,
        now,
        moved.blocked.to_string(),
        moved.reviewed.to_string(),
        moved.passed.to_string(),
        moved.buyers.to_string(),
        sums(|it| it.captured),
        sums(|it| it.refunded),
        sums(|it| it.charged_back),
    ]
}

/// The cost of the rules, in a sentence for each currency.
fn money(report: &Report) -> String {
    let mut text = String::new();
    for (currency, money) in &report.moved.money {
        let lost = money.captured - money.refunded - money.charged_back;
        let _ = writeln!(
            text,
            "Of {} {currency} captured by attempts that are blocked now {} were refunded and {} charged back later: {lost} {currency} is what blocking would have cost (minor units).",
            money.captured, money.refunded, money.charged_back,
        );
    }
    text
}

fn fates(moved: &Moved, fates: &Fates) -> String {
    format!(
        "Of the {} newly blocked attempts {} were paid, {} declined, {} refused for another reason; {} had no payment or are in progress.\nThe log does not show how newly allowed attempts would have ended.",
        moved.blocked, fates.captured, fates.declined, fates.refused, fates.under_way
    )
}

/// Columns between bars, without a line below each row.
fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table
}

fn right_aligned(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The report as JSON.
pub(super) fn json(report: &Report) -> Value {
    let exact_from = match report.exact {
        Exact::Always => json!(report.first.0),
        Exact::From(lsn) => json!(lsn.0),
        Exact::Never => Value::Null,
    };
    let stamp = |stamp: Stamp| json!({ "lsn": stamp.lsn.0, "at": stamp.at.to_string() });
    let sides = Side::ALL.map(|from| {
        let to = Side::ALL.map(|to| (to.as_str().to_owned(), json!(report.matrix.get(from, to))));
        (
            from.as_str().to_owned(),
            Value::Object(to.into_iter().collect()),
        )
    });
    json!({
        "log": {
            "first_lsn": report.first.0,
            "from": report.span.map(|(begun, _)| stamp(begun)),
            "to": report.span.map(|(_, ended)| stamp(ended)),
            "events": report.events,
            "exact_from_lsn": exact_from,
            "keys_given_up": report.keys_given_up,
        },
        "attempts": {
            "asked": report.matrix.total(),
            "changed": report.matrix.changed(),
            "refused_before": report.refused_before,
            "paused": report.paused,
            "unclear": report.unclear,
            "fell_away": report.fell_away,
        },
        "sides": Value::Object(sides.into_iter().collect()),
        "changes": moved_json(&report.moved),
        "newly_blocked": {
            "captured": report.fates.captured,
            "declined": report.fates.declined,
            "refused_anyway": report.fates.refused,
            "other": report.fates.under_way,
        },
        "rules": report.rules.iter().map(rule_json).collect::<Vec<_>>(),
    })
}

fn rule_json(line: &RuleLine) -> Value {
    json!({
        "rule": line.name.as_str(),
        "then": line.outcome.as_str(),
        "tried": line.is_tried,
        "hits_recorded": line.hits_recorded,
        "hits": line.hits,
        "changes": moved_json(&line.moved),
    })
}

fn moved_json(moved: &Moved) -> Value {
    json!({
        "blocked": moved.blocked,
        "reviewed": moved.reviewed,
        "let_through": moved.passed,
        "buyers": moved.buyers,
        "money": money_json(&moved.money),
    })
}

fn money_json(money: &BTreeMap<Currency, Money>) -> Value {
    let each = money.iter().map(|(currency, money)| {
        let figures = json!({
            "captured": money.captured,
            "refunded": money.refunded,
            "charged_back": money.charged_back,
        });
        (currency.to_string(), figures)
    });
    Value::Object(each.collect())
}

/// An attempt with another result.
pub(super) fn change(change: &Change) -> Value {
    let rule = |hit: &RuleHit| hit.rule.as_str().to_owned();
    json!({
        "at": change.at.to_string(),
        "lsn": change.lsn.0,
        "user_id": change.user.as_str(),
        "product_id": change.product.as_ref().map(ProductId::as_str),
        "purchase_id": change.purchase.map(|it| it.to_string()),
        "refused": change.refused.map(crate::engine::refusal::Refusal::reason),
        "from": change.from.as_str(),
        "to": change.to.as_str(),
        "rules": change.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}
