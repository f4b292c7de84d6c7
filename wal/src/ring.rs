//! The ring: where appends gather until the log thread takes them. Many producers, one consumer.
//!
//! A position in the ring is an LSN. An append reserves its range with one atomic add, waits for
//! room if it must, copies its records and publishes them by storing the first word of the first
//! record last. The consumer takes the contiguous published prefix, clears it and frees it.
//!
//! Invariants: 1. ranges never overlap and leave no gap; 2. an append is taken whole or not at all;
//! 3. all bytes between `consumed` and the next reservation that is not yet published are zero at
//! every possible marker, so a marker that is not zero is a published append; 4. nothing is
//! reserved after `close`; 5. nobody sleeps on a ring that is stopped.

mod cells;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::Entry;
use crate::doorbell::Doorbell;
use crate::format::{RECORD_HEADER, RecordHeader, record_bytes};
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};
use cells::{CELL, Cells};

/// Set in `head` when the ring is closed: the same atomic add that reserves also learns of it.
const CLOSED: u64 = 1 << 63;
/// How often an append that finds the ring full looks again before it sleeps.
#[cfg(not(loom))]
const ROOM_SPINS: u32 = 64;
#[cfg(loom)]
const ROOM_SPINS: u32 = 0;

const _: () = assert!(CELL == crate::format::RECORD_ALIGN);

/// Why nothing was appended.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Refused {
    /// The ring accepts nothing more; its content is still consumed.
    Closed,
    /// The consumer is gone.
    Stopped,
}

/// The ring's shared half.
pub struct Ring {
    cells: Cells,
    /// Next position to reserve, with [`CLOSED`].
    head: CachePadded<AtomicU64>,
    /// Everything below is free again.
    consumed: CachePadded<AtomicU64>,
    /// Where the ring was closed; `u64::MAX` while it is open.
    closed_at: AtomicU64,
    stopped: AtomicBool,
    /// The consumer sleeps here for the append at `consumed`.
    work: Doorbell,
    /// Appends sleep here for room.
    room: Doorbell,
}

/// The ring's one consumer.
pub struct Consumer {
    ring: Arc<Ring>,
    position: u64,
}

/// What one [`Consumer::take`] copied out.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub struct RingBatch {
    /// LSN of the first record.
    pub first: u64,
    /// Bytes of records.
    pub bytes: usize,
    /// How many records.
    pub records: u32,
}

impl Ring {
    /// An empty ring of `bytes` (a power of two) whose first append stands at `start`.
    pub fn new(bytes: usize, start: u64) -> (Arc<Self>, Consumer) {
        assert!(start.is_multiple_of(CELL as u64), "records are aligned");
        assert!(start < CLOSED, "a log ends long before 2^63 bytes");
        let ring = Arc::new(Self {
            cells: Cells::new(bytes),
            head: CachePadded::new(AtomicU64::new(start)),
            consumed: CachePadded::new(AtomicU64::new(start)),
            closed_at: AtomicU64::new(u64::MAX),
            stopped: AtomicBool::new(false),
            work: Doorbell::new(),
            room: Doorbell::new(),
        });
        let consumer = Consumer {
            ring: Arc::clone(&ring),
            position: start,
        };
        (ring, consumer)
    }

    /// Capacity in bytes.
    pub fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    /// The end of what has been reserved.
    pub fn reserved(&self) -> u64 {
        let head = self.head.load(Ordering::Acquire);
        // After closing, refused reservations still increase `head`.
        if head & CLOSED == 0 {
            head
        } else {
            self.closed_at().min(head & !CLOSED)
        }
    }

    /// Bytes that wait to be taken.
    pub fn used(&self) -> u64 {
        let consumed = self.consumed.load(Ordering::Acquire);
        self.reserved().saturating_sub(consumed)
    }

