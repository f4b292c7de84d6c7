//! Owns what a gateway is told about a payment, read from its purchase: the reference, the card, the
//! start, and the look-up that names them.
//!
//! Invariant: all of it follows from the log, so a look-up after a crash names the same payment.

use crate::engine::view::PurchaseView;
use crate::ids::CardToken;
use crate::journal::Journal;
use crate::payments::gateway::{Inquiry, Reference};
use crate::time::UnixMs;

/// Our reference of the payment of `view`.
pub(super) fn reference_of(journal: &Journal, view: &PurchaseView) -> Reference {
    let request = view.request.expect("a payment names its request");
    Reference::new(journal.log_id(), view.purchase, request)
}

/// The look-up of the payment of `view`.
pub(super) fn inquiry_of(journal: &Journal, view: &PurchaseView) -> Inquiry {
    Inquiry {
        reference: reference_of(journal, view),
        authorization: view.authorization.clone(),
        amount: view.quote.amount,
        currency: view.quote.currency,
        card: card_of(view),
        started_at: started_at_of(view),
    }
}

pub(super) fn card_of(view: &PurchaseView) -> CardToken {
    let card = view.card.clone();
    card.expect("a payment names its card")
}

pub(super) fn started_at_of(view: &PurchaseView) -> UnixMs {
    let started = view.payment_started_at();
    started.expect("a payment's history has its start")
}
