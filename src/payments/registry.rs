//! Owns which task drives which payment, which payments were left open by their last drive, and when
//! these are resumed.
//!
//! Invariants: at most one drive has a payment. A payment whose drive began and did not finish stays
//! marked, so the next drive knows that an outcome may be unknown. Of all schedulings of a payment
//! only the latest counts (its [`Ticket`]).
//! Bounded by the engine's bound on purchases: each is in here at most once.
//! Deliberately absent: the queue of due payments (`later`), and how they are driven (`driver`).

use crate::ids::PurchaseId;
use crate::payments::saga::Late;
use crossbeam_utils::CachePadded;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Number of parts that payments are spread over.
const SHARDS: usize = 64;

/// Payments that are driven or open.
#[derive(Debug)]
pub(super) struct Registry {
    shards: Box<[CachePadded<Marks>]>,
    driven: AtomicUsize,
    tickets: AtomicU64,
    idle: Notify,
}

type Marks = Mutex<HashMap<PurchaseId, DriveMark>>;

/// Identifies one scheduling of a payment.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum DriveMark {
    Driven(DriveAgain),
    LeftOpen {
        ticket: Ticket,
        due: Instant,
        late: Late,
    },
}

/// Whether another drive was requested during the current one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum DriveAgain {
    No,
    Again,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
            driven: AtomicUsize::new(0),
            tickets: AtomicU64::new(0),
            idle: Notify::new(),
        }
    }

    /// Claims the payment; `None` while another task drives it.
    pub(super) fn enter(&self, purchase: PurchaseId) -> Option<Driving<'_>> {
        let late = match self.shard(purchase).lock().entry(purchase) {
            Entry::Occupied(mut entry) => match *entry.get() {
                DriveMark::Driven(_) => return None,
                DriveMark::LeftOpen { late, .. } => {
                    entry.insert(DriveMark::Driven(DriveAgain::No));
                    late
                }
            },
            Entry::Vacant(entry) => {
                entry.insert(DriveMark::Driven(DriveAgain::No));
                Late::Impossible
            }
        };
        Some(self.driving(purchase, late))
    }

    /// Claims the payment that was scheduled under `ticket`; `None` if it was claimed or scheduled
    /// again since.
    pub(super) fn enter_due(&self, purchase: PurchaseId, ticket: Ticket) -> Option<Driving<'_>> {
        let mut shard = self.shard(purchase).lock();
        let mark = shard.get_mut(&purchase)?;
        let DriveMark::LeftOpen {
            ticket: current,
            late,
            ..
        } = *mark
        else {
            return None;
        };
        (current == ticket).then_some(())?;
        *mark = DriveMark::Driven(DriveAgain::No);
        drop(shard);
        Some(self.driving(purchase, late))
    }

    fn driving(&self, purchase: PurchaseId, late: Late) -> Driving<'_> {
        self.driven.fetch_add(1, Ordering::Relaxed);
        Driving {
            registry: self,
            purchase,
            late,
            ended: false,
        }
    }

    /// Schedules a payment for `due`, with an unknown outcome unless its last drive knows better.
    /// `None` if a task drives it, which then drives it once more.
    pub(super) fn put_down(&self, purchase: PurchaseId, due: Instant) -> Option<Ticket> {
        let ticket = self.ticket();
        match self.shard(purchase).lock().entry(purchase) {
            Entry::Occupied(mut entry) => match *entry.get() {
                DriveMark::Driven(_) => {
                    entry.insert(DriveMark::Driven(DriveAgain::Again));
                    return None;
                }
                DriveMark::LeftOpen { late, .. } => {
                    entry.insert(DriveMark::LeftOpen { ticket, due, late });
                }
            },
            Entry::Vacant(entry) => {
                let late = Late::Possible;
                entry.insert(DriveMark::LeftOpen { ticket, due, late });
            }
        }
        Some(ticket)
    }

    /// Whether no task drives the payment, and it does not wait for its turn in the queue, whose
    /// first entry is due at `next_due`, with `grace` allowed.
    pub(super) fn is_neglected(
        &self,
        purchase: PurchaseId,
        grace: Duration,
        next_due: Option<Instant>,
    ) -> bool {
        match self.shard(purchase).lock().get(&purchase) {
            None => true,
            Some(DriveMark::Driven(_)) => false,
            Some(DriveMark::LeftOpen { due, .. }) => {
                let may_be_queued = next_due.is_some_and(|next_due| next_due <= *due);
                !may_be_queued && due.elapsed() > grace
            }
        }
    }

    /// Whether the payment is scheduled for later.
    pub(super) fn rests(&self, purchase: PurchaseId) -> bool {
        let now = Instant::now();
        match self.shard(purchase).lock().get(&purchase) {
            Some(DriveMark::LeftOpen { due, .. }) => *due > now,
            Some(DriveMark::Driven(_)) | None => false,
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Number of payments being driven.
    pub(super) fn driven(&self) -> usize {
        self.driven.load(Ordering::Acquire)
    }

    /// Number of payments being driven or open.
    pub(super) fn open(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Resolves once none is being driven.
    pub(super) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.driven() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn shard(&self, purchase: PurchaseId) -> &Marks {
        // Purchases are numbered shard by shard of the engine; mixing spreads a few of them, too.
        let mixed = purchase.place().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.shards[usize::from(mixed.to_be_bytes()[0]) % SHARDS]
    }
}

/// No other task drives the payment while this exists. Dropped before [`Driving::end`] or
/// [`Driving::put_down`], it leaves the payment marked as open, and the sweeper finds it.
#[derive(Debug)]
pub(super) struct Driving<'a> {
    registry: &'a Registry,
    purchase: PurchaseId,
    late: Late,
    ended: bool,
}

impl Driving<'_> {
    /// Whether a call of an earlier drive may still take effect.
    pub(super) fn late(&self) -> Late {
        self.late
    }

    /// Ends the payment, of which nothing is kept. Returns whether another drive was requested
    /// meanwhile.
    pub(super) fn end(mut self) -> DriveAgain {
        self.ended = true;
        let mut shard = self.registry.shard(self.purchase).lock();
        match shard.remove(&self.purchase) {
            Some(DriveMark::Driven(asked)) => asked,
            Some(DriveMark::LeftOpen { .. }) | None => DriveAgain::No,
        }
    }

    /// Schedules the payment for `due`, or for now if another drive was requested meanwhile. The
    /// next task finds it free.
    pub(super) fn put_down(mut self, due: Instant, late: Late) -> (Ticket, Instant) {
        self.ended = true;
        self.leave(due, late)
    }

    /// Under one lock: the next task finds it either driven or left open.
    fn leave(&self, due: Instant, late: Late) -> (Ticket, Instant) {
        let ticket = self.registry.ticket();
        let mut shard = self.registry.shard(self.purchase).lock();
        let asked = shard.get(&self.purchase) == Some(&DriveMark::Driven(DriveAgain::Again));
        let due = if asked { Instant::now() } else { due };
        shard.insert(self.purchase, DriveMark::LeftOpen { ticket, due, late });
        (ticket, due)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.leave(Instant::now(), Late::Possible);
        }
        if self.registry.driven.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.registry.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PurchaseTag, ShardId};

    #[test]
    fn one_call_at_a_time_and_a_call_after_an_unknown_end_looks_up_first() {
        let registry = Registry::new();
        let id = PurchaseId::new(ShardId::new(1), 1, PurchaseTag(1));
        let first = registry.enter(id).expect("nobody has it");
        assert_eq!(first.late(), Late::Impossible);
        assert!(registry.enter(id).is_none());
        drop(first);
        assert_eq!((registry.driven(), registry.open()), (0, 1));
        let second = registry.enter(id).expect("left open");
        assert_eq!(second.late(), Late::Possible);
        assert_eq!(registry.put_down(id, Instant::now()), None);
        assert!(registry.enter(id).is_none());
        assert_eq!(second.end(), DriveAgain::Again);
        assert_eq!((registry.driven(), registry.open()), (0, 0));
        assert_eq!(registry.enter(id).map(|d| d.late()), Some(Late::Impossible));
    }

    #[test]
    fn only_the_last_putting_down_counts() {
        let registry = Registry::new();
        let id = PurchaseId::new(ShardId::new(1), 1, PurchaseTag(1));
        let later = Instant::now() + Duration::from_mins(1);
        let first = registry.put_down(id, later).expect("nobody drives it");
        let second = registry.put_down(id, later).expect("nobody drives it");
        assert!(registry.enter_due(id, first).is_none());
        let driving = registry.enter_due(id, second).expect("the last one");
        assert_eq!(driving.late(), Late::Possible);
        assert!(registry.enter_due(id, second).is_none());
        // Requested meanwhile: due at once, whatever its driver says.
        assert_eq!(registry.put_down(id, later), None);
        let (third, due) = driving.put_down(later, Late::Impossible);
        assert!(due < later);
        assert_eq!(
            registry.enter_due(id, third).map(Driving::end),
            Some(DriveAgain::No)
        );
        assert_eq!(registry.open(), 0);
    }

    #[test]
    fn a_payment_without_a_driver_counts_as_neglected_after_a_while() {
        let registry = Registry::new();
        let id = PurchaseId::new(ShardId::new(1), 1, PurchaseTag(1));
        assert!(registry.is_neglected(id, Duration::ZERO, None));
        let driving = registry.enter(id).expect("nobody has it");
        assert!(!registry.is_neglected(id, Duration::ZERO, None));
        let _ = driving.put_down(Instant::now() + Duration::from_mins(1), Late::Possible);
        assert!(!registry.is_neglected(id, Duration::ZERO, None));
        // Its drive was dropped.
        drop(registry.enter(id).expect("left open"));
        assert!(!registry.is_neglected(id, Duration::from_mins(1), None));
        while !registry.is_neglected(id, Duration::ZERO, None) {
            std::hint::spin_loop();
        }
        // It may still wait behind others that are overdue, too.
        let long_due = Instant::now().checked_sub(Duration::from_mins(1));
        assert!(!registry.is_neglected(id, Duration::ZERO, long_due));
    }
}