    /// Appends all entries in one range; returns its start and its end. `total` is the sum of their
    /// [`record_bytes`] and at most the ring's capacity. Sleeps while the ring is full.
    pub fn append(&self, entries: &[Entry<'_>], total: usize) -> Result<(u64, u64), Refused> {
        assert!(!entries.is_empty(), "an append has records");
        assert!(total <= self.bytes(), "an append fits the ring");
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Refused::Stopped);
        }
        let start = self.head.fetch_add(total as u64, Ordering::AcqRel);
        if start & CLOSED != 0 {
            return Err(Refused::Closed);
        }
        let end = start + total as u64;
        self.wait_for_room(end)?;
        let marker = self.fill(start, entries);
        self.cells.store_marker(start, marker);
        // Only the append that the consumer stands at can be the one it sleeps for; the fence
        // orders our marker before our look at where it stands.
        fence(Ordering::SeqCst);
        if self.consumed.load(Ordering::Relaxed) == start {
            self.work.ring();
        }
        Ok((start, end))
    }

    /// Takes no more appends; wakes the consumer for the last ones.
    pub fn close(&self) {
        let head = self.head.fetch_or(CLOSED, Ordering::AcqRel);
        if head & CLOSED == 0 {
            self.closed_at.store(head, Ordering::Release);
        }
        self.work.ring();
    }

    /// Wakes every thread permanently, because the consumer has ended.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.room.ring();
    }

    /// Wakes the consumer, whatever it waits for.
    pub fn nudge(&self) {
        self.work.ring();
    }

    fn closed_at(&self) -> u64 {
        self.closed_at.load(Ordering::Acquire)
    }

    fn wait_for_room(&self, end: u64) -> Result<(), Refused> {
        let capacity = self.bytes() as u64;
        let roomy = || end - self.consumed.load(Ordering::Acquire) <= capacity;
        for _ in 0..ROOM_SPINS {
            if roomy() {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        if roomy() {
            return Ok(());
        }
        self.room
            .wait_until(|| roomy() || self.stopped.load(Ordering::Acquire));
        // The reserved range stays a hole, because nothing is consumed any more.
        if roomy() {
            Ok(())
        } else {
            Err(Refused::Stopped)
        }
    }

    /// Copies the records, all but the first word of the first, which it returns.
    #[allow(
        unsafe_code,
        reason = "writes into the range that this append reserved"
    )]
    fn fill(&self, start: u64, entries: &[Entry<'_>]) -> u64 {
        let (mut at, mut marker) = (start, 0);
        for (i, entry) in entries.iter().enumerate() {
            let header = RecordHeader {
                payload: entry.payload.len(),
                more: i + 1 < entries.len(),
                kind: entry.kind,
                version: entry.version,
                lsn: at,
            };
            let first = header.first_word();
            // SAFETY: the range is reserved by this append and freed by the consumer (rule 1 of
            // `cells`); the marker's word is left alone (rule 3).
            unsafe {
                if i == 0 {
                    marker = first;
                } else {
                    self.cells.write(at, &first.to_le_bytes());
                }
                self.cells.write(at + 8, &at.to_le_bytes());
                self.cells.write(at + RECORD_HEADER as u64, entry.payload);
            }
            at += header.bytes() as u64;
        }
        marker
    }
}

impl Consumer {
    /// Copies the longest run of published appends that fits `out`, frees its room, and returns
    /// what it copied (nothing: `bytes == 0`). `out` must hold the largest append.
    #[allow(unsafe_code, reason = "clears what was published and copied")]
    pub fn take(&mut self, out: &mut [u8]) -> RingBatch {
        let mut batch = RingBatch {
            first: self.position,
            bytes: 0,
            records: 0,
        };
        loop {
            let position = self.position + batch.bytes as u64;
            if batch.bytes == self.ring.bytes() {
                break;
            }
            let marker = self.ring.cells.load_marker(position);
            if marker == 0 {
                break;
            }
            let Some((bytes, records)) = self.copy(position, marker, &mut out[batch.bytes..])
            else {
                assert!(batch.bytes > 0, "the buffer holds the largest append");
                break;
            };
            batch.bytes += bytes;
            batch.records += records;
        }
        if batch.bytes > 0 {
            // SAFETY: this is the one consumer, and all of the range was published.
            unsafe { self.ring.cells.clear(self.position, batch.bytes) };
            self.position += batch.bytes as u64;
            self.ring.consumed.store(self.position, Ordering::Release);
            self.ring.room.ring();
        }
        batch
    }

    /// Copies one append whose first word is `marker`; `None` if `out` is too small for it.
    #[allow(unsafe_code, reason = "reads what was published")]
    fn copy(&self, start: u64, marker: u64, out: &mut [u8]) -> Option<(usize, u32)> {
        let (mut at, mut records, mut first) = (0, 0, marker);
        loop {
            let header = RecordHeader::decode(first, 0).expect("producers write whole headers");
            let bytes = record_bytes(header.payload);
            let record = out.get_mut(at..at + bytes)?;
            record[..8].copy_from_slice(&first.to_le_bytes());
            let position = start + at as u64;
            // Padding in the ring is zero: it was cleared before and is never written. SAFETY: this
            // is the one consumer, and the append is published (rule 2 of `cells`).
            unsafe { self.ring.cells.read(position + 8, &mut record[8..]) };
            at += bytes;
            records += 1;
            if !header.more {
                return Some((at, records));
            }
            let mut word = [0; 8];
            // SAFETY: as above; `more` says that the append goes on.
            unsafe { self.ring.cells.read(start + at as u64, &mut word) };
            first = u64::from_le_bytes(word);
        }
    }

    /// Whether the ring is closed and everything in it has been taken.
    pub fn is_done(&self) -> bool {
        self.ring.closed_at() == self.position
    }

    fn has_work(&self) -> bool {
        self.ring.cells.load_marker(self.position) != 0 || self.is_done()
    }

    /// Sleeps until there is something to take, the ring is done, or `also` holds.
    #[cfg(loom)]
    pub fn wait(&self, also: impl Fn() -> bool) {
        self.ring.work.wait_until(|| self.has_work() || also());
    }

    /// As [`Consumer::wait`], for at most `timeout`.
    pub fn wait_for(&self, timeout: Duration, also: impl Fn() -> bool) {
        self.ring
            .work
            .wait_until_for(timeout, || self.has_work() || also());
    }
}
