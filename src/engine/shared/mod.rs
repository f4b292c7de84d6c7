//! What buyers share besides stock and promotions: sums by card and device, and counters of
//! attempts. The order of arrival does not matter to either.

pub mod amounts;
mod effects;
pub(in crate::engine) mod sums;
pub mod velocity;
