//! Owns showing the operator what is open and what became of purchases after their capture.
//!
//! Invariant: only copies leave the shard; all of one view is of one turn.

use crate::engine::query::view::{AftermathView, OpenView};
use crate::engine::state::catalogue::Catalogue;
use crate::engine::state::shard::{LATEST, Shard};
use crate::ids::PurchaseId;
use crate::time::UnixMs;

impl Shard {
    /// What became of a purchase beyond a plain capture; nothing of most.
    pub fn aftermath_view(&self, id: PurchaseId) -> Option<AftermathView> {
        let Some(aftermath) = &self.find(id)?.aftermath else {
            return Some(AftermathView::default());
        };
        let numbers = (1..).take(aftermath.refunds.len());
        Some(AftermathView {
            refunds: numbers.filter_map(|it| self.refund_view(id, it)).collect(),
            disputes: aftermath.disputes.clone(),
            tokens: aftermath.tokens,
            tokens_asked_back: aftermath.tokens_asked_back,
        })
    }

    /// Every purchase of which a payment or a refund is under way, or whose capture an operator has
    /// to settle.
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
