//! The memory of the ring: 16-byte cells, each starting with a word that may serve as the marker of
//! an append. This is the only file of the crate with unsafe code.
//!
//! The rules that make it sound, kept by `ring` (and checked by the loom model, whose cells stand
//! at the end of this file):
//! 1. bytes are written only by the append that reserved them, and only after the consumer has
//!    freed them (acquire of `consumed`);
//! 2. they are read and cleared only by the one consumer, and only after the acquire load of the
//!    marker that the append stored last (release);
//! 3. the first word of an append is touched through the atomic marker only.

#[cfg(loom)]
pub(crate) use modelled::Cells;
#[cfg(not(loom))]
pub(crate) use real::Cells;

/// Bytes of a cell; appends start at multiples of it.
pub(crate) const CELL: usize = 16;

#[cfg(not(loom))]
#[allow(
    unsafe_code,
    reason = "the ring's memory, by the three rules in the file's head"
)]
mod real {
    use super::CELL;
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[repr(C, align(16))]
    struct Cell([u64; 2]);

    pub(crate) struct Cells {
        cells: Box<[UnsafeCell<Cell>]>,
        mask: u64,
    }

    // SAFETY: access from several threads follows the three rules in the file's head; the cells
    // hold plain integers.
    unsafe impl Sync for Cells {}

    impl Cells {
        pub(crate) fn new(bytes: usize) -> Self {
            assert!(bytes.is_power_of_two(), "positions wrap by a mask");
            assert!(bytes >= CELL, "a ring holds at least one cell");
            let cells = (0..bytes / CELL).map(|_| UnsafeCell::new(Cell([0, 0])));
            Self {
                cells: cells.collect(),
                mask: bytes as u64 - 1,
            }
        }

        pub(crate) fn bytes(&self) -> usize {
            self.cells.len() * CELL
        }

        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to the ring's size, a usize"
        )]
        fn index(&self, position: u64) -> usize {
            (position & self.mask) as usize
        }

        fn base(&self) -> *mut u8 {
            UnsafeCell::raw_get(self.cells.as_ptr()).cast()
        }

        fn marker(&self, position: u64) -> &AtomicU64 {
            debug_assert!(
                position.is_multiple_of(CELL as u64),
                "appends are aligned to cells"
            );
            // SAFETY: the index is inside the allocation and 16-byte aligned; while the word can be
            // a marker it is touched through the atomic only (rule 3), otherwise by its owner alone
            // (rules 1 and 2).
            unsafe { AtomicU64::from_ptr(self.base().add(self.index(position)).cast()) }
        }

        pub(crate) fn load_marker(&self, position: u64) -> u64 {
            self.marker(position).load(Ordering::Acquire)
        }

        pub(crate) fn store_marker(&self, position: u64, word: u64) {
            self.marker(position).store(word, Ordering::Release);
        }

        /// Splits a range into the part up to the end of the memory and the part from its start.
        fn split(&self, position: u64, len: usize) -> (usize, usize) {
            debug_assert!(len <= self.bytes(), "a range fits the ring");
            let start = self.index(position);
            (start, len.min(self.bytes() - start))
        }

        /// SAFETY: the caller owns the range (rule 1).
        pub(crate) unsafe fn write(&self, position: u64, bytes: &[u8]) {
            let (start, first) = self.split(position, bytes.len());
            // SAFETY: both parts lie inside the allocation; `bytes` is not in it; the caller owns
            // the range.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base().add(start), first);
                let rest = &bytes[first..];
                std::ptr::copy_nonoverlapping(rest.as_ptr(), self.base(), rest.len());
            }
        }

        /// SAFETY: the caller is the consumer and the range is published (rule 2).
        pub(crate) unsafe fn read(&self, position: u64, out: &mut [u8]) {
            let (start, first) = self.split(position, out.len());
            let (head, rest) = out.split_at_mut(first);
            // SAFETY: as in `write`, the other way round.
            unsafe {
                std::ptr::copy_nonoverlapping(self.base().add(start), head.as_mut_ptr(), first);
                std::ptr::copy_nonoverlapping(self.base(), rest.as_mut_ptr(), rest.len());
            }
        }

        /// SAFETY: the caller is the consumer and the range is published (rule 2).
        pub(crate) unsafe fn clear(&self, position: u64, len: usize) {
            let (start, first) = self.split(position, len);
            // SAFETY: both parts lie inside the allocation and belong to the consumer.
            unsafe {
                std::ptr::write_bytes(self.base().add(start), 0, first);
                std::ptr::write_bytes(self.base(), 0, len - first);
            }
        }
    }
}

#[cfg(loom)]
#[allow(unsafe_code, reason = "loom's cells are accessed through raw pointers")]
mod modelled {
    use super::CELL;
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicU64, Ordering};

    /// The marker and the bytes apart, so that the model sees every access to either and finds two
    /// that are not ordered.
    pub(crate) struct Cells {
        markers: Vec<AtomicU64>,
        bytes: Vec<UnsafeCell<[u8; CELL]>>,
    }

    // SAFETY: loom reports any two accesses that are not ordered.
    unsafe impl Sync for Cells {}

    impl Cells {
        pub(crate) fn new(bytes: usize) -> Self {
            assert!(bytes.is_power_of_two(), "positions wrap by a mask");
            Self {
                markers: (0..bytes / CELL).map(|_| AtomicU64::new(0)).collect(),
                bytes: (0..bytes / CELL)
                    .map(|_| UnsafeCell::new([0; CELL]))
                    .collect(),
            }
        }

        pub(crate) fn bytes(&self) -> usize {
            self.bytes.len() * CELL
        }

        fn at(&self, position: u64) -> (usize, usize) {
            let index = (position % self.bytes() as u64) as usize;
            (index / CELL, index % CELL)
        }

        pub(crate) fn load_marker(&self, position: u64) -> u64 {
            self.markers[self.at(position).0].load(Ordering::Acquire)
        }

        pub(crate) fn store_marker(&self, position: u64, word: u64) {
            self.markers[self.at(position).0].store(word, Ordering::Release);
        }

        /// SAFETY: none needed, the model checks.
        pub(crate) unsafe fn write(&self, position: u64, bytes: &[u8]) {
            for (i, byte) in bytes.iter().enumerate() {
                let (cell, within) = self.at(position + i as u64);
                self.bytes[cell].with_mut(|p| unsafe { (*p)[within] = *byte });
            }
        }

        /// SAFETY: none needed, the model checks.
        pub(crate) unsafe fn read(&self, position: u64, out: &mut [u8]) {
            for (i, byte) in out.iter_mut().enumerate() {
                let (cell, within) = self.at(position + i as u64);
                *byte = self.bytes[cell].with(|p| unsafe { (*p)[within] });
            }
        }

        /// SAFETY: none needed, the model checks.
        pub(crate) unsafe fn clear(&self, position: u64, len: usize) {
            for i in (0..len).step_by(CELL) {
                let (cell, _) = self.at(position + i as u64);
                self.bytes[cell].with_mut(|p| unsafe { *p = [0; CELL] });
                self.markers[cell].store(0, Ordering::Relaxed);
            }
        }
    }
}
