//! How often each invariant was checked, and the violations.
//!
//! 1. Every check counts each time it is made: a check that was never made is shown as such and is
//!    no success.
//! 2. At most `SHOWN_MAX` violations of a kind are printed; all are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::stats::Outcomes;

const SHOWN_MAX: usize = 10;

/// The invariants that are visible from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// On every poll.
    StockAddsUp,
    /// On every poll and at the end.
    NeverOversold,
    /// On every poll: nothing is refunded in a drop.
    SoldNeverFalls,
    /// Every answer is one that the contract allows here.
    AllowedAnswer,
    /// The same request under the same key.
    Replay,
    /// Another request under the same key.
    KeyReuse,
    /// Closing a hold twice.
    Release,
    /// Each purchase answered 201 or settled after 202.
    Readable,
    /// Each receipt: the purchase's own, and valid.
    Receipt,
    /// Each buyer.
    PerUserLimit,
    /// No purchase and no receipt twice.
    Unique,
    /// Units sold = units in the answers.
    SoldMatches,
    /// Abandoned holds give their units back.
    HoldsExpire,
    /// Units given back can be bought, and not one more.
    SellsOut,
}

const ALL: [(Check, &str); 14] = [
    (
        Check::StockAddsUp,
        "total = available + held + sold, on every poll",
    ),
    (Check::NeverOversold, "sold <= stock"),
    (Check::SoldNeverFalls, "sold never falls"),
    (
        Check::AllowedAnswer,
        "every answer is one the contract allows",
    ),
    (
        Check::Replay,
        "same key, same request: same status and body, marked as replay",
    ),
    (
        Check::KeyReuse,
        "same key, other request: 422 idempotency_key_reused",
    ),
    (Check::Release, "a released hold answers the same 200 again"),
    (
        Check::Readable,
        "every purchase answered 201 is readable with the same facts",
    ),
    (Check::Receipt, "its receipt is its own and verifies"),
    (Check::PerUserLimit, "no buyer is above the per-user limit"),
    (Check::Unique, "purchase and receipt ids are unique"),
    (
        Check::SoldMatches,
        "units sold = units of the purchases answered",
    ),
    (Check::HoldsExpire, "abandoned holds expire and give back"),
    (
        Check::SellsOut,
        "units given back are sold to late buyers, and not one more",
    ),
];

#[derive(Default)]
struct Counts {
    made: [u64; ALL.len()],
    violated: [usize; ALL.len()],
    outcomes: Outcomes,
}

/// The growing verdict, shared by all threads of a drop.
#[derive(Default)]
pub(crate) struct Verdict(Mutex<Counts>);

impl Verdict {
    /// Counts `check` as made; if it does not hold, prints why.
    pub(crate) fn check(&self, check: Check, holds: bool, why: impl FnOnce() -> String) {
        let at = place(check);
        let mut counts = self.lock();
        counts.made[at] += 1;
        if holds {
            return;
        }
        counts.violated[at] += 1;
        let shown = counts.violated[at];
        drop(counts);
        if shown <= SHOWN_MAX {
            eprintln!("VIOLATED {}: {}", ALL[at].1, why());
        }
    }

    /// Counts an answer under `what` was asked.
    pub(crate) fn outcome(&self, what: &str, status: u16, reason: &str) {
        let text = match reason {
            "none" => what.to_owned(),
            reason => format!("{reason} ({what})"),
        };
        self.lock().outcomes.count(status, &text);
    }

    /// Violations found, of every kind.
    pub(crate) fn violations(&self) -> usize {
        self.lock().violated.iter().sum()
    }

    /// Outcomes and checks as two tables.
    pub(crate) fn table(&self) -> String {
        let counts = self.lock();
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut outcomes = Table::new();
        outcomes.load_style(UTF8_FULL_CONDENSED);
        outcomes.set_header(["answer", "count"]);
        for (kind, count) in counts.outcomes.sorted() {
            outcomes.add_row([Cell::new(kind), right(count.to_string())]);
        }
        let mut checks = Table::new();
        checks.load_style(UTF8_FULL_CONDENSED);
        checks.set_header(["invariant", "checked", "violated", ""]);
        for (at, (_, text)) in ALL.iter().enumerate() {
            let (made, violated) = (counts.made[at], counts.violated[at]);
            let word = match (made, violated) {
                (0, _) => "not met in this run",
                (_, 0) => "holds",
                _ => "VIOLATED",
            };
            checks.add_row([
                Cell::new(text),
                right(made.to_string()),
                right(violated.to_string()),
                Cell::new(word),
            ]);
        }
        format!("{outcomes}\n{checks}")
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A thread that panicked ends the run anyway; the counts are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(check: Check) -> usize {
    ALL.iter()
        .position(|(c, _)| *c == check)
        .expect("ALL lists every check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_counted_and_named() {
        let verdict = Verdict::default();
        verdict.check(Check::Replay, true, String::new);
        verdict.check(Check::NeverOversold, false, || "sold 101 of 100".to_owned());
        verdict.outcome("buy", 409, "sold_out");
        assert_eq!(verdict.violations(), 1);
        let table = verdict.table();
        assert!(table.contains("409 sold_out (buy)"));
        assert!(table.contains("VIOLATED") && table.contains("not met in this run"));
    }
}
