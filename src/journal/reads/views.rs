//! Owns views of the state: purchases, holds, products, buyers, payments.
//!
//! Invariants: a view is returned with the LSN that must be durable before it is shown; a read takes
//! the turn of one shard at a time, and reads a long list in several turns.

use crate::engine::lifecycle::PurchaseState;
use crate::engine::stamp::LATEST;
use crate::engine::view::{
    BuyerView, HoldView, More, OpenView, Page, PaymentView, PaymentsPage, PostCaptureView,
    ProductView, PromotionView, PurchaseView, RefundView,
};
use crate::ids::{Lsn, ProductId, PromotionCode, PurchaseId, RequestId, ShardId, UserId};
use crate::journal::core::JournalCore;
use crate::money::Tokens;
use crate::time::UnixMs;

/// Views of a running journal.
pub struct JournalReads<'a> {
    pub(super) core: &'a JournalCore,
}

impl<'a> JournalReads<'a> {
    pub(in crate::journal) fn of(core: &'a JournalCore) -> Self {
        Self { core }
    }
}

impl JournalReads<'_> {
    /// The purchase, and the LSN that must be durable before it is shown.
    pub fn purchase(&self, id: PurchaseId) -> Option<(PurchaseView, Lsn)> {
        let shard = self.core.shard(id.shard());
        let view = shard.purchase_view(id, &self.core.catalogue.load(), LATEST)?;
        Some((view, self.core.appended()))
    }

    /// The purchase as a hold, and the LSN that must be durable before it is shown.
    pub fn hold(&self, id: PurchaseId) -> Option<(HoldView, Lsn)> {
        let view = self
            .core
            .shard(id.shard())
            .hold_view(id, &self.core.catalogue.load())?;
        Some((view, self.core.appended()))
    }

    /// The first `limit` holds and purchases of `user` after the one at `after`, oldest first, and the
    /// LSN that must be durable before they are shown; `None` if the buyer is unknown. Takes the shard's
    /// turn for a few at a time.
    pub fn purchases_of(
        &self,
        user: &UserId,
        after: Option<PurchaseId>,
        limit: usize,
    ) -> Option<(Page<PurchaseView>, Lsn)> {
        const LOOKED_AT_ONCE: usize = 8_192;
        let shard = ShardId::of(user);
        self.core.shard(shard).knows(user).then_some(())?;
        let mut from = after.map(|id| id.sequence() + 1).or(Some(0));
        let mut entries = Vec::new();
        while let Some(start) = from
            && entries.len() <= limit
        {
            let shard = self.core.shard(shard);
            let (ids, next) = shard.purchases_of(user, start, LOOKED_AT_ONCE);
            let catalogue = self.core.catalogue.load();
            let room = limit + 1 - entries.len();
            let views = ids.into_iter().take(room);
            entries.extend(views.filter_map(|id| shard.purchase_view(id, &catalogue, LATEST)));
            from = next;
        }
        let more = if entries.len() > limit {
            More::Yes
        } else {
            More::No
        };
        entries.truncate(limit);
        Some((Page { entries, more }, self.core.appended()))
    }

    /// The product, and the LSN that must be durable before it is shown.
    pub fn product(&self, id: &ProductId) -> Option<(ProductView, Lsn)> {
        let view = self
            .core
            .catalogue
            .load()
            .product(id)?
            .view(self.core.now());
        Some((view, self.core.appended()))
    }

    /// All products, and the LSN that must be durable before they are shown.
    pub fn products(&self) -> (Vec<ProductView>, Lsn) {
        let (page, durable_at) = self.products_after("", usize::MAX);
        (page.entries, durable_at)
    }

    /// The first `limit` products whose ids come after `after` in the order of their text, and the LSN
    /// that must be durable before they are shown.
    pub fn products_after(&self, after: &str, limit: usize) -> (Page<ProductView>, Lsn) {
        let at = self.core.now();
        let catalogue = self.core.catalogue.load();
        let products = catalogue.products().iter();
        let page = Page::after(products, after, limit, |it| it.terms.product.as_str());
        (page.map(|it| it.view(at)), self.core.appended())
    }

    /// The promotion, and the LSN that must be durable before it is shown.
    pub fn promotion(&self, code: &PromotionCode) -> Option<(PromotionView, Lsn)> {
        let view = self.core.catalogue.load().promotion(code)?.view();
        Some((view, self.core.appended()))
    }

    /// The first `limit` promotions whose codes come after `after`, likewise.
    pub fn promotions_after(&self, after: &str, limit: usize) -> (Page<PromotionView>, Lsn) {
        let catalogue = self.core.catalogue.load();
        let promotions = catalogue.promotions().iter();
        let page = Page::after(promotions, after, limit, |it| it.terms.code.as_str());
        (page.map(|it| it.view()), self.core.appended())
    }

    /// One refund of a purchase, and the LSN that must be durable before it is shown.
    pub fn refund(&self, purchase: PurchaseId, number: u32) -> Option<(RefundView, Lsn)> {
        let view = self
            .core
            .shard(purchase.shard())
            .refund_view(purchase, number)?;
        Some((view, self.core.appended()))
    }

    /// The purchase with its refunds and disputes, and the LSN that must be durable before they are
    /// shown.
    pub fn purchase_with_post_capture(
        &self,
        id: PurchaseId,
    ) -> Option<(PurchaseView, PostCaptureView, Lsn)> {
        let shard = self.core.shard(id.shard());
        let view = shard.purchase_view(id, &self.core.catalogue.load(), LATEST)?;
        let post_capture = shard.post_capture_view(id)?;
        Some((view, post_capture, self.core.appended()))
    }

    /// The reward tokens that a buyer can spend and those that the buyer owes, both zero for an unknown
    /// buyer; and the LSN that must be durable before they are shown.
    pub fn tokens(&self, user: &UserId) -> (Tokens, Tokens, Lsn) {
        let shard = self.core.shard(ShardId::of(user));
        (
            shard.tokens(user),
            shard.token_debt(user),
            self.core.appended(),
        )
    }

    /// Every purchase with a payment or a refund in progress, and the LSN that must be durable before
    /// they are shown. Takes the shards' turns one after the other.
    pub fn open_views(&self) -> (Vec<OpenView>, Lsn) {
        let catalogue = self.core.catalogue.load();
        let of_shard = |id| self.core.shard(id).open_views(&catalogue);
        let views = ShardId::all().flat_map(of_shard).collect();
        (views, self.core.appended())
    }

    /// The buyer, and the LSN that must be durable before the view is shown.
    pub fn buyer(&self, user: &UserId) -> Option<(BuyerView, Lsn)> {
        let shard = self.core.shard(ShardId::of(user));
        let today = self.core.days.start_of(self.core.now());
        let view = shard.buyer_view(user, &self.core.catalogue.load(), today)?;
        Some((view, self.core.appended()))
    }

    /// The payment that `request` started for a purchase, by our books. Show it once the log is durable
    /// up to its current end.
    pub fn payment(&self, id: PurchaseId, request: RequestId) -> Option<PaymentView> {
        self.core.shard(id.shard()).payment_view(id, request)
    }

    /// The payments of a shard from the sequence number `from` on, in one turn that reads at most `most`
    /// purchases.
    pub fn payments_of(&self, shard: ShardId, from: u64, most: usize) -> PaymentsPage {
        self.core.shard(shard).payments(from, most)
    }

    /// Whether a purchase existed and has been forgotten.
    pub fn has_forgotten(&self, purchase: PurchaseId) -> bool {
        self.core.shard(purchase.shard()).has_forgotten(purchase)
    }

    /// Every purchase with a payment or a refund in progress, and when it last changed.
    pub fn open_payments(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.core.shard(id).open_payments().collect::<Vec<_>>();
        ShardId::all().flat_map(of_shard).collect()
    }

    /// Whether a payment or a refund of this purchase is in progress.
    pub fn is_open(&self, purchase: PurchaseId) -> bool {
        self.core.shard(purchase.shard()).is_open(purchase)
    }

    /// Every purchase under review, and the deadline of its review.
    pub fn reviews(&self) -> Vec<(PurchaseId, UnixMs)> {
        let of_shard = |id| self.core.shard(id).reviews().collect::<Vec<_>>();
        ShardId::all().flat_map(of_shard).collect()
    }

    /// The purchases under review with the oldest deadlines, at most `most`, with their buyers; the
    /// number of all reviews; and the LSN that must be durable before they are shown. Takes each shard's
    /// turn.
    pub fn review_views(
        &self,
        after: Option<(UnixMs, PurchaseId)>,
        most: usize,
    ) -> (Page<(PurchaseView, BuyerView)>, usize, Lsn) {
        let mut waiting: Vec<_> = self.reviews();
        let total = waiting.len();
        waiting.retain(|(id, due)| after.is_none_or(|after| (*due, *id) > after));
        waiting.sort_unstable_by_key(|(purchase, deadline)| (*deadline, *purchase));
        let more = if waiting.len() > most {
            More::Yes
        } else {
            More::No
        };
        let catalogue = self.core.catalogue.load();
        let today = self.core.days.start_of(self.core.now());
        let first = waiting.iter().take(most);
        let views = first.filter_map(|(purchase, _)| {
            let shard = self.core.shard(purchase.shard());
            let view = shard.purchase_view(*purchase, &catalogue, LATEST)?;
            let buyer = shard.buyer_view(&view.user, &catalogue, today)?;
            // It may have been decided since it was found.
            (view.state == PurchaseState::UnderReview).then_some((view, buyer))
        });
        let entries = views.collect();
        (Page { entries, more }, total, self.core.appended())
    }
}
