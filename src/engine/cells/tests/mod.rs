//! Tests of the cells: each against a model simple enough to be seen right, and under threads.
//!
//! What must hold in *every* interleaving is proven by the loom models in `tests/models`; what stands here runs
//! the same code at full speed, with more threads and more values than a model can hold.

mod counters;
mod replay_guard;
mod velocity;
