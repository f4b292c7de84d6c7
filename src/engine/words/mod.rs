//! The engine's words: reasons, the life cycle, settings and other values that every part of it
//! names. They know nothing of shards and events.

pub mod dispute;
pub mod lifecycle;
pub mod metadata;
pub mod payable;
pub mod refusal;
pub mod rejection;
pub mod settings;
