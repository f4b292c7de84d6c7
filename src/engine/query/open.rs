//! Owns the list of open work: payments and refunds in progress, reviews, and captures that an
//! operator settles.

use crate::engine::query::view::{OpenView, UnderWay};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::purchase::Purchase;
use crate::engine::state::shard::Shard;
use crate::engine::words::stamp::LATEST;
use crate::ids::{Digest16, PurchaseId};
use crate::time::UnixMs;

impl Shard {
    /// Every purchase with a payment or refund in progress, and when it last changed by today's
    /// clock.
    pub fn open_payments(&self) -> impl Iterator<Item = (PurchaseId, UnixMs)> + '_ {
        self.opened().map(|(id, purchase)| {
            let last = purchase.history.last();
            let last = last.map(|last| self.corrections().today(&last));
            (id, last.unwrap_or_default())
        })
    }

    /// Whether a payment or a refund of this purchase is in progress.
    pub fn is_open(&self, id: PurchaseId) -> bool {
        self.find(id).is_some_and(Purchase::is_open)
    }

    /// Every purchase whose capture differs from the request.
    pub fn differing_captures(&self) -> impl Iterator<Item = PurchaseId> + '_ {
        let id = |sequence: &u64| {
            let purchase = self.kept_purchases().get(*sequence)?;
            Some(self.id_of(*sequence, purchase))
        };
        self.with_differing_capture().iter().filter_map(id)
    }

    /// What is in progress under the key `scope`: a payment, a review or a refund. It only looks at
    /// open purchases, of which there are few.
    pub fn under_way(&self, scope: Digest16) -> Option<UnderWay> {
        let undecided = self.under_payment().iter().chain(self.under_review());
        let undecided = undecided.chain(self.with_differing_capture());
        undecided.copied().find_map(|sequence| {
            let purchase = self.at_place(sequence)?;
            let id = self.id_of(sequence, purchase);
            match purchase.pending_refund() {
                Some((number, refund)) if refund.key == scope => {
                    return Some(UnderWay::Refund(id, number));
                }
                Some(_) | None => {}
            }
            let payment = purchase.payment.as_deref()?;
            (payment.key == Some(scope)).then_some(UnderWay::Payment(id))
        })
    }

    /// Purchases with a payment or refund in progress.
    pub(super) fn opened(&self) -> impl Iterator<Item = (PurchaseId, &Purchase)> + '_ {
        self.under_payment().iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            Some((self.id_of(*sequence, purchase), purchase))
        })
    }

    /// Every purchase under review, with its deadline.
    pub fn reviews(&self) -> impl Iterator<Item = (PurchaseId, UnixMs)> + '_ {
        self.under_review().iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            let id = self.id_of(*sequence, purchase);
            Some((id, purchase.review_deadline()?))
        })
    }

    /// When the oldest open review was opened, by today's clock.
    pub fn oldest_review(&self) -> Option<UnixMs> {
        let purchases = self.under_review().iter().filter_map(|sequence| {
            let purchase = self.at_place(*sequence)?;
            let last = purchase.history.last()?;
            Some(self.corrections().today(&last))
        });
        purchases.min()
    }

    /// Every purchase with a payment or refund in progress, or with a capture that an operator must
    /// settle.
    pub fn open_views(&self, catalogue: &Catalogue) -> Vec<OpenView> {
        let view = |(id, _)| {
            let purchase = self.purchase_view(id, catalogue, LATEST)?;
            let pending = purchase.pending_refund;
            let refund = pending.and_then(|number| self.refund_view(id, number));
            Some(OpenView { purchase, refund })
        };
        let differing = self.differing_captures().map(|id| (id, UnixMs::default()));
        let open = self.open_payments().chain(differing);
        open.filter_map(view).collect()
    }
}
