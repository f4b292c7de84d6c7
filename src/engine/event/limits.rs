//! Owns the fact that the settings which applying depends on have changed.

use crate::engine::words::settings::Limits;
use rkyv::{Archive, Deserialize, Serialize};

/// The settings that applying depends on are these from here on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LimitsSet {
    /// The settings.
    pub limits: Limits,
}
