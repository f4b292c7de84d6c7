//! Owns what the process asks of the kernel for itself before it does anything else.
//!
//! Deliberately absent: limits on descriptors, which the server raises.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};
use rustix::thread::disable_transparent_huge_pages;

/// For every command, because they read secrets and buyers' data, and create files that must stay
/// private.
pub(super) fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
    // No core dump, and no other process of the user reads the memory, because it contains secrets.
    // If the kernel refuses, both stay as they are.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Keeps the heap off transparent huge pages, whatever the machine's setting; see
/// `docs/decisions/`. It applies to later mappings only, so it must come before the heap grows.
pub(super) fn keep_off_huge_pages() {
    // A kernel without huge pages refuses; nothing is lost then.
    let _ = disable_transparent_huge_pages(true);
}
