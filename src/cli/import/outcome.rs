//! Owns the report of an import: a row for each meaning, and the entries that were left out with
//! the reason, as a table or as JSON.
//!
//! Invariants: each entry that was found is in one column of its row; what says how many were sold
//! goes with its stock, and is in no row of its own unless it is left out. What cannot be taken
//! without loss is a conflict; what was skipped was gone before it was read. A value is never
//! shown, and a name that holds a card number neither.

use super::mapping::Meaning;
use crate::ids::holds_card_number;
use comfy_table::Table;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Maximum number of skipped entries that the table names.
const NAMED_IN_TABLE_MAX: usize = 20;
/// Maximum number of skipped entries that the JSON names; the rows count all.
const NAMED_MAX: usize = 10_000;

/// The result of an import.
#[derive(Debug)]
pub(super) struct ImportReport {
    applied: bool,
    rows: BTreeMap<Meaning, Row>,
    /// The first [`NAMED_MAX`].
    left_out: Vec<LeftOut>,
    /// Conflicts that were found only while writing.
    late: usize,
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

impl ImportReport {
    pub(super) fn new() -> Self {
        let rows = Meaning::ALL.into_iter().map(|it| (it, Row::default()));
        Self {
            applied: false,
            rows: rows.collect(),
            left_out: Vec::new(),
            late: 0,
        }
    }

    /// Marks that writing begins.
    pub(super) fn applying(&mut self) {
        self.applied = true;
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

    pub(super) fn not_taken(&mut self, meaning: Meaning, key: &str, why: &str) {
        self.late += 1;
        let row = self.row(meaning);
        row.taken = row.taken.saturating_sub(1);
        self.conflict(meaning, key, why);
    }

    fn leave_out(&mut self, meaning: Meaning, key: &str, why: &str, is_conflict: bool) {
        if self.left_out.len() == NAMED_MAX {
            return;
        }
        let key = if holds_card_number(key) { "***" } else { key };
        self.left_out.push(LeftOut {
            meaning,
            key: key.to_owned(),
            why: why.to_owned(),
            is_conflict,
        });
    }

    /// Number of conflicts.
    pub(super) fn conflicts(&self) -> usize {
        self.rows.values().map(|row| row.conflicts).sum()
    }

    /// Number of conflicts that were found only while writing.
    pub(super) fn late_conflicts(&self) -> usize {
        self.late
    }

    fn unnamed(&self) -> usize {
        let skipped: usize = self.rows.values().map(|row| row.skipped).sum();
        self.conflicts() + skipped - self.left_out.len()
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
            "not_named": self.unnamed(),
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
        for it in self.left_out.iter().take(NAMED_IN_TABLE_MAX) {
            let kind = if it.is_conflict {
                "conflict"
            } else {
                "skipped"
            };
            let (meaning, key, why) = (it.meaning.as_str(), &it.key, &it.why);
            let _ = write!(text, "\n{kind}: {meaning} {key}: {why}");
        }
        let named = self.left_out.len().min(NAMED_IN_TABLE_MAX);
        let more = self.left_out.len() - named + self.unnamed();
        if more > 0 {
            let _ = write!(
                text,
                "\nand {more} more; --json names the first {NAMED_MAX}"
            );
        }
        if !self.applied {
            text.push_str("\nNothing was written.");
        }
        text
    }
}
