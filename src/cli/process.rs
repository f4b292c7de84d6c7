//! Owns what the process asks of the kernel for itself before it does anything else.
//!
//! Deliberately absent: limits on descriptors, which the server raises.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};
use rustix::thread::disable_transparent_huge_pages;

/// For every command: they read secrets and the data of buyers, and what they create is nobody
/// else's.
pub(super) fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
    // No core dump, and no other process of the user reads the memory: secrets are in it. A
    // kernel that refuses leaves both as they are.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Keeps the heap off transparent huge pages, whatever the machine is set to; see
/// `docs/decisions/`. What is mapped from here on obeys it, so it comes before the heap grows.
pub(super) fn keep_off_huge_pages() {
    // A kernel without them refuses, and then there is nothing to keep off.
    let _ = disable_transparent_huge_pages(true);
}
