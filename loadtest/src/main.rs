//! Open-loop load generator for holdfast.
fn main() {}
