//! Owns comparing a purchase with the gateway's books: which purchases are to be compared, and which
//! have such books.
//!
//! Deliberately absent: what follows from a difference (`driver::settle`).

use crate::engine::lifecycle::Units;
use crate::engine::view::PurchaseView;
use crate::ids::PurchaseId;
use crate::money::Amount;
use crate::payments::gateway::LookupResult;
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Paid purchases to compare with the gateway's books.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    purchases: Mutex<HashSet<PurchaseId>>,
    /// Whether there may be any. Nearly never there are, and all threads would take one lock for each
    /// payment to find none.
    some: AtomicBool,
}

impl Suspects {
    /// Adds a purchase. A drive that looked a moment before misses it: schedule another one after this.
    pub(super) fn put(&self, purchase: PurchaseId) {
        let mut purchases = self.purchases.lock();
        purchases.insert(purchase);
        self.some.store(true, Ordering::Release);
    }

    pub(super) fn take(&self, purchase: PurchaseId) -> bool {
        if !self.some.load(Ordering::Acquire) {
            return false;
        }
        let mut purchases = self.purchases.lock();
        let taken = purchases.remove(&purchase);
        self.some.store(!purchases.is_empty(), Ordering::Release);
        taken
    }
}

/// What the gateway has refunded of a purchase, if it has the capture of our books.
pub(super) fn refunded_of(view: &PurchaseView, found: &LookupResult) -> Option<Amount> {
    let (LookupResult::Captured(money) | LookupResult::Refunded(money)) = found else {
        return None;
    };
    let ours = (view.quote.amount, Some(view.quote.currency));
    ((money.captured, money.currency) == ours).then_some(money.refunded)
}

/// Whether the gateway has books of it: a free purchase went to no gateway.
pub(super) fn has_books(view: &PurchaseView) -> bool {
    view.state.units() == Units::Sold && view.quote.amount > Amount::ZERO
}
