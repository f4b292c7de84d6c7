//! Risk rules in the engine: compiled rules, the depths of counters, the features of an attempt,
//! and the models that score it.
//!
//! Deliberately absent: the text of rules and its language, which the room `risk` owns.

pub mod attempt;
pub mod kept;
pub mod model;
pub mod program;
pub mod scoring;
