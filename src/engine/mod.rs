//! The engine: decides and applies, without I/O, clock or logging.
pub mod cells;
