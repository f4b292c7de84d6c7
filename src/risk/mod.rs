//! The language of risk rules: from text, TOML or JSON, to what the engine evaluates; and the files of
//! models that score attempts (`model`).
//!
//! Invariants: a text is taken whole or refused with line and column of the first thing that is
//! wrong, what was expected and, for a word, the nearest that is known; everything is bounded: the
//! text, the rules, the tests and the nesting of each. The rules that are shipped with the program
//! compile, which a test holds.
//! Deliberately absent: evaluating rules (`engine::risk`), and putting them in force (`journal`).

mod document;
mod language;
mod lexer;
pub mod model;
mod place;
mod warmup;

pub use document::{Compiled, WrittenRule, compile, compile_to_enforce, toml_of_json};
pub use place::RulesError;
pub use warmup::warms_up_until;

/// The largest text of a set of rules, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The largest condition, in bytes.
pub const WHEN_BYTES_MAX: usize = 1_024;
/// The most comparisons in one condition.
pub const TESTS_A_RULE_MAX: usize = 64;
/// How deep `not` and parentheses may nest.
pub const NESTING_MAX: usize = 16;

/// The rules that are in force where nobody says otherwise.
pub const SHIPPED: &str = include_str!("../../rules/default.toml");

#[cfg(test)]
mod tests;
