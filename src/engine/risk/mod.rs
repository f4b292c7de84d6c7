//! Risk rules as the engine knows them: which counters there are, compiled rules, how much of each
//! counter is kept, the features of an attempt and the models that score it.
//!
//! Deliberately absent: the text of rules and its language, which the room `risk` owns.

pub mod counter;
pub mod features;
pub mod kept;
pub mod model;
pub mod program;
pub mod score;
