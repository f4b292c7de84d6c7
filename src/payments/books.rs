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

/// Paid purchases to compare with the gateway's books.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashSet<PurchaseId>>);

impl Suspects {
    pub(super) fn put(&self, purchase: PurchaseId) {
        self.0.lock().insert(purchase);
    }

    pub(super) fn take(&self, purchase: PurchaseId) -> bool {
        self.0.lock().remove(&purchase)
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
