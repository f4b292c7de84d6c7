//! Risk as the operator sets it: rules, scoring, what is said of buyers, and the segments they are in.

pub(in crate::journal) mod buyers;
pub(in crate::journal) mod rules;
pub(in crate::journal) mod scoring;
pub(in crate::journal) mod segments;
