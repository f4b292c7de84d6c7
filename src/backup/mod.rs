//! Backup and restore: a log carried to a store while it is written, and a data directory built from
//! what the store has.
//!
//! ```text
//! job ─▶ lease (who may write)          restore ─▶ read ─▶ seal
//!     └▶ ship ─▶ upload ─▶ seal         verify  ─▶ read
//! copy ─▶ ship       inventory (what names amount to) ─▶ names       store ─▶ wire
//! ```
//!
//! Invariants: 1. no purchase waits for a backup; 2. one process at a time writes a backup, and one that
//! finds a newer generation there sells no more; 3. what is shipped is the log's own bytes, so that its
//! own checksums hold in the store and after a restore; 4. nothing is removed that a restore to an
//! instant within `backup.keep_s`, or to the newest, needs.
//! Deliberately absent: the ledger of the sandbox gateway, cursors of sinks, the configuration.

mod copy;
mod inventory;
mod job;
mod lease;
mod names;
mod read;
mod restore;
mod seal;
mod settings;
mod ship;
mod store;
mod upload;
mod verify;
mod wire;

pub use copy::{Copied, CopyError, copy};
pub use job::{Backup, BackupError, BackupStatus, RETENTION};
pub use restore::{
    RestorableRange, RestoreError, RestoreProgress, RestoreRequest, RestoredDirectory, Until,
    restore,
};
pub use settings::{BackupSettings, BadTarget, S3Target, StoreAccess, StoreTarget};
pub use store::StoreError;
pub use upload::Carried;
pub use verify::{Verified, VerifiedGeneration, VerifyError, verify};

/// Whether the store at `target` could be asked: its certificates and settings are read, nothing is
/// written, and nobody is asked.
pub fn check(target: &StoreTarget) -> Result<(), StoreError> {
    store::Store::check(target)
}
