//! What the engine shows of itself: owned copies of its state, and what its bounds cost in memory.

mod aftermath;
pub mod footprint;
pub mod view;
