//! The one door through which the cells get their atomics.
//!
//! In an ordinary build they are those of `std`; under `--cfg holdfast_loom` they are loom's, so that the models of
//! `tests/loom_cells.rs` walk through every interleaving of the very code that runs live. The cfg is our own because
//! plain `--cfg loom` would reach tokio and hyper too, and take tokio's network away.
//!
//! [`Shared`] is a pointer that is read often and swapped rarely: `arc_swap` live, a loom mutex in the models (a
//! coarser stand-in: it orders the pointer's reads and swaps, and leaves what hangs on the pointer to loom).

pub(crate) use imp::{AtomicBool, AtomicU64, Shared, fence, zeroed};
pub(crate) use std::sync::atomic::Ordering;

#[cfg(not(holdfast_loom))]
mod imp {
    use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, fence};

    use arc_swap::{ArcSwap, Guard};
    use zerocopy::FromZeros;

    /// `len` words of zero, straight from the allocator: a large table costs no pass over its memory.
    pub(crate) fn zeroed(len: usize) -> Box<[AtomicU64]> {
        // Out of memory ends the process like any failing allocation of `std` does.
        <[AtomicU64]>::new_box_zeroed_with_elems(len)
            .expect("a table's length is checked against its maximum when the guard is made")
    }

    /// A pointer read often, swapped rarely.
    pub(crate) struct Shared<T>(ArcSwap<T>);

    impl<T> Shared<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(ArcSwap::from_pointee(value))
        }

        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            self.0.load()
        }

        /// Puts `new` in the place of `seen`, if that is still there.
        pub(crate) fn replace(&self, seen: &Arc<T>, new: T) {
            let _ = self.0.compare_and_swap(seen, Arc::new(new));
        }
    }
}

#[cfg(holdfast_loom)]
mod imp {
    use std::sync::Arc;

    use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, fence};

    pub(crate) fn zeroed(len: usize) -> Box<[AtomicU64]> {
        (0..len).map(|_| AtomicU64::new(0)).collect()
    }

    pub(crate) struct Shared<T>(Mutex<Arc<T>>);

    impl<T> Shared<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(
                &self
                    .0
                    .lock()
                    .expect("no model panics while it holds the pointer"),
            )
        }

        pub(crate) fn replace(&self, seen: &Arc<T>, new: T) {
            let mut at = self
                .0
                .lock()
                .expect("no model panics while it holds the pointer");
            if Arc::ptr_eq(&at, seen) {
                *at = Arc::new(new);
            }
        }
    }
}
