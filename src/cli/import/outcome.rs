//! Owns the report of an import: a row for each meaning, and every entry that was left out with
//! its reason, as a table or as JSON.
//!
//! Invariant: each entry that was found is in one column of its row; what says how many were sold
//! goes with its stock, and is in no row of its own unless it is left out.

use super::mapping::Meaning;
use comfy_table::Table;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Entries left out that the table names; the JSON names all.
const NAMED_MAX: usize = 20;

/// What came of an import.
#[derive(Debug)]
pub(super) struct Outcome {
    applied: bool,
    rows: BTreeMap<Meaning, Row>,
    left_out: Vec<LeftOut>,
}

#[derive(Copy, Clone, Debug, Default)]
struct Row {
    taken: usize,
    there: usize,
    skipped: usize,
    conflicts: usize,
}

#[derive(Debug)]
struct LeftOut {
    meaning: Meaning,
    key: String,
    why: String,
    is_conflict: bool,
}

impl Outcome {
    pub(super) fn new(applied: bool) -> Self {
        let rows = Meaning::ALL.into_iter().map(|it| (it, Row::default()));
        Self {
            applied,
            rows: rows.collect(),
            left_out: Vec::new(),
        }
    }

    fn row(&mut self, meaning: Meaning) -> &mut Row {
        self.rows.entry(meaning).or_default()
    }

    pub(super) fn take(&mut self, meaning: Meaning) {
        self.row(meaning).taken += 1;
    }

    pub(super) fn there(&mut self, meaning: Meaning) {
        self.row(meaning).there += 1;
    }

    pub(super) fn skip(&mut self, meaning: Meaning, key: &str, why: &str) {
        self.row(meaning).skipped += 1;
        self.leave_out(meaning, key, why, false);
    }

    pub(super) fn conflict(&mut self, meaning: Meaning, key: &str, why: &str) {
        self.row(meaning).conflicts += 1;
        self.leave_out(meaning, key, why, true);
    }

    /// What was to be taken was not.
    pub(super) fn not_taken(&mut self, meaning: Meaning, key: &str, why: &str) {
        let row = self.row(meaning);
        row.taken = row.taken.saturating_sub(1);
        self.conflict(meaning, key, why);
    }

    fn leave_out(&mut self, meaning: Meaning, key: &str, why: &str, is_conflict: bool) {
        self.left_out.push(LeftOut {
            meaning,
            key: key.to_owned(),
            why: why.to_owned(),
            is_conflict,
        });
    }

    pub(super) fn has_conflicts(&self) -> bool {
        self.left_out.iter().any(|it| it.is_conflict)
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(meaning, row)| {
            let figures = json!({
                "taken": row.taken,
                "there": row.there,
                "skipped": row.skipped,
                "conflicts": row.conflicts,
            });
            (meaning.as_str().to_owned(), figures)
        });
        let named = |is_conflict| -> Vec<Value> {
            let left_out = self.left_out.iter();
            left_out
                .filter(|it| it.is_conflict == is_conflict)
                .map(|it| json!({ "what": it.meaning.as_str(), "key": it.key, "why": it.why }))
                .collect()
        };
        json!({
            "applied": self.applied,
            "rows": rows.collect::<serde_json::Map<_, _>>(),
            "skipped": named(false),
            "conflicts": named(true),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        let taken = if self.applied { "taken" } else { "to take" };
        table.set_header(["what", taken, "there already", "skipped", "conflicts"]);
        for (meaning, row) in &self.rows {
            table.add_row([
                meaning.as_str().to_owned(),
                row.taken.to_string(),
                row.there.to_string(),
                row.skipped.to_string(),
                row.conflicts.to_string(),
            ]);
        }
        let mut text = table.to_string();
        for it in self.left_out.iter().take(NAMED_MAX) {
            let kind = if it.is_conflict {
                "conflict"
            } else {
                "skipped"
            };
            let (meaning, key, why) = (it.meaning.as_str(), &it.key, &it.why);
            let _ = write!(text, "\n{kind}: {meaning} {key}: {why}");
        }
        if let Some(more) = self
            .left_out
            .len()
            .checked_sub(NAMED_MAX)
            .filter(|it| *it > 0)
        {
            let _ = write!(text, "\nand {more} more; --json names all");
        }
        if !self.applied {
            text.push_str("\nNothing was written; --apply writes it.");
        }
        text
    }
}
