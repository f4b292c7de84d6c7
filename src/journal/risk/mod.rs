//! Risk as the operator sets it: rules, scoring, facts about buyers, and their segments.

pub(in crate::journal) mod buyers;
pub(in crate::journal) mod rules;
pub(in crate::journal) mod scoring;
pub(in crate::journal) mod segments;
