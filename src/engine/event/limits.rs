//! Owns the event that changes the settings which applying depends on.

use crate::engine::words::settings::Limits;
use rkyv::{Archive, Deserialize, Serialize};

/// The settings that applying depends on, from here on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct LimitsSet {
    pub limits: Limits,
}
