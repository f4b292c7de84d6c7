//! The time of events, and the days that limits are counted in.

pub(in crate::journal) mod clock;
pub(in crate::journal) mod days;
pub(in crate::journal) mod source;
