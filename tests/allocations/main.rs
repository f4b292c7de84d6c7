//! What this process allocates: nothing for evaluating rules, and a bounded number of bytes for each
//! hold, purchase, buyer and key in memory. Each thread has counts of its own, so tests run side by side.

mod memory;
mod risk;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// How often this thread has allocated.
fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Bytes that this thread has asked for and not given back. What the allocator adds is not in it.
fn live_bytes() -> i64 {
    LIVE_BYTES.get()
}

fn count(allocations: u64, bytes: i64) {
    // A thread that ends may free after its counts are gone; nobody asks for them any more.
    let _ = ALLOCATIONS.try_with(|it| it.set(it.get() + allocations));
    let _ = LIVE_BYTES.try_with(|it| it.set(it.get() + bytes));
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("no allocation is that large")
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
