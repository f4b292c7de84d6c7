//! The engine's vocabulary: reasons, the life cycle, settings, scores and other values that every
//! part of it uses. It knows nothing of events and shards.

pub mod bars;
pub mod counter;
pub mod dispute;
pub mod features;
pub mod lifecycle;
pub mod metadata;
pub mod payable;
pub mod refusal;
pub mod rejection;
pub mod score;
pub mod settings;
pub mod stamp;
