//! Snapshots: taking and reading them. A snapshot has no shared sums: stock and promotion uses are
//! derived from the purchases.

pub(in crate::journal) mod image;
pub(in crate::journal) mod restoring;
pub(in crate::journal) mod taking;

pub use super::format::sections as format;
pub use image::digest;
pub use restoring::{Restored, restore};
pub use taking::SnapshotReport;
