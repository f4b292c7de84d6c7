//! The one door through which the cells get their atomics.
//!
//! In an ordinary build they are those of `std`; under `--cfg loom` they are loom's, so that the models of
//! `tests/models` walk through every interleaving of the very code that runs live. That crate builds the cells
//! alone: `--cfg loom` would reach tokio and hyper too, and take tokio's network away.
//!
//! [`Shared`] is a pointer that is read often and swapped rarely: `arc_swap` live, a loom mutex in the models (a
//! coarser stand-in: it orders the pointer's reads and swaps, and leaves what hangs on the pointer to loom).
//! [`OnceBox`] is a box that is set once: `once_cell`'s, whose publication loom does not see; in the models a flag of
//! loom's stands beside it, stored after the box is set and loaded before it is read, as release and acquire do.

pub(crate) use imp::{AtomicU64, OnceBox, Shared, fence, zeroed};
pub(crate) use std::sync::atomic::Ordering;

#[cfg(not(loom))]
mod imp {
    use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicU64, fence};

    use arc_swap::{ArcSwap, Guard};
    pub(crate) use once_cell::race::OnceBox;
    use zerocopy::FromZeros;

    /// `len` words of zero, straight from the allocator: a large table costs no pass over its memory.
    pub(crate) fn zeroed(len: usize) -> Box<[AtomicU64]> {
        // Out of memory ends the process like any failing allocation of `std` does.
        <[AtomicU64]>::new_box_zeroed_with_elems(len)
            .expect("whoever makes a table has checked its length against a maximum")
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

        /// Puts `new` in the place of `seen`, if that is still there; whether it was.
        pub(crate) fn replace(&self, seen: &Arc<T>, new: T) -> bool {
            let there = self.0.compare_and_swap(seen, Arc::new(new));
            Arc::ptr_eq(&there, seen)
        }
    }
}

#[cfg(loom)]
mod imp {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use loom::sync::Mutex;
    use loom::sync::atomic::AtomicBool;
    pub(crate) use loom::sync::atomic::fence;

    /// A box that is set once, and whose setting loom sees.
    #[derive(Debug)]
    pub(crate) struct OnceBox<T> {
        set: AtomicBool,
        inner: once_cell::race::OnceBox<T>,
    }

    impl<T> OnceBox<T> {
        pub(crate) fn new() -> Self {
            Self {
                set: AtomicBool::new(false),
                inner: once_cell::race::OnceBox::new(),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.set.load(Ordering::Acquire) {
                self.inner.get()
            } else {
                None
            }
        }

        /// The second caller returns once the first one's box can be read.
        pub(crate) fn set(&self, value: Box<T>) -> Result<(), Box<T>> {
            let put = self.inner.set(value);
            if put.is_ok() {
                self.set.store(true, Ordering::Release);
            } else {
                while !self.set.load(Ordering::Acquire) {
                    loom::thread::yield_now();
                }
            }
            put
        }
    }

    /// Loom's word, with a turnstile before every access.
    ///
    /// Loom remembers only the last access to a word when it looks for another order to try, and takes two loads for
    /// independent. So in "load, then compare-and-swap" a thread's own load hides its swap from a load that another
    /// thread made before: the order in which the swap comes first is never tried (0.7.3). The turnstile is a relaxed
    /// addition: it makes any two accesses compete, and orders no memory.
    #[derive(Debug)]
    pub(crate) struct AtomicU64 {
        turnstile: loom::sync::atomic::AtomicU64,
        word: loom::sync::atomic::AtomicU64,
    }

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            let word = loom::sync::atomic::AtomicU64::new;
            Self {
                turnstile: word(0),
                word: word(value),
            }
        }

        fn enter(&self) -> &loom::sync::atomic::AtomicU64 {
            self.turnstile.fetch_add(1, Ordering::Relaxed);
            &self.word
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            self.enter().load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            self.enter().store(value, order);
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.enter().fetch_add(value, order)
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            self.enter().fetch_max(value, order)
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            self.enter()
                .compare_exchange(current, new, success, failure)
        }

        pub(crate) fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            mut step: impl FnMut(u64) -> Option<u64>,
        ) -> Result<u64, u64> {
            let mut seen = self.load(fetch);
            while let Some(next) = step(seen) {
                match self.compare_exchange(seen, next, set, fetch) {
                    Ok(before) => return Ok(before),
                    Err(now) => seen = now,
                }
            }
            Err(seen)
        }
    }

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

        pub(crate) fn replace(&self, seen: &Arc<T>, new: T) -> bool {
            let mut at = self
                .0
                .lock()
                .expect("no model panics while it holds the pointer");
            let there = Arc::ptr_eq(&at, seen);
            if there {
                *at = Arc::new(new);
            }
            there
        }
    }
}
