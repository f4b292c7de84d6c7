//! The synchronisation primitives of the lock-free parts, from `std` or, under `--cfg loom`, from
//! the model checker.
//!
//! Only the ring, the doorbell and the durable point use the primitives named here; everything else
//! runs on plain `std` and is never modelled. Nothing here adds behaviour to what it re-exports, but
//! for [`lock`], the one way in which this crate takes a `std` mutex.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use std::sync::PoisonError;

/// Locks a mutex, whatever a thread that panicked with it held.
///
/// Every critical section in this crate leaves its data whole at each step, so a panic in another
/// thread (a listener's, say) must not turn into a second panic here: the log's own poison is the
/// one way in which a failure travels.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
