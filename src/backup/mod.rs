//! Backup and restore: a log is uploaded to a store while it is written, and a data directory is
//! built from the store.
//!
//! ```text
//! job ─▶ lease (who may write)          restore ─▶ read ─▶ seal
//!     └▶ ship ─▶ upload ─▶ seal         verify  ─▶ read
//! copy ─▶ ship       inventory (what a list of names allows) ─▶ names       store ─▶ wire
//! ```
//!
//! Invariants: 1. no purchase waits for a backup; 2. one process at a time writes a backup, and a
//! process that finds a newer generation there stops selling; 3. the log's own bytes are uploaded,
//! so its own checksums hold in the store and after a restore; 4. nothing is deleted that a restore
//! to a time within `backup.keep_s`, or to the newest state, needs.
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

/// Checks the settings of the store at `target` and reads its certificates; writes nothing and
/// sends nothing.
pub fn check(target: &StoreTarget) -> Result<(), StoreError> {
    store::Store::check(target)
}
