//! Reading a running journal, for answers and operators.

pub(in crate::journal) mod bounds;
mod disputed;
pub(in crate::journal) mod keys;
pub(in crate::journal) mod status;
pub(in crate::journal) mod views;
