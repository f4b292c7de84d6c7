//! The engine's shared cells, built alone with loom's atomics, so that their models need none of what
//! holdfast is linked to: that takes minutes to build, and tokio and hyper know `--cfg loom` too.
//!
//! The files are the engine's own. In an ordinary build this crate is empty.
#![cfg(loom)]

/// Named as in holdfast, because the cells name each other by it.
#[path = "../../../src/engine"]
pub mod engine {
    pub mod cells;
}
