//! Risk rules as the engine knows them: which counters there are, compiled rules, and how much of
//! each counter is kept.
//!
//! Deliberately absent: the text of rules and its language, which the room `risk` owns.

pub mod counter;
pub mod kept;
pub mod program;
